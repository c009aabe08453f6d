# SPDX-License-Identifier: GPL-2.0-or-later
"""What the benchmark runs: which QEMUs, which guests, how often."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hptresize.base.errors import UsageError
from hptresize.bench.results import Mode, Results
from hptresize.machine import BareGuest, MachineConfig

# 2^31 bytes is the most that QEMU grants a guest of 128 GB, the RFC's own example.
FULL_ORDER = 31
MODE_PROPERTY = "hpt-resize-mode"
DELAY_PROPERTY = "x-hpt-prepare-delay"


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    :ivar rounds: how often each of them runs.
    :ivar low: log2 of the bytes of the smallest table, ``top`` of the largest.
    :ivar few: bolted entries of the pause against table size: a guest of 128 GB
        that may use 16 MB pages has so many. ``many``: one with 64 KB pages.
    :ivar others: entries that are not bolted, to see how many a resize loses.
    :ivar churn_ms: length of each measurement of inserts and removes.
    :ivar set_mb: the guest's working set, megabytes.
    :ivar large_pages: whether guests with 16 MB pages are measured as well.
    """

    rounds: int = 5
    low: int = 24
    top: int = FULL_ORDER
    few: int = 8192
    many: int = 2_000_000
    others: int = 100_000
    churn_ms: int = 400
    set_mb: int = 512
    large_pages: bool = True

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise UsageError(f"{self.rounds} is not a number of rounds")
        if not 19 <= self.low <= self.top <= FULL_ORDER:
            raise UsageError(
                f"orders {self.low} to {self.top} make no sense",
                hint=f"the smallest is at least 19, the largest at most {FULL_ORDER}",
            )

    @classmethod
    def quick(cls, rounds: int = 3, low: int = 22, top: int = 25) -> Plan:
        """Return a plan that takes less than a minute and shows little but that all works."""
        return cls(
            rounds=rounds, low=low, top=top, few=1024, many=16384, others=8192,
            churn_ms=100, set_mb=32, large_pages=False,
        )  # fmt: skip

    @property
    def memory(self) -> str:
        """The guest's memory: QEMU grants a table of twice RAM / 128."""
        return f"{1 << (self.top - 1 + 7 - 20)}M"

    @property
    def many_now(self) -> int:
        """``many``, or as many as the table before the largest has groups to spare for."""
        return min(self.many, 1 << (self.top - 1 - 7 - 2))

    @property
    def others_now(self) -> int:
        """``others``, likewise."""
        return min(self.others, 1 << (self.top - 1 - 7 - 2))

    @property
    def few_now(self) -> int:
        """``few``, or as many groups as the smallest table in use has."""
        return min(self.few, 1 << (self.low - 1 - 7))

    def as_options(self) -> dict[str, Any]:
        """Return it for the results, with the numbers of entries that are really used."""
        now = {"few": self.few_now, "many": self.many_now, "others": self.others_now}
        return asdict(self) | now | {"memory": self.memory}


@dataclass(frozen=True)
class Contestant:
    """A QEMU in one mode.

    :ivar properties: names of the properties of its machine.
    """

    mode: Mode
    qemu: Path
    machine_options: tuple[str, ...] = ()
    properties: frozenset[str] = frozenset()

    def on(self, config: MachineConfig, *options: str) -> MachineConfig:
        """Return a machine run by this one, with further machine options."""
        words = (*config.machine_options, *self.machine_options, *options)
        return config.but(qemu=self.qemu, machine_options=words)


@dataclass(frozen=True)
class Parts:
    """What guests are made of.

    :ivar bench: the bare guest that measures (guest/bare/bench.c).
    :ivar mainline: a QEMU as it came; None: only ours runs.
    """

    bench: Path
    kernel: Path
    initrd: Path
    qemu: Path
    mainline: Path | None


def machine_properties(qemu: Path, bench: Path) -> tuple[str, frozenset[str]]:
    """Ask a QEMU for its version and the names of its machine's properties.

    :raises QemuStartError: it does not start.
    """
    # The program lies at 256 MB.
    config = MachineConfig(qemu, bench, None, memory="512M")
    with BareGuest(config) as guest:
        version = guest.qmp("query-version")["qemu"]
        names = frozenset(str(one["name"]) for one in guest.qmp("qom-list", path="/machine"))
    return ".".join(str(version[part]) for part in ("major", "minor", "micro")), names


def contestants(parts: Parts, results: Results) -> list[Contestant]:
    """Find out which modes there are; the missing ones are noted in ``results``.

    :returns: those that can run, mainline first.
    """
    found: list[Contestant] = []

    def add(mode: Mode, qemu: Path, version: str, names: frozenset[str], *options: str) -> None:
        found.append(Contestant(mode, qemu, options, names))
        results.qemu[mode] = {"version": version, "options": ",".join(options)}

    if parts.mainline is None:
        results.missing["mainline"] = "no stock QEMU was given"
    else:
        add("mainline", parts.mainline, *machine_properties(parts.mainline, parts.bench))
    version, names = machine_properties(parts.qemu, parts.bench)
    if MODE_PROPERTY in names:
        for mode in ("rehash", "mirror"):
            add(mode, parts.qemu, version, names, f"{MODE_PROPERTY}={mode}")
    else:
        # A series from before the mirror: what it does is rehash.
        add("rehash", parts.qemu, version, names)
        results.missing["mirror"] = f"this QEMU has no {MODE_PROPERTY}"
    return found
