# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest that calls at random, and a host that disturbs it, until something gives.

The guest is the conformance payload with "hpt.hostile=SEED,..." (guest/conformance/
hostile.c): it checks results and the table itself.  From outside come what a monitor can
do, resets and migrations, each at a number of calls that follows from the seed as well.
QEMU is one that was built with sanitizers, so that wrong accesses, undefined behaviour
and leaks end it with a report.
"""

from __future__ import annotations

import random
import re
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from hptresize.base.errors import MachineError, QmpError
from hptresize.build.image.bare_program import BARE_ADDRESS
from hptresize.machine import MachineConfig
from hptresize.machine.console import Console
from hptresize.machine.process import Qemu
from hptresize.machine.watch import Watch, describe_exit
from hptresize.run.conformance import takes_machine_option

Mode = Literal["mirror", "rehash"]

SILENCE_S = 120.0
"""Seconds without a sign of the guest after which it counts as hung."""
QUIT_S = 60.0
MAX_CPUS = 8  # of the payload
ORDERS = range(18, 25)
"""Orders that a guest of 1 GB can have."""

SUPPRESSIONS = Path(__file__).parents[1] / "data" / "lsan.supp"
SANITIZERS = (
    ("ASAN_OPTIONS", "detect_leaks=1:fast_unwind_on_malloc=0"),
    ("LSAN_OPTIONS", f"suppressions={SUPPRESSIONS}:print_suppressions=0"),
    ("UBSAN_OPTIONS", "halt_on_error=1:print_stacktrace=1"),
)

# What happens from outside: how often, among a hundred; and how many calls lie between.
ACTIONS = {
    "query_hpt": 25, "info_hpt": 10, "query_status": 8, "query_cpus": 6, "stop_and_cont": 12,
    "fail_alloc": 10, "forget": 10, "delay": 10, "no_delay": 5, "reset": 2, "migrate": 2,
}  # fmt: skip
OURS = ("query_hpt", "info_hpt", "stop_and_cont", "fail_alloc", "forget", "delay", "no_delay")
"""Those that mainline's QEMU does not know."""
BETWEEN = (100, 1500)

RESIZED_TOO_LATE = "The guest resized its hash page table at the end of the migration"

_RESULT = re.compile(r"^(not ok|ok) 1 hostile$", re.MULTILINE)
_TELLING = re.compile(r"ERROR: |SUMMARY: |runtime error: |ssertion|terminated|hptresize")


class Found(MachineError):
    """The guest found something wrong, or QEMU ended, hung or leaked."""


@dataclass(frozen=True)
class Attempt:
    """One run: the same attempt makes the same calls.

    :param calls: after which it ends.
    """

    seed: int
    calls: int
    cpus: int
    mode: Mode

    @property
    def migrates(self) -> bool:
        """Whether the guest is migrated; if not, it also checks all R and C bits.

        The stream of QEMU's table, mainline's too, has an entry as it was when it was sent:
        bits that the MMU set since then are lost.
        """
        return self.seed % 2 == 0

    @property
    def command(self) -> str:
        """What repeats it."""
        return (
            f"hptresize hostile --seed {self.seed} --calls {self.calls} --cpus {self.cpus} "
            f"--mode {self.mode}"
        )


@dataclass
class AttemptReport:
    """What an attempt came to.

    :param done: how often each action of :data:`ACTIONS` was done.
    :param told: the guest's own figures.
    """

    attempt: Attempt
    done: dict[str, int] = field(default_factory=dict)
    told: str = ""
    seconds: float = 0.0

    def as_line(self) -> str:
        """The report in a line."""
        resets, migrations = self.done.get("reset", 0), self.done.get("migrate", 0)
        others = sum(self.done.values()) - resets - migrations
        return (
            f"seed {self.attempt.seed}, {self.attempt.mode}, {self.attempt.cpus} CPUs: "
            f"{self.told}; {resets} resets, {migrations} migrations, {others} other commands; "
            f"{self.seconds:.1f} s"
        )


