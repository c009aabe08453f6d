# SPDX-License-Identifier: GPL-2.0-or-later
"""What can happen to a machine, in every state of a preparation: its table goes on.

The bare guest can be held in each state; it lets processors and memory go by calling
RTAS itself.  The tests with a kernel are of what a kernel does meanwhile.
"""

from __future__ import annotations

import contextlib
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import pytest

from hptresize.machine import BareGuest, Machine, MachineConfig
from hptresize.machine.agent import Job
from hptresize.machine.hpt import H_RESIZE_HPT_COMMIT as COMMIT
from hptresize.machine.hpt import H_RESIZE_HPT_PREPARE as PREPARE
from hptresize.machine.hpt import HcallStatus
from hptresize.machine.load import MemoryLoad
from hptresize.pytest_plugin import Boot

pytestmark = pytest.mark.boot

State = Literal["idle", "preparing", "ready", "failed"]
STATES: tuple[State, ...] = ("idle", "preparing", "ready", "failed")
MODES = ("mirror", "rehash")

# 1 GB and a DIMM of 1 GB: RAM / 128 is 2^24 bytes, twice that is granted; 2^24 without it.
START, NEXT, NEXT_WITHOUT_DIMM = 24, 25, 24
NEVER_MS = 600_000
BESIDE = (
    *("-action", "reboot=reset", "-smp", "1,maxcpus=2"),
    *("-device", "power8_v2.0-spapr-cpu-core,core-id=1,id=core"),
    *("-object", "memory-backend-ram,id=dimm-ram,size=1G,reserve=off"),
    *("-device", "pc-dimm,id=dimm,memdev=dimm-ram"),
)

H_ENTER, H_READ, H_LOGICAL_CI_LOAD, H_LOGICAL_CI_STORE, H_RTAS = 0x08, 0x0C, 0x3C, 0x40, 0xF000
H_EXACT = 1 << (63 - 24)
POWER_OFF, SYSTEM_REBOOT, SET_INDICATOR = 0x2003, 0x2004, 0x201A
ISOLATION, ALLOCATION = 9001, 9003
RTAS_BUFFER = 0x1000000
# DRC indexes: of the second core, of the four blocks of 256 MB after 1 GB.
CORE, BLOCKS = (0x10000001,), tuple(0x80000004 + n for n in range(4))

ENTRY = (0x11, 5 << 12 | 0x190)
"""A bolted entry: page 5 of segment 0, whose hash is 5 in any table."""


