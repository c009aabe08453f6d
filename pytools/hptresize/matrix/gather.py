# SPDX-License-Identifier: GPL-2.0-or-later
"""Run the tasks of a matrix through pytest and gather what comes of them."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from hptresize.base.errors import UsageError
from hptresize.base.hardware import describe_host
from hptresize.matrix import hub, verdict
from hptresize.matrix.declaration import Cell
from hptresize.matrix.live import Board
from hptresize.matrix.plugin import EVENT, MEASURE
from hptresize.matrix.runner import CELLS, ERROR
from hptresize.matrix.side_by_side import Wanted
from hptresize.matrix.tasks import PLAN, Limits, Task
from hptresize.matrix.verdict import CellOutcome

RESULT = "matrix.json"
SCHEMA = 1
JUNIT = "junit.xml"
# More than every wait of a cell together takes on a busy machine; only what hangs in
# our own code is ended by it.
CELL_LIMIT_S = 1200

EXPECTED = (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.INTERRUPTED)

_PARAMETER = re.compile(r"\[(.*)\](?:@\w+)?$")


@dataclass
class MatrixResult:
    """What a run found.

    :ivar title: what was asked for, in words.
    :ivar host: the machine that it ran on.
    :ivar ended_by: number of the signal that ended it early, None: nothing did.
    :ivar problems: what went wrong beside the cells, one line each.
    """

    title: str
    started: str
    host: dict[str, Any]
    limits: Limits
    cells: list[CellOutcome] = field(default_factory=list)
    seconds: float = 0.0
    ended_by: int | None = None
    problems: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, data: dict[str, Any]) -> MatrixResult:
        """Return what dataclasses.asdict() made of a result."""
        cells = [CellOutcome(**one) for one in data["cells"]]
        return cls(**data | {"cells": cells, "limits": Limits(**data["limits"])})

    @property
    def bad(self) -> list[CellOutcome]:
        """The cells that did not do what was expected of them."""
        return [one for one in self.cells if one.status in verdict.BAD]

    def as_json(self) -> str:
        """Return it for programs."""
        counts = verdict.count(self.cells)
        return json.dumps({"schema": SCHEMA} | asdict(self) | {"counts": counts}, indent=1) + "\n"


def load(where: Path) -> MatrixResult:
    """Read the result of a run.

    :param where: its directory.
    :raises UsageError: there is none.
    """
    path = where / RESULT
    try:
        data = json.loads(path.read_text())
        if data.pop("schema") != SCHEMA:
            raise UsageError(f"{path} is of another version")
        del data["counts"]
        return MatrixResult.of(data)
    except OSError as err:
        hint = "run `hptresize matrix run` first"
        raise UsageError(f"{path}: {err.strerror}", hint=hint) from err
    except (KeyError, TypeError, ValueError) as err:
        raise UsageError(f"{path} is not the result of a matrix: {err!r}") from err


@dataclass(frozen=True)
class RunRequest:
    """What is to be run.

    :ivar cells: all of them; those that are skipped have no task.
    :ivar measure: what is measured side by side, None: nothing.
    :ivar first_failure: whether to stop there.
    :ivar title: see :class:`MatrixResult`.
    :ivar cluster: who runs the cells, by the address of its scheduler; None: we do.
    """

    where: Path
    cells: Sequence[Cell]
    tasks: Sequence[Task]
    limits: Limits
    measure: Wanted | None = None
    first_failure: bool = False
    title: str = ""
    cluster: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return what the workers have to know, for JSON."""
        return {
            "tasks": [task.as_dict() for task in self.tasks],
            "skipped": {cell.id: cell.skip for cell in self.cells if cell.skip},
            "limits": asdict(self.limits),
            "measure": self.measure.as_dict() if self.measure else None,
        }


class _Gatherer:
    """A pytest plugin in the process that we are: sees each test's end."""

    def __init__(self, job: RunRequest, board: Board, workers: hub.Hub) -> None:
        self.job = job
        self.board = board
        self.workers = workers
        self.done: dict[str, CellOutcome] = {}
        self.problems: list[str] = []
        self._values = {cell.id: dict(cell.values) for cell in job.cells}

    def pytest_configure(self, config: pytest.Config) -> None:
        config.stash[EVENT] = self.board.event

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when not in ("call", "???") and not report.failed:
            return
        found = _PARAMETER.search(report.nodeid)
        name = found[1] if found else report.nodeid
        if name == MEASURE:
            self.board.ended(name, "fail" if report.failed else "pass", report.duration, "")
            if report.failed:
                self.problems.append(f"{name}: {_line_of(report)}")
        elif name in self._values and name not in self.done:
            self.done[name] = self._outcome(name, report)
            self.board.show(self.done[name])
        elif report.failed:
            self.problems.append(f"{name}, {report.when}: {_line_of(report)}")

    def _outcome(self, name: str, report: pytest.TestReport) -> CellOutcome:
        directory = self.job.where / CELLS / name
        known = verdict.read(directory)
        if known is not None and (not report.failed or known.status in verdict.BAD):
            return known
        # The worker came to its end with the cell, or pytest ended the cell; or something
        # failed when the cell itself had passed.
        how = "worker died" if known is None else ERROR
        made = CellOutcome(
            name, self._values[name], "fail", how, _line_of(report),
            seconds=report.duration, directory=f"{CELLS}/{name}",
        )  # fmt: skip
        directory.mkdir(parents=True, exist_ok=True)
        made.write(directory)
        return made

    def pytest_keyboard_interrupt(self) -> None:
        """Before pytest waits for the workers to end by themselves."""
        self.workers.kill_workers()


