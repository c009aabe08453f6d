# SPDX-License-Identifier: GPL-2.0-or-later
"""Checks that compile: the files of a patch and those that include its headers, all warnings on.

Whole kernels and QEMUs are built by `boot`. Here only the objects are made that a
patch can have changed, in every configuration, and a warning counts if it was not
there before the patch.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from hptresize.base import paths, proc
from hptresize.base.errors import BuildError, HptResizeError
from hptresize.base.git import git
from hptresize.build import qemu as qemubuild
from hptresize.build import toolchain
from hptresize.build.flavours import FLAVOURS, PLAIN
from hptresize.build.kernel import Work, settings
from hptresize.check.question import FAILED, Check, Step, said_by
from hptresize.trees.tree import Tree

# Together: both byte orders, both page sizes, with radix and without, with memory
# hotplug and without, and the linear mapping as debug_pagealloc and KFENCE have it.
KERNELS = (PLAIN, "le-64k-hash", "le-4k-kfence", "be-64k", "be-4k-nohotplug")
COMPILERS = ("gcc", "clang")

_COMPLAINT = re.compile(r"(warning|error): ")


def affected(step: Step) -> list[str]:
    """Return the C files of a patch, and those that include one of its headers directly.

    Files far away that get a header through others are compiled by `boot`, in one
    configuration.
    """
    files = step.names(".c", ".S")
    headers = step.names(".h")
    if not headers:
        return files
    named = "|".join(re.escape(Path(one).name) for one in headers)
    top = ("arch/powerpc/*.c",) if step.tree.kind == "kernel" else ("hw/ppc/*.c", "target/ppc/*.c")
    pattern = rf'^#include [<"]([^<">]*/)?({named})[>"]'
    if not _mentioned(step, pattern, top):
        return files
    found = git(step.tree.path, "grep", "-lE", pattern, step.commit, "--", *top)
    users = [line.partition(":")[2] for line in found.splitlines()]
    return sorted({*files, *users})


def _mentioned(step: Step, pattern: str, top: Sequence[str]) -> bool:
    """Say whether git grep finds something; that it does not is no failure."""
    words = ("git", "-C", str(step.tree.path), "grep", "-qE", pattern, step.commit, "--", *top)
    status, lines = said_by(words)
    if status > 1:
        raise HptResizeError(f"git grep failed: {' '.join(lines[:1])}")
    return status == 0


def complaints(lines: Sequence[str], step: Step) -> list[str]:
    """Pick warnings and errors, with paths relative to the tree."""
    picked = (line.replace(f"{step.tree.path}/", "") for line in lines if _COMPLAINT.search(line))
    # A header's complaint comes once for each file that includes it.
    return list(dict.fromkeys(re.sub(r"^(\.\./)+", "", line) for line in picked))


def kernel_objects(step: Step, flavour: str, names: Sequence[str]) -> tuple[Work, list[str]]:
    """Return the configured build directory of a flavour, and what it makes of some files."""
    facts = FLAVOURS[flavour]
    tree, cache = step.tree, step.tree.cache
    build_dir = cache.root / "build" / f"{tree.key}-{flavour}"
    work = Work(cache, tree, facts, build_dir, step.builder.jobs)
    work.configure(settings(tree, facts, paths.kernel_fragment().read_text()))
    return work, work.compiled(present(step, names))


def kernel_tools(tree: Tree, flavour: str) -> list[str]:
    """Return what decides about the objects of a kernel, besides its sources."""
    facts = FLAVOURS[flavour]
    lines = settings(tree, facts, paths.kernel_fragment().read_text())
    return [toolchain.version(facts.gcc), facts.name, lines]


def qemu_tools(compiler: str) -> list[str]:
    """Return what decides about the objects of QEMU, besides its sources."""
    libraries = [one.flags_from for one in toolchain.LIBRARIES if one.flags_from]
    found = proc.output(["pkg-config", "--modversion", *libraries], what="pkg-config").decode()
    return [toolchain.version(compiler), found, *qemubuild.CONFIGURE]


def _kernel(flavour: str) -> Check:
    def build(step: Step) -> Sequence[str] | None:
        names = affected(step)
        if not names:
            return None

        work, objects = kernel_objects(step, flavour, names)
        if not objects:
            return None
        return complaints(_made(lambda: work.objects(objects, "W=1")), step)

    return Check(
        f"build {flavour}", f"objects of the patch and users of its headers, W=1, {flavour}",
        build, tools=lambda step: kernel_tools(step.tree, flavour), group="build",
        of="content", quick=False, place=flavour,
    )  # fmt: skip


def present(step: Step, names: Sequence[str]) -> list[str]:
    """Return those of a patch's files that the tree has as it is checked out."""
    return [name for name in names if (step.tree.path / name).is_file()]


def _made(make: Callable[[], list[str]]) -> list[str]:
    """Return what a build printed; of one that failed, why."""
    try:
        return make()
    except BuildError as err:
        return [f"{FAILED}{err.what}"]


def _qemu(compiler: str) -> Check:
    def build(step: Step) -> Sequence[str] | None:
        names = affected(step)
        lines = _qemu_at(step, names, compiler) if names else None
        return None if lines is None else complaints(lines, step)

    return Check(
        f"build {compiler}", f"objects of the patch and users of its headers, {compiler}", build,
        tools=lambda step: qemu_tools(compiler),
        group="build", of="content", quick=False, place=compiler,
    )  # fmt: skip


def qemu_work(step: Step, compiler: str) -> tuple[Path, dict[str, str]]:
    """Return a configured build directory, and the environment for ninja."""
    tree, cache = step.tree, step.tree.cache
    build_dir = cache.root / "build" / f"{tree.key}-{compiler}"
    log = cache.logs / f"{build_dir.name}.log"
    command, env = toolchain.compiler(cache, compiler)
    qemubuild.configure(tree, build_dir, command, env, log)
    # Whatever the patch changed of the build's description is read now.
    said_by(["ninja", "-C", build_dir, "build.ninja"], env=env)
    return build_dir, env


def qemu_objects(build_dir: Path, tree: Path, names: Sequence[str]) -> dict[str, str]:
    """Return the objects that are made of C files, by compile_commands.json: object, file."""
    commands = json.loads((build_dir / "compile_commands.json").read_text())
    found: dict[str, str] = {}
    for one in commands:
        path = Path(os.path.normpath(build_dir / one["file"]))
        if path.is_relative_to(tree) and str(path.relative_to(tree)) in names:
            found[one["output"]] = str(path.relative_to(tree))
    return found


def _qemu_at(step: Step, names: Sequence[str], compiler: str) -> list[str] | None:
    build_dir, env = qemu_work(step, compiler)
    objects = qemu_objects(build_dir, step.tree.path, names)
    for name in objects:
        (build_dir / name).unlink(missing_ok=True)
    if not objects:
        return None
    words = ["ninja", "-C", str(build_dir), f"-j{step.builder.jobs}", "-k0", *objects]
    status, lines = said_by(words, env=env)
    if status and not any(_COMPLAINT.search(line) for line in lines):
        lines.append(f"{FAILED}ninja failed: {' '.join(lines[-1:])}")
    return lines


KERNEL_BUILDS = tuple(_kernel(flavour) for flavour in KERNELS)
QEMU_BUILDS = tuple(_qemu(compiler) for compiler in COMPILERS)