class Subject:
    """A bare guest that can be brought into each state.

    :param guest: has a core and a DIMM that can be taken away.
    """

    def __init__(self, guest: BareGuest) -> None:
        self.guest = guest

    def call(self, number: int, *arguments: int) -> HcallStatus | int:
        return self.guest.hcall(number, *arguments).result

    def prepare(self, order: int) -> HcallStatus | int:
        """PREPARE, once the memory of the table before is free."""
        deadline = time.monotonic() + 30
        while (result := self.call(PREPARE, 0, order)) is HcallStatus.H_LONG_BUSY_ORDER_1_MSEC:
            assert time.monotonic() < deadline, f"PREPARE({order}) is {result} for 30 s"
        return result

    def bring(self, state: State) -> None:
        """From nothing prepared into a state, with an entry in the table."""
        self.set("x-hpt-prepare-delay", NEVER_MS if state == "preparing" else 0)
        self.set("x-hpt-fail-alloc", state == "failed")
        if self.call(H_READ, 0, 5 * 8) != HcallStatus.H_SUCCESS or not self.entry()[0]:
            assert self.call(H_ENTER, H_EXACT, 5 * 8, *ENTRY) is HcallStatus.H_SUCCESS
        if state == "idle":
            return
        result = self.prepare(NEXT)
        while state == "ready" and isinstance(result, HcallStatus) and result.long_busy:
            result = self.prepare(NEXT)
        wanted = {"ready": HcallStatus.H_SUCCESS, "failed": HcallStatus.H_RESOURCE}
        assert result is wanted.get(state, HcallStatus.H_LONG_BUSY_ORDER_1_SEC)
        self.is_in(state)

    def is_in(self, state: State) -> None:
        """Host and guest both say so; the entry is where it was."""
        assert self.guest.qmp("query-hpt")["state"] == ("idle" if state == "failed" else state)
        assert self.entry() == ENTRY

    def ends_as(self, state: State) -> None:
        """COMMIT gives what the state calls for, and the table is the one it leads to."""
        before = self.guest.qmp("query-hpt")["order"]
        wanted = {"ready": HcallStatus.H_SUCCESS, "preparing": HcallStatus.H_BUSY}
        assert self.call(COMMIT, 0, NEXT) is wanted.get(state, HcallStatus.H_CLOSED)
        order = self.guest.qmp("query-hpt")["order"]
        assert order == (NEXT if state == "ready" else before)
        # From the inside: the last entry of the table, and none behind it.
        assert self.call(H_READ, 0, (1 << order - 4) - 1) is HcallStatus.H_SUCCESS
        assert self.call(H_READ, 0, 1 << order - 4) is HcallStatus.H_PARAMETER
        assert self.entry() == ENTRY

    def entry(self) -> tuple[int, int]:
        """What is where the entry was put."""
        first, second = self.guest.hcall(H_READ, 0, 5 * 8).values[:2]
        return first & ~0x60, second  # without a bit of QEMU's own

    def set(self, name: str, value: object) -> None:
        self.guest.qmp("qom-set", path="/machine", property=name, value=value)

    def rtas(self, token: int, *arguments: int) -> int:
        """Call RTAS with one result; returns it."""
        self.put_rtas(token, *arguments)
        assert self.call(H_RTAS, RTAS_BUFFER) is HcallStatus.H_SUCCESS
        result = RTAS_BUFFER + 12 + 4 * len(arguments)
        return self.guest.hcall(H_LOGICAL_CI_LOAD, 4, result).values[0]

    def put_rtas(self, token: int, *arguments: int) -> None:
        words = (token, len(arguments), 1, *arguments)
        for number, word in enumerate(words):
            self.call(H_LOGICAL_CI_STORE, 4, RTAS_BUFFER + 4 * number, word)

    def unplug(self, device: str, connectors: tuple[int, ...]) -> None:
        """Take a device away: QEMU asks for it, the guest lets it go, block by block."""
        self.guest.qmp("device_del", id=device)
        for connector in connectors:
            for indicator in (ISOLATION, ALLOCATION):
                assert self.rtas(SET_INDICATOR, indicator, connector, 0) == 0
        assert device not in str(self.guest.qmp("qom-list", path="/machine/peripheral"))

    def threads_and_size(self) -> tuple[int, int]:
        """QEMU's threads, and its address space in KB."""
        status = Path(f"/proc/{self.guest.qemu_pid}/status").read_text()
        found = re.search(r"^VmSize:\s+(\d+).*^Threads:\s+(\d+)", status, re.M | re.S)
        assert found is not None
        return int(found[2]), int(found[1])

    def wait_threads_and_size(self, threads: int, size: int) -> None:
        """A thread of QEMU's gives back what it has, in its own time."""
        for _ in range(2000):
            now = self.threads_and_size()
            if now[0] <= threads and now[1] <= size:
                return
            self.guest.qmp("query-status")
        raise AssertionError(f"{threads} threads and {size} KB became {now}")


@pytest.fixture
def subject(bare_kernel: Path, hpt_qemu: Path, mode: str) -> Iterator[Subject]:
    config = MachineConfig(
        hpt_qemu, bare_kernel, None, memory="1G", maxmem="4G",
        machine_options=(f"hpt-resize-mode={mode}",), extra_args=BESIDE,
    )  # fmt: skip
    with BareGuest(config) as guest:
        yield Subject(guest)


each_mode = pytest.mark.parametrize("mode", MODES)
each_state = pytest.mark.parametrize("state", STATES)


@each_mode
@each_state
def test_a_cpu_is_unplugged(subject: Subject, state: State) -> None:
    subject.bring(state)
    subject.unplug("core", CORE)
    assert len(subject.guest.qmp("query-cpus-fast")) == 1
    subject.is_in(state)
    subject.ends_as(state)


@each_mode
@each_state
def test_memory_is_unplugged(subject: Subject, state: State) -> None:
    """What was granted stays; the next PREPARE goes by the memory that is left."""
    subject.bring(state)
    subject.unplug("dimm", BLOCKS)
    assert subject.guest.qmp("query-memory-size-summary")["plugged-memory"] == 0
    subject.is_in(state)
    # LoPAR: a pending HPT that matches is polled before the size is judged.
    polled = {"ready": HcallStatus.H_SUCCESS, "preparing": HcallStatus.H_LONG_BUSY_ORDER_1_SEC}
    assert subject.call(PREPARE, 0, NEXT) is polled.get(state, HcallStatus.H_RESOURCE)
    subject.ends_as(state)
    assert subject.call(PREPARE, 0, 0) is HcallStatus.H_SUCCESS
    subject.set("x-hpt-prepare-delay", 0)
    result = subject.call(PREPARE, 0, NEXT_WITHOUT_DIMM)
    while isinstance(result, HcallStatus) and result.long_busy:
        result = subject.call(PREPARE, 0, NEXT_WITHOUT_DIMM)
    assert subject.call(COMMIT, 0, NEXT_WITHOUT_DIMM) is HcallStatus.H_SUCCESS
    assert subject.entry() == ENTRY


Restart = Callable[[Subject], None]


