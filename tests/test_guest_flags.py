# SPDX-License-Identifier: GPL-2.0-or-later
"""What guest and host agree on besides the size: flags, and what CAS says."""

from __future__ import annotations

import itertools
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from hptresize.machine import Machine
from hptresize.machine.load import MemoryLoad
from hptresize.pytest_plugin import Boot, built, missing

pytestmark = pytest.mark.boot

# 1 GB in 64K pages is 16384 bolted entries: half of the slots of order 19.
START, SMALLEST = 23, 19
# What 64 GB need by the host's rule.
LARGEST = 29
TRACING = "/sys/kernel/debug/tracing/"


@pytest.fixture(autouse=True)
def with_the_flag(needs_symbol: Callable[[str], None]) -> None:
    needs_symbol("hash__bolted_slots_moved")


def moves_bolted(machine: Machine) -> bool:
    """Whether the host offers to move bolted entries to other slots of their groups."""
    functions = machine.run("cat", "/proc/device-tree/rtas/ibm,hypertas-functions").stdout
    return b"hcall-hpt-move-bolted" in functions.split(b"\0")


@pytest.mark.parametrize("mode", ["mirror", "rehash"])
def test_bolted_entries_may_move(boot: Boot, mode: str) -> None:
    """With the flag a table shrinks to where mainline says ENOSPC, and grows again."""
    machine = boot(memory="1G", cpus=2, machine_options=(f"hpt-resize-mode={mode}",))
    load = MemoryLoad(machine, megabytes=32, threads=2)
    for order in (22, 21, 20, SMALLEST, 24, SMALLEST, START):
        assert machine.resize(order).agreed
        load.wait_passes(1)
    load.finish()
    assert load.wrong == 0


def flags_passed(machine: Machine, *orders: int) -> list[int]:
    """Resize, and return the flags of the hypercalls, each time they change."""
    machine.run("write", TRACING + "events/hpt/enable", "1")
    for order in orders:
        machine.try_resize(order)
    found = re.findall(r"flags=(0x\w+)", machine.run("cat", TRACING + "trace").text)
    return [int(flag, 16) for flag, _ in itertools.groupby(found)]


def test_the_flag_is_for_shrinking(boot: Boot) -> None:
    machine = boot(memory="1G", cpus=2)
    assert moves_bolted(machine)
    assert flags_passed(machine, 24, 22, 23, 21) == [0, 1, 0, 1]


def test_growing_leaves_the_slots_known(boot: Boot) -> None:
    """What debug_pagealloc and KFENCE noted down is good until the first shrink."""
    kernel = built("kernel-le-64k-debug")
    machine = boot(kernel=kernel, memory="1G", cpus=2, append="debug_pagealloc=on")
    for order, moved in (24, 0), (23, 1):
        machine.resize(order)
        assert machine.memory_symbol("linear_map_hash_moved") == moved


def test_a_hypervisor_that_does_not_offer_the_flag(boot: Boot) -> None:
    """It is not tried on stock QEMU."""
    stock = shutil.which("qemu-system-ppc64")
    if stock is None:
        missing("no qemu-system-ppc64 is installed")
    machine = boot(qemu=Path(stock), memory="1G", cpus=2)
    assert flags_passed(machine, 22, SMALLEST, 24) == [0]
    assert machine.order_guest() == 24


@pytest.mark.parametrize("firmware", ["vof", "slof"])
def test_cas_makes_the_first_table_small(
    boot: Boot, needs_symbol: Callable[[str], None], firmware: str
) -> None:
    """The guest says that it resizes; the host goes by the memory there is now."""
    needs_symbol("hpt_memory_begin")
    machine = boot(memory="1G", cpus=1, maxmem="64G", firmware=firmware)
    assert machine.order_guest() == machine.order_host() == START


@pytest.mark.parametrize("firmware", ["vof", "slof"])
def test_without_the_bit_there_is_room_for_all(boot: Boot, firmware: str) -> None:
    """The command line keeps the guest from saying it, and from following its memory."""
    machine = boot(memory="1G", cpus=1, maxmem="64G", firmware=firmware, append="hpt_resize=off")
    assert machine.order_guest() == machine.order_host() == LARGEST
    assert machine.hpt("auto") == "0"


def test_a_kernel_that_knows_no_bit(boot: Boot) -> None:
    machine = boot(kernel=built("kernel-baseline"), memory="1G", cpus=1, maxmem="64G")
    assert machine.order_host() == LARGEST
