# SPDX-License-Identifier: GPL-2.0-or-later
"""What is done with a guest in a cell.

A scenario is a function of a :class:`Guest`; it returns if all was as it should be and
raises what went wrong. What it has to see is in the cell's ``wants``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hptresize.base.errors import MachineError
from hptresize.machine import Machine, MachineConfig, ResizeResult, elf
from hptresize.machine.kvmhv import KvmHvGuest, KvmHvHost
from hptresize.machine.load import MemoryLoad
from hptresize.machine.resizing import HOOK, HOOK_DEBUGFS
from hptresize.matrix.tasks import LOAD_MB, Task

TRACING = "/sys/kernel/debug/tracing/"
DIMM_BYTES = 1 << 30
# With SLOF, on a machine with other work.
BOOT_S = 240.0
RESIZE_S = 120.0
# One line of the log for each call of the two hypercalls and what the table does for them.
QEMU_TRACE = "spapr*hpt*"

Say = Callable[[str], None]


class Guest:
    """The guest of a cell, and what is noted about it.

    :param directory: gets its files.
    :param doing: is told what is done now.
    """

    def __init__(self, task: Task, directory: Path, doing: Say) -> None:
        self.task = task
        self.wants = task.cell.wants
        self.directory = directory
        self.doing = doing
        self.steps: list[dict[str, Any]] = []
        self.notes: list[str] = []
        self.kernel = ""
        self.qemu = ""
        self.peak_mb = 0.0
        self.stack = contextlib.ExitStack()
        self.emulated: KvmHvHost | None = None
        if task.below is None:
            self.machine = Machine(self.config(directory), start_timeout=BOOT_S)
        else:
            host = dataclasses.replace(task.below, run_dir=directory / "host")
            self.emulated = KvmHvHost(host, start_timeout=BOOT_S)
            self.machine = KvmHvGuest(
                self.emulated, task.machine.but(run_dir=directory), start_timeout=BOOT_S
            )

    def config(self, directory: Path, **changes: object) -> MachineConfig:
        """The machine of the cell, with its files in a directory."""
        trace = ("-D", str(directory / "qemu-trace.log"), "-trace", f"enable={QEMU_TRACE}")
        return self.task.machine.but(run_dir=directory, extra_args=trace, **changes)

    @contextlib.contextmanager
    def running(self) -> Iterator[Guest]:
        """Boot it; at the end gather what it leaves and shut it down.

        :raises MachineError: it did not boot, end well, or keep its console clean.
        """
        with self.stack:
            if self.emulated is not None:
                self.doing("boot the emulated host")
                self.stack.enter_context(self.emulated)
            self.doing("boot")
            self.stack.callback(lambda: self.machine.shutdown(quick=True))
            self.machine.start()
            self._describe()
            try:
                yield self
            finally:
                # Of a guest that is dead there is less to be had; what is known stays.
                with contextlib.suppress(MachineError, OSError):
                    self._gather()
            self.doing("power off")
            self.machine.power_off()

    def _describe(self) -> None:
        machine = self.machine
        self._keep_device_tree()
        self.kernel = machine.agent.release
        version = machine.qmp("query-version")["qemu"]
        self.qemu = ".".join(str(version[part]) for part in ("major", "minor", "micro"))
        machine.agent.run(["write", TRACING + "events/hpt/enable", "1"])

    def _keep_device_tree(self) -> None:
        tree = self.directory / "guest.dtb"
        if self.emulated is not None:
            # The guest's QEMU would write it there, and the guest's own is long in coming.
            self.emulated.qmp("dumpdtb", filename=str(self.directory / "host.dtb"))
            return
        if self.task.cell["firmware"] == "vof":
            self.machine.qmp("dumpdtb", filename=str(tree))
            return
        # QEMU 10.0 frees the one that dumpdtb writes when SLOF hands over its own, and then dies.
        tree.write_bytes(self.machine.run("cat", "/sys/firmware/fdt").stdout)

    def _gather(self) -> None:
        self.note_memory()
        traced = self.machine.agent.run(["cat", TRACING + "trace"], timeout=20.0)
        if traced.status == 0:
            (self.directory / "guest-trace.log").write_bytes(traced.stdout)

    def note_memory(self) -> None:
        """Note the most memory that QEMU has had."""
        pid = (self.emulated or self.machine).qemu_pid
        status = Path(f"/proc/{pid}/status").read_text()
        found = re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)
        self.peak_mb = max(self.peak_mb, int(found[1]) / 1024 if found else 0.0)

    # What scenarios are made of

    def demand(self, good: bool, text: str) -> None:
        """Fail unless something holds.

        :raises MachineError: it does not.
        """
        if not good:
            raise MachineError(text, console=self.machine.console.tail())

    def agree(self, order: int) -> None:
        """Demand that all that can name the table's order name this one."""
        machine = self.machine
        said = {"the guest": machine.order_guest(), "the host": machine.order_host()}
        self.demand(
            (said["the host"] is not None) == bool(self.wants["host_tells"]),
            f"query-hpt is {'not ' if said['the host'] is None else ''}there",
        )
        # Debian's is stripped and cannot be asked.
        if elf.read_kernel(self.task.kernel).symbols:
            said["ppc64_pft_size"] = machine.memory_symbol("ppc64_pft_size")
            said["htab_hash_mask"] = (machine.memory_symbol("htab_hash_mask") + 1).bit_length() + 6
        for who, what in said.items():
            self.demand(what in (None, order), f"{who} says order {what} and not {order}")

    def resize(self, order: int, refusal: str = "") -> ResizeResult:
        """Resize and demand the outcome.

        :param refusal: the error that the guest has to get, "" if none.
        """
        self.doing(f"resize to {order}" + (f", which is {refusal}" if refusal else ""))
        done = self.machine.try_resize(order, timeout=RESIZE_S)
        self.note(done)
        got = done.errno_name or "done"
        self.demand(
            done.errno_name == refusal,
            f"resize from {done.before} to {order}: {got}, expected {refusal or 'done'}",
        )
        self.agree(done.before if refusal else order)
        return done

    def note(self, done: ResizeResult) -> None:
        """Note what a resize did."""
        self.steps.append(
            {
                "from": done.before,
                "to": done.wanted,
                "result": done.errno_name or "done",
                "prepare_us": done.prepare_us,
                "commit_us": done.commit_us,
                "wall_us": done.wall_us,
            }
        )

    def write(self, path: str, text: str) -> str:
        """Write to a file in the guest; returns the name of the error, "" if none."""
        said = self.machine.agent.run(["write", path, text]).text
        return "" if said == "OK" else said

    @contextlib.contextmanager
    def memory_checked(self) -> Iterator[MemoryLoad]:
        """Have the guest write and verify memory all the time of the block."""
        load = MemoryLoad(self.machine, LOAD_MB, self.machine.config.cpus)
        load.wait_passes(1)
        yield load
        load.wait_passes(1)
        load.finish()
        if load.wrong and self.wants["memory"] == "may be wrong":
            self.notes.append(f"{load.wrong} words of memory were wrong")
        else:
            self.demand(not load.wrong, f"{load.wrong} words of memory were wrong")


