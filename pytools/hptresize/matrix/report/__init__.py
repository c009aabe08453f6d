# SPDX-License-Identifier: GPL-2.0-or-later
"""What a run found, for machines and for people. pytest itself writes the JUnit form."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from hptresize.matrix.gather import MatrixResult
from hptresize.matrix.report import html, kcidb, ktap
from hptresize.matrix.verdict import printable


def write(result: MatrixResult, where: Path) -> list[Path]:
    """Write all forms beside the result's own JSON.

    :param where: the directory of the run.
    :returns: the files.
    """
    result = MatrixResult.of(_printable(asdict(result)))
    made = {
        "matrix.ktap": ktap.render(result),
        "matrix.kcidb.json": kcidb.render(result),
        "report.html": html.render(result, where),
    }
    for name, text in made.items():
        (where / name).write_text(text)
    return [where / name for name in made]


def _printable(data: Any) -> Any:
    """The same data with texts that every form can hold."""
    if isinstance(data, dict):
        return {name: _printable(value) for name, value in data.items()}
    if isinstance(data, list):
        return [_printable(one) for one in data]
    return printable(data) if isinstance(data, str) else data
