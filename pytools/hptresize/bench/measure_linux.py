# SPDX-License-Identifier: GPL-2.0-or-later
"""What a Linux guest measures: how long it stands still, what it has to insert again."""

from __future__ import annotations

import re
import signal
import tempfile
from pathlib import Path

from hptresize.base.errors import CommandFailed, MachineError
from hptresize.bench.measure_bare import Record
from hptresize.bench.payload import resident_mb, settled_mb
from hptresize.bench.plan import Contestant, Parts, Plan
from hptresize.machine import Job, Machine, MachineConfig, ResizeResult
from hptresize.machine.hpt import ORDER_MIN

LARGE_PAGES = "cap-hpt-max-page-size=16777216"
REFUSALS = 3
BOOT_TIMEOUT = 180.0
RESIZE_TIMEOUT = 120.0

_PASS = re.compile(r"pass us=(\d+) pages=(\d+) wrong=(\d+)")
# One line for each hypercall, in every QEMU's log of interrupts; 8 is H_ENTER.
_H_ENTER = re.compile(rb"^hypercall r3=0*8 ", re.MULTILINE)


def linux_config(contestant: Contestant, parts: Parts, plan: Plan, *options: str) -> MachineConfig:
    """Return the Linux guest's machine: two processors, with nothing to do."""
    config = MachineConfig(contestant.qemu, parts.kernel, parts.initrd, memory=plan.memory, cpus=2)
    return contestant.on(config, *options)


def _resize(machine: Machine, order: int, case: str, record: Record) -> ResizeResult:
    done = machine.resize(order, timeout=RESIZE_TIMEOUT)
    if done.commit_us is None or done.prepare_us is None:
        raise MachineError("the guest's kernel does not tell how long a resize took")
    record("standstill_us", done.commit_us, case=case, order=order)
    record("guest_prepare_us", done.prepare_us, case=case, order=order)
    told = machine.query_hpt()
    if told is not None:
        record("guest_host_commit_us", told["last-commit-us"], case=case, order=order)
    return done


def _measure_refused(machine: Machine, record: Record) -> None:
    """Measure stop_machine() with little in it: a COMMIT that is refused.

    A table of the smallest size has no room for the bolted entries of a guest that
    needs this benchmark. Rehash finds that in COMMIT, after about a millisecond; mirror
    in PREPARE already, so that nothing stops and there is nothing to measure.
    """
    start = machine.order_guest()
    for _ in range(REFUSALS):
        done = machine.try_resize(ORDER_MIN, timeout=RESIZE_TIMEOUT)
        if not done.errno_name:
            machine.resize(start, timeout=RESIZE_TIMEOUT)
            return
        if not done.commit_us:
            return
        record("refused_us", done.commit_us)
        told = machine.query_hpt()
        if told is not None:
            record("refused_host_us", told["last-commit-us"])


def measure_linux(contestant: Contestant, parts: Parts, plan: Plan, record: Record) -> None:
    """Measure a guest with 64 KB pages: a fresh one first, then with a working set."""
    with Machine(linux_config(contestant, parts, plan), start_timeout=BOOT_TIMEOUT) as machine:
        before = resident_mb(machine.qemu_pid)
        _resize(machine, plan.top, "64K", record)
        after, settled = resident_mb(machine.qemu_pid), settled_mb(machine.qemu_pid)
        record("guest_rss_mb", after - before, case="at once", order=plan.top)
        record("guest_rss_mb", settled - before, case="settled", order=plan.top)
        _resize(machine, plan.top - 1, "64K shrink", record)
        _measure_refused(machine, record)
        _measure_working_set(machine, plan, record)
        machine.console.check()


def measure_large_pages(contestant: Contestant, parts: Parts, plan: Plan, record: Record) -> None:
    """Measure a fresh guest that may use 16 MB pages for its linear mapping."""
    config = linux_config(contestant, parts, plan, LARGE_PAGES)
    with Machine(config, start_timeout=BOOT_TIMEOUT) as machine:
        _resize(machine, plan.top, "16M", record)
        _resize(machine, plan.top - 1, "16M shrink", record)
        machine.console.check()


def _measure_working_set(machine: Machine, plan: Plan, record: Record) -> None:
    job = machine.start_command("readpass", "--mb", str(plan.set_mb))
    try:
        _pass(job)
    except (CommandFailed, EOFError) as err:
        raise MachineError(f"the image has no readpass: {err}", hint="build it anew") from err
    record("read_us", _again(job)[0], case="before")
    machine.resize(plan.top, timeout=RESIZE_TIMEOUT)
    record("read_us", _again(job)[0], case="after growing")
    machine.resize(plan.top - 1, timeout=RESIZE_TIMEOUT)
    record("read_us", _again(job)[0], case="after shrinking")
    # With the log on time says nothing, so inserts are counted at another resize.
    pages, without = _inserts(machine, job)
    machine.resize(plan.top, timeout=RESIZE_TIMEOUT)
    _, after = _inserts(machine, job)
    record("inserts", after, case="after growing")
    record("inserts", without, case="before")
    record("inserts_percent", 100 * max(0, after - without) / pages, order=plan.top)
    job.kill(signal.SIGKILL)


def _pass(job: Job) -> tuple[int, int]:
    """Wait for a pass to end; returns its microseconds and its pages."""
    line = job.line(120.0)
    match = _PASS.fullmatch(line)
    if match is None or int(match[3]):
        raise MachineError(f"readpass in the guest said {line!r}")
    return int(match[1]), int(match[2])


def _again(job: Job) -> tuple[int, int]:
    job.kill(signal.SIGUSR1)
    return _pass(job)


def _inserts(machine: Machine, job: Job) -> tuple[int, int]:
    """Read the working set once; returns its pages and the H_ENTERs meanwhile."""
    with tempfile.TemporaryDirectory(prefix="hptresize-") as scratch:
        log = Path(scratch) / "interrupts.log"
        machine.monitor(f"logfile {log}")
        machine.monitor("log int")
        pages = _again(job)[1]
        machine.monitor("log none")
        return pages, len(_H_ENTER.findall(log.read_bytes()))
