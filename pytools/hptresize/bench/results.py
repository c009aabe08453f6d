# SPDX-License-Identifier: GPL-2.0-or-later
"""Samples as they were measured, and the numbers that are made of them."""

from __future__ import annotations

import dataclasses
import json
import os
import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, get_args

from hptresize.base.errors import UsageError

SCHEMA = 1
"""Version of the JSON; a program that reads it should refuse any other."""

Mode = Literal["mainline", "rehash", "mirror"]
MODES: tuple[Mode, ...] = get_args(Mode)


@dataclasses.dataclass(frozen=True)
class Sample:
    """One measurement.

    :ivar metric: what was measured; the end of the name is the unit (_us, _mb, _per_s).
    :ivar case: which variant of it, such as "8192 bolted".
    :ivar order: log2 of the bytes of the table that it led to, None where there is none.
    :ivar load: the host's load average of the last minute, then.
    """

    metric: str
    mode: Mode
    round: int
    value: float
    case: str = ""
    order: int | None = None
    load: float = dataclasses.field(default_factory=lambda: os.getloadavg()[0])


@dataclasses.dataclass(frozen=True)
class Summary:
    """What several samples come to."""

    median: float
    low: float
    high: float
    count: int

    @classmethod
    def of(cls, values: Iterable[float]) -> Summary | None:
        """Return the summary of some values, None if there are none."""
        found = list(values)
        if not found:
            return None
        return cls(statistics.median(found), min(found), max(found), len(found))


@dataclasses.dataclass
class Results:
    """All that a run of the benchmark found.

    :ivar host: the machine that it ran on.
    :ivar options: what was asked for.
    :ivar qemu: for each mode the version of its QEMU and the options it got.
    :ivar missing: modes that could not run, and why.
    :ivar problems: what went wrong, one line each; the other samples are good.
    """

    host: dict[str, Any]
    options: dict[str, Any]
    qemu: dict[str, dict[str, str]] = dataclasses.field(default_factory=dict)
    missing: dict[str, str] = dataclasses.field(default_factory=dict)
    problems: list[str] = dataclasses.field(default_factory=list)
    samples: list[Sample] = dataclasses.field(default_factory=list)
    seconds: float = 0.0

    def values(
        self, metric: str, mode: Mode, *, case: str | None = None, order: int | None = None
    ) -> list[float]:
        """Return all values of a metric in the order they came; None takes any case or order."""
        return [
            one.value
            for one in self.samples
            if (one.metric, one.mode) == (metric, mode)
            and case in (None, one.case)
            and order in (None, one.order)
        ]

    def summary(
        self, metric: str, mode: Mode, *, case: str | None = None, order: int | None = None
    ) -> Summary | None:
        """Return the summary of those values."""
        return Summary.of(self.values(metric, mode, case=case, order=order))

    def orders(self, metric: str, case: str | None = None) -> list[int]:
        """Return the orders at which a metric was measured, smallest first."""
        found = {
            one.order
            for one in self.samples
            if one.metric == metric and case in (None, one.case) and one.order is not None
        }
        return sorted(found)

    def load(self) -> Summary | None:
        """Return the host's load average over the run."""
        return Summary.of(one.load for one in self.samples)

    def as_json(self, rows: list[dict[str, Any]]) -> str:
        """Return all of it for programs, with the rows that were made of it."""
        data = {"schema": SCHEMA} | dataclasses.asdict(self) | {"rows": rows}
        load = self.load()
        data["load"] = None if load is None else dataclasses.asdict(load)
        return json.dumps(data, indent=1) + "\n"


def load(path: Path) -> Results:
    """Read what a run has written.

    :param path: its bench.json.
    :raises UsageError: it is none, or of another version.
    """
    try:
        data = json.loads(path.read_text())
        if data["schema"] != SCHEMA:
            raise UsageError(f"{path} has schema {data['schema']}, not {SCHEMA}")
        names = [field.name for field in dataclasses.fields(Results)]
        found = Results(**{name: data[name] for name in names})
        found.samples = [Sample(**one) for one in data["samples"]]
    except (KeyError, TypeError, ValueError) as err:
        raise UsageError(f"{path} is not a result of the benchmark: {err!r}") from err
    return found
