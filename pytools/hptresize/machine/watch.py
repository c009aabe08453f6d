# SPDX-License-Identifier: GPL-2.0-or-later
"""One place to wait in: woken by whatever happens to the machine.

Console text, frames of the agent and QEMU's end all arrive in one thread and
notify one condition, so a waiter sees a panic or a dead QEMU at once, whatever
it was waiting for.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hptresize.base.errors import GuestHung, GuestPanicked, MachineError, QemuDied, QemuStartError
from hptresize.machine import outcome

# How long a panic may take to finish its report once it has begun it.
PANIC_REPORT_S = 1.5


class Watch:
    """State of a machine that several threads look at; guarded by ``changed``."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.console = ""
        self.panicked = False
        self.channel_error = ""
        self.qemu_exit: int | None = None
        self.qemu_stderr: Callable[[], str] = str
        self.started = False
        self.events: list[dict[str, Any]] = []
        self.log: Path | None = None

    @contextmanager
    def update(self) -> Iterator[None]:
        """Hold the lock to change something, then wake all waiters."""
        with self.changed:
            yield
            self.changed.notify_all()

    def forget_events(self) -> None:
        """Let only events count that come from now on."""
        with self.changed:
            self.events.clear()

    def wait(self, ready: Callable[[], bool], timeout: float, what: str) -> None:
        """Wait until ``ready()``.

        :param timeout: seconds.
        :param what: what is awaited, for the message.
        :raises GuestPanicked, QemuDied, QemuStartError: it cannot come any more.
        :raises GuestHung: it did not come in time.
        """
        with self.changed:
            self.changed.wait_for(lambda: ready() or self.in_trouble(), timeout)
            if ready():
                return
            if not self.in_trouble():
                text = f"{what}: not within {timeout:g} s, and the guest lives"
                raise self._error(GuestHung, text)
        raise self.trouble(what)

    def in_trouble(self) -> bool:
        """Whether nothing more is to be expected from the guest."""
        return self.panicked or self.qemu_exit is not None

    def trouble(self, what: str) -> MachineError:
        """The error that tells what happened while ``what`` was awaited."""
        with self.changed:
            if self.panicked:
                self.changed.wait_for(self._panic_told, PANIC_REPORT_S)
                found = outcome.find_bugs(self.console)[0]
                text = f"the guest panicked while waiting for {what}: {found.line}"
                return self._error(GuestPanicked, text, from_line=found.number)
            said = outcome.tail(self.qemu_stderr(), 5).replace("\n", " / ")
            how = describe_exit(self.qemu_exit)
            if not self.started:
                return self._error(QemuStartError, f"QEMU did not start: {how}: {said}")
            text = f"QEMU {how} while waiting for {what}" + (f": {said}" if said else "")
            return self._error(QemuDied, text)

    def _panic_told(self) -> bool:
        return self.qemu_exit is not None or outcome.panic_is_whole(self.console)

    def _error(
        self, kind: type[MachineError], text: str, *, from_line: int | None = None
    ) -> MachineError:
        """An error with the end of the console, or the part from a certain line on."""
        if from_line is None:
            shown = outcome.tail(self.console)
        else:
            shown = outcome.around(self.console, from_line)
        error = kind(text, console=shown, log=self.log)
        if shown:
            error.add_note("the guest's console:\n" + shown)
        return error


def describe_exit(status: int | None) -> str:
    """QEMU's end in words."""
    if status is None:
        return "still runs"
    if status < 0:
        return f"was ended by signal {-status}"
    return f"ended with status {status}"


class Deadline:
    """A point in time that several waits share.

    :param seconds: from now.
    """

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds that are left, at least 0."""
        return max(0.0, self._end - time.monotonic())
