# SPDX-License-Identifier: GPL-2.0-or-later
"""The command `hptresize boot`, and the options of a machine."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import click

from hptresize.base.errors import MachineError, UsageError
from hptresize.build.builder import Builder
from hptresize.cli.options import ERR, F, Settings, source_options, variant_option
from hptresize.machine import MachineConfig, interactive
from hptresize.series.home import Variant


def machine_options(command: F) -> F:
    """Add the options that say which guest is booted."""
    for decorate in (
        click.option("--kernel", type=click.Path(path_type=Path), metavar="VMLINUX",
                     help="Boot this kernel instead of building one."),
        click.option("--qemu", type=click.Path(path_type=Path), metavar="PROGRAM",
                     help="Run this qemu-system-ppc64 instead of building one."),
        click.option("--initrd", type=click.Path(path_type=Path), metavar="FILE",
                     help="Use this image instead of building one."),
        click.option("--memory", default="2G", show_default=True, help="The guest's memory."),
        click.option("--cpus", type=click.IntRange(1, 1024), default=2, show_default=True,
                     help="The guest's processors."),
        click.option("--cpu", default="POWER8", show_default=True, help="Their kind."),
    ):  # fmt: skip
        command = decorate(command)
    return command


@dataclasses.dataclass(frozen=True)
class GivenParts:
    """Parts of a guest that the user brings along."""

    kernel: Path | None
    qemu: Path | None
    initrd: Path | None
    memory: str
    cpus: int
    cpu: str

    def machine(self, builder: Builder, variant: Variant) -> MachineConfig:
        """Return the machine: what was given, the rest built."""
        own = (self.kernel, self.qemu, self.initrd)
        for name, part in zip(("kernel", "qemu", "initrd"), own, strict=True):
            if part is not None and not part.is_file():
                raise UsageError(f"--{name} {part}: no such file")
        made = MachineConfig(
            kernel=self.kernel or builder.kernel(variant).vmlinux,
            qemu=self.qemu or builder.qemu(variant).binary,
            initrd=self.initrd or builder.image(),
            memory=self.memory, cpus=self.cpus, cpu=self.cpu,
            resize_hpt=None if variant == "baseline" and self.qemu is None else "enabled",
        )  # fmt: skip
        made.validate()
        return made


@click.command()
@machine_options
@variant_option
@source_options
@click.option("--append", default="", help="Further words for the kernel's command line.")
@click.pass_obj
def boot(
    settings: Settings,
    /,
    *,
    variant: Variant,
    kernel_source: str | None,
    qemu_source: str | None,
    append: str,
    **given: Any,
) -> None:
    """Boot a guest with a shell on this terminal."""
    builder = Builder(settings.cache, kernel_source, qemu_source, settings.jobs)
    machine = GivenParts(**given).machine(builder, variant).but(append=append)
    ERR.print(
        "The guest's shell follows. Try: cat /sys/kernel/mm/hpt/order; "
        "echo 25 > /sys/kernel/mm/hpt/order\n"
        "`poweroff` ends it, Ctrl-A X ends QEMU, Ctrl-A C is QEMU's monitor (info hpt).",
        highlight=False,
    )
    status = interactive(machine)
    if status:
        raise MachineError(f"QEMU ended with status {status}")
