# SPDX-License-Identifier: GPL-2.0-or-later
"""What became of a cell."""

from __future__ import annotations

import enum
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

Status = Literal["pass", "fail", "skip", "xfail", "xpass", "unrun"]
STATUSES: tuple[Status, ...] = get_args(Status)
BAD: tuple[Status, ...] = ("fail", "xpass")
FILE = "outcome.json"


class Failure(enum.Enum):
    """In which way a command failed, or the machine that was to run it."""

    COMMAND_FAILED = "command failed"
    KERNEL_BUG = "kernel bug"
    PANICKED = "guest panicked"
    HUNG = "guest hung"
    QEMU_DIED = "QEMU died"


@dataclass(frozen=True)
class CellOutcome:
    """What became of a cell.

    :ivar values: the cell's value on each axis.
    :ivar status: xfail failed as expected, xpass passed and was expected to fail;
        unrun was not come to.
    :ivar how: in which way it failed, by the words of Failure.
    :ivar what: why it failed or was skipped.
    :ivar steps: what the scenario saw, one after the other.
    :ivar notes: what is worth to be told and no failure.
    :ivar peak_mb: the most memory that QEMU took.
    :ivar directory: where its files are, relative to the report.
    """

    id: str
    values: dict[str, str]
    status: Status
    how: str = ""
    what: str = ""
    seconds: float = 0.0
    steps: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    peak_mb: float | None = None
    directory: str = ""
    kernel: str = ""
    qemu: str = ""

    def write(self, directory: Path) -> None:
        """Write it into the cell's directory; a reader sees all of it or nothing."""
        made = directory / f".{FILE}"
        made.write_text(json.dumps(asdict(self), indent=1) + "\n")
        made.rename(directory / FILE)


def read(directory: Path) -> CellOutcome | None:
    """Read a cell's outcome; None if there is none (yet)."""
    try:
        return CellOutcome(**json.loads((directory / FILE).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def count(outcomes: Iterable[CellOutcome]) -> dict[Status, int]:
    """How many there are of each status, those of which there are any."""
    found = [one.status for one in outcomes]
    return {status: found.count(status) for status in STATUSES if status in found}


def printable(text: str) -> str:
    """A text without what a guest may print and no report may hold: control characters."""
    kept = text.replace("\r", "")
    bad = "\N{REPLACEMENT CHARACTER}"
    return "".join(c if c.isprintable() or c in "\n\t" else bad for c in kept)
