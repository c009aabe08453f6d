# SPDX-License-Identifier: GPL-2.0-or-later
"""A long run: one guest that resizes, gets and gives memory, migrates, all with memory under check.

It ends when its time is over, at the first failure, or by Ctrl-C, and tells what it did
and how QEMU's memory grew.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from hptresize.base import progress
from hptresize.base.errors import HptResizeError, MachineError
from hptresize.bench.payload import resident_mb
from hptresize.machine import Machine, MachineConfig
from hptresize.machine.load import MemoryLoad
from hptresize.matrix.runner import explain

RESULT = "soak.json"
LOAD_MB = 64
DIMM_BYTES = 1 << 30
DIMMS = 4
# What is done next, and how often compared with the others.
WEIGHTS = {"resize": 20, "plug": 2, "unplug": 2, "migrate": 1}
# Steps of a QEMU until its caches have the size that they will have, and the fewest that
# must lie between two samples that are compared.
WARM_UP = 5
APART = 5
PASS_S = 120.0


@dataclasses.dataclass(frozen=True)
class SoakSample:
    """QEMU's memory after a step.

    :ivar seconds: since the start.
    :ivar qemu: which one since the start: a migration begins with a new one.
    :ivar order: log2 of the table's bytes then, which the memory goes with.
    """

    seconds: float
    qemu: int
    step: int
    order: int
    dimms: int
    rss_mb: float


@dataclasses.dataclass
class SoakResult:
    """What a long run did.

    :ivar seed: repeats the same steps.
    :ivar done: how many of each kind of step.
    :ivar failures: what went wrong, one line each.
    """

    seed: int
    mode: str
    done: dict[str, int] = dataclasses.field(default_factory=lambda: dict.fromkeys(WEIGHTS, 0))
    passes: int = 0
    wrong: int = 0
    failures: list[str] = dataclasses.field(default_factory=list)
    samples: list[SoakSample] = dataclasses.field(default_factory=list)
    seconds: float = 0.0

    @property
    def resizes_per_minute(self) -> float:
        """Over the whole run, with all that was done besides."""
        return self.done["resize"] / max(self.seconds, 1e-9) * 60

    @property
    def growth_mb(self) -> float | None:
        """By how much the memory of a QEMU grows in 100 steps, megabytes.

        The first and the last sample of the same QEMU with the same table and the same
        DIMMs are compared; the median of all such pairs. None: there is no such pair.
        """
        groups: dict[tuple[int, int, int], list[SoakSample]] = {}
        begins: dict[int, int] = {}
        for one in self.samples:
            if one.step - begins.setdefault(one.qemu, one.step) >= WARM_UP:
                groups.setdefault((one.qemu, one.order, one.dimms), []).append(one)
        rates = [
            (same[-1].rss_mb - same[0].rss_mb) / (same[-1].step - same[0].step)
            for same in groups.values()
            if same[-1].step - same[0].step >= APART
        ]
        return 100 * statistics.median(rates) if rates else None

    def as_json(self) -> str:
        """Return it for programs."""
        more = {"resizes_per_minute": self.resizes_per_minute, "growth_mb": self.growth_mb}
        return json.dumps(dataclasses.asdict(self) | more, indent=1) + "\n"

    def lines(self) -> list[str]:
        """Return it for people."""
        grown = self.growth_mb
        did = ", ".join(f"{number} {what}" for what, number in sorted(self.done.items()))
        return [
            f"{self.seconds / 60:.1f} minutes in {self.mode} mode, seed {self.seed}: {did}",
            f"{self.resizes_per_minute:.1f} resizes a minute, {len(self.failures)} failures, "
            f"{self.passes} passes over {LOAD_MB} MB, {self.wrong} words wrong",
            "QEMU's memory: " + (
                "too short to tell whether it grows" if grown is None
                else f"{grown:+.1f} MB in 100 steps"
            ),
            *self.failures,
        ]  # fmt: skip


class Soak:
    """A long run.

    :param config: the guest's machine, with one CPU and room for DIMMs; see :func:`run`.
    """

    def __init__(self, config: MachineConfig, result: SoakResult) -> None:
        self.config = config
        self.result = result
        self.random = random.Random(result.seed)
        self.stack = contextlib.ExitStack()
        self.machine = self._started(config)
        self.dimms: list[str] = []
        self.first = self.machine.order_guest()
        self.load = MemoryLoad(self.machine, LOAD_MB, config.cpus)

    def _started(self, config: MachineConfig) -> Machine:
        machine = Machine(config)
        self.stack.callback(lambda: machine.shutdown(quick=True))
        machine.start()
        return machine

    def step(self) -> str:
        """Do something, see that guest and host agree, and note QEMU's memory.

        :returns: what it was.
        :raises MachineError: it went wrong.
        """
        kinds = [one for one in WEIGHTS if self._possible(one)]
        what = self.random.choices(kinds, [WEIGHTS[one] for one in kinds])[0]
        {"resize": self._resize, "plug": self._plug, "unplug": self._unplug,
         "migrate": self._migrate}[what]()  # fmt: skip
        order, host = self.machine.order_guest(), self.machine.order_host()
        # After memory went the table becomes smaller by itself, between the two perhaps.
        if host not in (order, None, self.machine.order_guest()):
            raise MachineError(f"the guest says order {order}, the host {host}")
        self.result.done[what] += 1
        return what

    def _possible(self, what: str) -> bool:
        return {"plug": len(self.dimms) < DIMMS, "unplug": bool(self.dimms)}.get(what, True)

    def _resize(self) -> None:
        now = self.machine.order_guest()
        orders = [one for one in range(self.first - 1, self.first + 2) if one != now]
        self.machine.resize(self.random.choice(orders))

    def _plug(self) -> None:
        name = f"dimm{sum(self.result.done.values())}"
        self.machine.plug_memory(name, DIMM_BYTES)
        self.dimms.append(name)

    def _unplug(self) -> None:
        self.machine.unplug_memory(self.dimms[-1])
        del self.dimms[-1]

    def _migrate(self) -> None:
        # The target would have to be started with the same DIMMs.
        while self.dimms:
            self._unplug()
        target = self._started(self.config.but(incoming=True))
        source = self.machine
        source.migrate_to(target)
        self.machine = target
        source.power_off()

    def check(self) -> None:
        """See that the memory under check is right, all of it once.

        :raises MachineError: it is not.
        """
        self.result.passes += self.load.wait_passes(1, PASS_S)
        self.result.wrong = self.load.wrong
        if self.load.wrong:
            raise MachineError(f"{self.load.wrong} words of memory were wrong")
        self.machine.console.check()

    def sample(self, seconds: float) -> None:
        """Note QEMU's memory."""
        self.result.samples.append(
            SoakSample(
                round(seconds, 1), self.result.done["migrate"], sum(self.result.done.values()),
                self.machine.order_guest(), len(self.dimms),
                round(resident_mb(self.machine.qemu_pid), 1),
            )
        )  # fmt: skip


