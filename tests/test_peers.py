# SPDX-License-Identifier: GPL-2.0-or-later
"""Before and after, and strangers: both series with what knows nothing of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from hptresize.base.errors import MachineError
from hptresize.machine import Machine, elf
from hptresize.machine.load import MemoryLoad
from hptresize.pytest_plugin import Boot, built

pytestmark = pytest.mark.boot

FUNCTIONS = "/proc/device-tree/rtas/ibm,hypertas-functions"


def offered(machine: Machine) -> bool:
    return b"hcall-hpt-resize" in machine.run("cat", FUNCTIONS).stdout.split(b"\0")


def resizes_intact(machine: Machine, orders: tuple[int, ...]) -> None:
    load = MemoryLoad(machine, megabytes=32, threads=2)
    for order in orders:
        result = machine.resize(order)
        assert result.agreed
        load.wait_passes(1)
        assert load.wrong == 0
    load.finish()
    assert load.wrong == 0


def test_before(boot: Boot) -> None:
    """Neither side has it: no string, no hook, no symbol."""
    kernel = built("kernel-baseline")
    machine = boot(kernel=kernel, qemu=built("qemu-baseline"), resize_hpt=None)
    assert not offered(machine)
    with pytest.raises(MachineError, match="no hook"):
        machine.order_guest()
    assert not elf.has_symbol(kernel, "pseries_lpar_resize_hpt")
    assert machine.query_hpt() is None


def test_guest_without_it_on_our_host(boot: Boot) -> None:
    machine = boot(kernel=built("kernel-baseline"))
    assert offered(machine)
    assert machine.order_host() == machine.memory_symbol("ppc64_pft_size")


def test_our_guest_on_a_host_without_it(boot: Boot) -> None:
    machine = boot(qemu=built("qemu-baseline"), resize_hpt=None)
    assert not offered(machine)
    assert machine.agent.run(["cat", "/sys/kernel/mm/hpt/order"]).status == 2


def test_after(boot: Boot, hpt_kernel: Path) -> None:
    machine = boot()
    assert offered(machine)
    assert elf.has_symbol(hpt_kernel, "pseries_lpar_resize_hpt")
    assert machine.order_guest() == machine.order_host()


@pytest.mark.parametrize("kernel", ["kernel-stock", "kernel-debian"])
def test_stock_guest_on_our_host(boot: Boot, kernel: str) -> None:
    machine = boot(kernel=built(kernel), memory="1G")
    assert machine.agent.run(["cat", "/sys/kernel/mm/hpt/order"]).status == 2
    resizes_intact(machine, (24, 23, 22, 24))


@pytest.mark.parametrize("cpu", ["POWER8", "POWER9", "POWER10"])
def test_on_every_processor(boot: Boot, cpu: str) -> None:
    machine = boot(cpu=cpu, memory="1G")
    resizes_intact(machine, (24, 22))


def test_with_the_firmware_of_real_machines(boot: Boot) -> None:
    machine = boot(firmware="slof", memory="1G", start_timeout=240)
    resizes_intact(machine, (24, 22))
