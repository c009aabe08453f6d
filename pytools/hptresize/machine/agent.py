# SPDX-License-Identifier: GPL-2.0-or-later
"""Run commands in the guest over its command channel and get their results as data."""

from __future__ import annotations

import errno
import os
import shlex
import signal
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from hptresize.base.errors import AgentError, CommandFailed
from hptresize.machine import frame, outcome
from hptresize.machine.frame import Frame
from hptresize.machine.watch import Watch

DEFAULT_TIMEOUT = 60.0


@dataclass(frozen=True)
class CompletedCommand:
    """How a command in the guest ended.

    :param status: exit status, or minus the signal that ended it.
    :param seconds: from fork to exit, by the guest's clock.
    """

    argv: tuple[str, ...]
    status: int
    stdout: bytes
    stderr: bytes
    seconds: float

    @property
    def text(self) -> str:
        """What it printed, as text without the last newline."""
        return self.stdout.decode(errors="replace").rstrip("\n")

    def check(self) -> CompletedCommand:
        """Returns itself; raises CommandFailed if the status is not 0."""
        if self.status:
            said = outcome.tail(self.stderr.decode(errors="replace"), 1)
            how = f"signal {-self.status}" if self.status < 0 else f"status {self.status}"
            text = f"in the guest, `{shlex.join(self.argv)}` ended with {how}"
            raise CommandFailed(f"{text}: {said}" if said else text, status=self.status)
        return self


class Job:
    """A command that runs in the guest."""

    def __init__(self, agent: Agent, number: int, argv: tuple[str, ...]) -> None:
        self.argv = argv
        self.number = number
        self.agent = agent
        self._out = bytearray()
        self._err = bytearray()
        self._read = 0  # how far line() has come in _out
        self._status: int | None = None
        self._seconds = 0.0
        self._lost = ""

    @property
    def running(self) -> bool:
        """Whether its end has not been told yet."""
        return self._status is None and not self._lost

    @property
    def stdout(self) -> bytes:
        """What it printed so far."""
        return bytes(self._out)

    @property
    def stderr(self) -> bytes:
        """Likewise to its standard error."""
        return bytes(self._err)

    def take(self, message: Frame) -> None:
        """A frame about this job (with the watch's lock held)."""
        if message.type == frame.STDOUT:
            self._out += message.data
        elif message.type == frame.STDERR:
            self._err += message.data
        elif message.type == frame.EXIT:
            self._status, microseconds = struct.unpack(">iQ", message.data)
            self._seconds = microseconds / 1e6
        elif message.type == frame.REFUSED:
            (number,) = struct.unpack(">i", message.data)
            self._lost = f"{errno.errorcode.get(number, number)}, {os.strerror(number)}"

    def lose(self, why: str) -> None:
        """The guest that ran it is gone (with the watch's lock held)."""
        if self.running:
            self._lost = why

    def line(self, timeout: float = DEFAULT_TIMEOUT) -> str:
        """The next line of its standard output, without the newline.

        :param timeout: seconds.
        :raises EOFError: it ended and there is no further line.
        :raises GuestHung, GuestPanicked, QemuDied: no line came.
        """
        watch = self.agent.watch

        def ready() -> bool:
            return b"\n" in self._out[self._read :] or not self.running

        watch.wait(ready, timeout, f"a line from `{shlex.join(self.argv)}`")
        with watch.changed:
            end = self._out.find(b"\n", self._read)
            if end < 0:
                raise EOFError(f"`{shlex.join(self.argv)}` has ended")
            text = bytes(self._out[self._read : end])
            self._read = end + 1
        return text.decode(errors="replace")

    def kill(self, number: int = signal.SIGTERM) -> None:
        """Send a signal to the command and what it started (its process group)."""
        self.agent.send(Frame(frame.SIGNAL, self.number, bytes((number,))))

    def wait(self, timeout: float = DEFAULT_TIMEOUT) -> CompletedCommand:
        """Wait for its end.

        :param timeout: seconds.
        :raises CommandFailed: it could not be started.
        :raises GuestHung, GuestPanicked, QemuDied: it did not end.
        """
        what = f"the end of `{shlex.join(self.argv)}`"
        self.agent.watch.wait(lambda: not self.running, timeout, what)
        if self._lost or self._status is None:
            text = f"in the guest, `{shlex.join(self.argv)}` did not run: {self._lost}"
            raise CommandFailed(text, status=127)
        return CompletedCommand(
            self.argv, self._status, bytes(self._out), bytes(self._err), self._seconds
        )