class _Place:
    """A QEMU with the guest in it, or waiting for it."""

    def __init__(self, config: MachineConfig) -> None:
        self.watch = Watch()
        self.console = Console(self.watch)
        self.calls = 0
        self._partial = b""
        self.qemu = Qemu(config, self.watch, self.console.feed, self._count)

    def _count(self, data: bytes) -> None:
        """Take what the guest says of how far it is."""
        *lines, self._partial = (self._partial + data).split(b"\n")
        with self.watch.update():
            # A reset or a migration may leave half a line.
            self.calls = max([self.calls, *(int(line) for line in lines if line.isdigit())])

    def qmp(self, command: str, **arguments: object) -> Any:
        named = {name.replace("_", "-"): value for name, value in arguments.items()}
        return self.qemu.qmp(command, named, SILENCE_S)

    def leave(self) -> None:
        """Have QEMU quit, and look how it does.

        :raises MachineError: not well.
        """
        try:
            self.qmp("quit")
            status = self.qemu.wait_ended(QUIT_S)
        finally:
            self.qemu.close()
        if status != 0:
            raise MachineError(f"QEMU {describe_exit(status)} when it was told to quit")


class _Session:
    """An attempt under way."""

    def __init__(self, config: MachineConfig, report: AttemptReport) -> None:
        self._config = config
        self._report = report
        self._random = random.Random(report.attempt.seed)
        self._before = ""  # the console of places that the guest has left
        self.said: list[str] = []
        self._here = _Place(config)

    def run(self) -> None:
        """Run until the guest has made its calls.

        :raises MachineError: what went wrong.
        """
        try:
            self._here.qemu.start(SILENCE_S)
            known = {one["name"] for one in self._here.qmp("query-commands")}
            for at, action in self._events():
                if "query-hpt" not in known and action in OURS:
                    continue
                if action == "migrate" and not self._report.attempt.migrates:
                    continue
                if self._ended_before(at):
                    break
                getattr(self, f"_{action}")()
                self._report.done[action] = self._report.done.get(action, 0) + 1
            self._conclude()
            self._here.leave()
        finally:
            self.said.append(self._here.watch.qemu_stderr())
            self._here.qemu.close()

    @property
    def console(self) -> str:
        """All that the guest has said."""
        return self._before + self._here.watch.console

    def _events(self) -> Iterator[tuple[int, str]]:
        at = 0
        while True:
            at += self._random.randint(*BETWEEN)
            (action,) = self._random.choices(list(ACTIONS), list(ACTIONS.values()))
            yield at, action

    def _ended_before(self, at: int) -> bool:
        """Wait until the guest has made so many calls; whether it came to its end instead."""
        here = self._here
        while not _RESULT.search(self.console):
            if here.calls >= at:
                return False
            self._wait_for_a_sign(here.calls)
        return True

    def _wait_for_a_sign(self, seen: int) -> None:
        self._here.watch.wait(
            lambda: self._here.calls != seen or _RESULT.search(self.console) is not None,
            SILENCE_S,
            f"a sign of the guest after {seen} calls",
        )

    def _conclude(self) -> None:
        match = _RESULT.search(self.console)
        assert match is not None
        comments = re.findall(r"^# (.*)$", self.console, re.MULTILINE)
        if match[1] != "ok":
            raise MachineError(f"the guest says: {comments[-1] if comments else 'nothing'}")
        self._report.told = comments[-1]

    # What happens from outside

    def _query_hpt(self) -> None:
        host = self._here.qmp("query-hpt")
        if host["order"] not in ORDERS or host["default-order"] != 23:
            raise MachineError(f"query-hpt says {host}")

    def _info_hpt(self) -> None:
        self._here.qmp("human-monitor-command", command_line="info hpt")

    def _query_status(self) -> None:
        self._here.qmp("query-status")

    def _query_cpus(self) -> None:
        self._here.qmp("query-cpus-fast")

    def _stop_and_cont(self) -> None:
        self._here.qmp("stop")
        self._query_hpt()
        self._here.qmp("cont")

    def _set(self, name: str, value: object) -> None:
        self._here.qmp("qom-set", path="/machine", property=name, value=value)

    def _fail_alloc(self) -> None:
        self._set("x-hpt-fail-alloc", True)

    def _forget(self) -> None:
        self._set("x-hpt-forget", True)

    def _delay(self) -> None:
        self._set("x-hpt-prepare-delay", self._random.randint(1, 20))

    def _no_delay(self) -> None:
        self._set("x-hpt-prepare-delay", 0)

    def _reset(self) -> None:
        self._here.qmp("system_reset")

    def _migrate(self) -> None:
        source, target = self._here, _Place(self._config.but(incoming=True))
        try:
            target.qemu.start(SILENCE_S)
            with tempfile.TemporaryDirectory(prefix="hptresize-") as name:
                arrived = _migrate(source, target, f"unix:{name}/migrate")
        except BaseException:
            target.qemu.close()
            raise
        if not arrived:
            target.qemu.close()
            return
        self._before, target.calls = self.console, source.calls
        self._here = target
        try:
            source.leave()
        finally:
            self.said.append(source.watch.qemu_stderr())


