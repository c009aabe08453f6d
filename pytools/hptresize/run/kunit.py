# SPDX-License-Identifier: GPL-2.0-or-later
"""Run the KUnit tests of the guest series by the tree's own tools/testing/kunit/kunit.py.

The kernel is built like any other (build.flavours, of the tree's own .kunitconfig) and kept
with the tool. The tool boots it on Debian's QEMU, which serves: the tests answer the
hypercalls themselves. Its JSON says how each test ended, its text why.
"""

from __future__ import annotations

import json
import re
import shlex
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hptresize.base import proc, progress
from hptresize.base.errors import MachineError, UsageError
from hptresize.build import toolchain
from hptresize.machine.outcome import Finding, find_bugs, tail
from hptresize.machine.settings import TCG_CAPABILITIES

Status = Literal["pass", "fail", "skip"]

TOOL = "tools/testing/kunit/kunit.py"
TIMEOUT_S = 120
"""Seconds of wall time for the boot and all tests; 5 on an idle machine."""

_STATUS: dict[str, Status] = {"PASS": "pass", "SKIP": "skip"}
_STAMP = re.compile(r"^\[\d\d:\d\d:\d\d\] ?")
_HEADER = re.compile(r"^=+ (?P<name>.+?)(?: \(\d+ subtests?\))? +=+$")
_ENDED = re.compile(r"^(?:(?P<group>=+) )?\[(?:PASSED|FAILED|SKIPPED|CRASHED|NO TESTS RUN)\] "
                    r"(?P<name>.+?)(?: =+)?$")  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A test case and how it ended.

    :ivar parameters: the values it ran with and how each ended; none for most.
    :ivar log: what the kernel said during it, if it failed.
    """

    suite: str
    name: str
    status: Status
    parameters: Mapping[str, Status]
    log: str


@dataclass(frozen=True)
class Run:
    """One boot of the kernel.

    :ivar cases: those that ended, by "suite.case".
    :ivar unfinished: how many more there should have been: the kernel crashed or hung.
    :ivar console: all that the kernel printed.
    """

    cases: Mapping[str, Case]
    unfinished: int
    console: str

    @property
    def bugs(self) -> list[Finding]:
        """Lines of the console that say that the kernel has a bug."""
        return find_bugs(self.console)

    @property
    def problems(self) -> list[str]:
        """What is not as it should be, a line each; empty if all is well."""
        found = [f"{name} failed" for name, case in self.cases.items() if case.status == "fail"]
        if self.unfinished:
            found.append(f"{self.unfinished} cases did not come to their end")
        return found + [f"console line {bug.number}: {bug.line}" for bug in self.bugs]


def run(kernel: Path, *, glob: str = "", cpus: int = 2) -> Run:
    """Boot a kernel with KUnit tests and return what came of them.

    :param kernel: its vmlinux, beside which the tool is kept.
    :param glob: which tests, "suite.case" with wildcards; all if empty.
    :raises UsageError: the kernel has no tool beside it, or no such test.
    :raises MachineError: no test ran, or the tool found fault with more than single tests.
    """
    tool = kernel.parent / TOOL
    if not tool.is_file():
        raise UsageError(f"{kernel} is no kernel with KUnit tests: no {TOOL} beside it")
    toolchain.require("qemu-system-ppc64")
    with tempfile.TemporaryDirectory(prefix="hptresize-kunit-") as name:
        # The tool writes where it finds the kernel.
        scratch = Path(name)
        (scratch / "vmlinux").symlink_to(kernel.absolute())
        said, status = _exec(tool, scratch, glob, cpus)
        console, result = scratch / "test.log", scratch / "result.json"
        text = console.read_text(errors="replace") if console.is_file() else said
        if not result.is_file():
            raise MachineError(
                f"{TOOL} ended with status {status} and no result", console=tail(said, 30)
            )
        done = read_result(json.loads(result.read_text()), said, text)
    if not done.cases:
        raise MachineError(
            f"no KUnit test ran{f' that matches {glob!r}' if glob else ''}", console=tail(text, 30)
        )
    if status and not done.problems:
        raise MachineError("kunit.py found fault with the run as a whole", console=tail(said, 30))
    return done


def _exec(tool: Path, scratch: Path, glob: str, cpus: int) -> tuple[str, int]:
    """Run the tool; return what it printed and its status."""
    machine = ["-M", ",".join(("pseries", "x-vof=on", *TCG_CAPABILITIES)), "-smp", str(cpus)]
    words: list[str | Path] = [
        sys.executable, tool, "exec", "--arch=powerpc", f"--build_dir={scratch}",
        f"--qemu_args={shlex.join(machine)}", f"--timeout={TIMEOUT_S}",
        f"--json={scratch / 'result.json'}", *([glob] if glob else []),
    ]  # fmt: skip
    with (
        progress.step("run the KUnit tests"),
        proc.started(words, env={"PYTHONDONTWRITEBYTECODE": "1"}) as child,
    ):
        assert child.stdout is not None
        said = child.stdout.read().decode(errors="replace")
    return said, child.wait()


def read_result(result: Mapping[str, Any], said: str, console: str) -> Run:
    """Read what kunit.py made of a run.

    :param result: its JSON.
    :param said: what it printed, from which the logs of failed cases are taken.
    """
    logs = dict(_logs(said))
    cases: dict[str, Case] = {}
    unfinished = 0
    for suite in result["sub_groups"]:
        name = suite["name"]
        for one in suite["test_cases"]:
            # What did not report has no name in the tool's result.
            if not one["name"]:
                unfinished += 1
                continue
            cases[f"{name}.{one['name']}"] = Case(
                name, one["name"], _status(one), {}, logs.get((name, one["name"]), "")
            )
        for one in suite["sub_groups"]:
            values = {value["name"]: _status(value) for value in one["test_cases"]}
            # The tool takes what the first one said for that of the group.
            log = [logs.get((name, one["name"], *value), "") for value in (*zip(values), ())]
            cases[f"{name}.{one['name']}"] = Case(
                name, one["name"], _worst(values.values()), values, "".join(log)
            )
    return Run(cases, unfinished, console)


def _status(one: Mapping[str, Any]) -> Status:
    return _STATUS.get(one["status"], "fail")


def _worst(of: Iterable[Status]) -> Status:
    return max(of, key=("skip", "pass", "fail").index)


def _logs(said: str) -> Iterator[tuple[tuple[str, ...], str]]:
    """Give what stands before the line that says how a test ended, by its path of names."""
    inside: list[str] = []
    log: list[str] = []
    for stamped in said.splitlines():
        line = _STAMP.sub("", stamped)
        if (ended := _ENDED.match(line)) is not None:
            if ended["group"] and inside:
                inside.pop()
            yield (*inside, ended["name"]), "".join(f"{one}\n" for one in log)
            log = []
        elif (header := _HEADER.match(line)) is not None:
            inside.append(header["name"])
            log = []
        elif line.strip("="):
            log.append(line)
