# SPDX-License-Identifier: GPL-2.0-or-later
"""The command `hptresize demo`."""

from __future__ import annotations

import contextlib
import functools
import time
from pathlib import Path
from typing import Any

import click

from hptresize.base import progress
from hptresize.base.errors import MachineError
from hptresize.build.builder import Builder
from hptresize.cli.boot import GivenParts, machine_options
from hptresize.cli.options import OUT, Settings, source_options
from hptresize.machine import MachineConfig
from hptresize.machine.kvmhv import HostConfig, KvmHvGuest, KvmHvHost
from hptresize.machine.settings import parse_size
from hptresize.run import demo


@click.command("demo")
@machine_options
@source_options
@click.option("--mb", type=click.IntRange(1), default=128, show_default=True,
              help="Megabytes of the guest's memory under check.")  # fmt: skip
@click.option("--report", type=click.Path(path_type=Path, file_okay=False), default="report",
              show_default=True, metavar="DIR", help="Where the report goes.")  # fmt: skip
@click.option("--hypervisor", type=click.Choice(("qemu", "kvm-hv")), default="qemu",
              show_default=True,
              help="kvm-hv: Debian's, on a POWER9 that QEMU emulates.")  # fmt: skip
@click.pass_obj
def demo_command(
    settings: Settings,
    /,
    *,
    kernel_source: str | None,
    qemu_source: str | None,
    mb: int,
    report: Path,
    hypervisor: str,
    **given: Any,
) -> None:
    """Build all, boot a guest, resize its table up and down, report."""
    begin = time.monotonic()
    builder = Builder(settings.cache, kernel_source, qemu_source, settings.jobs)
    machine = GivenParts(**given).machine(builder, "series").but(run_dir=report)
    if hypervisor == "kvm-hv":
        done = _demo_on_kvmhv(builder, machine, mb)
    else:
        # A QEMU of the user's own may be one that cannot tell.
        done = demo.run(machine, megabytes=mb, host_tells=given["qemu"] is None)
    demo.write(done, report)
    OUT.print(done.as_table())
    seconds = time.monotonic() - begin
    OUT.print(
        f"Linux {done.kernel} on QEMU {done.qemu}; booted in {done.boot_seconds:.1f} s, "
        f"{len(done.steps)} resizes, {seconds:.1f} s in all. Report: {report}",
        highlight=False, soft_wrap=True,
    )  # fmt: skip
    if done.problems:
        raise MachineError("; ".join(done.problems), log=report / "console.log")


def _demo_on_kvmhv(builder: Builder, machine: MachineConfig, megabytes: int) -> demo.DemoReport:
    memory = f"{parse_size(machine.memory) + 1024}M"
    config = HostConfig(
        qemu=machine.qemu, kernel=builder.debian_kernel(), initrd=builder.kvmhv_image(),
        memory=memory,
    )  # fmt: skip
    with contextlib.ExitStack() as stack:
        with progress.step("boot the host with KVM HV"):
            host = stack.enter_context(KvmHvHost(config))
        make = functools.partial(KvmHvGuest, host)
        return demo.run(machine, orders=demo.KVMHV_ORDERS, megabytes=megabytes, make=make)
