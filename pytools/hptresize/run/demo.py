# SPDX-License-Identifier: GPL-2.0-or-later
"""The demo: a guest whose hash page table changes its size while it works.

All that one side says is asked of the other side too, and of the guest's own
memory: the order as the guest's hook has it, as QEMU has it, and as the kernel's
variables have it that every lookup uses.
"""

from __future__ import annotations

import dataclasses
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from hptresize.base import progress
from hptresize.base.errors import MachineError
from hptresize.machine import Machine, MachineConfig
from hptresize.machine.load import MemoryLoad

# A guest of 2 GB starts with order 24 (RAM / 128); twice that is the most QEMU grants.
ORDERS = (25, 24, 23, 22, 25, 23, 24, 22, 24)
# KVM HV leaves every bolted entry in its slot of the group: at 22 two want the same.
KVMHV_ORDERS = (25, 24, 23, 25, 23, 24)
PASSES = 2  # complete passes over memory that each step must see


@dataclasses.dataclass(frozen=True)
class StepResult:
    """What one resize did, as all sides say it.

    :ivar mask_order: order that the guest's hash mask in memory stands for.
    :ivar pft_order: value of the kernel's ppc64_pft_size in memory.
    :ivar prepare_us: time of PREPARE, microseconds; the guest works on meanwhile.
    :ivar commit_us: time the guest stood still, microseconds.
    :ivar passes: complete passes over memory since the resize.
    :ivar wrong: words of memory that were wrong in all passes so far.
    """

    wanted: int
    before: int
    after: int
    host_before: int | None
    host_after: int | None
    mask_order: int
    pft_order: int
    prepare_us: int | None
    commit_us: int | None
    wall_us: int
    passes: int
    wrong: int

    @property
    def problems(self) -> list[str]:
        """Everything on which the sides do not agree, in words."""
        said = {
            "the guest": self.after,
            "the host": self.host_after,
            "htab_hash_mask": self.mask_order,
            "ppc64_pft_size": self.pft_order,
        }
        found = [
            f"{who} says order {order}, asked was {self.wanted}"
            for who, order in said.items()
            if order not in (None, self.wanted)
        ]
        if self.host_before not in (None, self.before):
            found.append(f"before, the guest said {self.before} and the host {self.host_before}")
        if self.wrong:
            found.append(f"{self.wrong} words of memory were wrong")
        return found


@dataclasses.dataclass
class DemoReport:
    """The demo's result."""

    qemu: str
    kernel: str
    memory: str
    cpus: int
    megabytes: int
    boot_seconds: float
    steps: list[StepResult]
    host_tells: bool = False
    seconds: float = 0.0

    @property
    def problems(self) -> list[str]:
        """All problems of all steps."""
        found = [
            f"step {number}: {text}"
            for number, step in enumerate(self.steps, 1)
            for text in step.problems
        ]
        if self.host_tells and any(step.host_after is None for step in self.steps):
            found.append("the host does not tell the order")
        return found

    def as_json(self) -> str:
        """Return it for programs."""
        data = dataclasses.asdict(self) | {
            "problems": self.problems,
            "host": platform.processor() or platform.machine(),
        }
        return json.dumps(data, indent=1) + "\n"

    def as_table(self) -> Table:
        """Return it for people."""
        passes = min((step.passes for step in self.steps), default=0)
        table = Table(
            title=f"Live resizes of a {self.memory} guest with {self.cpus} CPUs",
            caption=f"All the time the guest writes and verifies {self.megabytes} MB; "
            f"{passes} or more complete passes after each resize.",
        )
        table.add_column("step", justify="right")
        for side in ("guest", "host"):
            table.add_column(f"order,\n{side}", justify="center")
        table.add_column("hash mask,\nguest memory", justify="center")
        table.add_column("prepare\nms", justify="right")
        table.add_column("standstill\nms", justify="right")
        table.add_column("memory")
        for number, step in enumerate(self.steps, 1):
            table.add_row(
                str(number),
                f"{step.before} → {step.after}",
                f"{_order(step.host_before)} → {_order(step.host_after)}",
                f"2^{step.mask_order - 7} - 1",
                _ms(step.prepare_us),
                _ms(step.commit_us),
                f"{step.wrong} WORDS WRONG" if step.wrong else "intact",
            )
        return table


def _order(order: int | None) -> str:
    return "?" if order is None else str(order)


def _ms(microseconds: int | None) -> str:
    return "?" if microseconds is None else f"{microseconds / 1000:.1f}"


def run(
    config: MachineConfig,
    *,
    orders: tuple[int, ...] = ORDERS,
    megabytes: int = 128,
    host_tells: bool = True,
    make: Callable[[MachineConfig], Machine] = Machine,
) -> DemoReport:
    """Boot a guest, resize its table again and again with memory under check.

    :param orders: what to resize to, one after the other.
    :param megabytes: how much memory is written and verified meanwhile.
    :param host_tells: whether it is a problem if QEMU has no query-hpt.
    :param make: makes the machine; not started.
    :returns: the report; its problems say where sides disagree.
    :raises MachineError: the guest or QEMU came to an end, or a resize was refused.
    """
    begin = time.monotonic()
    with progress.step("boot the guest"):
        machine = make(config)
        machine.start()
    try:
        booted = time.monotonic() - begin
        kernel = machine.run("uname", "-r").text.strip()
        version = machine.qmp("query-version")["qemu"]
        report = DemoReport(
            qemu=".".join(str(version[part]) for part in ("major", "minor", "micro")),
            kernel=kernel, memory=config.memory, cpus=config.cpus, megabytes=megabytes,
            boot_seconds=booted, steps=[], host_tells=host_tells,
        )  # fmt: skip
        load = MemoryLoad(machine, megabytes, config.cpus)
        with progress.step(f"resize {len(orders)} times with {megabytes} MB under check") as step:
            load.wait_passes(1)
            for number, order in enumerate(orders, 1):
                step.update(number, len(orders), f"order {order}")
                report.steps.append(_one(machine, load, order))
        load.finish()
        if load.wrong:
            report.steps[-1] = dataclasses.replace(report.steps[-1], wrong=load.wrong)
        with progress.step("power the guest off"):
            machine.power_off()
    except BaseException:
        machine.shutdown(quick=True)
        raise
    report.seconds = time.monotonic() - begin
    return report


def _one(machine: Machine, load: MemoryLoad, order: int) -> StepResult:
    done = machine.try_resize(order)
    if done.errno_name:
        raise MachineError(
            f"the guest could not resize from {done.before} to {order}: {done.errno_name}",
            console=machine.console.tail(),
        )
    passes = load.wait_passes(PASSES)
    return StepResult(
        wanted=order, before=done.before, after=done.after,
        host_before=done.host_before, host_after=done.host_after,
        # A table of 2^n bytes has 2^(n-7) groups, and the mask is one less.
        mask_order=(machine.memory_symbol("htab_hash_mask") + 1).bit_length() - 1 + 7,
        pft_order=machine.memory_symbol("ppc64_pft_size"),
        prepare_us=done.prepare_us, commit_us=done.commit_us, wall_us=done.wall_us,
        passes=passes, wrong=load.wrong,
    )  # fmt: skip


def write(report: DemoReport, directory: Path) -> None:
    """Write the report as demo.json and demo.txt."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "demo.json").write_text(report.as_json())
    with (directory / "demo.txt").open("w") as out:
        Console(file=out, width=100).print(report.as_table())
