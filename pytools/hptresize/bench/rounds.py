# SPDX-License-Identifier: GPL-2.0-or-later
"""Run all of it: round by round, and within a round one mode right after the other."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable

from hptresize.base import progress
from hptresize.base.errors import MachineError
from hptresize.base.hardware import describe_host
from hptresize.bench import measure_bare, measure_linux
from hptresize.bench.measure_bare import Record
from hptresize.bench.plan import Contestant, Parts, Plan, contestants
from hptresize.bench.results import Results, Sample

log = logging.getLogger(__name__)

Measurement = Callable[[Contestant, Parts, Plan, Record], None]


def measurements(plan: Plan) -> dict[str, Measurement]:
    """Return what is to be measured, by a name for people."""
    found: dict[str, Measurement] = {
        "COMMIT against table size": measure_bare.measure_curve,
        "COMMIT with many bolted entries": measure_bare.measure_many,
        "inserts and removes": measure_bare.measure_churn,
        "Linux guest": measure_linux.measure_linux,
    }
    if plan.large_pages:
        found["Linux guest with 16 MB pages"] = measure_linux.measure_large_pages
    return found


@dataclasses.dataclass(frozen=True)
class _Task:
    round: int
    what: str
    measure: Measurement
    contestant: Contestant

    def __str__(self) -> str:
        return f"round {self.round + 1}, {self.what}, {self.contestant.mode}"


def run(parts: Parts, plan: Plan) -> Results:
    """Measure everything.

    :returns: the samples; what failed is in ``problems`` and the rest goes on.
    :raises QemuStartError: one of the QEMUs does not start at all.
    """
    begin = time.monotonic()
    results = Results(host=describe_host(), options=plan.as_options())
    found = contestants(parts, results)
    tasks = [
        _Task(number, what, measure, one)
        for number in range(plan.rounds)
        for what, measure in measurements(plan).items()
        for one in found
    ]
    with progress.step(f"measure {', '.join(one.mode for one in found)}") as step:
        for done, task in enumerate(tasks):
            step.update(done, len(tasks), str(task))
            _do(task, results, parts, plan)
    results.seconds = time.monotonic() - begin
    return results


def _do(task: _Task, results: Results, parts: Parts, plan: Plan) -> None:
    mode = task.contestant.mode

    def record(metric: str, value: float, *, case: str = "", order: int | None = None) -> None:
        sample = Sample(metric, mode, task.round, float(value), case, order)
        log.debug("bench: %s", sample)
        results.samples.append(sample)

    try:
        task.measure(task.contestant, parts, plan, record)
    except MachineError as err:
        log.warning("bench: %s: %s", task, err)
        results.problems.append(f"{task}: {err}")