def up_and_down(guest: Guest) -> None:
    """Double the table, halve it twice where that is expected to work, and back."""
    start = guest.machine.order_guest()
    guest.agree(start)
    with guest.memory_checked():
        guest.resize(start + 1, guest.wants["grow"])
        guest.resize(start)
        guest.resize(start - 1, guest.wants["shrink"])
        guest.resize(start + 1)


def through_debugfs(guest: Guest) -> None:
    """Use the merged feature's file, which the series keeps."""
    start = guest.machine.order_guest()
    for order in (start + 1, start, start - 1, start):
        guest.doing(f"write {order} to hpt_order")
        refused = guest.write(HOOK_DEBUGFS, str(order))
        guest.steps.append({"to": str(order), "result": refused or "done"})
        guest.demand(not refused, f"writing {order} to {HOOK_DEBUGFS} gave {refused}")
        said = guest.machine.run("cat", HOOK_DEBUGFS).text
        guest.demand(said == str(order), f"{HOOK_DEBUGFS} reads {said} after {order}")
        guest.agree(order)


def reset(guest: Guest) -> None:
    """Reset a guest whose table was resized: the table has its first size again."""
    machine = guest.machine
    start = machine.order_guest()
    guest.resize(start + 1)
    guest.doing("reset")
    machine.qmp("set-action", reboot="reset")
    boots = machine.agent.boots
    machine.qmp("system_reset")
    machine.agent.wait_ready(BOOT_S, boots + 1)
    guest.agree(start)
    guest.resize(start + 1)


