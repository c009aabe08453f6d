# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest's memory: DIMMs that come and go, and what is in it."""

from __future__ import annotations

import re
from collections.abc import Callable

from hptresize.base.errors import (
    MachineError,
    UsageError,
)
from hptresize.machine import elf
from hptresize.machine.running import RunningGuest

MEMORY = "/sys/devices/system/memory/"

_XP_BYTES = re.compile(r"0x([0-9a-f]{2})\b")


class GuestMemory(RunningGuest):
    """A guest whose memory can be changed and read from outside."""

    def plug_memory(self, name: str, size: int, *, timeout: float = 60.0) -> None:
        """Add a DIMM and wait until the guest has added all of it.

        :param name: not used by another one.
        :param size: bytes, a multiple of the guest's blocks of memory.
        :param timeout: seconds.
        :raises QmpError: QEMU refused it, for the machine has no ``maxmem``, say.
        :raises GuestHung, GuestPanicked, QemuDied: the guest did not get so far.
        """
        done = self._blocks_later("added", size)
        self.qmp(
            "object-add", qom_type="memory-backend-ram", id=f"{name}-ram", size=size, reserve=False
        )
        self.qmp("device_add", driver="pc-dimm", id=name, memdev=f"{name}-ram")
        done(timeout)

    def unplug_memory(self, name: str, *, timeout: float = 60.0) -> None:
        """Take a DIMM away and wait until the guest has let all of it go.

        :param timeout: seconds.
        :raises QmpError: there is no such DIMM.
        :raises GuestHung, GuestPanicked, QemuDied: the guest did not get so far.
        """
        size = self.qmp("qom-get", path=f"/machine/peripheral/{name}", property="size")
        done = self._blocks_later("removed", size)
        self.qmp("device_del", id=name)
        done(timeout)

    def _blocks_later(self, what: str, size: int) -> Callable[[float], None]:
        """A wait for the kernel to say of each block that it was hot-added or hot-removed."""
        start = len(self.console.text)
        blocks = size // int(self.run("cat", MEMORY + "block_size_bytes").text, 16)

        def wait(timeout: float) -> None:
            said = f") was hot-{what}"
            self._watch.wait(
                lambda: self.console.text.count(said, start) >= blocks,
                timeout,
                f"{blocks} blocks of memory to be {what}",
            )

        return wait

    def read_memory(self, physical: int, size: int) -> bytes:
        """Bytes of the guest's physical memory, as QEMU has them.

        :param physical: address; ``size`` in bytes.
        """
        # Bytes, because wider units come in the machine's byte order, not the guest's.
        text = self.monitor(f"xp /{size}xb {physical:#x}")
        found = [int(byte, 16) for line in text.splitlines() for byte in _bytes_of(line)]
        if len(found) != size:
            raise MachineError(f"QEMU said {text.strip()!r} for memory at {physical:#x}")
        return bytes(found)

    def memory_symbol(self, name: str) -> int:
        """The value of one of the kernel's variables, out of guest memory.

        :raises UsageError: the kernel file has no such symbol, or not in a size
            that a number has.
        :raises MachineError: the kernel does not run where it was linked.
        """
        kernel = elf.read_kernel(self.config.kernel)
        symbol = kernel.symbol(name)
        if symbol.size not in (1, 2, 4, 8):
            raise UsageError(f"{name} has {symbol.size} bytes, it is not a number")
        self._check_link_address(kernel)
        return int.from_bytes(self.read_memory(symbol.physical, symbol.size), kernel.byteorder)

    def _check_link_address(self, kernel: elf.KernelElf) -> None:
        """A relocatable kernel could run elsewhere; its banner tells."""
        banner = kernel.symbol("linux_banner")
        if not self.read_memory(banner.physical, 14) == b"Linux version ":
            raise MachineError(
                f"{kernel.path} is not what runs at its link address",
                hint="another kernel, or a relocated one",
            )


def _bytes_of(line: str) -> list[str]:
    """The bytes in a line of the monitor's xp, which begins with an address."""
    return _XP_BYTES.findall(line.partition(":")[2])
