# SPDX-License-Identifier: GPL-2.0-or-later
"""A program in the guest that works on memory while its table is resized."""

from __future__ import annotations

import logging
import re
import time

from hptresize.base.errors import MachineError
from hptresize.machine.agent import Job
from hptresize.machine.vm import Machine

log = logging.getLogger(__name__)


class MemoryLoad:
    """The program in the guest that writes and verifies memory all the time."""

    _PASS = re.compile(r"pass (\d+) wrong (\d+)")

    def __init__(self, machine: Machine, megabytes: int, threads: int) -> None:
        self.job: Job = machine.start_command(
            "memload", "--mb", str(megabytes), "--threads", str(threads)
        )
        self.passes = 0
        self.wrong = 0

    def _read(self, line: str) -> None:
        if (got := self._PASS.match(line)) is not None:
            self.passes, self.wrong = int(got[1]), int(got[2])

    def wait_passes(self, count: int, timeout: float = 120.0) -> int:
        """Wait until so many passes have begun and ended since now.

        :returns: how many it were.
        :raises GuestHung, GuestPanicked, QemuDied, MachineError: they did not.
        """
        for line in self.job.stdout.decode(errors="replace").splitlines():
            self._read(line)
        # The pass under way began before now: it does not count.
        start = self.passes + 1
        deadline = time.monotonic() + timeout
        while self.passes < start + count:
            try:
                self._read(self.job.line(max(0.1, deadline - time.monotonic())))
            except EOFError as err:
                raise MachineError("the memory check in the guest ended by itself") from err
        return self.passes - start

    def finish(self) -> None:
        """End it; its last word counts too.

        :raises MachineError: it has no last word.
        """
        self.job.kill()
        done = self.job.wait(60.0)
        match = re.search(r"^done passes \d+ wrong (\d+)", done.text, re.MULTILINE)
        if match is None:
            said = (done.stderr or done.stdout).decode(errors="replace").strip()[-300:]
            raise MachineError(f"the memory check ended with status {done.status}: {said}")
        self.wrong = max(self.wrong, int(match[1]))
        if self.wrong:
            log.error("memory was wrong: %s", done.stderr.decode(errors="replace").strip())