def migration(guest: Guest) -> None:
    """Migrate a guest whose table was resized: it keeps the size, and can resize again."""
    start = guest.machine.order_guest()
    with guest.memory_checked():
        guest.resize(start + 1)
        guest.doing("migrate")
        where = guest.directory / "target"
        target = Machine(guest.config(where, incoming=True), start_timeout=BOOT_S)
        guest.stack.callback(lambda: target.shutdown(quick=True))
        target.start()
        guest.note_memory()
        source = guest.machine
        source.migrate_to(target)
        guest.machine = target
        source.power_off()
        guest.agree(start + 1)
        guest.resize(start)


def hotplug(guest: Guest) -> None:
    """Add memory, then resize: whatever the guest did by itself, it can be resized on."""
    machine = guest.machine
    guest.doing("add memory")
    memory = _megabytes(machine)
    machine.plug_memory("dimm", DIMM_BYTES)
    guest.demand(
        _megabytes(machine) > memory + DIMM_BYTES // 2**20 * 3 // 4,
        f"the guest had {memory} MB, and has {_megabytes(machine)} MB with 1 GB more",
    )
    now = machine.order_guest()
    guest.agree(now)
    with guest.memory_checked():
        guest.resize(now + 1)
        guest.resize(now)


def _megabytes(machine: Machine) -> int:
    found = re.search(r"MemTotal:\s+(\d+)", machine.run("cat", "/proc/meminfo").text)
    return int(found[1]) // 1024 if found else 0


# Orders that are none, and those that are more than QEMU grants.
NONSENSE = ("17", "47", "64")
TOO_LARGE = ("30", "46")


def out_of_range(guest: Guest) -> None:
    """Write orders that no table has, or that are too large for this guest."""
    start = guest.machine.order_guest()
    hook = HOOK + "order"
    if guest.machine.agent.run(["cat", hook]).status:
        hook = HOOK_DEBUGFS
    # To mainline's kernel 0 is a PREPARE that cancels, and then a COMMIT of nothing.
    zero = (("0",), guest.wants["zero"])
    for orders, wanted in (zero, (NONSENSE, "EINVAL"), (TOO_LARGE, "EPERM")):
        for order in orders:
            guest.doing(f"write {order}")
            refused = guest.write(hook, order)
            guest.steps.append({"to": order, "result": refused or "done"})
            guest.demand(refused == wanted, f"order {order} gave {refused or 'no error'}")
            guest.agree(start)
    guest.resize(start + 1)


def not_offered(guest: Guest) -> None:
    """Start a machine with resize-hpt=disabled: the guest cannot resize."""
    machine = guest.machine
    functions = machine.run("cat", "/proc/device-tree/rtas/ibm,hypertas-functions").stdout
    guest.demand(b"hcall-hpt-resize" not in functions, "the device tree offers it all the same")
    there = machine.agent.run(["cat", HOOK + "order"]).status == 0
    guest.demand(not there, f"{HOOK}order is there")
    refused = guest.write(HOOK_DEBUGFS, "24")
    guest.steps.append({"to": "24", "result": refused or "done"})
    wanted = str(guest.wants["disabled"])
    guest.demand(refused == wanted, f"{HOOK_DEBUGFS} gave {refused or 'no error'}, not {wanted}")


SCENARIOS: dict[str, Callable[[Guest], None]] = {
    "updown": up_and_down,
    "debugfs": through_debugfs,
    "reboot": reset,
    "migrate": migration,
    "hotplug": hotplug,
    "range": out_of_range,
    "disabled": not_offered,
}
