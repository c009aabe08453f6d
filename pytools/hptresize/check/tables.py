# SPDX-License-Identifier: GPL-2.0-or-later
"""Show what the checks found: a table, patch by check, on a terminal or in a file."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from hptresize.check.ask import CheckReport

_COLOURS = {"ok": "green", "FAIL": "bold red", "?": "bold yellow", "-": "dim"}
SHOWN = 12  # lines of what one check found of one patch


def as_table(report: CheckReport) -> Table:
    """Return the table for a terminal: a line for each check, a column for each patch."""
    table = Table(title=f"{report.home.words} on {report.title}")
    table.add_column("check", no_wrap=True)
    for place in range(len(report.patches)):
        table.add_column(str(place + 1), justify="center")
    for check in report.checks:
        cells = [_state(report, check.name, place) for place in range(len(report.patches))]
        table.add_row(check.name, *(f"[{_COLOURS[one]}]{one}[/]" if one else "" for one in cells))
    return table


def _state(report: CheckReport, check: str, place: int) -> str:
    result = report.results.get((check, place))
    return result.state if result else ""


def as_lines(report: CheckReport) -> list[str]:
    """Return everything that is not as it should be, a line each."""
    lines: list[str] = []
    for check, patch, result in report.failed:
        lines.append(f"{check}: {patch.path.name}")
        lines += [f"    {line}" for line in result.findings[:SHOWN]]
        if len(result.findings) > SHOWN:
            lines.append(f"    and {len(result.findings) - SHOWN} more")
    return lines


def summary(report: CheckReport) -> str:
    """Return one line: how many answers, how many of them bad, how many from the cache."""
    results = report.results.values()
    seconds = sum(one.seconds for one in results)
    return (
        f"{report.home.words} on {report.title}: {len(results)} answers, "
        f"{len(report.failed)} of them not ok, {sum(one.cached for one in results)} "
        f"from the cache, {seconds:.0f} s"
    )


def as_markdown(reports: Sequence[CheckReport]) -> str:
    """Return all of it as a page for docs/."""
    parts = [_HEAD, *_legend(reports)]
    for report in reports:
        parts += ["", f"## {report.home.words}, {report.title}", "", *_markdown_table(report)]
        notes = [
            f"- {place + 1}: {result.findings[0]}"
            for (check, place), result in report.results.items()
            if check == "applies" and result.state == "-"
        ]
        parts += ["", *notes] if notes else []
        bad = as_lines(report)
        parts += ["", *(f"    {line}" for line in bad)] if bad else []
    return "\n".join((*parts, ""))


_HEAD = """\
<!-- SPDX-License-Identifier: GPL-2.0-or-later -->
# What the checks say of each patch

Written by `hptresize series check --write`. A dash: nothing to look at. What a check
may say all the same is in the `[[accepted]]` of `series.toml` beside the patches, with the
reason.
"""


def _legend(reports: Sequence[CheckReport]) -> list[str]:
    titles = {check.name: check.title for report in reports for check in report.checks}
    return ["| check | what it looks at |", "|---|---|"] + [
        f"| {name} | {title} |" for name, title in titles.items()
    ]


def _markdown_table(report: CheckReport) -> list[str]:
    names = [check.name for check in report.checks]
    lines = [f"| patch | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for place, patch in enumerate(report.patches):
        cells = [_state(report, name, place) or "-" for name in names]
        lines.append(f"| {place + 1} {patch.subject} | {' | '.join(cells)} |")
    return lines
