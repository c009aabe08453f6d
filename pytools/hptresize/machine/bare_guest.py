# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest that makes the hypercalls a test asks for, and nothing else."""

from __future__ import annotations

import types
from dataclasses import dataclass
from typing import Any

from hptresize.build.image.bare_program import BARE_ADDRESS
from hptresize.machine.console import Console
from hptresize.machine.hpt import HcallStatus
from hptresize.machine.process import Qemu
from hptresize.machine.settings import MachineConfig
from hptresize.machine.watch import Deadline, Watch


@dataclass(frozen=True)
class Answer:
    """What a hypercall left behind.

    :param result: r3.
    :param values: r4 to r7.
    """

    result: HcallStatus | int
    values: tuple[int, ...]


class BareGuest:
    """A running bare guest; a context manager that ends it whatever happens.

    :param config: its ``kernel`` is what :func:`hptresize.build.image.build_bare`
        made; initrd and append are of no use to it.
    """

    def __init__(self, config: MachineConfig, *, start_timeout: float = 60.0) -> None:
        options = (*config.machine_options, f"kernel-addr={BARE_ADDRESS:#x}")
        self.config = config.but(machine_options=options, cpus=1, initrd=None)
        self._start_timeout = start_timeout
        self._watch = Watch()
        self._lines: list[str] = []
        self._partial = ""
        self.console = Console(self._watch)
        self._qemu = Qemu(self.config, self._watch, self.console.feed, self._feed)

    def _feed(self, data: bytes) -> None:
        with self._watch.update():
            *lines, self._partial = (self._partial + data.decode("ascii", "replace")).split("\n")
            self._lines += lines

    def _line(self, timeout: float, what: str) -> str:
        self._watch.wait(lambda: bool(self._lines), timeout, what)
        with self._watch.changed:
            return self._lines.pop(0)

    def __enter__(self) -> BareGuest:
        self.config.validate()
        deadline = Deadline(self._start_timeout)
        try:
            self._qemu.start(deadline.left)
            while self._line(deadline.left, "the bare guest") != "ready":
                pass
        except BaseException:
            self._qemu.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: types.TracebackType | None,
    ) -> None:
        self._qemu.close()

    @property
    def qemu_pid(self) -> int:
        """Process id of QEMU."""
        return self._qemu.pid

    def hcall(self, number: int, *arguments: int, timeout: float = 60.0) -> Answer:
        """Make a hypercall.

        :param arguments: up to five, of 64 bits; negative ones as two's complement.
        :param timeout: seconds.
        :raises QemuDied, GuestHung: there was no answer.
        """
        self.send_hcall(number, *arguments)
        said = self._line(timeout, f"the answer to hypercall {number:#x}")
        first, *values = (int(word, 16) for word in said.split())
        signed = first - (1 << 64) if first >> 63 else first
        known = signed in HcallStatus._value2member_map_
        return Answer(HcallStatus(signed) if known else signed, tuple(values))

    def send_hcall(self, number: int, *arguments: int) -> None:
        """Have a hypercall made that may not come back, and do not wait for it."""
        if len(arguments) > 5:
            raise ValueError("a hypercall of the bare guest has up to five arguments")
        words = [f"{value & (1 << 64) - 1:x}" for value in (number, *arguments)]
        self._qemu.write_channel((" ".join(words) + "\n").encode())

    def wait_ended(self, timeout: float = 30.0) -> int | None:
        """QEMU's exit status once it has ended; None if it runs on after ``timeout`` seconds."""
        return self._qemu.wait_ended(timeout)

    def qmp(self, command: str, *, timeout: float = 30.0, **arguments: object) -> Any:
        """Execute a QMP command, as :meth:`hptresize.machine.Machine.qmp`."""
        named = {name.replace("_", "-"): value for name, value in arguments.items()}
        return self._qemu.qmp(command, named, timeout)

    def wait_restart(self, timeout: float = 30.0) -> None:
        """Wait until it is there again after a system reset."""
        deadline = Deadline(timeout)
        while self._line(deadline.left, "the bare guest after its reset") != "ready":
            pass
