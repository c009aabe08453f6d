# SPDX-License-Identifier: GPL-2.0-or-later
"""The package's layout: small modules, names that mean one thing; `make lint` checks imports."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import hptresize

PACKAGE = Path(hptresize.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
LONGEST = 400


def test_no_module_is_long() -> None:
    lines = {one: len(one.read_text().splitlines()) for one in MODULES}
    assert [one for one, count in lines.items() if count > LONGEST] == []


def test_a_module_has_its_name_alone() -> None:
    # A command has the name of what it is for.
    named = [one for one in MODULES if one.parent.name != "cli" and one.name[:2] != "__"]
    packages = [one.parent for one in MODULES if one.name == "__init__.py"]
    names = Counter([one.stem for one in named] + [one.name for one in packages])
    assert {name for name, count in names.items() if count > 1} == set()


def test_a_class_has_its_name_alone() -> None:
    names = Counter(
        node.name
        for one in MODULES
        for node in ast.parse(one.read_text()).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    assert {name for name, count in names.items() if count > 1} == set()
