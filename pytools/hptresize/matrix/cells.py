# SPDX-License-Identifier: GPL-2.0-or-later
"""The cells as tests: what pytest collects when ``hptresize matrix run`` starts it."""

from __future__ import annotations

from hptresize.matrix.plugin import ClusterRunner, Runner


def test_cell(runner: Runner | ClusterRunner, cell: str) -> None:
    """Run a cell; its failure is the test's."""
    runner.run(cell)


def test_side_by_side(runner: Runner, measure: str) -> None:
    """Measure mainline and ours on this machine, in this run."""
    runner.measure()
