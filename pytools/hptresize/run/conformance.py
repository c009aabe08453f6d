# SPDX-License-Identifier: GPL-2.0-or-later
"""Run the conformance payload on a QEMU and tell what passes and what does not.

The payload (guest/conformance) tests the hypercalls from inside a guest and
speaks KTAP on its console.  A test that fails ends its run, as does a QEMU that
dies or says nothing more; the tests that are left get a fresh start.  What only
shows from outside, the payload asks for on its second terminal.
"""

from __future__ import annotations

import contextlib
import functools
import re
import resource
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hptresize.base.errors import GuestHung, MachineError, QemuDied, UsageError
from hptresize.build.image.bare_program import BARE_ADDRESS
from hptresize.build.image.conformance_program import CONFORMANCE_DIR, build_conformance
from hptresize.machine import MachineConfig
from hptresize.machine.console import Console
from hptresize.machine.process import Qemu
from hptresize.machine.settings import SYSTEM_FIRMWARE, TCG_CAPABILITIES, Firmware
from hptresize.machine.watch import Deadline, Watch

Status = Literal["pass", "fail", "skip"]

TESTS_FILE = CONFORMANCE_DIR / "tests.def"
SILENCE_S = 20.0
"""Seconds that a test may take before it counts as one without an end."""
FIRMWARE_S = 30.0
"""Seconds that the firmware may take on top, for the first test."""
LIMIT_BYTES = 48 << 20
"""What QEMU may still allocate when the payload wants it to have no memory: less
than the tables that it asks for then, enough for a thread."""

SLOW = "x-hpt-prepare-delay=10"

_TEST = re.compile(r'^TEST\((\w+), (\w+), (\d+), (\d+), "(\w+)", "([^"]+)"\)$', re.MULTILINE)
_RESULT = re.compile(r"^(ok|not ok) \d+ (\S+)(?: # SKIP (.*))?$")
_STATUS_FIELD = {
    "threads": "Threads", "memory": "VmRSS", "peak-memory": "VmHWM", "peak-space": "VmPeak",
}  # fmt: skip
PAUSES = 100
"""How often a machine is stopped and goes on when the payload asks for it."""


@dataclass(frozen=True)
class Test:
    """A test of the payload, as tests.def declares it.

    :param memory: the guest's, in MB.
    :param kind: the machine that it wants, see tests.def.
    :param text: what it demands.
    """

    name: str
    cpus: int
    memory: int
    kind: str
    text: str


@dataclass(frozen=True)
class Outcome:
    """What became of a test.

    :param what: why it failed or was left out; empty if it passed.
    :param seconds: it took, the start of a machine included if it was the first.
    """

    name: str
    text: str
    status: Status
    what: str
    seconds: float


@dataclass(frozen=True)
class Subject:
    """What is tested.

    :param machine_options: such as "hpt-resize-mode=rehash".
    """

    qemu: Path
    firmware: Firmware = "vof"
    machine_options: tuple[str, ...] = ()
    firmware_dir: Path | None = None

    @property
    def mirrors(self) -> bool:
        """Whether it is to keep every entry when a table grows."""
        return "hpt-resize-mode=mirror" in self.machine_options


def load_tests(text: str | None = None) -> list[Test]:
    """All tests of the payload, in order.

    :param text: contents of a tests.def; None: those of the payload.
    """
    found = _TEST.findall(TESTS_FILE.read_text() if text is None else text)
    return [
        Test(f"{group}.{name}", int(cpus), int(memory), kind, says)
        for group, name, cpus, memory, kind, says in found
    ]


def qemu_version(qemu: Path) -> str:
    """What a QEMU says it is, such as "10.0.13".

    :raises UsageError: it is no QEMU.
    """
    try:
        argv = [str(qemu.absolute()), "--version"]
        said = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=20).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise UsageError(f"QEMU {qemu} does not run: {error}", hint="see --qemu") from None
    match = re.search(r"version (\S+)", said)
    return match[1] if match else said.strip()


