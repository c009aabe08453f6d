# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest to test with: started, asked, resized and always shut down."""

from __future__ import annotations

import logging
import re
import tempfile
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

from hptresize import elf
from hptresize.base.errors import (
    MachineError,
    MigrationFailed,
    QemuDied,
    QmpError,
    ResizeRefused,
    UsageError,
)
from hptresize.machine.agent import Agent, CompletedCommand, Job
from hptresize.machine.config import MachineConfig
from hptresize.machine.console import Console
from hptresize.machine.outcome import tail
from hptresize.machine.process import Qemu
from hptresize.machine.watch import Deadline, Watch, describe_exit

log = logging.getLogger(__name__)

DOWNTIME_MS = 2000

MEMORY = "/sys/devices/system/memory/"
HOOK = "/sys/kernel/mm/hpt/"
HOOK_DEBUGFS = "/sys/kernel/debug/powerpc/hpt_order"

# What the merged implementation logs; it has no other place for its times.
_STOCK_TIMES = re.compile(r"HPT resize to shift (\d+) complete \((\d+) ms / (\d+) ms\)")
_XP_BYTES = re.compile(r"0x([0-9a-f]{2})\b")


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


class Machine:
    """A running guest; a context manager that shuts it down whatever happens.

    ``start_timeout`` covers everything from the start of QEMU to the guest's
    agent, in seconds.

    :raises UsageError: the configuration makes no sense.
    :raises QemuStartError: QEMU ended at once; the text is what it said.
    :raises GuestPanicked, GuestHung, QemuDied: on the way up.
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

    def migrate_to(
        self, target: Machine, *, during: Callable[[], None] | None = None, timeout: float = 60.0
    ) -> None:
        """Migrate the running guest to another machine, live; its commands go on there.

        This machine has ended afterwards.

        :param target: a started machine whose configuration says ``incoming``.
        :param during: called while the guest's memory is being sent.
        :param timeout: seconds.
        :raises MigrationFailed: the guest is still here, and runs.
        :raises QemuDied, GuestPanicked, GuestHung: something else went wrong.
        """
        capabilities = [{"capability": "events", "state": True}]
        self.qmp("migrate-set-capabilities", capabilities=capabilities)
        # A guest that writes to its memory all the time has to be stopped for the rest.
        self.qmp("migrate-set-parameters", downtime_limit=DOWNTIME_MS)
        with tempfile.TemporaryDirectory(prefix="hptresize-") as name:
            uri = f"unix:{name}/migrate"
            target.qmp("migrate-incoming", uri=uri)
            self._watch.forget_events()
            self.qmp("migrate", uri=uri)
            if during is not None:
                self.wait_event("MIGRATION", timeout, status="active")
                during()
            self._wait_migrated(timeout)
        target.wait_event("RESUME", timeout)
        target.agent.adopt(self.agent)
        # What is left here is a guest that must never run again.
        self.qmp("quit")
        self._running().wait_ended(timeout)

    def _wait_migrated(self, timeout: float) -> None:
        def ended() -> bool:
            return any(
                event["event"] == "MIGRATION" and event["data"]["status"] in ("completed", "failed")
                for event in self._watch.events
            )

        self._watch.wait(ended, timeout, "the end of the migration")
        if self.qmp("query-migrate")["status"] != "completed":
            said = self.qemu_stderr.strip().splitlines()
            raise MigrationFailed(
                "the migration failed: " + (said[-1] if said else "no reason given")
            )

    def plug_memory(self, name: str, size: int, *, timeout: float = 60.0) -> None:
        """Add a DIMM and wait until the guest has added all of it.

        :param name: not used by another one.
        :param size: bytes, a multiple of the guest's blocks of memory.
        :param timeout: seconds.
        :raises QmpError: QEMU refused it, for the machine has no ``maxmem``, say.
        :raises GuestHung, GuestPanicked, QemuDied: the guest did not get so far.
        """
        done = self._blocks_later("added", size)
        self.qmp(
            "object-add", qom_type="memory-backend-ram", id=f"{name}-ram", size=size, reserve=False
        )
        self.qmp("device_add", driver="pc-dimm", id=name, memdev=f"{name}-ram")
        done(timeout)

    def unplug_memory(self, name: str, *, timeout: float = 60.0) -> None:
        """Take a DIMM away and wait until the guest has let all of it go.

        :param timeout: seconds.
        :raises QmpError: there is no such DIMM.
        :raises GuestHung, GuestPanicked, QemuDied: the guest did not get so far.
        """
        size = self.qmp("qom-get", path=f"/machine/peripheral/{name}", property="size")
        done = self._blocks_later("removed", size)
        self.qmp("device_del", id=name)
        done(timeout)

    def _blocks_later(self, what: str, size: int) -> Callable[[float], None]:
        """A wait for the kernel to say of each block that it was hot-added or hot-removed."""
        start = len(self.console.text)
        blocks = size // int(self.run("cat", MEMORY + "block_size_bytes").text, 16)

        def wait(timeout: float) -> None:
            said = f") was hot-{what}"
            self._watch.wait(
                lambda: self.console.text.count(said, start) >= blocks,
                timeout,
                f"{blocks} blocks of memory to be {what}",
            )

        return wait

    # The hash page table

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

    # The guest's memory

    def read_memory(self, physical: int, size: int) -> bytes:
        """Bytes of the guest's physical memory, as QEMU has them.

        :param physical: address; ``size`` in bytes.
        """
        # Bytes, because wider units come in the machine's byte order, not the guest's.
        text = self.monitor(f"xp /{size}xb {physical:#x}")
        found = [int(byte, 16) for line in text.splitlines() for byte in _bytes_of(line)]
        if len(found) != size:
            raise MachineError(f"QEMU said {text.strip()!r} for memory at {physical:#x}")
        return bytes(found)

    def memory_symbol(self, name: str) -> int:
        """The value of one of the kernel's variables, out of guest memory.

        :raises UsageError: the kernel file has no such symbol, or not in a size
            that a number has.
        :raises MachineError: the kernel does not run where it was linked.
        """
        kernel = elf.read_kernel(self.config.kernel)
        symbol = kernel.symbol(name)
        if symbol.size not in (1, 2, 4, 8):
            raise UsageError(f"{name} has {symbol.size} bytes, it is not a number")
        self._check_link_address(kernel)
        return int.from_bytes(self.read_memory(symbol.physical, symbol.size), kernel.byteorder)

    def _check_link_address(self, kernel: elf.KernelElf) -> None:
        """A relocatable kernel could run elsewhere; its banner tells."""
        banner = kernel.symbol("linux_banner")
        if not self.read_memory(banner.physical, 14) == b"Linux version ":
            raise MachineError(
                f"{kernel.path} is not what runs at its link address",
                hint="another kernel, or a relocated one",
            )


def _bytes_of(line: str) -> list[str]:
    """The bytes in a line of the monitor's xp, which begins with an address."""
    return _XP_BYTES.findall(line.partition(":")[2])
