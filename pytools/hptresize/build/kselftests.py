# SPDX-License-Identifier: GPL-2.0-or-later
"""The series' kselftests: built by the tree's own Makefile."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from hptresize import series
from hptresize.base import paths, proc, progress
from hptresize.base.cache import Cache, digest
from hptresize.build import toolchain
from hptresize.build.toolchain import COMPILERS, Endian
from hptresize.trees.tree import Tree

DIRECTORY = "tools/testing/selftests/powerpc/hpt_resize"
GUEST_DIRECTORY = "/selftests"

# Goes up when programs that are in a cache already would not be built the same way again.
RECIPE = "1"

_FILE = re.compile(rf"^\+\+\+ b/{DIRECTORY}/(\w+)\.c$")
_TEST = re.compile(r"^\+TEST_F(?:_TIMEOUT)?\((\w+), (\w+)")
_VARIANT = re.compile(r"^\+FIXTURE_VARIANT_ADD\((\w+), (\w+)")


def build(
    cache: Cache, tree: Tree, endian: Endian, *, patches: Path | None = None
) -> dict[str, Path]:
    """Build (or take from the cache) the programs, static.

    :param patches: directory of the series; the project's own if None.
    :returns: name of each program to where it lies.
    :raises BuildError: make failed, a warning is an error there.
    """
    gcc = COMPILERS[endian]

    def key(content: str) -> str:
        return f"selftests-{endian}-{digest(content, toolchain.version(gcc), RECIPE)[:16]}"

    def make(into: Path, _touched: set[str]) -> None:
        toolchain.require("make")
        words: list[str | Path] = [
            "make", "-C", tree.path / DIRECTORY, f"-j{toolchain.jobs()}", "all", f"OUTPUT={into}",
            f"CROSS_COMPILE={gcc.removesuffix('gcc')}", "ARCH=powerpc",
            # Nothing of this machine, and nothing of git's, in the programs.
            "USERLDFLAGS=-static -s -Wl,--build-id=none", "GIT_VERSION=series",
        ]  # fmt: skip
        with progress.step(f"build the kselftests, {endian}"):
            proc.run(
                words, what="building the kselftests",
                log_file=cache.logs / f"selftests-{endian}.log", env={"LC_ALL": "C.UTF-8"},
            )  # fmt: skip

    where = tree.artifact(
        "series", patches or paths.kernel_patches(), key=key, make=make,
        what=f"kselftests {endian}",
    )  # fmt: skip
    return {path.name: path for path in sorted(where.iterdir())}


def in_guest(programs: Mapping[str, Path]) -> dict[str, Path]:
    """Return where the programs go in an image, as build_initramfs takes it."""
    return {f"{GUEST_DIRECTORY}/{name}": path for name, path in programs.items()}


def subtests(patches: Path | None = None) -> dict[str, tuple[str, ...]]:
    """Read the names of all sub-tests out of the series, by program.

    :param patches: directory of the series; the project's own if None.
    """
    program = ""
    tests: dict[str, list[tuple[str, str]]] = {}
    variants: dict[tuple[str, str], list[str]] = {}
    for patch in series.load(patches or paths.kernel_patches()).patches:
        for line in patch.path.read_text().splitlines():
            if line.startswith("+++ "):
                found = _FILE.match(line)
                program = found[1] if found else ""
            elif program and (found := _TEST.match(line)):
                tests.setdefault(program, []).append((found[1], found[2]))
            elif program and (found := _VARIANT.match(line)):
                variants.setdefault((program, found[1]), []).append(f".{found[2]}")
    return {
        name: tuple(
            f"{fixture}{variant}.{test}"
            for fixture, test in listed
            for variant in variants.get((name, fixture), [""])
        )
        for name, listed in sorted(tests.items())
    }
