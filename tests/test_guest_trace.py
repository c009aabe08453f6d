# SPDX-License-Identifier: GPL-2.0-or-later
"""What can be watched: trace events, counters, and the old name of the hook."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from hptresize.machine import Machine
from hptresize.pytest_plugin import Boot

pytestmark = pytest.mark.boot

START = 23
TRACING = "/sys/kernel/debug/tracing/"
DEBUGFS = "/sys/kernel/debug/powerpc/hpt_order"
EVENT = re.compile(r": (hpt_resize_\w+): (.*)")


@pytest.fixture(scope="module")
def guest(boot_module: Boot, needs_symbol: Callable[[str], None]) -> Machine:
    """One guest for all tests here, with the events switched on."""
    needs_symbol("__tracepoint_hpt_resize_done")
    machine = boot_module(memory="1G", cpus=2)
    machine.run("write", TRACING + "events/hpt/enable", "1")
    return machine


def events(machine: Machine) -> list[tuple[str, dict[str, int]]]:
    """Name and values of each event of the last resize, in order."""
    found: list[tuple[str, dict[str, int]]] = []
    for name, said in EVENT.findall(machine.run("cat", TRACING + "trace").text):
        if name == "hpt_resize_start":
            found.clear()
        pairs = (word.split("=") for word in said.split())
        found.append((name, {key: int(value, 0) for key, value in pairs}))
    return found


def counters(machine: Machine) -> tuple[int, int, int]:
    resizes, failures, busy = (
        int(machine.hpt(name)) for name in ("resizes", "failures", "busy_answers")
    )
    return resizes, failures, busy


def test_a_resize_in_events(guest: Machine) -> None:
    before = counters(guest)
    result = guest.resize(24)
    seen = events(guest)
    names = [name for name, _ in seen]
    assert names[0] == "hpt_resize_start"
    assert names[-2:] == ["hpt_resize_commit", "hpt_resize_done"]
    assert names.count("hpt_resize_prepare") == names.count("hpt_resize_busy") + 1
    done = seen[-1][1]
    assert (done["old"], done["order"], done["err"]) == (START, 24, 0)
    assert (done["prepare_us"], done["commit_us"]) == (result.prepare_us, result.commit_us)
    # The hypercall is part of what the CPUs stood still for.
    assert seen[-2][1]["ns"] <= 1000 * (done["commit_us"] + 1)
    resizes, failures, busy = counters(guest)
    assert (resizes, failures) == (before[0] + 1, before[1])
    assert busy == before[2] + names.count("hpt_resize_busy")
    guest.resize(START)


def test_a_failure_in_events(guest: Machine) -> None:
    before = counters(guest)
    assert guest.try_resize(46).errno_name == "EPERM"
    seen = events(guest)
    assert [name for name, _ in seen] == [
        "hpt_resize_start",
        "hpt_resize_prepare",
        "hpt_resize_done",
    ]
    assert seen[1][1]["rc"] == -16
    assert seen[2][1]["err"] == -1
    assert counters(guest)[:2] == (before[0], before[1] + 1)


def test_the_old_name(guest: Machine) -> None:
    assert guest.run("cat", DEBUGFS).text == str(START)
    assert guest.run("write", DEBUGFS, "24").text == "OK"
    assert guest.order_guest() == guest.order_host() == 24
    assert guest.agent.run(["write", DEBUGFS, "46"]).text == "EPERM"
    guest.run("write", DEBUGFS, str(START))