@functools.cache
def takes_machine_option(qemu: Path, option: str) -> bool:
    """Whether QEMU's pseries machine takes an option.

    :param option: with a value, such as "hpt-resize-mode=mirror".
    """
    # Options that belong to one machine, not to all of its kind, are in no list.
    argv = [str(qemu.absolute()), "-nodefaults", "-display", "none", "-S", "-qmp", "stdio"]
    argv += ["-machine", ",".join(["pseries", "x-vof=on", *TCG_CAPABILITIES, option])]
    argv += ["-L", str(SYSTEM_FIRMWARE)]
    quit_at_once = '{"execute": "qmp_capabilities"}\n{"execute": "quit"}\n'
    done = subprocess.run(
        argv, input=quit_at_once, capture_output=True, text=True, check=False, timeout=20
    )
    return done.returncode == 0


class _Host:
    """Answers what the payload asks about the QEMU it runs on."""

    def __init__(self, qemu: Qemu) -> None:
        self._qemu = qemu
        self._partial = b""
        self.wanted = ""  # what takes QMP: it is for another thread than this one

    def feed(self, data: bytes) -> None:
        """Take bytes from the channel (called by the thread that reads them)."""
        *lines, self._partial = (self._partial + data).split(b"\n")
        for line in lines:
            self._do(line.decode("ascii", "replace"))

    def _do(self, command: str) -> None:
        if command in ("reset", "pause"):
            self.wanted = command
            return
        self._answer(self._value(command))

    def _answer(self, value: int) -> None:
        self._qemu.write_channel(f"{value}\n".encode())

    def do_wanted(self, deadline: Deadline) -> None:
        """Do what the payload wants of QMP.

        :raises MachineError: QEMU does not answer.
        """
        command, self.wanted = self.wanted, ""
        if command == "reset":
            self._qemu.qmp("system_reset", {}, deadline.left)
            return
        for _ in range(PAUSES):
            self._qemu.qmp("stop", {}, deadline.left)
            self._qemu.qmp("cont", {}, deadline.left)
        self._answer(PAUSES)

    def _value(self, command: str) -> int:
        pid = self._qemu.pid
        status = Path(f"/proc/{pid}/status").read_text()
        if command in _STATUS_FIELD:
            return _field(status, _STATUS_FIELD[command])
        if command == "forget-peak":
            Path(f"/proc/{pid}/clear_refs").write_text("5")
            return 0
        _, hard = resource.prlimit(pid, resource.RLIMIT_AS)
        limit = hard
        if command == "limit":
            limit = _field(status, "VmSize") * 1024 + LIMIT_BYTES
        resource.prlimit(pid, resource.RLIMIT_AS, (limit, hard))
        return 0


def _field(status: str, name: str) -> int:
    match = re.search(rf"^{name}:\s+(\d+)", status, re.MULTILINE)
    return int(match[1]) if match else 0


class _Run:
    """One start of QEMU with the payload and some of its tests."""

    def __init__(self, config: MachineConfig, report: Callable[[Outcome], None]) -> None:
        self._report = report
        self._watch = Watch()
        self._console = Console(self._watch)
        self._qemu = Qemu(config, self._watch, self._console.feed, self._asked)
        self._host = _Host(self._qemu)
        self._read = 0

    def _asked(self, data: bytes) -> None:
        with self._watch.update():
            self._host.feed(data)

    def run(self, tests: Sequence[Test]) -> list[Test]:
        """Run tests until one fails; returns those that are left.

        :raises QemuStartError: QEMU does not start at all.
        """
        try:
            self._qemu.start(FIRMWARE_S)
            self._qemu.qmp("cont", {}, FIRMWARE_S)
            return self._follow(list(tests))
        finally:
            self._qemu.close()

    def _follow(self, left: list[Test]) -> list[Test]:
        begin, patience = time.monotonic(), SILENCE_S + FIRMWARE_S
        while left:
            test = left.pop(0)
            try:
                status, what = self._result(test, patience)
            except MachineError as error:
                status, what = "fail", self._what_happened(error)
            took = round(time.monotonic() - begin, 3)
            self._report(Outcome(test.name, test.text, status, what, took))
            if status == "fail":
                break
            begin, patience = time.monotonic(), SILENCE_S
        return left

    def _result(self, test: Test, patience: float) -> tuple[Status, str]:
        """Wait for what the payload says about a test.

        :raises MachineError: it does not.
        """
        deadline = Deadline(patience)
        comment = "it does not say why"
        while True:
            line = self._line(deadline)
            if line.startswith("# "):
                comment = line[2:]
            if line.startswith("Bail out!"):
                return "fail", comment
            match = _RESULT.match(line)
            if match is not None and match[2] == test.name:
                if match[1] != "ok":
                    return "fail", comment
                return ("skip", match[3]) if match[3] else ("pass", "")

    def _line(self, deadline: Deadline) -> str:
        """The next line of the console; what is wanted of QMP meanwhile is done."""
        while True:
            self._watch.wait(
                lambda: bool(self._host.wanted) or "\n" in self._watch.console[self._read :],
                deadline.left,
                "the result of a test",
            )
            if self._host.wanted:
                self._host.do_wanted(deadline)
                continue
            line, _, _ = self._watch.console[self._read :].partition("\n")
            self._read += len(line) + 1
            return line.strip()

    def _what_happened(self, error: MachineError) -> str:
        if isinstance(error, GuestHung):
            return f"no end within {SILENCE_S:g} s"
        status = self._qemu.wait_ended(10.0)
        if not isinstance(error, QemuDied) and status is None:
            return str(error)
        how = f"status {status}"
        if status is not None and status < 0:
            with contextlib.suppress(ValueError):
                how = signal.Signals(-status).name
        said = [line for line in self._qemu.stderr().splitlines() if line.strip()]
        telling = [line for line in said if "ssert" in line or "rror" in line]
        last = (telling or said or [""])[-1]
        # "ERROR:../hw/ppc/file.c:123:function: assertion failed: (...)"
        last = re.sub(r"^.*?([\w-]+\.c:\d+:)", r"\1", last)
        return f"QEMU died: {how}" + (f", {last}" if last else "")


