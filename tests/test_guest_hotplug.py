# SPDX-License-Identifier: GPL-2.0-or-later
"""The table follows the memory: once for each operation, and never in its way."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable

import pytest

from hptresize.build.flavours import PLAIN
from hptresize.machine import Machine, MachineConfig
from hptresize.machine.agent import Job
from hptresize.machine.load import MemoryLoad
from hptresize.machine.memory import MEMORY
from hptresize.pytest_plugin import Boot, built
from test_guest_flags import moves_bolted

pytestmark = pytest.mark.boot

# 1 GB: QEMU starts with RAM / 128. 9 GB: a kernel with 64K pages wants RAM / 1024.
START, WITH_DIMM = 23, 24
# And for 1 GB and a quarter of it. Its bolted entries need more, where they keep their slots.
LEFT, LEFT_UNMOVED = 21, 22
DIMM = 8 << 30
AUTO = "/sys/kernel/mm/hpt/auto"
STATE = "/sys/kernel/mm/hpt/state"
RESIZED = re.compile(r"HPT resized from order (\d+) to (\d+)")


@pytest.fixture(autouse=True)
def follows_memory(needs_symbol: Callable[[str], None]) -> None:
    needs_symbol("hpt_memory_begin")


def resizes(machine: Machine) -> list[tuple[int, int]]:
    """What the guest's log tells of resizes that succeeded."""
    return [(int(old), int(new)) for old, new in RESIZED.findall(machine.console.text)]


def wait_for_order(machine: Machine, order: int) -> None:
    """Wait until the guest's log says that its table has this order."""
    machine.agent.watch.wait(
        lambda: [new for _, new in resizes(machine)][-1:] == [order],
        30,
        f"a table of order {order}",
    )


def test_one_resize_up_and_one_down(boot: Boot) -> None:
    """An 8 GB DIMM is 32 blocks; what is logged before each is what counts."""
    machine = boot(memory="1G", cpus=2, maxmem="64G")
    assert machine.order_guest() == START
    machine.plug_memory("dimm0", DIMM)
    assert resizes(machine) == [(START, WITH_DIMM)]
    assert machine.order_guest() == machine.order_host() == WITH_DIMM
    # The table was there first.
    text = machine.console.text
    assert text.index("HPT resized") < text.index(") was hot-added")
    machine.unplug_memory("dimm0")
    left = LEFT if moves_bolted(machine) else LEFT_UNMOVED
    wait_for_order(machine, left)
    assert resizes(machine) == [(START, WITH_DIMM), (WITH_DIMM, left)]
    assert machine.order_guest() == machine.order_host() == left


def test_a_host_that_moves_nothing(boot: Boot) -> None:
    """Stock QEMU says ENOSPC to one size, and takes the next larger one."""
    machine = boot(qemu=built("qemu-stock"), memory="1G", cpus=2, maxmem="64G")
    machine.plug_memory("dimm0", DIMM)
    machine.unplug_memory("dimm0")
    wait_for_order(machine, LEFT_UNMOVED)
    assert resizes(machine) == [(START, WITH_DIMM), (WITH_DIMM, LEFT_UNMOVED)]


def test_much_at_once(boot: Boot) -> None:
    """Hundreds of blocks, one resize; and one when they go."""
    large_pages = ("cap-hpt-max-page-size=16777216",)
    machine = boot(memory="2G", cpus=2, maxmem="512G", machine_options=large_pages)
    size, order = (256 << 30, 29) if os.environ.get("HPTRESIZE_LONG") else (32 << 30, 26)
    machine.plug_memory("dimm0", size, timeout=120)
    assert resizes(machine) == [(24, order)]
    assert machine.order_guest() == machine.order_host() == order
    machine.unplug_memory("dimm0", timeout=120)
    wait_for_order(machine, 22)
    assert resizes(machine) == [(24, order), (order, 22)]


