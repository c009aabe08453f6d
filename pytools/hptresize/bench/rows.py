# SPDX-License-Identifier: GPL-2.0-or-later
"""The table of the benchmark: one row for each thing that has a goal, or explains one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from rich.table import Table

from hptresize.bench.plan import FULL_ORDER
from hptresize.bench.results import MODES, Mode, Results, Sample, Summary
from hptresize.machine.hpt import GROUP_BYTES_ORDER
from hptresize.machine.settings import parse_size


@dataclasses.dataclass(frozen=True)
class Goal:
    """What a median has to reach.

    :ivar limit: at most so much, or with ``least`` at least.
    """

    limit: float
    least: bool = False

    def met(self, value: float) -> bool:
        """Say whether a value reaches it."""
        return value >= self.limit if self.least else value <= self.limit


@dataclasses.dataclass(frozen=True)
class Row:
    """One row.

    :ivar unit: of its numbers: us, mb, %, x, /s.
    :ivar met: whether the median reaches the goal; only modes that have one.
    """

    what: str
    unit: str
    values: Mapping[Mode, Summary]
    goals: Mapping[Mode, Goal]

    @property
    def met(self) -> dict[Mode, bool]:
        """For each mode that has a goal and was measured: whether it is reached."""
        return {
            mode: goal.met(self.values[mode].median)
            for mode, goal in self.goals.items()
            if mode in self.values
        }

    def ratio(self, mode: Mode) -> float | None:
        """Return mainline's median divided by this mode's, None if that says nothing."""
        mine, theirs = self.values.get(mode), self.values.get("mainline")
        if mode == "mainline" or mine is None or theirs is None:
            return None
        if mine.median <= 0 or theirs.median <= 0:
            return None
        return theirs.median / mine.median

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "what": self.what,
            "unit": self.unit,
            "values": {mode: dataclasses.asdict(one) for mode, one in self.values.items()},
            "mainline_ratio": {
                mode: ratio for mode in MODES if (ratio := self.ratio(mode)) is not None
            },
            "goals": {mode: dataclasses.asdict(one) for mode, one in self.goals.items()},
            "met": self.met,
        }


def size_of(order: int) -> str:
    """Return the size of a table for people, such as "16 MB"."""
    return f"{1 << (order - 30)} GB" if order >= 30 else f"{1 << (order - 20)} MB"


def growth(results: Results) -> dict[Mode, list[float]]:
    """Return, round by round, COMMIT of the largest table divided by that of the smallest."""
    orders = results.orders("commit_us", "few")
    found: dict[Mode, list[float]] = {}
    for mode in MODES if len(orders) > 1 else ():
        small, large = (
            _by_round(results, "commit_us", mode, case="few", order=order)
            for order in (orders[0], orders[-1])
        )
        both = [
            large[number] / small[number] for number in small if small[number] and number in large
        ]
        if both:
            found[mode] = both
    return found


def _by_round(
    results: Results, metric: str, mode: Mode, *, case: str, order: int
) -> dict[int, float]:
    def fits(one: Sample) -> bool:
        return (one.metric, one.mode, one.case, one.order) == (metric, mode, case, order)

    return {one.round: one.value for one in results.samples if fits(one)}


Values = dict[Mode, Summary]
GROUP_BYTES = 1 << GROUP_BYTES_ORDER


class _Rows:
    """Builds the rows.

    :param results: what they are made of. Goals are for the full size: with a
        smaller table there are none.
    """

    def __init__(self, results: Results) -> None:
        self.results = results
        self.rows: list[Row] = []
        self.top = int(results.options["top"])
        self.judged = self.top == FULL_ORDER

    def values(self, metric: str, case: str | None = None, order: int | None = None) -> Values:
        found: Values = {}
        for mode in MODES:
            summary = self.results.summary(metric, mode, case=case, order=order)
            if summary is not None:
                found[mode] = summary
        return found

    def add(self, what: str, unit: str, values: Values, **goals: Goal) -> None:
        wanted: dict[Mode, Goal] = {mode: goals[mode] for mode in MODES if mode in goals}
        if values:
            self.rows.append(Row(what, unit, values, wanted if self.judged else {}))

    def measured(
        self, what: str, unit: str, metric: str, case: str | None = None,
        order: int | None = None, **goals: Goal,
    ) -> None:  # fmt: skip
        self.add(what, unit, self.values(metric, case, order), **goals)


COMMIT = Goal(500)


def _hypercalls(rows: _Rows) -> None:
    top, few, many = rows.top, rows.results.options["few"], rows.results.options["many"]
    step = f"{size_of(top - 1)} to {size_of(top)}"
    rows.measured(
        f"COMMIT, {step}, {few:,} bolted entries", "us", "commit_us", "few", top,
        rehash=Goal(5000), mirror=COMMIT,
    )  # fmt: skip
    rows.measured(
        f"COMMIT, {step}, {many:,} bolted entries", "us", "commit_us", "many", top,
        mirror=COMMIT,
    )  # fmt: skip
    rows.measured(
        "the same by the host's own clock", "us", "host_commit_us", "many", top
    )  # fmt: skip
    ratios: Values = {}
    for mode, values in growth(rows.results).items():
        summary = Summary.of(values)
        if summary is not None:
            ratios[mode] = summary
    low = rows.results.options["low"]
    rows.add(f"COMMIT, {size_of(top)} against {size_of(low)}", "x", ratios, mirror=Goal(3))
    rows.measured(
        f"PREPARE, bare guest, {few:,} bolted entries", "us", "prepare_us", "few", top
    )  # fmt: skip
    rows.measured(
        f"PREPARE, bare guest, {many:,} bolted entries", "us", "prepare_us", "many", top
    )  # fmt: skip


def empty_stop_machine(results: Results) -> Summary | None:
    """Return what stop_machine() takes with nothing to do: a refused COMMIT less the hypercall.

    Of rehash mode, where COMMIT is what refuses. The guest and its kernel are the same in
    all modes, and this says nothing of the resizes that it is compared with.
    """
    stopped = results.values("refused_us", "rehash")
    in_host = results.values("refused_host_us", "rehash")
    # Both are there for each refusal, or only the first: then there is no answer.
    if len(stopped) != len(in_host):
        return None
    return Summary.of(one - host for one, host in zip(stopped, in_host, strict=True))


def _guest(rows: _Rows) -> None:
    top = rows.top
    empty = empty_stop_machine(rows.results)
    still = Goal(max(3000.0, 2 * empty.median if empty is not None else 0.0))
    for case in ("64K", "16M"):
        rows.measured(
            f"standstill, Linux, {case} pages", "us", "standstill_us", case, top, mirror=still
        )  # fmt: skip
        rows.measured(
            f"  of it COMMIT, {case} pages", "us", "guest_host_commit_us", case, top,
            mirror=COMMIT,
        )  # fmt: skip
    rows.measured("standstill if COMMIT is refused", "us", "refused_us")
    rows.measured("  of it COMMIT", "us", "refused_host_us")
    if empty is not None:
        rows.add("  the rest: an empty stop_machine()", "us", {"rehash": empty})
    for case in ("64K", "16M"):
        rows.measured(
            f"PREPARE to H_SUCCESS, fresh Linux, {case} pages", "us", "guest_prepare_us", case, top,
            rehash=Goal(50_000), mirror=Goal(500_000),
        )  # fmt: skip


def _memory(rows: _Rows) -> None:
    for case in ("few", "many"):
        entries = int(rows.results.options[case])
        # What goes with the entries may take as much again, and some.
        bound = Goal(2 * _touched_mb(entries) + 16)
        for when in ("prepare", "commit"):
            rows.measured(
                f"host memory more after {when.upper()}, {entries:,} entries", "mb",
                f"rss_{when}_mb", case, rows.top, rehash=bound, mirror=bound,
            )  # fmt: skip
    old = _touched_mb(int(rows.results.options["many"]))
    rows.measured(
        "memory less when COMMIT has returned", "mb", "freed_in_commit_mb", "many", rows.top,
    )  # fmt: skip
    rows.measured(
        f"memory less soon after COMMIT (bare guest, never idle; old entries took {old:.0f} MB)",
        "mb", "freed_later_mb", "many", rows.top,
    )  # fmt: skip
    rows.measured("host memory more after growing, Linux", "mb", "guest_rss_mb", "at once")
    # About as many entries as before, so nothing if the old table is gone.
    gone = Goal(old / 2)
    rows.measured(
        "  the same at rest, the old table freed", "mb", "guest_rss_mb", "settled",
        rehash=gone, mirror=gone,
    )  # fmt: skip


def _touched_mb(entries: int) -> float:
    """Return the size of so many groups, megabytes: each entry is in one of its own."""
    return entries * GROUP_BYTES / 2**20


def _contents(rows: _Rows) -> None:
    rows.measured("entries not bolted that growing loses", "%", "lost_percent", mirror=Goal(0))
    rows.measured(
        "H_ENTERs to read the working set after growing, of its pages", "%",
        "inserts_percent", mirror=Goal(1),
    )  # fmt: skip
    for case in ("before", "after growing", "after shrinking"):
        rows.measured(f"reading the working set, {case}", "us", "read_us", case)
    rows.measured("inserts and removes, nothing prepared", "/s", "churn_per_s", "alone")
    beside = Goal(80, least=True)
    rows.measured(
        "the same, preparing, of that", "%", "churn_percent", "preparing", mirror=beside
    )  # fmt: skip
    rows.measured("the same, ready, of that", "%", "churn_percent", "ready")


def make_rows(results: Results) -> list[Row]:
    """Return the rows that the samples give, in the order of the table."""
    rows = _Rows(results)
    parts: tuple[Callable[[_Rows], None], ...] = (_hypercalls, _guest, _memory, _contents)
    for part in parts:
        part(rows)
    return rows.rows


def as_table(results: Results, rows: list[Row]) -> Table:
    """Return the rows for people: median, spread, and how many times better than mainline."""
    load = results.load()
    said = "?" if load is None else f"{load.median:.1f} ({load.low:.1f} to {load.high:.1f})"
    table = Table(
        title=f"Resizing the hash page table of a guest of {_gigabytes(results.options['memory'])}",
        caption=f"Median (least to most) of {results.options['rounds']} rounds; "
        f"the host's load was {said} on {results.host['processors']} processors.",
        show_lines=True,
    )
    table.add_column("what")
    for mode in MODES:
        table.add_column(mode, justify="right", no_wrap=True)
    table.add_column("goal", no_wrap=True)
    table.add_column("met", no_wrap=True)
    for row in rows:
        cells = [_cell(row, mode, results) for mode in MODES]
        table.add_row(row.what, *cells, _goal(row), _met(row))
    return table


def _gigabytes(memory: str) -> str:
    megabytes = parse_size(memory)
    return f"{megabytes} MB" if megabytes % 1024 else f"{megabytes // 1024} GB"


def _cell(row: Row, mode: Mode, results: Results) -> str:
    value = row.values.get(mode)
    if value is None:
        return "n/a" if mode in results.missing else "-"
    ratio = row.ratio(mode)
    lines = [quantity(value.median, row.unit)]
    if value.count > 1:
        lines.append(f"({quantity(value.low, row.unit)} to {quantity(value.high, row.unit)})")
    if ratio is not None and row.unit in ("us", "mb"):
        lines.append(f"1/{ratio:,.0f}" if ratio >= 1.5 else f"{1 / ratio:.2f} of mainline")
    return "\n".join(lines)


def _goal(row: Row) -> str:
    return "\n".join(
        f"{mode} {'>=' if goal.least else '<='} {quantity(goal.limit, row.unit)}"
        for mode, goal in row.goals.items()
    )


def _met(row: Row) -> str:
    return "\n".join("[green]yes[/]" if met else "[red]NO[/]" for met in row.met.values())


def quantity(value: float, unit: str) -> str:
    """Return a number with its unit, in about three digits.

    :param unit: us, mb, %, x, /s as in :class:`Row`.
    """
    if unit == "us":
        scaled, name = _scaled_us(value)
        return f"{_digits(scaled)} {name}"
    if unit == "mb":
        return f"{_digits(value)} MB"
    if unit == "/s":
        return f"{value:,.0f}/s"
    return f"{_digits(value)} {unit}" if unit == "x" else f"{_digits(value)}%"


def _scaled_us(value: float) -> tuple[float, str]:
    for limit, factor, name in ((1e3, 1.0, "us"), (1e6, 1e3, "ms")):
        if abs(value) < limit:
            return value / factor, name
    return value / 1e6, "s"


def _digits(value: float) -> str:
    if value == int(value) or abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
