# SPDX-License-Identifier: GPL-2.0-or-later
"""Every way to configure the kernel, on every CPU, in both modes of the host.

Not each with each: between them the cells have all pairs of CPU and mode, each
flavour of the kernel in both modes, and both firmwares.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from hptresize.build.builder import TESTED_FLAVOURS
from hptresize.build.flavours import FLAVOURS, PLAIN
from hptresize.machine import Machine, MachineConfig, elf
from hptresize.machine.load import MemoryLoad
from hptresize.machine.settings import Firmware, parse_size
from hptresize.pytest_plugin import Boot, built

pytestmark = pytest.mark.boot

GB = 1 << 30
HOOK = "/sys/kernel/mm/hpt/order"


@dataclasses.dataclass(frozen=True)
class Cell:
    """A kernel, a CPU and a host."""

    flavour: str
    cpu: str
    mode: str
    firmware: Firmware = "vof"
    append: str = ""

    def __str__(self) -> str:
        word = self.append.partition("=")[0].replace(".", "_")
        return "-".join(filter(None, (self.flavour, self.cpu, self.mode, self.firmware, word)))

    @property
    def hotplug(self) -> bool:
        """Whether its kernel can be given memory."""
        return "# CONFIG_MEMORY_HOTPLUG is not set" not in FLAVOURS[self.flavour].lines

    @property
    def small_pages(self) -> bool:
        """Whether it has 4K pages, and the linear mapping as well."""
        return "CONFIG_PPC_4K_PAGES=y" in FLAVOURS[self.flavour].lines

    def start(self, boot: Boot, config: MachineConfig, **changes: object) -> Machine:
        """Boot it."""
        kernel = config.kernel if self.flavour == PLAIN else built(f"kernel-{self.flavour}")
        big = FLAVOURS[self.flavour].endian == "be"
        image = built("image-be") if big else config.initrd
        return boot(
            kernel=kernel, initrd=image, cpu=self.cpu, firmware=self.firmware, cpus=2,
            machine_options=(f"hpt-resize-mode={self.mode}",), maxmem="16G",
            # Nothing that cannot be moved out again gets into what is plugged.
            append=f"memhp_default_state=online_movable {self.append}", **changes,
        )  # fmt: skip


HASH = (
    Cell("le-64k-debug", "POWER8", "mirror"),
    Cell("le-64k-debug", "POWER10", "rehash", append="debug_pagealloc=on"),
    Cell("le-4k-kfence", "POWER9", "mirror", append="debug_pagealloc=on"),
    Cell("le-4k-kfence", "POWER8", "rehash", append="kfence.sample_interval=5"),
    Cell("be-64k", "POWER10", "mirror"),
    Cell("be-64k", "POWER9", "rehash", firmware="slof"),
    Cell("be-4k-nohotplug", "POWER8", "mirror"),
    Cell("be-4k-nohotplug", "POWER9", "rehash"),
)
RADIX = (Cell(PLAIN, "POWER9", "mirror"), Cell("be-64k", "POWER10", "rehash"))


def test_the_cells_leave_nothing_out() -> None:
    cells = {(cell.flavour, cell.mode) for cell in HASH}
    assert cells == {(name, mode) for name in TESTED_FLAVOURS for mode in ("mirror", "rehash")}
    assert len({(cell.cpu, cell.mode) for cell in HASH}) == 3 * 2
    assert {cell.firmware for cell in HASH} == {"vof", "slof"}


def agree(machine: Machine, order: int) -> None:
    """All that can name the size of the table names this one."""
    assert machine.order_guest() == machine.order_host() == order
    assert machine.memory_symbol("ppc64_pft_size") == order
    assert machine.memory_symbol("htab_hash_mask") == (1 << (order - 7)) - 1


@pytest.mark.parametrize("cell", HASH, ids=str)
def test_resize_refuse_and_hotplug(
    boot: Boot, hpt_config: MachineConfig, cell: Cell, tmp_path: Path
) -> None:
    """Memory is under check all the time."""
    # A table of RAM / 128 has two slots for each 4K page, and that of order 18 one for each of
    # 64K: the linear mapping fits, and nothing else would.
    memory, start, smallest, full = ("512M", 22, 22, 21) if cell.small_pages else ("1G", 23, 20, 18)
    machine = cell.start(boot, hpt_config, memory=memory)
    agree(machine, start)
    load = MemoryLoad(machine, megabytes=48, threads=2)
    for order in (start + 1, smallest, start + 1, start):
        machine.resize(order)
        agree(machine, order)
        load.wait_passes(1)
    for wrong, errno in (("17", "EINVAL"), (start + 2, "EPERM"), (full, "ENOSPC")):
        assert machine.try_resize(wrong).errno_name == errno
        agree(machine, start)
    if cell.hotplug:
        plug_and_unplug(machine, cell)
    load.wait_passes(1)
    load.finish()
    assert load.wrong == 0
    check_linear_map(machine, tmp_path / "slots")


def check_linear_map(machine: Machine, file: Path) -> None:
    """What debug_pagealloc and KFENCE took away is not there, and all else is: as QEMU walks."""
    if not elf.has_symbol(machine.config.kernel, "linear_map_hash_lock"):
        return
    machine.qmp("stop")
    pages = machine.memory_symbol("linear_map_hash_count")
    if pages:
        where = machine.memory_symbol("linear_map_hash_slots") - elf.PAGE_OFFSET
        machine.qmp("pmemsave", val=where, size=pages, filename=str(file))
        slots = file.read_bytes()
        size = (parse_size(machine.config.memory) << 20) // pages
        taken = [page for page in range(pages) if not slots[page] & 0x80]
        there = [page for page in range(pages) if slots[page] & 0x80]
        assert taken
        for page in (*spread(taken), *spread(there)):
            said = machine.monitor(f"x /1xb {elf.PAGE_OFFSET + page * size:#x}")
            assert ("Cannot access" in said) == (not slots[page] & 0x80), f"page {page}: {said}"
    machine.qmp("cont")


def spread(pages: list[int], number: int = 500) -> list[int]:
    """So many of them, or all."""
    return pages[:: max(1, len(pages) // number)]


def plug_and_unplug(machine: Machine, cell: Cell) -> None:
    """The table follows the memory, by the kernel's rule: 1/64 of it with 4K pages, or 1/1024.

    It shrinks to what would do for a quarter more than there is, or to what the host allows.
    """
    if cell.small_pages:
        large, left = 25, 23
    else:
        machine.resize(20)
        large, left = 21, 21
    machine.plug_memory("dimm0", GB)
    agree(machine, large)
    machine.unplug_memory("dimm0")
    if left != large:
        shrunk = f"HPT resized from order {large} to {left}"
        machine.agent.watch.wait(lambda: shrunk in machine.console.text, 30, shrunk)
    agree(machine, left)


@pytest.mark.parametrize("cell", RADIX, ids=str)
def test_radix_has_no_hook(boot: Boot, hpt_config: MachineConfig, cell: Cell) -> None:
    """Nothing to resize, nothing broken: memory comes and goes all the same."""
    machine = cell.start(boot, hpt_config, memory="512M", radix=True)
    assert "MMU\t\t: Radix" in machine.run("cat", "/proc/cpuinfo").text
    assert machine.agent.run(["cat", HOOK]).status == 2
    load = MemoryLoad(machine, megabytes=48, threads=2)
    machine.plug_memory("dimm0", GB)
    load.wait_passes(1)
    machine.unplug_memory("dimm0")
    load.finish()
    assert load.wrong == 0
    assert "HPT" not in machine.console.text
