# SPDX-License-Identifier: GPL-2.0-or-later
"""The series' kselftests: run in a guest whose image has them, told as data.

A program prints KTAP (Documentation/dev-tools/ktap.rst): a version, a plan, one line
for each sub-test; all else are diagnostics that begin with "#".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from hptresize.base.errors import MachineError
from hptresize.build.kselftests import GUEST_DIRECTORY
from hptresize.machine import Machine

SKIPPED = 4  # exit status of a program that had nothing to test
_PLAN = re.compile(r"1\.\.(\d+)(?: # SKIP (?P<reason>.*))?")
_RESULT = re.compile(r"(?P<not>not )?ok (?P<number>\d+) (?P<name>[^\s#]+)(?: # SKIP (?P<why>.*))?")


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
class SelftestReport:
    """What came of a program.

    :ivar status: its exit status.
    :ivar skipped: why all of it was skipped, None if it was not.
    """

    status: int
    skipped: str | None
    subtests: dict[str, SubTest]


def parse(text: str, status: int) -> SelftestReport:
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
    return SelftestReport(status, plan["reason"], found)


def run(
    machine: Machine,
    program: str,
    *arguments: str,
    env: Mapping[str, str] | None = None,
    timeout: float = 180.0,
) -> SelftestReport:
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
