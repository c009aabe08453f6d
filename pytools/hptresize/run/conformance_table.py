# SPDX-License-Identifier: GPL-2.0-or-later
"""The outcomes of conformance runs side by side, as a table for a document."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from hptresize.base.errors import UsageError

BEGIN, END = "<!-- hptresize conformance --markdown writes from here -->", "<!-- to here -->"
_CELLS = {"pass": "pass", "skip": "skip", "fail": "**FAIL**"}

Run = Mapping[str, Mapping[str, str]]
"""Of a run, for each test: ``status``, ``text`` (what it demands), ``what`` (why it failed)."""


def read_run(path: Path) -> Run:
    """Read what `hptresize conformance --json` wrote.

    :raises UsageError: it did not write this.
    """
    try:
        tests = json.loads(path.read_text())["tests"]
        return {one["name"]: {key: one[key] for key in ("status", "text", "what")} for one in tests}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path} is not what --json writes: {error!r}") from None


def named_runs(words: Sequence[str]) -> dict[str, Run]:
    """Read the runs that a command line names, each as NAME=FILE.

    :raises UsageError: one is not of this form, or its file is not.
    """
    runs: dict[str, Run] = {}
    for word in words:
        name, equals, file = word.partition("=")
        if not (name and equals and file) or name in runs:
            raise UsageError(f"{word!r} is not NAME=FILE, with a name of its own")
        runs[name] = read_run(Path(file))
    return runs


def as_markdown(runs: Mapping[str, Run]) -> str:
    """The table: a line for each test, a column for each run, the first reason for a failure.

    :param runs: by the names of their columns.
    """
    lines = ["| | passed | failed | left out |", "|---|---|---|---|"]
    for name, run in runs.items():
        told = [one["status"] for one in run.values()]
        counts = " | ".join(str(told.count(status)) for status in ("pass", "fail", "skip"))
        lines.append(f"| {name} | {counts} |")
    lines += ["", f"| test | demands | {' | '.join(runs)} | why it fails |"]
    lines.append("|---" * (len(runs) + 3) + "|")
    texts = {test: one["text"] for run in runs.values() for test, one in run.items()}
    for test, text in texts.items():
        found = [run.get(test) for run in runs.values()]
        cells = [_CELLS[one["status"]] if one else "" for one in found]
        why = next((one["what"] for one in found if one and one["status"] == "fail"), "")
        lines.append(" | ".join([f"| {test}", text, *cells, why.replace("|", "\\|")]) + " |")
    return "\n".join(lines) + "\n"


def write_markdown(file: Path, runs: Mapping[str, Run]) -> None:
    """Put the table into a document, between the two marks, or make one of the table alone.

    :raises UsageError: the document has no such marks.
    """
    text = file.read_text() if file.exists() else f"{BEGIN}\n{END}\n"
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise UsageError(f"{file} has no place for the table", hint=f"add {BEGIN!r} and {END!r}")
    file.write_text(f"{before}{BEGIN}\n\n{as_markdown(runs)}\n{END}{after}")