@pytest.mark.parametrize(
    ("request_again", "fails"), [("indexed-count 32 {index}", False), ("index {index}", True)]
)
def test_a_request_that_comes_twice(boot: Boot, request_again: str, fails: bool) -> None:
    """As when an interrupt is raised twice: what is there already needs no larger table."""
    machine = boot(memory="1G", cpus=2, maxmem="64G")
    machine.plug_memory("dimm0", DIMM)
    first = re.search(r"LMB\(s\) at index (\w+)", machine.console.text)
    assert first
    words = "memory add " + request_again.format(index="0x" + first[1])
    answer = machine.agent.run(["write", "/sys/kernel/dlpar", words])
    assert bool(answer.status) == fails
    assert machine.console.text.count("Attempting to hot-add") == 2
    assert resizes(machine) == [(START, WITH_DIMM)]
    assert machine.order_guest() == machine.order_host() == WITH_DIMM


def test_a_table_of_the_right_size_stays(boot: Boot) -> None:
    """A first DIMM shrinks nothing, though the kernel wants 1/1024 and has 1/128."""
    machine = boot(memory="1G", cpus=2, maxmem="16G")
    machine.plug_memory("dimm0", 1 << 30)
    assert resizes(machine) == []
    assert machine.order_guest() == START


@pytest.mark.parametrize("flavour", [PLAIN, "le-64k-debug"])
def test_memory_that_nobody_announced(boot: Boot, hpt_config: MachineConfig, flavour: str) -> None:
    """By add_memory() itself: the table is there first, whenever the old one is too small.

    What the kernel was told to leave alone is memory that comes to it later.
    """
    kernel = hpt_config.kernel if flavour == PLAIN else built(f"kernel-{flavour}")
    machine = boot(kernel=kernel, memory="4G", cpus=2, maxmem="8G", append="mem=512M")
    # All of it in 64K pages needs four times the slots of the smallest table.
    machine.resize(18)
    before = len(resizes(machine))
    block = int(machine.run("cat", MEMORY + "block_size_bytes").text, 16)
    for address in range(512 << 20, 4 << 30, block):
        machine.run("write", MEMORY + "probe", hex(address))
        kernels_rule = (address + block - 1).bit_length() - 10
        assert machine.order_guest() == machine.order_host() == kernels_rule
    assert resizes(machine)[before:] == [(18, 20), (20, 21), (21, 22)]


def test_unannounced_memory_when_the_host_has_none(boot: Boot) -> None:
    """The table is too small for a moment, and no longer."""
    machine = boot(memory="4G", cpus=2, maxmem="8G", append="mem=512M")
    machine.resize(18)
    machine.qmp("qom-set", path="/machine", property="x-hpt-fail-alloc", value=True)
    machine.run("write", MEMORY + "probe", hex(512 << 20))
    wait_for_order(machine, 20)
    assert machine.order_guest() == machine.order_host() == 20
    assert "hash page table stays" not in machine.console.text


def test_room_to_spare_when_the_host_has_no_memory(boot: Boot) -> None:
    """It says the same as to an order that it does not allow."""
    machine = boot(memory="1G", cpus=2, maxmem="64G")
    machine.plug_memory("dimm0", DIMM)
    machine.qmp("qom-set", path="/machine", property="x-hpt-fail-alloc", value=True)
    machine.unplug_memory("dimm0")
    left = LEFT if moves_bolted(machine) else LEFT_UNMOVED
    wait_for_order(machine, left)
    assert resizes(machine) == [(START, WITH_DIMM), (WITH_DIMM, left)]


def test_switched_off(boot: Boot) -> None:
    machine = boot(memory="1G", cpus=2, maxmem="64G")
    assert machine.run("cat", AUTO).text == "1"
    for wrong in ("2", "x"):
        assert machine.agent.run(["write", AUTO, wrong]).status
    machine.run("write", AUTO, "0")
    machine.plug_memory("dimm0", DIMM)
    assert resizes(machine) == []
    machine.run("write", AUTO, "1")
    machine.plug_memory("dimm1", DIMM)
    assert resizes(machine) == [(START, WITH_DIMM + 1)]