def _line_of(report: pytest.TestReport) -> str:
    text = report.longreprtext.strip().splitlines()
    return text[-1].removeprefix("E ").strip() if text else "it failed without a word"


def run(job: RunRequest, console: Console, before: MatrixResult | None = None) -> MatrixResult:
    """Run the tasks; what comes of them is in the directory as well (matrix.json).

    :param before: a result of which those cells that are not in the job stay.
    :returns: the outcomes of all cells, of those not come to as well.
    """
    begin = time.monotonic()
    result = MatrixResult(
        job.title, time.strftime("%Y-%m-%dT%H:%M:%S%z"), describe_host(), job.limits
    )
    _prepare(job, fresh=before is None)
    with (
        tempfile.TemporaryDirectory(prefix="hptresize-") as short,
        Board(console, len(job.tasks)) as board,
        hub.Hub(Path(short) / "hub", job.limits, board.event) as workers,
        _as_interrupts() as signals,
    ):
        gatherer = _Gatherer(job, board, workers)
        status = _pytest(job, Path(short), gatherer)
    result.ended_by = signals[0] if signals else None
    result.problems = gatherer.problems
    if status not in EXPECTED:
        result.problems.append(f"pytest ended with status {status}: see {job.where / 'pytest.log'}")
    result.cells = _merge(job, gatherer.done, before)
    if not (signals or job.first_failure) and (lost := verdict.count(result.cells).get("unrun")):
        result.problems.append(f"{lost} cells were not run: see {job.where / 'pytest.log'}")
    result.seconds = time.monotonic() - begin
    (job.where / RESULT).write_text(result.as_json())
    return result


def _prepare(job: RunRequest, *, fresh: bool) -> None:
    """Make the directory ready; what an earlier run left of cells must not count for this one."""
    job.where.mkdir(parents=True, exist_ok=True)
    ours = (job.where / PLAN).is_file()
    if fresh and ours:
        shutil.rmtree(job.where / CELLS, ignore_errors=True)
    for task in job.tasks:
        (job.where / CELLS / task.id / verdict.FILE).unlink(missing_ok=True)
    (job.where / PLAN).write_text(json.dumps(job.as_dict(), indent=1) + "\n")
    (job.where / "pytest.ini").write_text(
        f"[pytest]\njunit_family = xunit2\njunit_suite_name = hptresize-matrix\n"
        f"timeout = {CELL_LIMIT_S}\n"
    )


def _merge(
    job: RunRequest, done: dict[str, CellOutcome], before: MatrixResult | None
) -> list[CellOutcome]:
    def of(cell: Cell) -> CellOutcome:
        if cell.skip:
            return CellOutcome(cell.id, dict(cell.values), "skip", what=cell.skip)
        return done.get(cell.id) or CellOutcome(cell.id, dict(cell.values), "unrun")

    now = {cell.id: of(cell) for cell in job.cells}
    if before is None:
        return list(now.values())
    return [now.pop(one.id, one) for one in before.cells] + list(now.values())


@contextlib.contextmanager
def _as_interrupts() -> Iterator[list[int]]:
    """Have pytest unwind in order for whatever signal is to end us; tells which one."""
    came: list[int] = []

    def interrupt(number: int, frame: object) -> None:
        came.append(number)
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield came
        return
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    old = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield came
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def _pytest(job: RunRequest, short: Path, gatherer: _Gatherer) -> int:
    for name in [one for one in os.environ if one.startswith("PYTEST_")]:
        del os.environ[name]  # an outer pytest's, if we are one of its tests
    words = [
        "-p", "hptresize.matrix.plugin", "-c", str(job.where / "pytest.ini"),
        f"--rootdir={job.where}", "-p", "no:cacheprovider", "-s", "-q", "--tb=short",
        f"--junitxml={job.where / JUNIT}", f"--matrix={job.where}",
        f"--matrix-hub={short / 'hub'}",
        *(
            [f"--numprocesses={workers(job)}", "--dist=worksteal"] if job.cluster is None
            else [f"--matrix-cluster={job.cluster}"]
        ),
        *(["-x"] if job.first_failure else []), str(Path(__file__).with_name("cells.py")),
    ]  # fmt: skip
    with (job.where / "pytest.log").open("w") as out, contextlib.redirect_stdout(out):
        return int(pytest.main(words, plugins=[gatherer]))


def workers(job: RunRequest) -> int:
    """How many processes run cells: as many as could find room at once."""
    return max(1, min(job.limits.cpus, len(job.tasks)))
