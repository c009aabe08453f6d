# SPDX-License-Identifier: GPL-2.0-or-later
"""The command `hptresize session`."""

from __future__ import annotations

from pathlib import Path

import click

from hptresize.build.builder import Builder
from hptresize.cli.options import Settings, source_options
from hptresize.machine import Machine, MachineConfig
from hptresize.run import documents


@click.command("session")
@click.argument("document", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@source_options
@click.pass_obj
def session_command(
    settings: Settings, document: Path, kernel_source: str | None, qemu_source: str | None
) -> None:
    """Run the commands of the session in DOCUMENT and put below each what it prints."""
    builder = Builder(settings.cache, kernel_source, qemu_source, settings.jobs)
    config = MachineConfig(
        kernel=builder.kernel().vmlinux, qemu=builder.qemu().binary, initrd=builder.image(),
        **documents.MACHINE,
    )  # fmt: skip
    with Machine(config) as machine:
        text = documents.replay(document.read_text(), lambda line: documents.run(machine, line))
        machine.console.check()
    document.write_text(text)