def run(config: MachineConfig, *, minutes: float, seed: int, mode: str, where: Path) -> SoakResult:
    """Run until the time is over, something fails, or Ctrl-C.

    :param config: the guest's machine.
    :param where: gets soak.json, and the guest's files.
    """
    result = SoakResult(seed, mode)
    where.mkdir(parents=True, exist_ok=True)
    begin = time.monotonic()
    with progress.step(f"resize for {minutes:g} minutes") as step:
        try:
            _steps(config.but(run_dir=where), result, begin, minutes * 60, step.update)
        except KeyboardInterrupt:
            progress.say("interrupted: what there is so far follows")
        except HptResizeError as err:
            result.failures.append(": ".join(explain(err)))
        result.seconds = time.monotonic() - begin
    (where / RESULT).write_text(result.as_json())
    return result


def _steps(
    config: MachineConfig,
    result: SoakResult,
    begin: float,
    limit: float,
    update: Callable[[float, float, str], None],
) -> None:
    soak = Soak(config, result)
    with soak.stack:
        while (now := time.monotonic() - begin) < limit:
            what = soak.step()
            soak.check()
            soak.sample(now)
            update(now, limit, f"s: {result.done['resize']} resizes, now {what}")
        soak.load.finish()
        soak.machine.power_off()
