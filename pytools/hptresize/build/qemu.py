# SPDX-License-Identifier: GPL-2.0-or-later
"""Build a QEMU for pseries guests."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from hptresize.base import paths, proc, progress
from hptresize.base.cache import Cache, digest
from hptresize.base.errors import BuildError
from hptresize.build import toolchain
from hptresize.series import Series
from hptresize.series.home import Variant
from hptresize.trees.tree import Tree

# Goes up when an artifact that is in a cache already would not be made the same way again.
RECIPE = "1"

PROGRAM = "qemu-system-ppc64"
CONFIGURE = (
    "--target-list=ppc64-softmmu",
    "--without-default-features",
    "--enable-tcg",
    "--enable-system",
    "--enable-fdt=system",
    "--disable-docs",
    "--disable-install-blobs",
    "--disable-debug-info",
    "--disable-download",
)

# AddressSanitizer, UndefinedBehaviorSanitizer, and of all boards and devices only a pseries
# machine's own: half the objects. Lines of reports need -g1.
SANITIZED = (
    "--enable-asan",
    "--enable-ubsan",
    "--without-default-devices",
    "-Doptimization=1",
    "--extra-cflags=-g1",
)
DEVICES = "CONFIG_PSERIES=y\n"


@dataclasses.dataclass(frozen=True)
class QemuBuild:
    """A built QEMU.

    :ivar binary: qemu-system-ppc64; firmware is not with it, give it a directory by -L.
    """

    binary: Path
    build_dir: Path
    source_dir: Path
    variant: Variant


def build_qemu(
    cache: Cache,
    tree: Tree,
    variant: Variant,
    *,
    patches: Path | Series | None = None,
    jobs: int | None = None,
    sanitized: bool = False,
) -> QemuBuild:
    """Build (or take from the cache) the QEMU of a variant of a tree.

    :param patches: the series or its directory; the project's own if None.
    :param sanitized: one that reports wrong accesses, undefined behaviour and leaks;
        it has no devices beyond those of an empty pseries machine.
    :raises BuildError: configure or the compiler failed, or the compiler warned
        about a file that the series touches.
    """
    what = f"{tree.title} {variant}" + (" with sanitizers" if sanitized else "")
    build_dir = cache.root / "build" / (tree.key + ("-sanitized" if sanitized else ""))
    done = _artifact(
        tree, variant, patches, build_dir, name="qemu", what=what,
        programs=lambda touched: [PROGRAM], jobs=jobs, sanitized=sanitized,
    )  # fmt: skip
    return QemuBuild(done / PROGRAM, build_dir, tree.path, variant)


def build_unit_tests(
    cache: Cache,
    tree: Tree,
    variant: Variant,
    *,
    patches: Path | Series | None = None,
    jobs: int | None = None,
) -> Path:
    """Build (or take from the cache) the unit tests that a series brings along.

    :returns: a directory with the programs, as tests/unit/test-*.
    :raises BuildError: see :func:`build_qemu`.
    """

    def programs(touched: set[str]) -> list[str]:
        found = (re.fullmatch(r"(tests/unit/test-[\w-]+)\.c", name) for name in sorted(touched))
        return [match[1] for match in found if match is not None]

    what = f"unit tests of {tree.title} {variant}"
    build_dir = cache.root / "build" / tree.key
    return _artifact(
        tree, variant, patches, build_dir, name="qemu-tests", what=what, programs=programs,
        jobs=jobs,
    )  # fmt: skip


def _artifact(
    tree: Tree, variant: Variant, patches: Path | Series | None, build_dir: Path, *, name: str,
    what: str, programs: Callable[[set[str]], list[str]], jobs: int | None,
    sanitized: bool = False,
) -> Path:  # fmt: skip
    """Return a directory with programs of QEMU's build, in the places they have there.

    :param name: of the artifact and its log.
    :param programs: which, given the files that the series touches.
    """
    cache = tree.cache
    options = CONFIGURE + ((*SANITIZED, DEVICES) if sanitized else ())

    def key(content: str) -> str:
        return f"{name}-{digest(content, *options, toolchain.version('gcc'), RECIPE)[:16]}"

    def make(into: Path, touched: set[str]) -> None:
        _check_tools()
        log = cache.logs / f"{name}-{build_dir.name}.log"
        log.unlink(missing_ok=True)
        compiler, env = toolchain.compiler(cache, "gcc")
        configure(tree, build_dir, compiler, env, log, sanitized=sanitized)
        chosen = programs(touched)
        ninja: list[str | Path] = ["ninja", "-C", build_dir, f"-j{jobs or toolchain.jobs()}"]
        _compile(what, [*ninja, *chosen], touched, env, log)
        for program in chosen:
            (into / program).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(build_dir / program, into / program)

    patches = patches or paths.qemu_patches()
    return tree.artifact(variant, patches, key=key, make=make, what=what)


def _check_tools() -> None:
    """Check what configure would miss only after a while.

    :raises ToolMissing: names the program or Debian package.
    """
    for tool in ("gcc", "ninja", "pkg-config"):
        toolchain.require(tool)
    for library in toolchain.LIBRARIES:
        toolchain.require_library(library)


def configure(
    tree: Tree, build_dir: Path, compiler: str, env: dict[str, str], log: Path,
    *, sanitized: bool = False,
) -> None:  # fmt: skip
    """Run configure where it has not run with these very options.

    :param sanitized: see :func:`build_qemu`.
    :raises BuildError: it failed.
    """
    words = [*CONFIGURE, f"--python={sys.executable}", f"--cc={compiler}"]
    if sanitized:
        # configure wants a name below configs/devices, and our trees are not written to.
        places = tree.path / "configs" / "devices" / "ppc64-softmmu"
        devices = os.path.relpath(build_dir / "pseries", places)
        words += [*SANITIZED, f"--with-devices-ppc64={devices}"]
    stamp = build_dir / ".hptresize-configured"
    made = digest(*words)
    if stamp.is_file() and stamp.read_text() == made:
        return
    shutil.rmtree(build_dir, ignore_errors=True)
    build_dir.mkdir(parents=True)
    (build_dir / "pseries.mak").write_text(DEVICES)
    with progress.step(f"configure {tree.title}"):
        proc.run(
            [tree.path / "configure", *words], what="configuring QEMU", log_file=log,
            cwd=build_dir, env=env,
        )  # fmt: skip
    stamp.write_text(made)


_NINJA = re.compile(r"^\[(\d+)/(\d+)\] (?P<what>.*)$")
_WARNING = re.compile(r"^(?P<file>[^\s:]+):\d+:(\d+:)? warning: ")


def _compile(
    what: str, command: list[str | Path], touched: set[str], env: dict[str, str], log: Path
) -> None:
    """Run ninja, showing how far it is.

    :raises BuildError: it failed, or warned about one of the touched files.
    """
    warnings: list[str] = []
    with progress.step(f"compile {what}") as step:

        def on_line(line: str) -> None:
            if (got := _NINJA.match(line)) is not None:
                step.update(int(got[1]), int(got[2]), got["what"].rpartition("/")[2])
            elif (warned := _WARNING.match(line)) is not None and any(
                warned["file"].endswith(f"/{name}") for name in touched
            ):
                warnings.append(line)

        proc.run(
            command, what=f"compiling {what}", log_file=log,
            env={"NINJA_STATUS": "[%f/%t] ", **env}, on_line=on_line,
        )  # fmt: skip
    if warnings:
        raise BuildError(f"a patched file has a warning: {warnings[0]}", log=log)