def _migrate(source: _Place, target: _Place, uri: str) -> bool:
    """Migrate; False if the guest stays, as it may when it resizes in the last moment."""
    target.qmp("migrate-incoming", uri=uri)
    events = [{"capability": "events", "state": True}]
    source.qmp("migrate-set-capabilities", capabilities=events)
    source.qmp("migrate-set-parameters", downtime_limit=5000, max_bandwidth=1 << 40)
    # An earlier migration may have failed here.
    source.watch.forget_events()
    before = len(source.qemu.stderr())
    source.qmp("migrate", uri=uri)

    def ended() -> bool:
        told = [one["data"]["status"] for one in source.watch.events if one["event"] == "MIGRATION"]
        return bool({"completed", "failed"} & set(told))

    source.watch.wait(ended, SILENCE_S, "the end of the migration")
    status = source.qmp("query-migrate")
    if status["status"] == "completed":
        return True
    if RESIZED_TOO_LATE not in source.qemu.stderr()[before:]:
        raise MachineError(f"the migration failed: {status}")
    return False


def run(attempt: Attempt, qemu: Path, *, payload: Path, logs: Path) -> AttemptReport:
    """Let the guest loose on a QEMU.

    :param payload: what :func:`build_conformance` made.
    :param logs: a directory for what was said if something goes wrong.
    :raises Found: something went wrong; says what, and how to have it again.
    """
    numbers = (attempt.seed, attempt.calls, attempt.cpus, int(attempt.migrates))
    words = ["hpt.host", "hpt.hostile=" + ",".join(str(number) for number in numbers)]
    if attempt.mode == "mirror":
        words.append("hpt.mirror")
    wanted = f"hpt-resize-mode={attempt.mode}"
    options = (wanted,) if takes_machine_option(qemu, wanted) else ()
    config = MachineConfig(
        qemu, payload, None, memory="1G", cpus=attempt.cpus, append=" ".join(words),
        machine_options=(f"kernel-addr={BARE_ADDRESS:#x}", *options),
        extra_args=("-action", "reboot=reset"), environment=SANITIZERS,
    )  # fmt: skip
    config.validate()
    report = AttemptReport(attempt)
    session = _Session(config, report)
    begin = time.monotonic()
    try:
        session.run()
    except (MachineError, QmpError) as error:
        said = "\n".join([*session.said, session.console])
        log = logs / f"hostile-{attempt.mode}-{attempt.cpus}-{attempt.seed}.log"
        log.write_text(said)
        lines = [line.strip() for line in said.splitlines() if _TELLING.search(line)]
        telling = [line for line in lines if line not in error.what][:2]
        text = f"seed {attempt.seed}: {error.what}" + "".join(f" / {line}" for line in telling)
        raise Found(text, hint=f"repeat it by `{attempt.command}`", log=log) from error
    report.seconds = time.monotonic() - begin
    return report