def _groups(tests: Iterable[Test]) -> list[list[Test]]:
    """Tests that can share a machine, in their order."""
    groups: list[list[Test]] = []
    for test in tests:
        last = groups[-1][-1] if groups else None
        alike = last is not None and (
            (last.cpus, last.memory, last.kind) == (test.cpus, test.memory, test.kind)
        )
        if alike and test.kind != "alone":
            groups[-1].append(test)
        else:
            groups.append([test])
    return groups


def _machine(subject: Subject, payload: Path, tests: Sequence[Test]) -> MachineConfig:
    first = tests[0]
    options = [*subject.machine_options, f"kernel-addr={BARE_ADDRESS:#x}"]
    if first.kind == "pages16m":
        options.append("cap-hpt-max-page-size=16777216")
    if first.kind == "slow" and takes_machine_option(subject.qemu, SLOW):
        options.append(SLOW)
    words = ["hpt.host", *(["hpt.mirror"] if subject.mirrors else [])]
    return MachineConfig(
        subject.qemu,
        payload,
        None,
        memory=f"{first.memory}M",
        maxmem=f"{4 * first.memory}M" if first.kind == "hotplug" else None,
        cpus=first.cpus,
        cpu="POWER9" if first.kind == "radix" else "POWER8",
        firmware=subject.firmware,
        resize_hpt="disabled" if first.kind == "disabled" else "enabled",
        machine_options=tuple(options),
        append=" ".join([*words, "hpt.tests=" + ",".join(test.name for test in tests)]),
        firmware_dir=subject.firmware_dir,
        # Stopped at first: a test that kills QEMU must not be one where QEMU did not start.
        extra_args=("-action", "reboot=reset", "-S"),
    )


def run(
    subject: Subject,
    *,
    tests: Sequence[Test] | None = None,
    payload: Path | None = None,
    report: Callable[[Outcome], None] = lambda outcome: None,
) -> list[Outcome]:
    """Run the payload's tests on a QEMU.

    :param tests: some of :func:`load_tests`; None: all.
    :param payload: what :func:`build_conformance` made; None: made on the spot.
    :param report: called with each outcome as it comes.
    :returns: one outcome for each test, in their order.
    :raises QemuStartError: QEMU does not start.
    :raises ToolMissing, BuildError: the payload cannot be compiled.
    """
    outcomes: list[Outcome] = []

    def take(outcome: Outcome) -> None:
        outcomes.append(outcome)
        report(outcome)

    with tempfile.TemporaryDirectory(prefix="hptresize-") as scratch:
        program = payload or build_conformance(Path(scratch) / "payload.elf")
        for group in _groups(load_tests() if tests is None else tests):
            left = group
            while left:
                left = _Run(_machine(subject, program, left), take).run(left)
    return outcomes