def system_reset(subject: Subject) -> None:
    subject.guest.qmp("system_reset")


def reboot(subject: Subject) -> None:
    subject.put_rtas(SYSTEM_REBOOT)
    subject.guest.send_hcall(H_RTAS, RTAS_BUFFER)


@each_mode
@each_state
@pytest.mark.parametrize("restart", [system_reset, reboot])
def test_it_starts_anew(subject: Subject, state: State, restart: Restart) -> None:
    """Default size, nothing prepared; and again and again, for what would add up."""
    subject.bring("ready")
    subject.ends_as("ready")
    restart(subject)
    subject.guest.wait_restart()
    sizes = []
    for _ in range(5):
        subject.bring(state)
        restart(subject)
        subject.guest.wait_restart()
        told = subject.guest.qmp("query-hpt")
        assert (told["order"], told["state"]) == (START, "idle")
        assert subject.guest.hcall(H_READ, 0, 5 * 8).values[:2] == (0, 0)
        assert subject.call(COMMIT, 0, NEXT) is HcallStatus.H_CLOSED
        sizes.append(subject.threads_and_size())
    # A table may still be waiting for its thread: one, not three.
    threads, size = sizes[1]
    subject.wait_threads_and_size(threads, size + (3 << START - 11))


@each_mode
@each_state
def test_the_allocation_fails(subject: Subject, state: State) -> None:
    """Another size that cannot be had ends what there is, and is told once."""
    threads, _ = subject.threads_and_size()
    subject.bring(state)
    subject.set("x-hpt-prepare-delay", 0)
    subject.set("x-hpt-fail-alloc", True)
    assert subject.prepare(START - 1) is HcallStatus.H_RESOURCE
    subject.wait_threads_and_size(threads, sys.maxsize)
    subject.is_in("failed")
    subject.ends_as("failed")
    assert subject.call(COMMIT, 0, START - 1) is HcallStatus.H_CLOSED
    subject.bring("ready")
    subject.ends_as("ready")


@each_mode
@each_state
@pytest.mark.parametrize("how", ["quit", "power-off"])
def test_it_ends(subject: Subject, state: State, how: str) -> None:
    subject.bring(state)
    if how == "quit":
        with contextlib.suppress(Exception):
            subject.guest.qmp("quit")
    else:
        subject.put_rtas(POWER_OFF, 0, 0)
        subject.guest.send_hcall(H_RTAS, RTAS_BUFFER)
    assert subject.guest.wait_ended(20.0) == 0


def begin(machine: Machine, order: int) -> Job:
    """Have a guest resize on a host that does not get ready before it is told to."""
    machine.run("write", "/sys/kernel/mm/hpt/timeout_ms", str(NEVER_MS))
    machine.qmp("qom-set", path="/machine", property="x-hpt-prepare-delay", value=NEVER_MS)
    job = machine.start_command("resize", str(order))
    for _ in range(1000):
        host = machine.query_hpt()
        assert host is not None
        if host["state"] == "preparing":
            return job
        machine.agent.ping()
    raise AssertionError(f"the host never began to prepare: {host}")


@each_mode
def test_with_a_kernel(boot: Boot, mode: str) -> None:
    """Memory goes while a resize waits; then the guest reboots; then it powers off.

    No CPU: mainline QEMU 10.0 under TCG dies, one time in three, when a core goes that has
    run ("free(): corrupted unsorted chunks"), whether the guest ever resized or not.
    """
    machine = boot(
        memory="1G", maxmem="64G", cpus=2, machine_options=(f"hpt-resize-mode={mode}",),
        extra_args=BESIDE[:2],
    )  # fmt: skip
    assert machine.order_guest() == machine.order_host() == 23
    machine.run("write", "/sys/kernel/mm/hpt/auto", "0")
    machine.plug_memory("dimm0", 1 << 30)
    load = MemoryLoad(machine, megabytes=64, threads=2)
    job = begin(machine, 24)
    machine.unplug_memory("dimm0")
    host = machine.query_hpt()
    assert host is not None
    assert (host["state"], host["order"], machine.order_guest()) == ("preparing", 23, 23)
    machine.qmp("qom-set", path="/machine", property="x-hpt-prepare-delay", value=0)
    assert "errno=0" in job.wait(30).text
    assert machine.order_guest() == machine.order_host() == 24
    load.wait_passes(2)
    load.finish()
    assert load.wrong == 0

    begin(machine, 22)
    machine.start_command("write", "/proc/sysrq-trigger", "b")
    machine.agent.wait_ready(60, boots=2)
    host = machine.query_hpt()
    assert host is not None
    assert (host["state"], host["order"], machine.order_guest()) == ("idle", 23, 23)
    # `boot` asks it to power off in this state, and looks how QEMU ends.
    begin(machine, 22)
