# SPDX-License-Identifier: GPL-2.0-or-later
"""The command `hptresize conformance`."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

import click
from rich import box
from rich.console import Console as Terminal
from rich.table import Table

from hptresize.base.errors import UsageError
from hptresize.machine.settings import Firmware
from hptresize.run import conformance_table
from hptresize.run.conformance import Outcome, Subject, load_tests, qemu_version, run


def as_table(outcomes: Iterable[Outcome]) -> Table:
    """The outcomes for a terminal."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("test", "", "what"):
        table.add_column(title, no_wrap=title == "test")
    styles = {"pass": "[green]pass[/]", "fail": "[red]FAIL[/]", "skip": "[yellow]skip[/]"}
    for one in outcomes:
        table.add_row(one.name, styles[one.status], one.what or one.text)
    return table


def as_json(subject: Subject, version: str, outcomes: Sequence[Outcome]) -> str:
    """The outcomes for a program; no path of this machine in it."""
    counts = {s: sum(o.status == s for o in outcomes) for s in ("pass", "fail", "skip")}
    told = {
        "qemu": version,
        "firmware": subject.firmware,
        "machine-options": list(subject.machine_options),
        "counts": counts,
        "tests": [asdict(one) for one in outcomes],
    }
    return json.dumps(told, indent=2) + "\n"


@click.command("conformance")
@click.argument("runs", nargs=-1, metavar="[NAME=JSON]...")
@click.option("--qemu", type=click.Path(path_type=Path, dir_okay=False),
              metavar="PROGRAM", help="The qemu-system-ppc64 to be tested.")  # fmt: skip
@click.option("--firmware", type=click.Choice(("vof", "slof")), default="vof", show_default=True,
              help="What starts the payload.")  # fmt: skip
@click.option("--machine-option", "options", multiple=True, metavar="NAME=VALUE",
              help="A further option of the machine, such as hpt-resize-mode=rehash.")  # fmt: skip
@click.option("-k", "only", metavar="REGEX", help="Only tests whose name matches.")
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False),
              metavar="FILE", help="Write the outcomes there, too.")  # fmt: skip
@click.option("--markdown", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Write a table of the named runs and of this one into a document.")  # fmt: skip
def conformance_command(
    *, runs: tuple[str, ...], qemu: Path | None, firmware: Firmware, options: tuple[str, ...],
    only: str | None, json_file: Path | None, markdown: Path | None,
) -> None:  # fmt: skip
    """Test the hypercalls of any QEMU from inside a guest.

    NAME=JSON: a column of the table of --markdown, from what --json wrote in another run.
    """
    columns = conformance_table.named_runs(runs)
    if columns and markdown is None:
        raise UsageError("runs of before are only for a table", hint="see --markdown")
    if qemu is None and not columns:
        raise UsageError("nothing to do: no QEMU to test, no run to tabulate", hint="see --qemu")
    failed = 0
    if qemu is not None:
        if not (qemu.is_file() and os.access(qemu, os.X_OK)):
            raise UsageError(f"QEMU {qemu} is not a program", hint="see --qemu")
        name, outcomes = _run_and_show(Subject(qemu, firmware, options), only, json_file)
        columns[name] = {one.name: asdict(one) for one in outcomes}
        failed = sum(one.status == "fail" for one in outcomes)
    if markdown is not None:
        conformance_table.write_markdown(markdown, columns)
    if failed:
        raise click.exceptions.Exit(1)


def _run_and_show(
    subject: Subject, only: str | None, json_file: Path | None
) -> tuple[str, list[Outcome]]:
    """Run the tests with a terminal looking on; returns a name for the run, and the outcomes."""
    terminal = Terminal()
    version = qemu_version(subject.qemu)
    tests = [one for one in load_tests() if only is None or re.search(only, one.name)]
    if not tests:
        raise UsageError(f"no test matches {only!r}", hint="see tests.def of the payload")
    begin = time.monotonic()
    with terminal.status("conformance") as status:
        outcomes = run(
            subject, tests=tests, report=lambda one: status.update(f"{one.name}: {one.status}")
        )
    terminal.print(as_table(outcomes))
    if json_file is not None:
        json_file.write_text(as_json(subject, version, outcomes))
    failed = sum(one.status == "fail" for one in outcomes)
    skipped = sum(one.status == "skip" for one in outcomes)
    name = ", ".join([version, subject.firmware, *subject.machine_options])
    terminal.print(
        f"QEMU {name}: {len(outcomes) - failed - skipped} passed, {failed} failed, "
        f"{skipped} left out, {time.monotonic() - begin:.1f} s",
        highlight=False, soft_wrap=True,
    )  # fmt: skip
    return name, outcomes
