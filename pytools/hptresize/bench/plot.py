# SPDX-License-Identifier: GPL-2.0-or-later
"""Draw the pause against the size of the table."""

from __future__ import annotations

from pathlib import Path

from hptresize.errors import ToolMissing

from .results import MODES, Mode, Results, Summary
from .rows import size_of

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


def draw(results: Results, directory: Path) -> list[Path]:
    """Draw COMMIT against the size of the table for each mode.

    :param directory: gets pause.svg and pause.png.
    :returns: the files; none if no COMMIT was measured.
    :raises ToolMissing: no matplotlib.
    """
    check()
    orders = results.orders("commit_us", "few")
    if not orders:
        return []
    import matplotlib as mpl  # noqa: PLC0415

    # The same bytes from the same samples: no random ids, no date.
    with mpl.rc_context({"svg.hashsalt": "hptresize", "svg.fonttype": "none"}):
        return _draw(results, orders, directory)


def _draw(results: Results, orders: list[int], directory: Path) -> list[Path]:
    # Figure alone, without pyplot: no display, no state.
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot()
    for mode in MODES:
        known: dict[int, Summary] = {}
        for order in orders:
            summary = results.summary("commit_us", mode, case="few", order=order)
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
    axes.axhline(
        GOAL_US, color="0.4", linestyle="--", linewidth=1, label="goal of mirror, 1 to 2 GB"
    )
    axes.set_yscale("log")
    axes.set_xticks(orders, [size_of(order) for order in orders])
    axes.set_xlabel("size of the new table (grown from half of it)")
    axes.set_ylabel("H_RESIZE_HPT_COMMIT, microseconds")
    axes.set_title(_title(results))
    axes.grid(visible=True, which="major", alpha=0.3)
    axes.legend()
    files = [directory / "pause.svg", directory / "pause.png"]
    figure.savefig(files[0], metadata={"Date": None})
    figure.savefig(files[1], dpi=120)
    return files


def _title(results: Results) -> str:
    options = results.options
    return (
        f"COMMIT as a bare guest times it, {options['few']:,} bolted entries\n"
        f"median and spread of {options['rounds']} rounds"
    )
