# SPDX-License-Identifier: GPL-2.0-or-later
"""The result as KTAP, version 1 (Documentation/dev-tools/ktap.rst)."""

from __future__ import annotations

from hptresize.matrix.gather import MatrixResult
from hptresize.matrix.verdict import CellOutcome


def render(result: MatrixResult) -> str:
    """Return the result as KTAP: one line for each cell, what it was before a bad one."""
    lines = ["KTAP version 1", f"1..{len(result.cells)}"]
    for number, one in enumerate(result.cells, 1):
        lines += [f"# {_one_line(text)}" for text in one.notes]
        if one.status in ("fail", "xpass"):
            lines.append("# " + _one_line(f"{one.how}: {one.what}" if one.how else one.what))
        lines.append(_line(number, one))
    lines += [f"# {_one_line(text)}" for text in result.problems]
    return "\n".join(lines) + "\n"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _line(number: int, one: CellOutcome) -> str:
    if one.status == "skip":
        return f"ok {number} {one.id} # SKIP {_one_line(one.what)}"
    if one.status == "unrun":
        return f"ok {number} {one.id} # SKIP not run"
    if one.status == "xfail":
        return f"not ok {number} {one.id} # XFAIL {_one_line(one.what)}"
    return f"{'ok' if one.status == 'pass' else 'not ok'} {number} {one.id}"
