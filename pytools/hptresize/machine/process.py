# SPDX-License-Identifier: GPL-2.0-or-later
"""The QEMU process: started, listened to, and never left behind.

QEMU gets its sockets as file descriptors, so there are no paths to clean up and
nothing to wait for before they can be used.  One thread owns the process and
reads all of it: console, command channel, QMP and the end of the process.  If
Python dies, that thread does, and the kernel kills QEMU with it.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any, ClassVar, TypeVar

from qemu.qmp import ExecuteError, QMPClient, QMPError

from hptresize.base.errors import GuestHung, QmpError, ToolMissing
from hptresize.machine.settings import MachineConfig
from hptresize.machine.watch import Deadline, Watch

log = logging.getLogger(__name__)

# It logs what it also raises, and a QEMU that ends is no error of its own.
_QMP_NAME = "hptresize"
logging.getLogger(f"qemu.qmp.protocol.{_QMP_NAME}").setLevel(logging.CRITICAL)

T = TypeVar("T")
Sink = Callable[[bytes], None]

CHUNK = 65536


def kill_with_parent(argv: list[str]) -> list[str]:
    """A command that is killed when the thread that started it ends.

    :raises ToolMissing: no setpriv.
    """
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise ToolMissing("setpriv is not installed", hint="apt-get install util-linux")
    return [setpriv, "--pdeathsig", "KILL", "--", *argv]


class Qemu:
    """A running QEMU.

    :param watch: is told what happens.
    :param console: gets the bytes of the guest's console.
    :param channel: gets the bytes of the command channel.
    """

    # Sockets that it is given, by the names of MachineConfig.command()'s arguments.
    ENDS: ClassVar[tuple[str, ...]] = ("console", "channel", "monitor")

    def __init__(self, config: MachineConfig, watch: Watch, console: Sink, channel: Sink) -> None:
        self._config = config
        self._watch = watch
        self._sinks = {"console": console, "channel": channel}
        self._ours: dict[str, socket.socket] = {}
        self._open: set[str] = set()
        self._process: subprocess.Popen[bytes] | None = None
        self._qmp: QMPClient | None = None
        self._listener: asyncio.Task[None] | None = None
        self._unsent = bytearray()
        self._stderr = self._stderr_file()
        self._begin = time.monotonic()
        self._qmp_log = config.run_dir / "qmp.log" if config.run_dir is not None else None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run_loop, name="qemu", daemon=True)
        watch.qemu_stderr = self.stderr

    def _stderr_file(self) -> Any:
        if self._config.run_dir is None:
            return tempfile.TemporaryFile()
        return (self._config.run_dir / "qemu.log").open("w+b")

    def _run_loop(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        self._loop.close()

    @property
    def _was_started(self) -> bool:
        return self._process is not None

    @property
    def pid(self) -> int:
        """Of the QEMU process."""
        assert self._process is not None
        return self._process.pid

    def stderr(self) -> str:
        """What QEMU said so far."""
        size = os.fstat(self._stderr.fileno()).st_size if not self._stderr.closed else 0
        return os.pread(self._stderr.fileno(), size, 0).decode(errors="replace") if size else ""

    # Start

    def start(self, timeout: float) -> None:
        """Start the process and wait until it answers.

        :param timeout: seconds.
        :raises QemuStartError: it ended instead; the text is what it said.
        """
        self._thread.start()
        atexit.register(self.kill)
        self._call(self._spawn(), timeout, "QEMU to be started")
        # An answer means that the machine was made: kernel, options and memory are right.
        self.qmp("query-status", {}, timeout)
        with self._watch.update():
            self._watch.started = True

    async def _spawn(self) -> None:
        theirs = {name: self._pair(name) for name in self.ENDS}
        fds = {name: f"socket,fd={end.fileno()}" for name, end in theirs.items()}
        argv = self._config.command(**fds)
        log.debug("qemu: %s", " ".join(argv))
        try:
            # A session of its own: Ctrl-C on the terminal is ours to act on.
            self._process = subprocess.Popen(
                kill_with_parent(argv),
                stdin=subprocess.DEVNULL,
                stdout=self._stderr,
                stderr=self._stderr,
                pass_fds=[end.fileno() for end in theirs.values()],
                start_new_session=True,
                env={**os.environ, **dict(self._config.environment)},
            )
        finally:
            for end in theirs.values():
                end.close()
        pidfd = os.pidfd_open(self._process.pid)
        self._loop.add_reader(pidfd, self._reap, pidfd)
        self._listen_to_sinks()

    def _listen_to_sinks(self) -> None:
        for name in self._sinks:
            self._open.add(name)
            self._loop.add_reader(self._ours[name], self._read, name)

    def _pair(self, name: str) -> socket.socket:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        self._ours[name] = ours
        return theirs

    # Events, all in our thread

    def _read(self, name: str) -> None:
        try:
            data = self._ours[name].recv(CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._sinks[name](data)
            return
        self._loop.remove_reader(self._ours[name])
        self._open.discard(name)

    def _reap(self, pidfd: int) -> None:
        assert self._process is not None
        self._loop.remove_reader(pidfd)
        os.close(pidfd)
        self._ended(self._process.wait())

    def _ended(self, status: int) -> None:
        """The process has ended; what it still said comes before the news."""
        for name in list(self._open):
            # No more is written, so this finds the end and cannot block.
            while name in self._open:
                before = len(self._open)
                self._read(name)
                if len(self._open) == before and not self._has_data(name):
                    break
        with self._watch.update():
            self._watch.qemu_exit = status

    def _has_data(self, name: str) -> bool:
        try:
            self._ours[name].recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True
        return True

    # The command channel, any thread

    def write_channel(self, data: bytes) -> None:
        """Put bytes on the command channel; never blocks."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._queue, data)

    def _queue(self, data: bytes) -> None:
        idle = not self._unsent
        self._unsent += data
        if idle:
            self._flush()

    def _flush(self) -> None:
        channel = self._ours["channel"]
        try:
            del self._unsent[: channel.send(self._unsent)]
        except BlockingIOError:
            pass
        except OSError:
            self._unsent.clear()  # QEMU is gone; its end is reported elsewhere
        if self._unsent:
            self._loop.add_writer(channel, self._flush)
        else:
            self._loop.remove_writer(channel)

    # QMP

    def qmp(self, command: str, arguments: dict[str, object], timeout: float) -> Any:
        """Execute a QMP command; returns what QEMU answers.

        :param timeout: seconds.
        :raises QmpError: QEMU refused it.
        :raises QemuDied, GuestPanicked, GuestHung: there was no answer.
        """
        return self._call(self._execute(command, arguments), timeout, f"QMP {command}")

    async def _execute(self, command: str, arguments: dict[str, object]) -> Any:
        if self._qmp is None:
            self._qmp = QMPClient(_QMP_NAME)
            await self._qmp.connect(self._ours["monitor"])
            self._listener = asyncio.create_task(self._listen(self._qmp))
        self._log_qmp("->", {"execute": command, "arguments": arguments})
        try:
            answer = await self._qmp.execute(command, arguments or None)
        except ExecuteError as error:
            self._log_qmp("<-", {"error": str(error)})
            raise
        self._log_qmp("<-", {"return": answer})
        return answer

    def _log_qmp(self, direction: str, message: Mapping[str, object]) -> None:
        """Keep what was said on QMP, with the seconds since QEMU's start."""
        if self._qmp_log is not None:
            with self._qmp_log.open("a") as out:
                seconds = time.monotonic() - self._begin
                out.write(f"{seconds:9.3f} {direction} {json.dumps(message)}\n")

    async def _listen(self, qmp: QMPClient) -> None:
        """Keep the events that QEMU sends, for whoever awaits one."""
        async for event in qmp.events:
            self._log_qmp("<-", dict(event))
            with self._watch.update():
                self._watch.events.append(dict(event))

    def _call(self, work: Coroutine[Any, Any, T], timeout: float, what: str) -> T:
        """Run a coroutine in our thread and give back what it returns."""
        deadline = Deadline(timeout)
        future: Future[T] = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(timeout)
        except FutureTimeout:
            future.cancel()
            raise GuestHung(f"{what}: no answer from QEMU within {timeout:g} s") from None
        except ExecuteError as error:
            raise QmpError(f"{what}: {error}", error_class=error.error_class) from None
        except (QMPError, EOFError, ConnectionError) as error:
            # The connection ends a moment before the process does.
            self._watch.wait(lambda: False, min(5.0, deadline.left), f"{what} ({error})")
            raise AssertionError("not reached") from None

    # End

    def wait_ended(self, timeout: float) -> int | None:
        """QEMU's exit status (minus the signal), or None if it still runs after ``timeout``."""
        with self._watch.changed:
            self._watch.changed.wait_for(lambda: self._watch.qemu_exit is not None, timeout)
            return self._watch.qemu_exit

    def kill(self) -> None:
        """End QEMU at once, if it runs."""
        process = self._process
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGKILL)

    def close(self) -> None:
        """End QEMU if it runs, wait for it, and give everything back."""
        self.kill()
        if self._was_started and self.wait_ended(30.0) is None:
            log.error("qemu: process %d does not end", self.pid)
        atexit.unregister(self.kill)
        if self._thread.is_alive():
            future = asyncio.run_coroutine_threadsafe(self._shut(), self._loop)
            with contextlib.suppress(FutureTimeout):
                future.result(10.0)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(10.0)
        for end in self._ours.values():
            end.close()
        # The text stays available for messages.
        said = self.stderr()
        self._stderr.close()
        self._watch.qemu_stderr = lambda: said

    async def _shut(self) -> None:
        for name in self._open:
            self._loop.remove_reader(self._ours[name])
        self._loop.remove_writer(self._ours["channel"])
        if self._listener is not None:
            self._listener.cancel()
        if self._qmp is not None:
            with contextlib.suppress(QMPError, EOFError, OSError):
                await self._qmp.disconnect()


def interactive(config: MachineConfig) -> int:
    """Run a guest on this terminal until it powers off.

    The guest's init finds no command channel and starts a shell.  Ctrl-A X ends
    QEMU, Ctrl-A C switches to its monitor.

    :returns: QEMU's exit status.
    :raises UsageError: the configuration makes no sense.
    """
    config.validate()
    argv = config.command(console="stdio,mux=on,signal=off", channel=None, monitor=None)
    argv += ["-mon", "chardev=console,mode=readline"]
    process = subprocess.Popen(kill_with_parent(argv))
    try:
        return process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            process.wait()
