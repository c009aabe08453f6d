# SPDX-License-Identifier: GPL-2.0-or-later
"""Checks that analyse the C files of a patch: sparse and coccinelle, as each tree calls them."""

from __future__ import annotations

import json
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from hptresize.base.cache import digest
from hptresize.base.errors import HptResizeError
from hptresize.build import toolchain
from hptresize.build.flavours import PLAIN
from hptresize.check.compile import (
    complaints,
    kernel_objects,
    kernel_tools,
    present,
    qemu_objects,
    qemu_tools,
    qemu_work,
)
from hptresize.check.question import Check, Step, said_by, told_by


def sparse_kernel(step: Step) -> Sequence[str] | None:
    """Let make call sparse on the files of the patch."""
    names = step.names(".c")
    if not names:
        return None
    toolchain.require("sparse")
    work, objects = kernel_objects(step, PLAIN, names)
    if not objects:
        return None
    return complaints(work.objects(objects, "C=2", "CHECK=sparse"), step)


def sparse_qemu(step: Step) -> Sequence[str] | None:
    """Let scripts/check_sparse.py call sparse on those compiler commands.

    On each alone: it ends at the first one that has an error, an accepted one as well.
    """
    names = step.names(".c")
    if not names:
        return None
    cgcc = toolchain.require("cgcc")
    build_dir, env = qemu_work(step, "gcc")
    commands = json.loads((build_dir / "compile_commands.json").read_text())
    objects = qemu_objects(build_dir, step.tree.path, names)
    chosen = [one for one in commands if one["output"] in objects]
    for one in chosen:
        one["command"] = re.sub(r"^ccache +", "", one["command"])
    if not chosen:
        return None
    # Generated headers have to be there.
    said_by(["ninja", "-C", build_dir, *objects], env=env)
    return [line for one in chosen for line in _sparse_on(one, cgcc, build_dir, step)]


def _sparse_on(command: dict[str, str], cgcc: Path, build_dir: Path, step: Step) -> list[str]:
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump([command], file)
        file.flush()
        script = step.tree.path / "scripts/check_sparse.py"
        status, lines = said_by(
            [sys.executable, script, file.name, cgcc], env={"MESON_BUILD_ROOT": str(build_dir)}
        )
    found = complaints(lines, step)
    if status and not found:
        raise HptResizeError(f"{script.name} failed: {' '.join(lines[-1:])[:200]}")
    return found


_PLACE = re.compile(r"^\S+:\d+(:\d+)?(-\d+)?: ")


def cocci_kernel(step: Step) -> Sequence[str] | None:
    """Run scripts/coccicheck with each of its rules on copies of the files of the patch.

    It ends at the first rule that fails, as those with a part in OCaml do without a compiler.
    """
    toolchain.require("spatch")

    def run(copies: Path, tree: Path) -> list[str]:
        env = {
            "MODE": "report", "KBUILD_EXTMOD": str(copies), "srctree": str(tree), "J": "1",
            "VERBOSE": "0", "abs_objtree": str(tree), "TMPDIR": str(copies.parent),
        }  # fmt: skip
        found: list[str] = []
        for rule in sorted((tree / "scripts/coccinelle").rglob("*.cocci")):
            if not re.search(r"^@.*\bocaml\b", rule.read_text(), re.MULTILINE):
                found += told_by(
                    f"coccicheck with {rule.name}", ["bash", tree / "scripts/coccicheck"],
                    cwd=tree, env={**env, "COCCI": str(rule)},
                )  # fmt: skip
        return [line for line in found if _PLACE.match(line)]

    return _on_copies(step, run)


def cocci_qemu(step: Step) -> Sequence[str] | None:
    """Run the tree's semantic patches: each change that one proposes is a finding."""
    spatch = toolchain.require("spatch")

    def run(copies: Path, tree: Path) -> list[str]:
        found: list[str] = []
        for script in sorted((tree / "scripts/coccinelle").glob("*.cocci")):
            lines = told_by(
                f"spatch with {script.name}",
                [
                    spatch, "--very-quiet", "--macro-file", tree / "scripts/cocci-macro-file.h",
                    "--sp-file", script, "--dir", copies,
                ],
                env={"TMPDIR": str(copies.parent)},
            )  # fmt: skip
            found += [
                f"{script.name}: {line}"
                for line in lines
                if re.match(r"^\+(?!\+\+ )", line)
            ]
        return found

    return _on_copies(step, run)


def _on_copies(step: Step, run: Callable[[Path, Path], list[str]]) -> list[str] | None:
    """Run a tool that is to see the C files of the patch alone."""
    names = step.names(".c")
    if not names:
        return None
    # spatch leaves files where temporary ones go.
    with tempfile.TemporaryDirectory(prefix="hptresize-cocci-") as scratch:
        root = Path(scratch) / "copies"
        root.mkdir()
        for name in present(step, names):
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(step.tree.path / name, path)
        return [line.replace(f"{root}/", "") for line in run(root, step.tree.path)]


def _rules(step: Step) -> Sequence[str]:
    scripts = sorted((step.tree.path / "scripts/coccinelle").rglob("*.cocci"))
    return [toolchain.version("spatch"), digest(*scripts)]


KERNEL = (
    Check("sparse", "sparse on the files of the patch: nothing new", sparse_kernel,
          tools=lambda step: [toolchain.version("sparse"), *kernel_tools(step.tree, PLAIN)],
          of="content", quick=False, place=PLAIN),
    Check("coccicheck", "the tree's coccicheck on the files of the patch: nothing new",
          cocci_kernel, tools=_rules, of="content", quick=False, place="copies"),
)  # fmt: skip
QEMU = (
    Check("sparse", "sparse on the files of the patch: nothing new", sparse_qemu,
          tools=lambda step: [toolchain.version("sparse"), *qemu_tools("gcc")],
          of="content", quick=False, place="gcc"),
    Check("coccicheck", "the tree's semantic patches on the files of the patch: nothing new",
          cocci_qemu, tools=_rules, of="content", quick=False, place="copies"),
)  # fmt: skip
