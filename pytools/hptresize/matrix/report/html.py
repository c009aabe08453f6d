# SPDX-License-Identifier: GPL-2.0-or-later
"""The result as one HTML file: no script, nothing from elsewhere, everything escaped."""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from hptresize.bench import Results, plot
from hptresize.bench.results import MODES
from hptresize.bench.results import load as load_bench
from hptresize.bench.rows import Row, make_rows, quantity
from hptresize.matrix import side_by_side, verdict
from hptresize.matrix.declaration import DATA
from hptresize.matrix.gather import MatrixResult
from hptresize.matrix.verdict import CellOutcome, printable

TEMPLATE = "report.html.j2"
# The axes that make a column of the grid; the others make a row.
COLUMNS = ("host", "qemu")
LOGS = (
    "command.txt", "cell.log", "console.log", "qemu.log", "qmp.log", "guest-trace.log",
    "qemu-trace.log",
)  # fmt: skip
LOG_BYTES = 60_000
_CUT = "[...]\n"


@dataclass(frozen=True)
class Log:
    """A file of a cell, as far as it is shown."""

    name: str
    text: str


@dataclass(frozen=True)
class Grid:
    """The cells as a table.

    :ivar columns: values of the host and its QEMU.
    :ivar rows: name of a row and its cells, None where there is none.
    """

    columns: list[str]
    rows: list[tuple[str, list[CellOutcome | None]]]


def grid(cells: Sequence[CellOutcome]) -> Grid:
    """Arrange cells: one host beside the other, one row for all the rest."""

    def column(one: CellOutcome) -> str:
        host, qemu = (one.values[axis] for axis in COLUMNS)
        return host if qemu == "built" else f"{host}, {qemu}'s QEMU"

    columns = list(dict.fromkeys(column(one) for one in cells))
    rows: dict[str, dict[str, CellOutcome]] = {}
    for one in cells:
        name = " ".join(value for axis, value in one.values.items() if axis not in COLUMNS)
        rows.setdefault(name, {})[column(one)] = one
    return Grid(columns, [(name, [row.get(at) for at in columns]) for name, row in rows.items()])


def logs_of(where: Path, one: CellOutcome) -> list[Log]:
    """The files of a cell that are shown; of a long one its end."""
    found = []
    for name in LOGS:
        path = where / one.directory / name
        if one.directory and path.is_file() and path.stat().st_size:
            data = path.read_bytes()
            text = data[-LOG_BYTES:].decode(errors="replace")
            found.append(Log(name, printable(_CUT + text if len(data) > LOG_BYTES else text)))
    return found


def measured(where: Path) -> Results | None:
    """The side-by-side measurement of the run, None if there was none."""
    path = where / side_by_side.RESULT
    return load_bench(path) if path.is_file() else None


def render(result: MatrixResult, where: Path) -> str:
    """Return the page.

    :param where: the directory of the run, for the logs and the measurement.
    """
    environment = Environment(
        loader=FileSystemLoader(DATA), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    bench = measured(where)
    return environment.get_template(TEMPLATE).render(
        result=result,
        counts=verdict.count(result.cells),
        grid=grid(result.cells),
        logs={one.id: logs_of(where, one) for one in result.cells},
        bench=bench,
        modes=MODES,
        charts=charts(bench) if bench else [],
        rows=[(row, _cells_of(row)) for row in make_rows(bench)] if bench else [],
    )


def _cells_of(row: Row) -> list[str]:
    return [
        quantity(row.values[mode].median, row.unit) if mode in row.values else "n/a"
        for mode in MODES
    ]


@dataclass(frozen=True)
class Chart:
    """A picture, as the address that an <img> takes."""

    title: str
    url: str


def charts(bench: Results) -> list[Chart]:
    """The pictures of the measurement."""
    with tempfile.TemporaryDirectory(prefix="hptresize-") as scratch:
        return [
            Chart(title, _data_url(path.read_bytes()))
            for title, path in plot.draw_all(bench, Path(scratch))
        ]


def _data_url(svg: bytes) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(svg).decode()
