# SPDX-License-Identifier: GPL-2.0-or-later
"""Mainline and both our modes, measured in the same run as the cells: the benchmark, small."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hptresize.base import progress
from hptresize.bench import Parts, Plan, run
from hptresize.bench.payload import PROGRAM
from hptresize.bench.rows import make_rows
from hptresize.build.image import build_bare
from hptresize.machine.settings import parse_size
from hptresize.matrix.tasks import BASE_MB, RAM_TO_TABLE, STRUCT_PAGE_BYTES, TABLES

RESULT = "bench.json"
# Up to a table of 512 MB: mainline's pause shows how it grows, and all takes a minute.
LOW, TOP = 22, 29


@dataclass(frozen=True)
class Wanted:
    """What is to be measured, with what."""

    kernel: str
    initrd: str
    qemu: str
    mainline: str
    rounds: int = 1
    low: int = LOW
    top: int = TOP

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Wanted:
        """Return what :meth:`as_dict` told of."""
        return cls(**data)

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return asdict(self)

    @property
    def plan(self) -> Plan:
        """The benchmark's plan."""
        return Plan.quick(self.rounds, self.low, self.top)

    @property
    def memory_mb(self) -> int:
        """Memory of the host that it takes at most, megabytes."""
        ram = parse_size(self.plan.memory)
        return BASE_MB + ram * STRUCT_PAGE_BYTES // 65536 + TABLES * ram // RAM_TO_TABLE


class _Telling:
    """Progress of the benchmark as that of a cell."""

    def __init__(self, doing: Callable[[str], None]) -> None:
        self.doing = doing

    def begin(self, title: str) -> progress.RunningStep:
        self.doing(title)
        return self

    def update(self, done: float, total: float | None = None, text: str = "") -> None:
        self.doing(text)

    def end(self, step: progress.RunningStep, seconds: float, ok: bool) -> None:
        pass

    def say(self, text: str) -> None:
        self.doing(text)


def measure(wanted: Wanted, where: Path, doing: Callable[[str], None]) -> list[str]:
    """Measure, and leave the result as bench.json.

    :param where: the directory that gets it.
    :returns: what could not be measured.
    """
    progress.use(_Telling(doing))
    with tempfile.TemporaryDirectory(prefix="hptresize-") as scratch:
        parts = Parts(
            bench=build_bare(Path(scratch) / "bench.elf", PROGRAM),
            kernel=Path(wanted.kernel), initrd=Path(wanted.initrd),
            qemu=Path(wanted.qemu), mainline=Path(wanted.mainline),
        )  # fmt: skip
        results = run(parts, wanted.plan)
    rows = [row.as_dict() for row in make_rows(results)]
    (where / RESULT).write_text(results.as_json(rows))
    return results.problems
