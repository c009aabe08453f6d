# SPDX-License-Identifier: GPL-2.0-or-later
"""The bare guest that measures, as an object (its program is guest/bare/bench.c)."""

from __future__ import annotations

import enum
import time
from dataclasses import dataclass
from pathlib import Path

from hptresize.base.errors import MachineError
from hptresize.machine import Answer, BareGuest
from hptresize.machine.hpt import H_RESIZE_HPT_COMMIT, H_RESIZE_HPT_PREPARE, HcallStatus, hash_mask

PROGRAM = "bench.c"

# Of every pseries machine, whatever the host's clock.
TICKS_PER_US = 512
POLL_US = 500
"""Pause between two PREPAREs: what our kernel's first pauses are."""


# A thread of QEMU's frees memory: no event tells when, so the size is polled.
SETTLE_S, SETTLE_POLL_S = 2.0, 0.05
SETTLED_POLLS = 6


class _Op(enum.IntEnum):
    FILL = 1
    PRESENT = 3
    PREPARE = 5
    CHURN = 7


@dataclass(frozen=True)
class Timed:
    """Something the guest did, and the microseconds it took by the guest's timebase."""

    value: int
    us: float


def _timed(answer: Answer) -> Timed:
    return Timed(int(answer.result), answer.values[3] / TICKS_PER_US)


class BenchGuest:
    """Measures in a running bare guest.

    :param guest: runs the program ``bench.c``.
    """

    def __init__(self, guest: BareGuest) -> None:
        self.guest = guest

    def fill(self, first: int, count: int, order: int, *, bolted: bool) -> Timed:
        """Put entries first to first + count into a table of 2^order bytes.

        :returns: how long it took.
        :raises MachineError: one of them did not fit.
        """
        done = _timed(
            self.guest.hcall(_Op.FILL, first, count, hash_mask(order), int(bolted), timeout=120.0)
        )
        if done.value:
            raise MachineError(f"{done.value} of {count} entries could not be entered")
        return done

    def present(self, first: int, count: int, order: int) -> int:
        """Count the entries that are in slot 0 of the group their hash names."""
        return int(
            self.guest.hcall(_Op.PRESENT, first, count, hash_mask(order), timeout=120.0).result
        )

    def prepare_once(self, order: int) -> bool:
        """Call PREPARE once; returns whether the preparation still goes on."""
        result = self.guest.hcall(H_RESIZE_HPT_PREPARE, 0, order).result
        return isinstance(result, HcallStatus) and result.long_busy

    def prepare(self, order: int, *, limit_s: int = 100) -> Timed:
        """Call PREPARE until it succeeds; the value is the number of calls.

        :raises MachineError: it was refused, or is not done within ``limit_s`` seconds.
        """
        poll, limit = POLL_US * TICKS_PER_US, limit_s * 1_000_000 * TICKS_PER_US
        answer = self.guest.hcall(_Op.PREPARE, 0, order, poll, limit, timeout=limit_s + 20.0)
        if answer.result is not HcallStatus.H_SUCCESS:
            raise MachineError(f"PREPARE of order {order} gave {answer.result!r}")
        return Timed(answer.values[0], answer.values[3] / TICKS_PER_US)

    def commit(self, order: int) -> Timed:
        """Call COMMIT.

        :raises MachineError: it did not succeed.
        """
        answer = self.guest.hcall(H_RESIZE_HPT_COMMIT, 0, order, timeout=120.0)
        if answer.result is not HcallStatus.H_SUCCESS:
            raise MachineError(f"COMMIT of order {order} gave {answer.result!r}")
        return _timed(answer)

    def churn(self, first: int, count: int, order: int, ms: int) -> float:
        """Insert and remove entries, one after the other.

        :returns: pairs of H_ENTER and H_REMOVE a second.
        :raises MachineError: one of them failed.
        """
        ticks = ms * 1000 * TICKS_PER_US
        answer = self.guest.hcall(_Op.CHURN, first, count, hash_mask(order), ticks)
        if answer.values[0]:
            raise MachineError(f"{answer.values[0]} pairs of H_ENTER and H_REMOVE failed")
        return int(answer.result) / (answer.values[3] / TICKS_PER_US / 1e6)

    def host_commit_us(self) -> int | None:
        """Return the time of the last COMMIT as the host tells it, None if it does not."""
        known = {one["name"] for one in self.guest.qmp("query-commands")}
        if "query-hpt" not in known:
            return None
        return int(self.guest.qmp("query-hpt")["last-commit-us"])

    def resident_mb(self) -> float:
        """Return the memory of QEMU that is in RAM, megabytes."""
        return resident_mb(self.guest.qemu_pid)


def resident_mb(pid: int) -> float:
    """Return the memory of a process that is in RAM, megabytes.

    smaps_rollup counts pages; the counters in status lag behind by some for each thread.
    """
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Rss:"):
            return int(line.split()[1]) / 1024
    raise MachineError(f"/proc/{pid}/smaps_rollup has no Rss")


def settled_mb(pid: int) -> float:
    """Wait until a process's memory stays what it is, 2 s at most; returns megabytes."""
    deadline = time.monotonic() + SETTLE_S
    known, same = resident_mb(pid), 0
    while same < SETTLED_POLLS and time.monotonic() < deadline:
        time.sleep(SETTLE_POLL_S)
        now = resident_mb(pid)
        same = same + 1 if abs(now - known) < 0.5 else 0
        known = now
    return known
