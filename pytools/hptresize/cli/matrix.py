# SPDX-License-Identifier: GPL-2.0-or-later
"""The command `hptresize matrix`."""

from __future__ import annotations

import importlib.util
import json
import random
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console

from hptresize.base.errors import MachineError, ToolMissing, UsageError
from hptresize.bench.plan import FULL_ORDER
from hptresize.build.builder import Builder
from hptresize.cli.options import F, Settings, source_options
from hptresize.matrix import bisect, debug, soak, verdict
from hptresize.matrix.declaration import DECLARATION, Cell, Matrix, load
from hptresize.matrix.runner import CELLS, command_line
from hptresize.matrix.side_by_side import LOW, TOP, Wanted
from hptresize.matrix.tasks import PLAN, CellParts, Limits, Task, check_fit

if TYPE_CHECKING:
    from hptresize.matrix.gather import MatrixResult


@click.group("matrix")
def matrix() -> None:
    """Boot and resize guests on hosts of all kinds, and report.

    FILTER is axis=value,value; several of them have to hold at once.
    """


def _selecting(command: F) -> F:
    for decorate in (
        click.argument("filters", nargs=-1, metavar="[FILTER]..."),
        click.option("--set", "name", default="default", show_default=True, metavar="NAME",
                     help="The set of cells that the filter is put on."),
        click.option("--all", "everything", is_flag=True,
                     help="Every combination of all values instead of a set."),
        click.option("--declaration", type=click.Path(path_type=Path, dir_okay=False),
                     default=DECLARATION, metavar="FILE", show_default="the package's own",
                     help="Where axes and cells are declared."),
    ):  # fmt: skip
        command = decorate(command)
    return command


def _given(command: F) -> F:
    texts = {
        "kernel": "Boot this instead of the le-64k kernel with the series.",
        "initrd": "Use this image for the little-endian guests.",
        "qemu": "Run this instead of our QEMU.",
        "mainline": "Run this instead of mainline's QEMU.",
    }
    for name, text in texts.items():
        command = click.option(
            f"--{name}", type=click.Path(path_type=Path), metavar="FILE", help=text
        )(command)
    return source_options(command)


def _limits(command: F) -> F:
    for decorate in (
        click.option("--cpus", type=click.IntRange(1), metavar="N",
                     help="CPUs that cells may keep busy (default: all)."),
        click.option("--memory-limit", type=click.IntRange(1), metavar="MB",
                     help="Memory that cells may take (default: what is free)."),
    ):  # fmt: skip
        command = decorate(command)
    return command


_out = click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), default="report/matrix",
    show_default=True, metavar="DIR", help="Gets the report and each cell's files.",
)  # fmt: skip


def _select(
    filters: Sequence[str], name: str, everything: bool, declaration: Path
) -> tuple[Matrix, list[Cell]]:
    made = load(declaration)
    return made, made.select(None if everything else name, filters)


def _check_packages(*more: str) -> None:
    """Check that the Python packages are there that only the matrix needs.

    :param more: further ones.
    :raises ToolMissing: names the one that is not.
    """
    for name in ("jinja2", "kcidb_io", "matplotlib", "pytest", "pytest_timeout", "xdist", *more):
        if importlib.util.find_spec(name) is None:
            raise ToolMissing(
                f"the Python package {name} is not installed",
                hint=f"`pip install -c constraints.txt -e .[{'cluster' if more else 'matrix'}]`",
            )


@matrix.command("list")
@_selecting
@click.option("--axes", is_flag=True, help="The axes and their values instead.")
def list_command(
    filters: Sequence[str], name: str, everything: bool, declaration: Path, axes: bool
) -> None:
    """List the cells and what is expected of each."""
    made, cells = _select(filters, name, everything, declaration)
    if axes:
        for axis, values in made.axes.items():
            click.echo(f"{axis}:")
            for value, about in values.items():
                click.echo(f"    {value}{': ' + about['about'] if 'about' in about else ''}")
        return
    for cell in cells:
        why = f"skip: {cell.skip}" if cell.skip else f"xfail: {cell.fails}" if cell.fails else ""
        click.echo(f"{cell.id}  {why}".rstrip())
    skipped = sum(bool(cell.skip) for cell in cells)
    click.echo(f"{len(cells)} cells, {skipped} of them skipped")


@matrix.command("run")
@_selecting
@_given
@_limits
@_out
@click.option("--dry-run", is_flag=True, help="Print the command lines, run nothing.")
@click.option("--failed", is_flag=True, help="Only those that failed in DIR's last run.")
@click.option("-x", "--first-failure", is_flag=True, help="Stop at the first failure.")
@click.option("--cluster", metavar="ADDRESS",
              help="Have the Dask scheduler there run the cells (nothing is measured); `local`: "
              "a cluster on this machine.")