class Agent:
    """The guest's agent, as seen from outside.

    :param write: puts bytes on the channel; may be called from any thread.
    """

    def __init__(self, watch: Watch, write: Callable[[bytes], None]) -> None:
        self.watch = watch
        self.boots = 0
        self.release = ""
        self.machine = ""
        self._write = write
        self._decoder = frame.Decoder()
        self._jobs: dict[int, Job] = {}
        self._last = 0
        self._pongs: set[bytes] = set()
        self._complaint = ""

    def feed(self, data: bytes) -> None:
        """Take bytes from the channel (called by the thread that reads them)."""
        with self.watch.update():
            for message in self._decoder.feed(data):
                self._take(message)

    def _take(self, message: Frame) -> None:
        job = self._jobs.get(message.job)
        if message.type == frame.HELLO:
            self._hello(message.data)
        elif message.type == frame.PONG:
            self._pongs.add(message.data)
        elif message.type == frame.DAMAGED:
            self._lose_all("the guest got a damaged frame")
        elif job is not None:
            job.take(message)
            if not job.running:
                del self._jobs[message.job]

    def _hello(self, data: bytes) -> None:
        """The guest is up, for the first time or again (reset, kexec)."""
        self._lose_all("the guest started anew")
        self.boots += 1
        self.release, _, self.machine = data[1:].decode(errors="replace").partition(" ")
        if data[:1] != bytes((frame.VERSION,)):
            self._complaint = f"the guest's agent speaks version {data[0]}, not {frame.VERSION}"

    def _lose_all(self, why: str) -> None:
        for job in self._jobs.values():
            job.lose(why)
        self._jobs.clear()

    def send(self, message: Frame) -> None:
        """Put a frame on the channel."""
        self._write(frame.encode(message))

    def wait_ready(self, timeout: float, boots: int = 1) -> None:
        """Wait until the guest's agent has said hello ``boots`` times.

        :param timeout: seconds.
        :raises AgentError: it speaks another version of the protocol.
        :raises GuestHung, GuestPanicked, QemuDied, QemuStartError: it did not.
        """
        self.watch.wait(lambda: self.boots >= boots, timeout, "the guest's agent")
        if self._complaint:
            raise AgentError(self._complaint, hint="build the image anew")

    def adopt(self, other: Agent) -> None:
        """Go on with the guest of another machine, which was migrated to this one.

        Its jobs come along, and so does a frame of which a part has come already.
        """
        with other.watch.changed, self.watch.update():
            self.boots, self.release, self.machine = other.boots, other.release, other.machine
            self._decoder, self._last = other._decoder, other._last
            self._jobs, other._jobs = other._jobs, {}
            for job in self._jobs.values():
                job.agent = self

    def start(self, argv: Sequence[str], *, env: Mapping[str, str] | None = None) -> Job:
        """Start a command.

        :param argv: the program (looked up in the guest's PATH) and its arguments.
        :param env: variables to set besides those the agent has.
        """
        words = [*argv, *(f"{name}={value}" for name, value in (env or {}).items())]
        if not argv or len(argv) > 255 or any("\0" in word for word in words):
            raise ValueError(f"not a command that the guest could run: {argv!r}")
        payload = bytes((len(argv),)) + b"".join(os.fsencode(word) + b"\0" for word in words)
        with self.watch.changed:
            self._last = self._last % 0xFFFF + 1
            while self._last in self._jobs:
                self._last = self._last % 0xFFFF + 1
            job = Job(self, self._last, tuple(argv))
            self._jobs[job.number] = job
        self.send(Frame(frame.START, job.number, payload))
        return job

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout: float = DEFAULT_TIMEOUT,
        env: Mapping[str, str] | None = None,
        check: bool = False,
    ) -> CompletedCommand:
        """Run a command to its end.

        :param timeout: seconds; a command that takes longer is killed.
        :param check: raise CommandFailed if its status is not 0.
        :raises GuestHung, GuestPanicked, QemuDied: it did not end.
        """
        job = self.start(argv, env=env)
        try:
            done = job.wait(timeout)
        except BaseException:
            if job.running and not self.watch.in_trouble():
                job.kill(signal.SIGKILL)
            raise
        return done.check() if check else done

    def ping(self, timeout: float = 10.0) -> None:
        """Wait for an answer of the agent itself.

        :raises GuestHung, GuestPanicked, QemuDied: none came.
        """
        with self.watch.changed:
            self._last = self._last % 0xFFFF + 1
            token = struct.pack(">H", self._last)
        self.send(Frame(frame.PING, data=token))
        self.watch.wait(lambda: token in self._pongs, timeout, "an answer of the guest's agent")
        with self.watch.changed:
            self._pongs.discard(token)

    @staticmethod
    def power_off_bytes() -> bytes:
        """What to put on the channel to make the guest power off; there is no answer."""
        return frame.encode(Frame(frame.POWEROFF))
