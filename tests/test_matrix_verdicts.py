# SPDX-License-Identifier: GPL-2.0-or-later
"""What becomes of a cell that fails where nobody looked for a failure."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
from rich.console import Console

from hptresize.base.errors import ConsoleBug, GuestPanicked
from hptresize.matrix import declaration, gather, runner, scenarios, soak, verdict
from hptresize.matrix.declaration import Cell
from hptresize.matrix.live import Board
from hptresize.matrix.tasks import Limits, Task


@pytest.fixture
def cell() -> Cell:
    return declaration.load().cells("smoke")[0]


def report(name: str, when: str, status: str) -> pytest.TestReport:
    return pytest.TestReport(
        f"cells.py::test_cell[{name}]", ("cells.py", 1, ""), {}, status, "E  it broke", when
    )  # type: ignore[call-arg,arg-type]


@pytest.mark.parametrize(
    ("error", "status"), [(GuestPanicked("it panicked"), "xfail"), (TypeError("a typo"), "fail")]
)
def test_a_defect_of_ours_is_not_the_failure_expected(
    cell: Cell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, status: str
) -> None:
    def guest(*what: object) -> None:
        raise error

    monkeypatch.setattr(runner, "Guest", guest)
    monkeypatch.setattr(runner, "command_line", lambda task: "")
    fails = Cell(cell.values, fails="the guest panics")
    task = Task(fails, tmp_path, tmp_path, tmp_path, None)
    assert runner.run_cell(task, tmp_path / "cell", lambda what: None).status == status


@pytest.mark.parametrize("migrate", [scenarios.migration, soak.Soak._migrate])
def test_the_source_of_a_migration_is_looked_at(
    monkeypatch: pytest.MonkeyPatch, migrate: Callable[[Any], None]
) -> None:
    """Its console, which nobody reads afterwards, and how its QEMU ended."""
    monkeypatch.setattr(scenarios, "Machine", MagicMock())
    guest = MagicMock(dimms=[])
    guest.machine.power_off.side_effect = ConsoleBug("it warned")
    with pytest.raises(ConsoleBug, match="it warned"):
        migrate(guest)


@pytest.fixture
def gatherer(cell: Cell, tmp_path: Path) -> gather._Gatherer:
    job = gather.RunRequest(tmp_path, [cell], [], Limits(1, 100))
    nobody: Any = None
    return gather._Gatherer(job, Board(Console(quiet=True), 1), nobody)


@pytest.mark.parametrize(
    ("kept", "status"), [("pass", "fail"), ("xfail", "fail"), ("xpass", "xpass"), (None, "fail")]
)
def test_a_failure_after_the_cell_counts(
    gatherer: gather._Gatherer, cell: Cell, tmp_path: Path, kept: verdict.Status | None,
    status: str,
) -> None:  # fmt: skip
    where = tmp_path / runner.CELLS / cell.id
    if kept is not None:
        where.mkdir(parents=True)
        verdict.CellOutcome(cell.id, dict(cell.values), kept).write(where)
    gatherer.pytest_runtest_logreport(report(cell.id, "call", "failed"))
    assert gatherer.done[cell.id].status == status
    found = verdict.read(where)
    assert found is not None
    assert found.status == status


def test_a_failure_on_the_way_out_counts(gatherer: gather._Gatherer, cell: Cell) -> None:
    gatherer.pytest_runtest_logreport(report(cell.id, "call", "passed"))
    gatherer.pytest_runtest_logreport(report(cell.id, "teardown", "failed"))
    assert gatherer.problems == [f"{cell.id}, teardown: it broke"]
