# SPDX-License-Identifier: GPL-2.0-or-later
"""The check that boots: tests that belong to the patches so far, on what is built of them."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from modulefinder import ModuleFinder
from pathlib import Path

from hptresize.base import paths
from hptresize.base.cache import digest
from hptresize.base.errors import UsageError
from hptresize.build import flavours
from hptresize.build import kernel as kbuild
from hptresize.build import qemu as qemubuild
from hptresize.build.builder import Builder
from hptresize.check.compile import kernel_tools, qemu_tools
from hptresize.check.question import Check, Step, said_by
from hptresize.machine.settings import SYSTEM_FIRMWARE
from hptresize.series.home import Home
from hptresize.series.rules import RULES


def passed_by(step: Step) -> list[str]:
    """Return the tests that a tree with the patches up to this one passes, by series.toml."""
    order = [one.subject for one in step.home.load().patches]
    here = order.index(step.patch.subject)
    return [
        test
        for one in step.series.rules.tests
        if order.index(one.since) <= here and (not one.until or here < order.index(one.until))
        for test in one.run
    ]


def boots(step: Step) -> Sequence[str] | None:
    """Build all of the tree with the patches so far, boot it, run the tests."""
    tests = passed_by(step)
    if not tests:
        return None
    kernel, qemu = _built(step)
    image = step.builder.image()
    parts = {"KERNEL": kernel, "QEMU": qemu, "IMAGE": image}
    # A test of what has no resizing yet asks for the baseline by its own name.
    parts[f"{step.tree.kind.upper()}_BASELINE"] = kernel if step.tree.kind == "kernel" else qemu
    env = {f"HPTRESIZE_{name}": str(path) for name, path in parts.items()}
    env |= {"PYTHONPATH": str(paths.project() / "pytools"), "PYTEST_ADDOPTS": ""}
    status, lines = said_by(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests],
        cwd=paths.project(), env=env,
    )  # fmt: skip
    if status == 0:
        # What is skipped has not passed.
        return [line for line in lines if line.startswith("SKIPPED")]
    return [line for line in lines if re.match(r"(FAILED|ERROR)", line)] or lines[-3:]


def _built(step: Step) -> tuple[Path, Path]:
    """Return kernel and QEMU: of the patches so far, and the other of the project's series."""
    cache, variant, jobs = step.tree.cache, step.home.variant, step.builder.jobs
    other = _other(step)
    if step.tree.kind == "kernel":
        made = kbuild.build_kernel(cache, step.tree, variant, patches=step.upto, jobs=jobs)
        return made.vmlinux, other.qemu().binary
    built = qemubuild.build_qemu(cache, step.tree, variant, patches=step.upto, jobs=jobs)
    return other.kernel().vmlinux, built.binary


def _other(step: Step) -> Builder:
    """Return who builds the other part, of which the project's series is taken."""
    if step.tree.kind == "kernel":
        return step.builder
    return Builder(step.tree.cache, jobs=step.builder.jobs)


def _tools(step: Step) -> Sequence[str]:
    """Return all that decides about the guest and its tests, besides the patches so far."""
    tests = passed_by(step)
    if not tests:
        return ()
    home = Home("qemu" if step.tree.kind == "kernel" else "kernel")
    other = _other(step).tree(home.kind)
    kernel = step.tree if step.tree.kind == "kernel" else other
    firmware = sorted(SYSTEM_FIRMWARE.glob("*.bin"))
    return [
        *tests, sys.version, step.builder.image_key(), *kernel_tools(kernel, flavours.PLAIN),
        *qemu_tools("gcc"), other.key, other.baseline_tag, home.load().digest,
        digest(*_files(tests), *firmware),
    ]  # fmt: skip


def _files(tests: Sequence[str]) -> list[Path]:
    """Return the project's files that decide what some of its tests find.

    They are the modules that the tests import, directly or not, and what is no Python.

    :raises UsageError: a test's module cannot be read.
    """
    root = paths.project()
    package, beside = root / "pytools" / "hptresize", root / "tests"
    finder = ModuleFinder(path=[str(package.parent), str(beside)])
    files = {Path(one.partition("::")[0]).relative_to(beside.name) for one in tests}
    try:
        for name in ("hptresize.pytest_plugin", "conftest", *map(_module, sorted(files))):
            finder.import_hook(name)
    except (ImportError, SyntaxError) as err:
        raise UsageError(f"{name}, of the tests that {RULES} names: {err}") from err
    found = (getattr(one, "__file__", None) for one in finder.modules.values())
    modules = {Path(name) for name in found if name}
    others = {
        path
        for path in (*beside.rglob("*"), *(package / "guest").rglob("*"))
        if path.is_file() and path.suffix not in (".py", ".pyc")
    }
    return sorted(modules | others | {root / "pyproject.toml"})


def _module(file: Path) -> str:
    return ".".join(file.with_suffix("").parts)


BOOT = Check(
    "boots", "all of it is built, boots, and passes the tests of the patches so far", boots,
    tools=_tools, of="content", quick=False,
)  # fmt: skip
