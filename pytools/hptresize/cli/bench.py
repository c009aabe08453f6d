# SPDX-License-Identifier: GPL-2.0-or-later
"""The command `hptresize bench`."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

import click
from rich.console import Console

from hptresize.base.errors import MachineError, UsageError
from hptresize.bench import plot
from hptresize.bench.payload import PROGRAM
from hptresize.bench.plan import FULL_ORDER, Parts, Plan
from hptresize.bench.results import Results
from hptresize.bench.rounds import run
from hptresize.bench.rows import as_table, make_rows
from hptresize.build.builder import Builder
from hptresize.build.image import build_bare
from hptresize.cli.options import Settings

TABLE_WIDTH = 150


@click.command("bench")
@click.option(
    "--quick",
    is_flag=True,
    help="Small tables, small guests, 3 rounds: shows that all works, in a minute.",
)
@click.option(
    "--rounds",
    type=click.IntRange(1),
    metavar="N",
    help="How often everything is measured (default: 5, quick 3).",
)
@click.option(
    "--min-order",
    type=click.IntRange(19, FULL_ORDER),
    metavar="N",
    help="Log2 of the bytes of the smallest table (default: 24, quick 22).",
)
@click.option(
    "--max-order",
    type=click.IntRange(22, FULL_ORDER),
    metavar="N",
    help="Of the largest; the guest gets 64 times as much memory "
    f"(default: {FULL_ORDER}, quick 25).",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default="report/bench",
    show_default=True,
    metavar="DIR",
    help="Gets bench.json, bench.txt, pause.svg and pause.png.",
)
@click.option("--no-plot", is_flag=True, help="Draw nothing (needs no matplotlib).")
@click.option(
    "--kernel",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    metavar="VMLINUX",
    help="The guest's kernel instead of one that is built.",
)
@click.option(
    "--initrd",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    metavar="FILE",
    help="The guest's image, likewise.",
)
@click.option(
    "--qemu",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    metavar="PROGRAM",
    help="Our QEMU, likewise.",
)
@click.option(
    "--mainline",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    metavar="PROGRAM",
    help="Mainline's QEMU, likewise.",
)
@click.option("--qemu-source", metavar="SOURCE", help="As for `hptresize build`.")
@click.option("--kernel-source", metavar="SOURCE", help="As for `hptresize build`.")
@click.pass_obj
def bench(
    settings: Settings,
    /,
    *,
    quick: bool,
    rounds: int | None,
    min_order: int | None,
    max_order: int | None,
    out: Path,
    no_plot: bool,
    kernel_source: str | None,
    qemu_source: str | None,
    **given: Path | None,
) -> None:  # fmt: skip
    """Measure mainline's QEMU and ours in both modes, side by side.

    Times on a machine that does other things as well say little: the load is
    printed with the result.
    """
    if not no_plot:
        plot.check()
    plan = _plan(quick, rounds, min_order, max_order)
    builder = Builder(settings.cache, kernel_source, qemu_source, settings.jobs)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="hptresize-") as scratch:
        parts = Parts(
            bench=build_bare(Path(scratch) / "bench.elf", PROGRAM),
            kernel=given["kernel"] or builder.kernel("series").vmlinux,
            initrd=given["initrd"] or builder.image(),
            mainline=given["mainline"] or builder.qemu("stock").binary,
            qemu=given["qemu"] or builder.qemu("series").binary,
        )
        results = run(parts, plan)
    write(results, out, with_plot=not no_plot)
    if results.problems:
        first = results.problems[0]
        raise MachineError(f"{len(results.problems)} measurements failed, the first: {first}")


def _plan(quick: bool, rounds: int | None, low: int | None, top: int | None) -> Plan:
    plan = Plan.quick() if quick else Plan()
    top = top or max(plan.top, low or 0)
    low = low or min(plan.low, top)
    if low > top:
        raise UsageError(f"--min-order {low} is more than --max-order {top}")
    return dataclasses.replace(plan, rounds=rounds or plan.rounds, low=low, top=top)


def write(results: Results, out: Path, *, with_plot: bool) -> None:
    """Write a result as JSON, table and plot, and show the table.

    :param out: the directory.
    """
    rows = make_rows(results)
    (out / "bench.json").write_text(results.as_json([row.as_dict() for row in rows]))
    with (out / "bench.txt").open("w") as file:
        _show(Console(file=file, width=TABLE_WIDTH), results, out, with_plot)
    if with_plot:
        plot.draw(results, out)
    screen = Console()
    _show(screen if screen.is_terminal else Console(width=TABLE_WIDTH), results, out, with_plot)


def _show(console: Console, results: Results, out: Path, with_plot: bool) -> None:
    console.print(as_table(results, make_rows(results)))
    versions = ", ".join(
        f"{mode} QEMU {one['version']} {one['options']}".rstrip()
        for mode, one in results.qemu.items()
    )
    lines = [versions, *(f"{mode}: n/a, {why}" for mode, why in results.missing.items())]
    lines += [f"problem: {text}" for text in results.problems]
    lines.append(f"{len(results.samples)} samples in {results.seconds:.0f} s: {out}")
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True, markup=False)
