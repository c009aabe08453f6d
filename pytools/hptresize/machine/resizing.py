# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest's hash page table: its order on both sides, and resizing it."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from typing import Any

from hptresize.base.errors import (
    MachineError,
    QmpError,
    ResizeRefused,
)
from hptresize.machine.agent import CompletedCommand
from hptresize.machine.running import RunningGuest

log = logging.getLogger(__name__)

HOOK = "/sys/kernel/mm/hpt/"
HOOK_DEBUGFS = "/sys/kernel/debug/powerpc/hpt_order"

# What the merged implementation logs; it has no other place for its times.
_STOCK_TIMES = re.compile(r"HPT resize to shift (\d+) complete \((\d+) ms / (\d+) ms\)")


@dataclass(frozen=True)
class ResizeResult:
    """One attempt to change the table.

    :param wanted: the order asked for, as it was written.
    :param before: the guest's order before, ``after`` likewise after.
    :param errno_name: "" if the write succeeded, else such as "ENOSPC".
    :param prepare_us: time of PREPARE as the kernel says it, None if it does not.
    :param commit_us: time the guest stood still, likewise.
    :param wall_us: of the whole write, by the guest's clock.
    :param host_before: the host's order before, None if it has no query-hpt.
    """

    wanted: str
    before: int
    after: int
    errno_name: str
    prepare_us: int | None
    commit_us: int | None
    wall_us: int
    host_before: int | None
    host_after: int | None

    @property
    def ok(self) -> bool:
        """Whether the write succeeded and both sides are where it led."""
        return not self.errno_name and str(self.after) == self.wanted and self.agreed

    @property
    def agreed(self) -> bool:
        """Whether guest and host, as far as it tells, name the same order."""
        return self.host_after in (None, self.after)


class Resizing(RunningGuest):
    """A guest whose hash page table can be resized."""

    def order_guest(self) -> int:
        """Log2 of the table's size in bytes, as the guest's kernel says it.

        :raises MachineError: the kernel has no hook to read it from.
        """
        for path in (HOOK + "order", HOOK_DEBUGFS):
            done = self.agent.run(["cat", path], timeout=30.0)
            if done.status == 0:
                return int(done.text)
        raise MachineError(
            "the guest's kernel has no hook for its hash page table",
            hint="a kernel without the series, or a hypervisor that does not offer resizing",
        )

    def hpt(self, name: str) -> str:
        """The value of a file of the hook, such as "state".

        :raises CommandFailed: there is no such file.
        """
        return self.run("cat", HOOK + name).text

    def order_host(self) -> int | None:
        """Log2 of the table's size as QEMU says it; None if this QEMU cannot."""
        answer = self.query_hpt()
        return None if answer is None else int(answer["order"])

    def query_hpt(self) -> dict[str, Any] | None:
        """The host's view of the table (QMP query-hpt); None if this QEMU has no such command."""
        try:
            answer = self.qmp("query-hpt")
        except QmpError as error:
            if error.error_class == "CommandNotFound":
                return None
            raise
        return dict(answer)

    def try_resize(self, order: int | str, *, timeout: float = 120.0) -> ResizeResult:
        """Ask the guest to resize its table and tell what came of it.

        :param order: log2 of the bytes; a string is passed to the kernel as it is.
        :param timeout: seconds for the whole of it.
        :raises GuestPanicked, GuestHung, QemuDied: there was no answer.
        :raises MachineError: the kernel has no hook.
        """
        start = len(self.console.text)
        host_before = self.order_host()
        done = self.agent.run(["resize", str(order)], timeout=timeout)
        host_after = self.order_host()
        return self.resize_result(done, str(order), host_before, host_after, start)

    def resize_result(
        self,
        done: CompletedCommand,
        wanted: str,
        host_before: int | None,
        host_after: int | None,
        console_start: int = 0,
    ) -> ResizeResult:
        """Read what the guest's ``resize`` printed.

        :param console_start: where in the console to look for a stock kernel's times.
        :raises MachineError: it printed something else.
        """
        try:
            said = dict(word.split("=", 1) for word in done.text.split())
            before, after = int(said["before"]), int(said["after"])
            prepare, commit = int(said["last_prepare_us"]), int(said["last_commit_us"])
            wall, error = int(said["wall_us"]), said["errno"]
        except (KeyError, ValueError):
            raise MachineError(f"`resize {wanted}` in the guest said {done.text!r}") from None
        if before < 0:
            raise MachineError("the guest's kernel has no hook for its hash page table")
        if prepare < 0 and error == "0":
            prepare, commit = self._stock_times(after, console_start)
        return ResizeResult(
            wanted=wanted,
            before=before,
            after=after,
            errno_name="" if error == "0" else error,
            prepare_us=None if prepare < 0 else prepare,
            commit_us=None if commit < 0 else commit,
            wall_us=wall,
            host_before=host_before,
            host_after=host_after,
        )

    def _stock_times(self, order: int, start: int) -> tuple[int, int]:
        """Times of the last resize as a stock kernel logged them, -1 if it did not."""
        for shift, prepare, commit in reversed(_STOCK_TIMES.findall(self.console.text[start:])):
            if int(shift) == order:
                return int(prepare) * 1000, int(commit) * 1000
        return -1, -1

    def resize(self, order: int, *, timeout: float = 120.0) -> ResizeResult:
        """Resize the guest's table.

        :param order: log2 of the bytes.
        :param timeout: seconds for the whole of it.
        :raises ResizeRefused: the kernel said no; ``errno_name`` says why.
        :raises MachineError: guest and host do not agree afterwards.
        :raises GuestPanicked, GuestHung, QemuDied: there was no answer.
        """
        result = self.try_resize(order, timeout=timeout)
        if result.errno_name:
            text = f"the guest could not resize from {result.before} to {order}"
            raise ResizeRefused(
                f"{text}: {result.errno_name}",
                status=1,
                errno_name=result.errno_name,
                console=self.console.tail(),
            )
        if not result.ok:
            text = f"after a resize to {order} the guest says {result.after}"
            raise MachineError(f"{text}, the host {result.host_after}")
        log.info("machine: order %d to %d, %d us", result.before, result.after, result.wall_us)
        return result
