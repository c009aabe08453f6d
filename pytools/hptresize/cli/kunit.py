# SPDX-License-Identifier: GPL-2.0-or-later
"""The command `hptresize kunit`."""

from __future__ import annotations

import time

import click
from rich import box
from rich.console import Console as Terminal
from rich.table import Table

from hptresize.base.errors import MachineError
from hptresize.build.builder import Builder
from hptresize.build.flavours import KUNIT
from hptresize.cli.options import Settings, kernel_source_option
from hptresize.machine.outcome import tail
from hptresize.run.kunit import Run, run


def as_table(run_: Run) -> Table:
    """The cases for a terminal."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("test", "", "of"):
        table.add_column(title)
    styles = {"pass": "[green]pass[/]", "fail": "[red]FAIL[/]", "skip": "[yellow]skip[/]"}
    for name, case in run_.cases.items():
        table.add_row(name, styles[case.status], str(len(case.parameters) or ""))
    return table


@click.command("kunit")
@click.argument("glob", default="")
@kernel_source_option
@click.pass_obj
def kunit_command(settings: Settings, glob: str, kernel_source: str | None) -> None:
    """Run the KUnit tests of the guest series, all or those that GLOB names (suite.case)."""
    begin = time.monotonic()
    builder = Builder(settings.cache, kernel_source, jobs=settings.jobs)
    kernel = builder.kernel("series", KUNIT).vmlinux
    done = run(kernel, glob=glob)
    terminal = Terminal()
    terminal.print(as_table(done))
    for name, case in done.cases.items():
        if case.status == "fail":
            terminal.print(f"{name}:\n{case.log}", markup=False, highlight=False)
    terminal.print(f"{len(done.cases)} cases, {time.monotonic() - begin:.1f} s", highlight=False)
    if done.problems:
        raise MachineError("; ".join(done.problems), console=tail(done.console, 15))