@click.option("--measure/--no-measure", default=True,
              help="Measure mainline and ours side by side as well.")
@click.option("--max-order", type=click.IntRange(LOW, FULL_ORDER), default=TOP, show_default=True,
              metavar="N", help="Log2 of the bytes of the largest table measured.")  # fmt: skip
@click.pass_obj
def run_command(
    settings: Settings,
    /,
    *,
    filters: Sequence[str],
    name: str,
    everything: bool,
    declaration: Path,
    cpus: int | None,
    memory_limit: int | None,
    out: Path,
    dry_run: bool,
    failed: bool,
    first_failure: bool,
    cluster: str | None,
    measure: bool,
    max_order: int,
    kernel_source: str | None,
    qemu_source: str | None,
    **given: Path | None,
) -> None:
    """Run the cells, as many at once as there is room for."""
    _check_packages(*(["distributed"] if cluster else []))
    from hptresize.matrix import gather  # noqa: PLC0415 (packages that may not be there, and are slow to load)

    out = out.absolute()
    made, cells = _select(filters, name, everything, declaration)
    if cluster is not None:
        from hptresize.matrix import cluster as engine  # noqa: PLC0415

        engine.check(cluster)
    before = gather.load(out) if failed else None
    if before is not None:
        bad = {one.id for one in before.bad}
        cells = [cell for cell in cells if cell.id in bad]
        if not cells:
            raise UsageError(f"nothing failed in {out} that is chosen here")
    limits = Limits.of_this_machine(cpus, memory_limit)
    check_fit(made, cells, limits)
    builder = Builder(settings.cache, kernel_source, qemu_source, settings.jobs)
    parts = CellParts(made, builder, given)
    tasks = parts.tasks(cells, limits)
    if dry_run:
        for task in tasks:
            click.echo(f"# {task.id}\n{command_line(task)}")
        return
    measure = measure and before is None and cluster is None
    job = gather.RunRequest(
        out, cells, tasks, limits, _wanted(parts, max_order) if measure else None, first_failure,
        " ".join(filters) or ("all cells" if everything else f"the {name} set"), cluster,
    )  # fmt: skip
    # pytest's own words go elsewhere meanwhile.
    result = gather.run(job, Console(file=sys.stdout), before)
    finish(result, out)


def _wanted(parts: CellParts, top: int) -> Wanted:
    """What is measured side by side: the default cell's kernel on both QEMUs."""
    first = {axis: next(iter(values)) for axis, values in parts.matrix.axes.items()}
    limits = Limits.of_this_machine()
    mainline, ours = (
        parts.tasks([Cell({**first, "host": host})], limits)[0] for host in ("mainline", "mirror")
    )
    return Wanted(
        str(ours.kernel), str(ours.initrd), str(ours.qemu), str(mainline.qemu), top=top
    )  # fmt: skip


def report_of(result: MatrixResult, out: Path) -> None:
    """Write the reports and show how it came out."""
    from hptresize.matrix import report  # noqa: PLC0415

    report.write(result, out)
    counts = ", ".join(f"{n} {status}" for status, n in verdict.count(result.cells).items())
    Console().print(
        f"{result.title}: {counts} in {result.seconds:.0f} s. Report: {out / 'report.html'}",
        highlight=False, soft_wrap=True, markup=False,
    )  # fmt: skip


def finish(result: MatrixResult, out: Path) -> None:
    """Report, and end as it came out.

    :raises MachineError: a cell did not do what was expected.
    :raises KeyboardInterrupt, SystemExit: a signal had ended the run.
    """
    report_of(result, out)
    if result.ended_by == signal.SIGINT:
        raise KeyboardInterrupt
    if result.ended_by is not None:
        raise SystemExit(128 + result.ended_by)
    problems = [f"{one.id}: {one.how or one.what}" for one in result.bad] + result.problems
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise MachineError(f"{problems[0]}{more}; see {out / 'report.html'}")


@matrix.command("report")
@_out
def report_command(out: Path) -> None:
    """Write the reports of the last run in DIR anew."""
    _check_packages()
    from hptresize.matrix import gather, report  # noqa: PLC0415

    for path in report.write(gather.load(out), out):
        click.echo(path)


@matrix.command("shell")
@click.argument("cell")
@click.argument("gdb_arguments", nargs=-1, type=click.UNPROCESSED)
@_out
@click.option("--gdb", "with_gdb", is_flag=True,
              help="gdb on it, stopped before its first instruction.")  # fmt: skip
