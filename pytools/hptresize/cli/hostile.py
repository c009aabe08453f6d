# SPDX-License-Identifier: GPL-2.0-or-later
"""The command `hptresize hostile`."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

import click

from hptresize.base.errors import UsageError
from hptresize.build.builder import Builder
from hptresize.build.image.conformance_program import build_conformance
from hptresize.cli.options import Settings
from hptresize.machine.watch import Deadline
from hptresize.run.hostile import MAX_CPUS, Attempt, Mode, run


@click.command("hostile")
@click.option("--qemu", type=click.Path(path_type=Path, dir_okay=False), metavar="PROGRAM",
              help="Instead of the project's own, built with sanitizers.")  # fmt: skip
@click.option("--seed", type=click.IntRange(0, 1 << 48), metavar="N", help="The first one.")
@click.option("--calls", type=click.IntRange(1), default=50_000, show_default=True,
              help="Of each seed.")  # fmt: skip
@click.option("--minutes", type=click.FloatRange(0, min_open=True),
              help="Go on with further seeds for that long.")  # fmt: skip
@click.option("--cpus", type=click.IntRange(1, MAX_CPUS), default=2, show_default=True,
              help="Of the guest.")  # fmt: skip
@click.option("--mode", type=click.Choice(("mirror", "rehash")), default="mirror",
              show_default=True, help="Of the host.")  # fmt: skip
@click.pass_obj
def hostile_command(
    settings: Settings, /, *, qemu: Path | None, seed: int | None, calls: int,
    minutes: float | None, cpus: int, mode: Mode,
) -> None:  # fmt: skip
    """Call at random from inside, disturb from outside, and look for damage."""
    if qemu is not None and not qemu.is_file():
        raise UsageError(f"QEMU {qemu} is not there", hint="see --qemu")
    cache = settings.cache
    program = qemu or Builder(cache, jobs=settings.jobs).sanitized_qemu().binary
    seed = random.SystemRandom().randrange(1 << 32) if seed is None else seed
    deadline = Deadline(60 * (minutes or 0))
    with tempfile.TemporaryDirectory(prefix="hptresize-") as scratch:
        payload = build_conformance(Path(scratch) / "payload.elf")
        while True:
            attempt = Attempt(seed, calls, cpus, mode)
            click.echo(run(attempt, program, payload=payload, logs=cache.logs).as_line())
            if not deadline.left:
                break
            seed += 1
