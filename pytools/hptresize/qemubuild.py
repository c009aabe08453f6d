# SPDX-License-Identifier: GPL-2.0-or-later
"""Build a QEMU for pseries guests."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import sys
from pathlib import Path

from . import config, proc, toolchain, ui
from .cache import Cache, digest
from .errors import BuildError
from .series import Series
from .sources import Tree, Variant

# Goes up when an artifact that is in a cache already would not be made the same way again.
RECIPE = "1"

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
    patches = patches or config.qemu_patches()
    what = f"{tree.title} {variant}" + (" with sanitizers" if sanitized else "")
    build_dir = cache.root / "build" / (tree.key + ("-sanitized" if sanitized else ""))
    options = CONFIGURE + ((*SANITIZED, DEVICES) if sanitized else ())

    def key(content: str) -> str:
        return f"qemu-{digest(content, *options, toolchain.version('gcc'), RECIPE)[:16]}"

    def make(into: Path, touched: set[str]) -> None:
        log = cache.logs / f"qemu-{build_dir.name}.log"
        log.unlink(missing_ok=True)
        build = _BuildDir(cache, tree, build_dir, jobs, log)
        build.make(what, ["qemu-system-ppc64"], touched, into, sanitized=sanitized)

    done = tree.artifact(variant, patches, key=key, make=make, what=what)
    return QemuBuild(done / "qemu-system-ppc64", build_dir, tree.path, variant)


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
    patches = patches or config.qemu_patches()
    what = f"unit tests of {tree.title} {variant}"
    build_dir = cache.root / "build" / tree.key

    def key(content: str) -> str:
        return f"qemu-tests-{digest(content, *CONFIGURE, toolchain.version('gcc'), RECIPE)[:16]}"

    def make(into: Path, touched: set[str]) -> None:
        log = cache.logs / f"qemu-tests-{tree.key}.log"
        log.unlink(missing_ok=True)
        found = (re.fullmatch(r"(tests/unit/test-[\w-]+)\.c", name) for name in sorted(touched))
        programs = [match[1] for match in found if match is not None]
        _BuildDir(cache, tree, build_dir, jobs, log).make(what, programs, touched, into)

    return tree.artifact(variant, patches, key=key, make=make, what=what)


@dataclasses.dataclass(frozen=True)
class _BuildDir:
    """A build directory of a checked-out tree."""

    cache: Cache
    tree: Tree
    path: Path
    jobs: int | None
    log: Path

    def make(
        self, what: str, programs: list[str], touched: set[str], into: Path,
        *, sanitized: bool = False,
    ) -> None:  # fmt: skip
        """Compile programs, and copy them to the same places in another directory."""
        _check_tools()
        compiler, env = toolchain.compiler(self.cache, "gcc")
        configure(self.tree, self.path, compiler, env, self.log, sanitized=sanitized)
        ninja: list[str | Path] = ["ninja", "-C", self.path, f"-j{self.jobs or toolchain.jobs()}"]
        _compile(what, [*ninja, *programs], touched, env, self.log)
        for program in programs:
            (into / program).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(self.path / program, into / program)


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
    with ui.step(f"configure {tree.title}"):
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
    with ui.step(f"compile {what}") as step:

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
