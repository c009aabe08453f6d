# SPDX-License-Identifier: GPL-2.0-or-later
"""Draw the pause against the size of the table."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from hptresize.base.errors import ToolMissing
from hptresize.bench.results import MODES, Mode, Results, Summary
from hptresize.bench.rows import size_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Of Okabe and Ito: told apart by people who see colours differently, too.
_COLOURS: dict[Mode, str] = {"mainline": "#D55E00", "rehash": "#0072B2", "mirror": "#009E73"}
_MARKS: dict[Mode, str] = {"mainline": "o", "rehash": "s", "mirror": "^"}
GOAL_US = 100


def check() -> None:
    """Check that plots can be drawn.

    :raises ToolMissing: no matplotlib.
    """
    try:
        import matplotlib  # noqa: F401, PLC0415 (it is optional, and slow to load)
    except ImportError as err:
        raise ToolMissing(
            "matplotlib is not installed, so there is no plot",
            hint="`pip install -c constraints.txt -e .[bench]`, or --no-plot",
        ) from err


@dataclasses.dataclass(frozen=True)
class Curve:
    """Something against the size of the table.

    :ivar metric: what, of the case ``few``.
    :ivar goal: a line across with the name of it.
    """

    metric: str
    title: str
    label: str
    goal: tuple[float, str] | None = None


PAUSE = Curve(
    "commit_us",
    "COMMIT as a bare guest times it",
    "H_RESIZE_HPT_COMMIT, microseconds",
    (GOAL_US, "goal of mirror, 1 to 2 GB"),
)
CURVES = {
    "pause": PAUSE,
    "prepare": Curve("prepare_us", "PREPARE until ready", "H_RESIZE_HPT_PREPARE, microseconds"),
    "memory": Curve("rss_prepare_mb", "Host memory more after PREPARE", "megabytes"),
}
INSERTS = "H_ENTERs to read the working set after growing"


def draw(results: Results, directory: Path) -> list[Path]:
    """Draw COMMIT against the size of the table for each mode.

    :param directory: gets pause.svg and pause.png.
    :returns: the files; none if no COMMIT was measured.
    :raises ToolMissing: no matplotlib.
    """
    return _save(_curve(results, PAUSE), directory, "pause", "svg", "png")


def draw_all(results: Results, directory: Path) -> list[tuple[str, Path]]:
    """Draw pause, prepare time and memory against the size of the table, and inserts.

    :param directory: gets the pictures.
    :returns: title and SVG file of each; what was not measured has none.
    :raises ToolMissing: no matplotlib.
    """
    made = [
        (curve.title, _save(_curve(results, curve), directory, name, "svg"))
        for name, curve in CURVES.items()
    ]
    made.append((INSERTS, _save(_inserts(results), directory, "inserts", "svg")))
    return [(title, path) for title, paths in made for path in paths]


def _save(figure: Figure | None, directory: Path, name: str, *suffixes: str) -> list[Path]:
    if figure is None:
        return []
    import matplotlib as mpl  # noqa: PLC0415

    files = []
    # The same bytes from the same samples: no random ids, no date.
    with mpl.rc_context({"svg.hashsalt": f"hptresize-{name}", "svg.fonttype": "none"}):
        for suffix in suffixes:
            files.append(directory / f"{name}.{suffix}")
            more = {"metadata": {"Date": None}} if suffix == "svg" else {"dpi": 120}
            figure.savefig(files[-1], **more)
    return files


def _figure() -> Figure:
    check()
    # Figure alone, without pyplot: no display, no state.
    from matplotlib.figure import Figure  # noqa: PLC0415

    return Figure(figsize=(8, 5), layout="constrained")


def _curve(results: Results, curve: Curve) -> Figure | None:
    orders = results.orders(curve.metric, "few")
    if not orders:
        return None
    figure = _figure()
    axes = figure.add_subplot()
    for mode in MODES:
        known: dict[int, Summary] = {}
        for order in orders:
            summary = results.summary(curve.metric, mode, case="few", order=order)
            if summary is not None:
                known[order] = summary
        if not known:
            continue
        medians = [one.median for one in known.values()]
        axes.plot(
            list(known), medians, marker=_MARKS[mode], color=_COLOURS[mode], label=mode
        )  # fmt: skip
        axes.fill_between(
            list(known), [one.low for one in known.values()], [one.high for one in known.values()],
            color=_COLOURS[mode], alpha=0.2, linewidth=0,
        )  # fmt: skip
    if curve.goal is not None:
        axes.axhline(curve.goal[0], color="0.4", linestyle="--", linewidth=1, label=curve.goal[1])
    axes.set_yscale("log")
    axes.set_xticks(orders, [size_of(order) for order in orders])
    axes.set_xlabel("size of the new table (grown from half of it)")
    axes.set_ylabel(curve.label)
    axes.set_title(f"{curve.title}, {_conditions(results)}")
    axes.grid(visible=True, which="major", alpha=0.3)
    axes.legend()
    return figure


def _inserts(results: Results) -> Figure | None:
    found = {mode: results.summary("inserts_percent", mode) for mode in MODES}
    known = {mode: one.median for mode, one in found.items() if one is not None}
    if not known:
        return None
    figure = _figure()
    axes = figure.add_subplot()
    bars = axes.bar(list(known), list(known.values()), color=[_COLOURS[mode] for mode in known])
    axes.bar_label(bars, fmt="%.1f%%")
    axes.set_ylabel("of the pages of the working set, percent")
    axes.set_title(INSERTS)
    return figure


def _conditions(results: Results) -> str:
    options = results.options
    return (
        f"{options['few']:,} bolted entries\n"
        f"median and spread of {options['rounds']} rounds"
    )
