# SPDX-License-Identifier: GPL-2.0-or-later
"""What a machine is made of, and QEMU's command line for it."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Self

from hptresize.base.errors import UsageError
from hptresize.machine import elf

Firmware = Literal["vof", "slof"]

# Debian's qemu-system-data; a QEMU built from sources without blobs has none.
SYSTEM_FIRMWARE = Path("/usr/share/qemu")
_FIRMWARE_FILES = {"vof": "vof.bin", "slof": "slof.bin"}

# TCG has none of these mitigations and says so on each start unless told.
TCG_CAPABILITIES = (
    "cap-cfpc=broken",
    "cap-sbbc=broken",
    "cap-ibs=broken",
    "cap-ccf-assist=off",
)
RADIX_CPUS = ("POWER9", "POWER10", "POWER11")

_SIZE = re.compile(r"(\d+)([MGT])")
_UNIT = {"M": 1, "G": 1024, "T": 1024 * 1024}


def parse_size(text: str) -> int:
    """Megabytes of a size such as "512M", "2G" or "1T".

    :raises UsageError: it is none.
    """
    match = _SIZE.fullmatch(text.upper())
    if match is None or not int(match[1]):
        raise UsageError(f"{text!r} is not a size of memory", hint='say "512M" or "2G"')
    return int(match[1]) * _UNIT[match[2]]


@dataclass(frozen=True)
class MachineConfig:
    """A guest to be run.

    :param qemu: qemu-system-ppc64.
    :param kernel: its vmlinux.
    :param initrd: made by :func:`hptresize.build.image.build_initramfs`, or None.
    :param memory: at start, such as "2G".
    :param maxmem: up to which it can be added; None: no memory hotplug.
    :param cpus: number of virtual CPUs.
    :param cpu: QEMU's name of the processor; with one that could do radix the
        kernel is told not to, for there would be no hash table.
    :param radix: let such a processor do radix, which leaves the guest without a table.
    :param firmware: "vof" starts in a moment, "slof" is what hardware-like
        machines have.
    :param resize_hpt: value of the machine option of that name, or None for a
        QEMU that has no such option.
    :param accel: "tcg", or "kvm" where QEMU itself runs on POWER (see hptresize.machine.kvmhv).
    :param machine_options: further ones, such as "ic-mode=xics".
    :param append: further words for the kernel's command line.
    :param firmware_dir: where QEMU finds its firmware; None: QEMU's own or the system's.
    :param incoming: wait for a guest to be migrated in (see Machine.migrate_to).
    :param extra_args: further arguments for QEMU.
    :param environment: of the QEMU process, on top of ours: pairs of name and value.
    :param run_dir: gets console.log, qemu.log and qmp.log; None: nothing is written.
    """

    qemu: Path
    kernel: Path
    initrd: Path | None
    memory: str = "2G"
    maxmem: str | None = None
    cpus: int = 2
    cpu: str = "POWER8"
    radix: bool = False
    firmware: Firmware = "vof"
    resize_hpt: str | None = "enabled"
    accel: Literal["tcg", "kvm"] = "tcg"
    machine_options: tuple[str, ...] = ()
    append: str = ""
    firmware_dir: Path | None = None
    incoming: bool = False
    extra_args: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    run_dir: Path | None = None

    def but(self, **changes: object) -> Self:
        """The same machine with some fields changed."""
        return replace(self, **changes)  # type: ignore[arg-type]

    def validate(self) -> None:
        """Check what can be checked without starting QEMU.

        :raises UsageError: a file is missing or of the wrong kind, a number makes no sense.
        """
        if not (self.qemu.is_file() and os.access(self.qemu, os.X_OK)):
            raise UsageError(f"QEMU {self.qemu} is not a program", hint="see --qemu")
        elf.check_kernel(self.kernel)
        if self.initrd is not None and not self.initrd.is_file():
            raise UsageError(f"initrd {self.initrd} is not there", hint="see --initrd")
        if not 1 <= self.cpus <= 1024:
            raise UsageError(f"{self.cpus} is not a number of CPUs")
        memory = parse_size(self.memory)
        if self.maxmem is not None and parse_size(self.maxmem) < memory:
            raise UsageError(f"maxmem {self.maxmem} is less than the memory, {self.memory}")
        if self.firmware not in _FIRMWARE_FILES:
            raise UsageError(f"{self.firmware!r} is not a firmware", hint='say "vof" or "slof"')

    def command(self, *, console: str, channel: str | None, monitor: str | None) -> list[str]:
        """QEMU's command line.

        :param console: its chardev for the console, without the id.
        :param channel: likewise for the command channel; None: an interactive guest.
        :param monitor: likewise for QMP; None: no QMP.
        """
        # The console has the lowest address, which makes it hvc0.
        argv = [str(self.qemu.absolute()), *self._hardware()]
        argv += ["-chardev", f"{console},id=console"]
        argv += ["-device", "spapr-vty,chardev=console,reg=0x30000000"]
        if channel is not None:
            argv += ["-chardev", f"{channel},id=channel"]
            argv += ["-device", "spapr-vty,chardev=channel,reg=0x30001000"]
        if monitor is not None:
            argv += ["-chardev", f"{monitor},id=monitor", "-mon", "chardev=monitor,mode=control"]
        argv += ["-kernel", str(self.kernel)]
        argv += [] if self.initrd is None else ["-initrd", str(self.initrd)]
        argv += ["-incoming", "defer"] if self.incoming else []
        return [*argv, "-append", self._append(), *self.extra_args]

    def _hardware(self) -> list[str]:
        machine = ["pseries", f"accel={self.accel}", "memory-backend=ram0", *TCG_CAPABILITIES]
        if self.firmware == "vof":
            machine.append("x-vof=on")
        if self.resize_hpt is not None:
            machine.append(f"resize-hpt={self.resize_hpt}")
        machine += self.machine_options
        memory = f"{parse_size(self.memory)}M"
        size = [memory] if self.maxmem is None else [memory, "slots=32", f"maxmem={self.maxmem}"]
        # reserve=off: a guest of 128 GB touches little of it and runs on a small host.
        ram = f"memory-backend-ram,id=ram0,size={memory},reserve=off"
        argv = ["-nodefaults", "-no-user-config", "-display", "none", "-vga", "none", "-no-reboot"]
        argv += ["-machine", ",".join(machine), "-cpu", self.cpu, "-smp", str(self.cpus)]
        argv += ["-object", ram, "-m", ",".join(size)]
        directory = self._firmware_directory()
        return argv if directory is None else [*argv, "-L", str(directory)]

    def _firmware_directory(self) -> Path | None:
        wanted = _FIRMWARE_FILES[self.firmware]
        if self.firmware_dir is not None:
            if not (self.firmware_dir / wanted).is_file():
                raise UsageError(f"no {wanted} in {self.firmware_dir}")
            return self.firmware_dir
        return SYSTEM_FIRMWARE if (SYSTEM_FIRMWARE / wanted).is_file() else None

    def _append(self) -> str:
        # An oops leaves a kernel that cannot be trusted; make it one clear end.
        words = ["console=hvc0", "oops=panic", "panic=-1"]
        if self.cpu.upper().startswith(RADIX_CPUS) and not self.radix:
            words.append("disable_radix")
        return " ".join([*words, self.append]).strip()
