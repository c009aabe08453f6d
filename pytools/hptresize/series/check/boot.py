# SPDX-License-Identifier: GPL-2.0-or-later
"""The check that boots: tests that belong to the patches so far, on what is built of them."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

from ... import config, kbuild, qemubuild
from ...builds import Builder
from ...cache import digest
from ..worktree import Home
from .model import Check, Step, said_by


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
    env["PYTHONPATH"] = str(Path(config.__file__).resolve().parents[1])
    status, lines = said_by(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests],
        cwd=config.project(), env=env,
    )  # fmt: skip
    if status == 0:
        return ()
    return [line for line in lines if re.match(r"(FAILED|ERROR)", line)] or lines[-3:]


def _built(step: Step) -> tuple[Path, Path]:
    """Return kernel and QEMU: of the patches so far, and the other of the project's series."""
    cache, variant, jobs = step.tree.cache, step.home.variant, step.builder.jobs
    if step.tree.kind == "kernel":
        made = kbuild.build_kernel(cache, step.tree, variant, patches=step.upto, jobs=jobs)
        return made.vmlinux, step.builder.qemu().binary
    other = Builder(cache, jobs=jobs).kernel().vmlinux
    built = qemubuild.build_qemu(cache, step.tree, variant, patches=step.upto, jobs=jobs)
    return other, built.binary


def _tools(step: Step) -> Sequence[str]:
    tests = passed_by(step)
    files = sorted({config.project() / one.partition("::")[0] for one in tests})
    other = Home("qemu" if step.tree.kind == "kernel" else "kernel")
    return [*tests, digest(*files), other.load().digest]


BOOT = Check(
    "boots", "all of it is built, boots, and passes the tests of the patches so far", boots,
    tools=_tools, of="content", quick=False,
)  # fmt: skip