def test_a_resize_that_fails_is_not_in_the_way(boot: Boot) -> None:
    """Tried before and after, said once, and the memory is there."""
    machine = boot(memory="1G", cpus=2, maxmem="64G")
    machine.run("write", "/sys/kernel/mm/hpt/timeout_ms", "1")
    machine.qmp("qom-set", path="/machine", property="x-hpt-prepare-delay", value=100)
    machine.plug_memory("dimm0", DIMM)
    machine.plug_memory("dimm1", DIMM)
    failed = "HPT resize from order 23 to"
    machine.agent.watch.wait(lambda: machine.console.text.count(failed) == 4, 30, "the last try")
    assert resizes(machine) == []
    assert machine.console.text.count("hash page table stays at order 23") == 1
    assert machine.order_guest() == START


def test_a_host_that_has_no_memory_for_a_moment(boot: Boot) -> None:
    """The first try fails; when the memory is there the table grows all the same."""
    machine = boot(memory="1G", cpus=2, maxmem="64G")
    machine.qmp("qom-set", path="/machine", property="x-hpt-fail-alloc", value=True)
    machine.plug_memory("dimm0", DIMM)
    wait_for_order(machine, WITH_DIMM)
    assert machine.console.text.count("HPT resize from order 23 to 24: error") == 1
    assert resizes(machine) == [(START, WITH_DIMM)]
    assert "hash page table stays" not in machine.console.text


@pytest.mark.parametrize(
    ("order", "blocks", "expected"),
    [(START, 60, [(START, WITH_DIMM), (WITH_DIMM, START)]), (WITH_DIMM, 4, [])],
)
def test_memory_that_does_not_come(
    boot: Boot, order: int, blocks: int, expected: list[tuple[int, int]]
) -> None:
    """What was done for it is undone, and what somebody asked for is left alone."""
    machine = boot(memory="1G", cpus=2, maxmem="64G")
    if order != START:
        machine.resize(order)
    before = len(resizes(machine))
    words = f"memory add count {blocks}"
    assert machine.agent.run(["write", "/sys/kernel/dlpar", words]).status
    assert resizes(machine)[before:] == expected
    assert machine.order_guest() == machine.order_host() == order


def begin_resize(machine: Machine, order: int) -> Job:
    """A resize by hand that waits for the hypervisor, for a second."""
    machine.qmp("qom-set", path="/machine", property="x-hpt-prepare-delay", value=1000)
    state = machine.start_command("pollfile", STATE)
    assert state.line(10) == "idle"
    job = machine.start_command("resize", str(order))
    assert state.line(10) == "preparing"
    state.kill(signal.SIGKILL)
    return job


@pytest.mark.parametrize("comes", [True, False], ids=["comes", "does not come"])
@pytest.mark.parametrize("order", [START + 1, 27])
def test_memory_during_a_resize_by_hand(boot: Boot, order: int, comes: bool) -> None:
    """What somebody is making is large enough, and not the kernel's to undo."""
    machine = boot(memory="1G", cpus=2, maxmem="64G")
    if order > START + 1:  # not allowed before
        machine.plug_memory("dimm0", DIMM)
    before = len(resizes(machine))
    old = machine.order_guest()
    job = begin_resize(machine, order)
    if comes:
        machine.plug_memory("dimm1", DIMM)
    else:
        assert machine.agent.run(["write", "/sys/kernel/dlpar", "memory add count 60"]).status
    assert "errno=0" in job.wait(10).text
    assert resizes(machine)[before:] == [(old, order)]
    assert machine.order_guest() == machine.order_host() == order
    assert machine.hpt("failures") == "0"


def test_memory_comes_and_goes_during_resizes(boot: Boot) -> None:
    """Somebody resizes all the time, and so does the kernel."""
    machine = boot(memory="1G", cpus=2, maxmem="4G", append="memhp_default_state=online_movable")
    load = MemoryLoad(machine, megabytes=32, threads=2)
    order = "/sys/kernel/mm/hpt/order"
    work = f"while :; do echo 24 > {order}; echo 23 > {order}; done"
    job = machine.start_command("sh", "-c", work)
    for _ in range(2):
        machine.plug_memory("dimm0", 1 << 30)
        machine.unplug_memory("dimm0")
        machine.wait_event("DEVICE_DELETED", device="dimm0")
        machine.qmp("object-del", id="dimm0-ram")
    job.kill()
    job.wait(10)
    load.wait_passes(1)
    load.finish()
    assert load.wrong == 0
    assert machine.order_guest() == machine.order_host()
