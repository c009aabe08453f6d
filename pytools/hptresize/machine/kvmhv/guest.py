# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest on the emulated host, with the interface of every other guest."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import threading
from pathlib import Path

from hptresize.base.errors import MachineError
from hptresize.build.image.kvmhv_host import QEMU, port_path
from hptresize.machine import Job, Machine, MachineConfig
from hptresize.machine.kvmhv.host import KvmHvHost
from hptresize.machine.process import CHUNK, Qemu, Sink
from hptresize.machine.watch import Watch

log = logging.getLogger(__name__)

# What the host is, and the interrupt controller that it can give a guest.
CPU = "POWER9"
MACHINE_OPTIONS = ("ic-mode=xics",)

# KVM's own list of the valid entries of the one guest's table, by index.
_LAST_ENTRY = "tail -n 1 /sys/kernel/debug/kvm/*/htab"
_ENTRY_SHIFT = 4


class NestedQemu(Qemu):
    """A QEMU that runs in the host.

    Its console and channel are ports of the host's, read as if they were its own;
    the host's agent tells of its end.
    """

    def __init__(
        self, host: KvmHvHost, config: MachineConfig, watch: Watch, console: Sink, channel: Sink
    ) -> None:
        super().__init__(config, watch, console, channel)
        self._host = host
        self._job: Job | None = None
        self._relay: asyncio.Task[None] | None = None

    @property
    def _was_started(self) -> bool:
        return self._job is not None

    @property
    def pid(self) -> int:
        """Of the process that emulates its host."""
        return self._host.qemu_pid

    async def _spawn(self) -> None:
        for name in self._sinks:
            self._ours[name] = self._host.port(f"guest_{name}")
        self._relay = asyncio.create_task(self._relay_monitor(self._pair("monitor")))
        chardevs = {name: f"pipe,path={port_path(f'guest_{name}')}" for name in self.ENDS}
        argv = self._config.command(**chardevs)
        log.debug("qemu in the host: %s", " ".join(argv))
        self._job = self._host.agent.start(argv)
        self._listen_to_sinks()
        threading.Thread(target=self._await_end, args=(self._job,), daemon=True).start()

    async def _relay_monitor(self, end: socket.socket) -> None:
        """Pass QMP on to a socket that ends with this guest, which the port does not."""
        near = await asyncio.open_connection(sock=end)
        far = await asyncio.open_connection(sock=self._host.port("guest_monitor"))
        try:
            await asyncio.gather(_copy(near[0], far[1]), _copy(far[0], near[1]))
        finally:
            for _, writer in (near, far):
                writer.close()

    def _await_end(self, job: Job) -> None:
        try:
            done = job.wait(threading.TIMEOUT_MAX)
            status, said = done.status, done.stdout + done.stderr
        except MachineError as error:
            status, said = -signal.SIGKILL, str(error).encode()
        with contextlib.suppress(RuntimeError, ValueError):  # nobody waits any more
            self._stderr.write(said)
            self._stderr.flush()
            self._loop.call_soon_threadsafe(self._ended, status)

    def _ended(self, status: int) -> None:
        super()._ended(status)
        if self._relay is not None:
            self._relay.cancel()

    def kill(self) -> None:
        """End QEMU at once, if it runs."""
        if self._job is not None and self._job.running:
            with contextlib.suppress(MachineError):  # the host has ended, and it with it
                self._job.kill(signal.SIGKILL)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()


class KvmHvGuest(Machine):
    """A guest that KVM HV runs; otherwise like any other :class:`Machine`.

    :param host: where; it must run, and have no other guest.
    :param config: as for any machine, of which the processor and its interrupt
        controller are the host's.

    :raises UsageError: the host has a guest already.
    """

    def __init__(
        self, host: KvmHvHost, config: MachineConfig, *, start_timeout: float = 120.0
    ) -> None:
        options = (*MACHINE_OPTIONS, *config.machine_options)
        on_host = config.but(accel="kvm", cpu=CPU, machine_options=options)
        super().__init__(on_host, start_timeout=start_timeout)
        self._host = host

    def _make_qemu(self) -> Qemu:
        kernel, initrd = self.config.kernel, self.config.initrd
        inside = self.config.but(
            qemu=Path(QEMU),
            firmware_dir=None,
            kernel=Path(self._host.put(kernel)),
            initrd=None if initrd is None else Path(self._host.put(initrd)),
        )
        self._host.drain_guest_ports()
        return NestedQemu(self._host, inside, self._watch, self.console.feed, self.agent.feed)

    def start(self) -> None:
        """As for any machine."""
        self._host.take_place(self)
        try:
            super().start()
        except BaseException:
            self._host.leave_place(self)
            raise

    def shutdown(self, *, quick: bool = False, timeout: float = 20.0) -> None:
        """As for any machine; the host runs on."""
        try:
            super().shutdown(quick=quick, timeout=timeout)
        finally:
            self._host.leave_place(self)

    def order_host(self) -> int | None:
        """Log2 of the table's size by the last entry that KVM has in it.

        The entries of the linear mapping are spread over all of a table, so one is in
        its upper half.

        :raises CommandFailed: KVM lists none.
        """
        last = self._host.run("sh", "-c", _LAST_ENTRY).text.split()
        if not last:
            raise MachineError("KVM lists no entry of the guest's table")
        return int(last[0], 16).bit_length() + _ENTRY_SHIFT
