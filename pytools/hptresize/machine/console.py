# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest's console: everything it printed, and what that says about it."""

from __future__ import annotations

import codecs
import re
from pathlib import Path

from hptresize.base.errors import ConsoleBug
from hptresize.machine import outcome
from hptresize.machine.watch import Watch


class Console:
    """Text of the guest's console as it comes; nothing is lost, nothing is asked for.

    :param log: a file that gets a copy, or None.
    """

    def __init__(self, watch: Watch, log: Path | None = None) -> None:
        self._watch = watch
        self._decode = codecs.getincrementaldecoder("utf-8")(errors="replace").decode
        self._file = log.open("wb") if log is not None else None
        self._line = ""
        self.ignored: set[str] = set()

    @property
    def text(self) -> str:
        """Everything printed so far."""
        return self._watch.console

    def tail(self, lines: int = 15) -> str:
        """The last lines that are not empty."""
        return outcome.tail(self.text, lines)

    def feed(self, data: bytes) -> None:
        """Take bytes from the guest (called by the thread that reads them)."""
        if self._file is not None:
            self._file.write(data)
            self._file.flush()
        text = self._decode(data).replace("\r", "")
        *lines, rest = (self._line + text).split("\n")
        self._line = rest
        with self._watch.update():
            self._watch.console += text
            if any(outcome.is_fatal(line) for line in lines):
                self._watch.panicked = True

    def close(self) -> None:
        """Close the copy."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def wait_for(self, pattern: str, timeout: float, *, start: int = 0) -> re.Match[str]:
        """Wait for a regular expression in the text from position ``start`` on.

        :param timeout: seconds.
        :raises GuestHung, GuestPanicked, QemuDied: it did not come.
        """
        regex = re.compile(pattern, re.MULTILINE)
        found: list[re.Match[str]] = []

        def ready() -> bool:
            match = regex.search(self._watch.console, start)
            found[:] = [match] if match else []
            return bool(found)

        self._watch.wait(ready, timeout, f"{pattern!r} on the console")
        return found[0]

    def bugs(self) -> list[outcome.Finding]:
        """Lines that say that the kernel has a bug, without those to be ignored."""
        return [f for f in outcome.find_bugs(self.text) if f.pattern.name not in self.ignored]

    def check(self) -> None:
        """Raise if the console holds a pattern of a kernel bug.

        :raises ConsoleBug: names the first such line and counts the rest.
        """
        found = self.bugs()
        if not found:
            return
        first = found[0]
        text = f"{first.pattern.name} on the guest's console, line {first.number}: {first.line}"
        if len(found) > 1:
            text += f" (and {len(found) - 1} more)"
        around = outcome.around(self.text, first.number)
        error = ConsoleBug(text, console=around, log=self._watch.log)
        error.add_note("the guest's console there:\n" + around)
        raise error