def shell_command(cell: str, gdb_arguments: tuple[str, ...], out: Path, with_gdb: bool) -> None:
    """Boot the guest of a CELL of the last run in DIR, with a shell on this terminal.

    A part of the cell's name will do. What follows -- goes to gdb.
    """
    if gdb_arguments and not with_gdb:
        raise UsageError("arguments after the cell are gdb's", hint="say --gdb")
    task = debug.find(_tasks_of_last_run(out), cell)
    if with_gdb:
        debug.gdb(task, out.absolute() / CELLS / task.id, gdb_arguments)
    else:
        debug.shell(task)


def _tasks_of_last_run(out: Path) -> list[Task]:
    """What the last run in a directory ran.

    :raises UsageError: there was none.
    """
    try:
        return [Task.of(one) for one in json.loads((out / PLAN).read_text())["tasks"]]
    except OSError as err:
        hint = "run `hptresize matrix run` first"
        raise UsageError(f"{out / PLAN}: {err.strerror}", hint=hint) from err


@matrix.command("bisect-run")
@_selecting
@_given
@_limits
@_out
@click.pass_obj
def bisect_command(
    settings: Settings,
    /,
    *,
    filters: Sequence[str],
    name: str,
    everything: bool,
    declaration: Path,
    cpus: int | None,
    memory_limit: int | None,
    out: Path,
    kernel_source: str | None,
    qemu_source: str | None,
    **given: Path | None,
) -> None:
    """Build the commit that `git bisect run` stands on, run the cells, say what it wants to know.

    Status 0: good, 1: a cell failed, 125: this commit cannot be built or tested, 128:
    nonsense, which ends the bisection. With --kernel-source . the kernel=stock cells take
    the commit as it is, kernel=series those with the guest series on its baseline.
    """
    _check_packages()
    from hptresize.matrix import gather  # noqa: PLC0415

    try:
        made, cells = _select(filters, name, everything, declaration)
        limits = Limits.of_this_machine(cpus, memory_limit)
        check_fit(made, cells, limits)
        kernel, qemu = (one and bisect.at_head(one) for one in (kernel_source, qemu_source))
        builder = Builder(settings.cache, kernel, qemu, settings.jobs)
        with bisect.untestable():
            tasks = CellParts(made, builder, given).tasks(cells, limits)
    except UsageError as err:
        raise bisect.Abort(err) from err
    job = gather.RunRequest(
        out.absolute(), cells, tasks, limits, title=" ".join(filters), first_failure=True
    )
    result = gather.run(job, Console(file=sys.stdout))
    report_of(result, out.absolute())
    raise click.exceptions.Exit(bisect.status(result.cells, result.ended_by))


@click.command("soak")
@click.option("--minutes", type=click.FloatRange(0, min_open=True), default=10.0,
              show_default=True, metavar="N", help="How long.")
@click.option("--mode", type=click.Choice(("mirror", "rehash")), default="mirror",
              show_default=True, help="How our QEMU fills the new table.")
@click.option("--seed", type=int, metavar="N", help="Repeats the steps of another run.")
@click.option("--memory", default="2G", show_default=True, help="The guest's memory.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
              default="report/soak", show_default=True, help="Gets soak.json, logs.")  # fmt: skip
@_given
@click.pass_obj
def soak_command(
    settings: Settings,
    /,
    *,
    minutes: float,
    mode: str,
    seed: int | None,
    memory: str,
    out: Path,
    kernel_source: str | None,
    qemu_source: str | None,
    mainline: Path | None,
    **given: Path | None,
) -> None:
    """Resize, add and take memory, and migrate, with memory under check, for a long time.

    Ctrl-C ends it early, with the report of what there is.
    """
    if mainline is not None:
        raise UsageError("--mainline: what runs for long is our QEMU", hint="see --qemu")
    made = load()
    first = {axis: next(iter(values)) for axis, values in made.axes.items()}
    cell = Cell({**first, "host": mode, "cpus": "1"})
    builder = Builder(settings.cache, kernel_source, qemu_source, settings.jobs)
    limits = Limits.of_this_machine()
    task = CellParts(made, builder, {**given, "mainline": None}).tasks([cell], limits)[0]
    seed = random.randrange(1 << 32) if seed is None else seed
    result = soak.run(
        task.machine.but(memory=memory, maxmem="64G"), minutes=minutes, seed=seed, mode=mode,
        where=out.absolute(),
    )  # fmt: skip
    for line in result.lines():
        click.echo(line)
    if result.failures:
        raise MachineError(f"failed after {result.seconds / 60:.1f} minutes", log=out / soak.RESULT)
