# SPDX-License-Identifier: GPL-2.0-or-later
"""The series' kselftests: built by the tree's own Makefile, run in a guest, told as data.

A program prints KTAP (Documentation/dev-tools/ktap.rst): a version, a plan, one line
for each sub-test; all else are diagnostics that begin with "#".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hptresize import series, toolchain
from hptresize.base import paths, proc, progress
from hptresize.base.cache import Cache, digest
from hptresize.base.errors import MachineError
from hptresize.image.initramfs import COMPILERS, Endian
from hptresize.machine import Machine
from hptresize.trees.tree import Tree

DIRECTORY = "tools/testing/selftests/powerpc/hpt_resize"
GUEST_DIRECTORY = "/selftests"
SKIPPED = 4  # exit status of a program that had nothing to test

# Goes up when programs that are in a cache already would not be built the same way again.
RECIPE = "1"

_FILE = re.compile(rf"^\+\+\+ b/{DIRECTORY}/(\w+)\.c$")
_TEST = re.compile(r"^\+TEST_F(?:_TIMEOUT)?\((\w+), (\w+)")
_VARIANT = re.compile(r"^\+FIXTURE_VARIANT_ADD\((\w+), (\w+)")
_PLAN = re.compile(r"1\.\.(\d+)(?: # SKIP (?P<reason>.*))?")
_RESULT = re.compile(r"(?P<not>not )?ok (?P<number>\d+) (?P<name>[^\s#]+)(?: # SKIP (?P<why>.*))?")


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


@dataclass(frozen=True)
class SubTest:
    """What came of one sub-test.

    :ivar skipped: why it was skipped, None if it was not.
    :ivar said: its diagnostics.
    """

    name: str
    ok: bool
    skipped: str | None
    said: tuple[str, ...]


@dataclass(frozen=True)
class Report:
    """What came of a program.

    :ivar status: its exit status.
    :ivar skipped: why all of it was skipped, None if it was not.
    """

    status: int
    skipped: str | None
    subtests: dict[str, SubTest]


def parse(text: str, status: int) -> Report:
    """Read a program's output.

    :raises MachineError: it is not KTAP: what is wrong with which line.
    """
    lines = text.splitlines()
    if lines[:1] != ["TAP version 13"]:
        raise MachineError(f"a kselftest began with {lines[:1]}, not with its version of TAP")
    plan: re.Match[str] | None = None
    said: list[str] = []
    found: dict[str, SubTest] = {}
    for line in lines[1:]:
        if line.startswith("#"):
            said.append(line.removeprefix("#").strip())
        elif plan is None and (plan := _PLAN.fullmatch(line)):
            said.clear()
        elif plan and (result := _RESULT.fullmatch(line)):
            if int(result["number"]) != len(found) + 1 or result["name"] in found:
                raise MachineError(f"a kselftest said {line!r} after {len(found)} results")
            name = result["name"]
            found[name] = SubTest(name, not result["not"], result["why"], tuple(said))
            said.clear()
        else:
            raise MachineError(f"a kselftest said {line!r}, which is not KTAP")
    if plan is None or int(plan[1]) != len(found):
        raise MachineError(
            f"a kselftest planned {plan[1] if plan else 'no'} sub-tests and ran {len(found)}"
        )
    return Report(status, plan["reason"], found)


def run(
    machine: Machine,
    program: str,
    *arguments: str,
    env: Mapping[str, str] | None = None,
    timeout: float = 180.0,
) -> Report:
    """Run one of the programs in a guest whose image has it.

    :param arguments: the harness', such as "-t", "storm".
    :param env: see hpt.h and the programs.
    :param timeout: seconds.
    :raises MachineError: its output is not KTAP.
    :raises GuestPanicked, GuestHung, QemuDied: it did not end.
    """
    argv = [f"{GUEST_DIRECTORY}/{program}", *arguments]
    done = machine.agent.run(argv, env=env, timeout=timeout)
    if done.stderr:
        raise MachineError(f"{program} said on its standard error: {done.stderr.decode()!r}")
    return parse(done.text, done.status)
