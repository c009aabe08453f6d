# SPDX-License-Identifier: GPL-2.0-or-later
"""The pytest plugin that makes tests of cells and shares the machine among them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hptresize.matrix import hub, side_by_side, verdict
from hptresize.matrix.runner import CELLS, run_cell
from hptresize.matrix.tasks import PLAN, Limits, Task

if TYPE_CHECKING:
    from hptresize.matrix.cluster import Cluster

# The side-by-side measurement is no cell, but an item and a line of progress.
MEASURE = "side by side"
EVENT = pytest.StashKey[hub.Event]()
"""Where cells that a cluster runs tell what they do."""


class Runner:
    """Runs cells of a plan.

    :param where: the directory of the run, which holds the plan.
    :param socket: of the hub.
    """

    def __init__(self, where: Path, socket: Path) -> None:
        self.where = where
        self.socket = socket
        self.plan = json.loads((where / PLAN).read_text())
        self.tasks = {one.id: one for one in map(Task.of, self.plan["tasks"])}

    def run(self, name: str) -> None:
        """Run a cell when there is room; its outcome is pytest's."""
        task = self.tasks[name]
        want = Limits(task.threads, task.memory_mb)
        with hub.room(self.socket, name, want) as doing:
            done = run_cell(task, self.where / CELLS / name, doing)
        judge(done)

    def measure(self) -> None:
        """Measure side by side, with the machine to itself."""
        plan = side_by_side.Wanted.of(self.plan["measure"])
        want = Limits(self.plan["limits"]["cpus"], plan.memory_mb)
        with hub.room(self.socket, MEASURE, want) as doing:
            problems = side_by_side.measure(plan, self.where, doing)
        if problems:
            pytest.fail("; ".join(problems), pytrace=False)


class ClusterRunner:
    """Has a cluster run the cells of a plan.

    :param where: the directory of the run, which holds the plan.
    """

    def __init__(self, where: Path, cluster: Cluster) -> None:
        self.where = where
        self.cluster = cluster

    def run(self, name: str) -> None:
        """Wait for a cell; its outcome is pytest's."""
        judge(self.cluster.fetch(name, self.where / CELLS))


def judge(done: verdict.CellOutcome) -> None:
    """Turn the outcome of a cell into that of a test."""
    if done.status == "xfail":
        pytest.xfail(done.what)
    if done.status in verdict.BAD:
        pytest.fail(f"{done.how}: {done.what}" if done.how else done.what, pytrace=False)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options by which ``hptresize matrix run`` says what is to be done."""
    group = parser.getgroup("hptresize matrix")
    group.addoption("--matrix", type=Path, metavar="DIR", help="directory of the run")
    group.addoption("--matrix-hub", type=Path, metavar="SOCKET", help="who shares the machine")
    group.addoption("--matrix-cluster", metavar="ADDRESS", help="who runs the cells instead")


@pytest.fixture(scope="session")
def runner(pytestconfig: pytest.Config) -> Iterator[Runner | ClusterRunner]:
    """What runs the cells."""
    local = Runner(pytestconfig.getoption("matrix"), pytestconfig.getoption("matrix_hub"))
    address = pytestconfig.getoption("matrix_cluster")
    if address is None:
        yield local
        return
    from hptresize.matrix.cluster import connected  # noqa: PLC0415 (a package of its own that may not be there)

    limits, tasks = Limits(**local.plan["limits"]), list(local.tasks.values())
    with connected(address, limits, tasks, pytestconfig.stash[EVENT]) as cluster:
        yield ClusterRunner(local.where, cluster)


def _id_of(task: dict[str, Any]) -> str:
    return Task.of(task).id


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each cell of the plan."""
    plan = json.loads((metafunc.config.getoption("matrix") / PLAN).read_text())
    if "cell" in metafunc.fixturenames:
        skipped = [
            pytest.param(name, marks=pytest.mark.skip(reason=why))
            for name, why in plan["skipped"].items()
        ]
        metafunc.parametrize("cell", [*map(_id_of, plan["tasks"]), *skipped])
    if "measure" in metafunc.fixturenames:
        metafunc.parametrize("measure", [MEASURE] if plan["measure"] else [])
