# SPDX-License-Identifier: GPL-2.0-or-later
"""A QEMU with a guest in it: started, asked, and always shut down."""

from __future__ import annotations

import logging
import types
from typing import Any, Self

from hptresize.base.errors import (
    MachineError,
    QemuDied,
)
from hptresize.machine.agent import Agent, CompletedCommand, Job
from hptresize.machine.console import Console
from hptresize.machine.outcome import tail
from hptresize.machine.process import Qemu
from hptresize.machine.settings import MachineConfig
from hptresize.machine.watch import Deadline, Watch, describe_exit

log = logging.getLogger(__name__)


class RunningGuest:
    """What all guests have in common: they start, are asked, and end.

    See :class:`hptresize.machine.vm.Machine`.
    """

    def __init__(self, config: MachineConfig, *, start_timeout: float = 120.0) -> None:
        self.config = config
        self._start_timeout = start_timeout
        self._watch = Watch()
        if config.run_dir is not None:
            config.run_dir.mkdir(parents=True, exist_ok=True)
            self._watch.log = config.run_dir / "console.log"
        self.console = Console(self._watch, self._watch.log)
        self._qemu: Qemu | None = None
        self.agent = Agent(self._watch, self._write_channel)

    def _write_channel(self, data: bytes) -> None:
        self._running().write_channel(data)

    def _running(self) -> Qemu:
        if self._qemu is None:
            raise MachineError("the machine is not started", hint="use it in a with statement")
        return self._qemu

    # Start and end

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: types.TracebackType | None,
    ) -> None:
        self.shutdown(quick=error is not None)

    def start(self) -> None:
        """Start QEMU and wait until the guest's agent is there.

        A machine for a guest to be migrated in waits for none.
        """
        self.config.validate()
        deadline = Deadline(self._start_timeout)
        self._qemu = self._make_qemu()
        try:
            self._qemu.start(min(30.0, deadline.left))
            if not self.config.incoming:
                self.agent.wait_ready(deadline.left)
        except BaseException:
            self.shutdown(quick=True)
            raise

    def _make_qemu(self) -> Qemu:
        return Qemu(self.config, self._watch, self.console.feed, self.agent.feed)

    def shutdown(self, *, quick: bool = False, timeout: float = 20.0) -> None:
        """Power the guest off, or end QEMU at once, and wait for its end.

        Does nothing if it was done before.

        :param quick: do not ask the guest.
        :param timeout: seconds the guest may take.
        """
        qemu, self._qemu = self._qemu, None
        if qemu is None:
            return
        try:
            if not quick and not self._watch.in_trouble() and self.agent.boots:
                self._ask_to_power_off(qemu, timeout)
        finally:
            qemu.close()
            self.console.close()

    def power_off(self) -> None:
        """Power the guest off and see that it was well to its end, and QEMU too.

        :raises ConsoleBug: its console holds a pattern of a kernel bug.
        :raises QemuDied: QEMU ended badly, now or before.
        """
        running = self._qemu is not None  # not one that was shut down before
        self.shutdown()
        self.console.check()
        if running and self.exit_status != 0:
            said = tail(self.qemu_stderr, 3)
            raise QemuDied(f"QEMU {self.describe_end()}, not by a power-off: {said}")

    def _ask_to_power_off(self, qemu: Qemu, timeout: float) -> None:
        qemu.write_channel(self.agent.power_off_bytes())
        status = qemu.wait_ended(timeout)
        if status is None:
            log.warning("machine: the guest did not power off within %g s", timeout)

    @property
    def exit_status(self) -> int | None:
        """QEMU's exit status (minus the signal that ended it), None while it runs."""
        return self._watch.qemu_exit

    def describe_end(self) -> str:
        """How QEMU ended, in words."""
        return describe_exit(self._watch.qemu_exit)

    @property
    def qemu_pid(self) -> int:
        """Process id of QEMU."""
        return self._running().pid

    @property
    def qemu_stderr(self) -> str:
        """What QEMU said so far."""
        return self._watch.qemu_stderr()

    # The guest and the host

    def run(self, *argv: str, timeout: float = 60.0) -> CompletedCommand:
        """Run a command in the guest that has to succeed.

        :param timeout: seconds.
        :raises CommandFailed: its status is not 0.
        :raises GuestPanicked, GuestHung, QemuDied: it did not end.
        """
        return self.agent.run(argv, timeout=timeout, check=True)

    def start_command(self, *argv: str) -> Job:
        """Start a command in the guest."""
        return self.agent.start(argv)

    def qmp(self, command: str, *, timeout: float = 30.0, **arguments: object) -> Any:
        """Execute a QMP command; an underscore in an argument's name stands for a dash.

        :param timeout: seconds.
        :returns: what QEMU answers.
        :raises QmpError: QEMU refused it.
        :raises QemuDied, GuestHung: there was no answer.
        """
        named = {name.replace("_", "-"): value for name, value in arguments.items()}
        return self._running().qmp(command, named, timeout)

    def monitor(self, command_line: str) -> str:
        """Execute a command of QEMU's human monitor; returns the text it prints."""
        return str(self.qmp("human-monitor-command", command_line=command_line))

    def wait_event(self, name: str, timeout: float = 30.0, **data: object) -> dict[str, Any]:
        """Wait for an event of QEMU, one that has come already counts.

        :param name: such as "MIGRATION".
        :param timeout: seconds.
        :param data: what its data must hold.
        :returns: the data of the event.
        :raises QemuDied, GuestPanicked, GuestHung: it did not come.
        """
        found: list[dict[str, Any]] = []

        def came() -> bool:
            for event in self._watch.events:
                about = event.get("data", {})
                if event["event"] == name and data.items() <= about.items():
                    found.append(about)
            return bool(found)

        self._watch.wait(came, timeout, f"QEMU's event {name} {data or ''}".rstrip())
        return found[0]
