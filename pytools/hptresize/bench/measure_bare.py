# SPDX-License-Identifier: GPL-2.0-or-later
"""What the bare guest measures: the hypercalls alone, no kernel around them."""

from __future__ import annotations

from collections.abc import Callable

from hptresize.base.errors import MachineError
from hptresize.bench.payload import BenchGuest, settled_mb
from hptresize.bench.plan import DELAY_PROPERTY, Contestant, Parts, Plan
from hptresize.machine import BareGuest, MachineConfig
from hptresize.machine.hpt import GROUP_BYTES_ORDER

Record = Callable[..., None]
"""Takes metric, value and, by name, case and order of a sample."""

# A preparation that is to last is kept from being ready so many times a slice.
DELAY_FACTOR = 3
CHURN_SLICES = 10
CHURN_FIRST, CHURN_GROUPS = 1 << 22, 4096


def bare_config(contestant: Contestant, parts: Parts, plan: Plan, *options: str) -> MachineConfig:
    """Return the bare guest's machine."""
    config = MachineConfig(contestant.qemu, parts.bench, None, memory=plan.memory)
    return contestant.on(config, *options)


def _resize(guest: BenchGuest, order: int, case: str, record: Record, *, settle: bool) -> None:
    """Resize once and record all that can be told of it.

    :param settle: wait for what is freed afterwards, too.
    """

    def note(metric: str, value: float) -> None:
        record(metric, value, case=case, order=order)

    before = guest.resident_mb()
    prepared = guest.prepare(order)
    after_prepare = guest.resident_mb()
    committed = guest.commit(order)
    after_commit = guest.resident_mb()
    note("prepare_us", prepared.us)
    note("commit_us", committed.us)
    note("rss_prepare_mb", after_prepare - before)
    note("rss_commit_mb", after_commit - before)
    if settle:
        settled = settled_mb(guest.guest.qemu_pid)
        note("rss_settled_mb", settled - before)
        note("freed_later_mb", after_commit - settled)
        note("freed_in_commit_mb", after_prepare - after_commit)
    if (host := guest.host_commit_us()) is not None:
        note("host_commit_us", host)


def measure_curve(contestant: Contestant, parts: Parts, plan: Plan, record: Record) -> None:
    """Measure COMMIT at every size of the table, always with the same few bolted entries."""
    with BareGuest(bare_config(contestant, parts, plan)) as bare:
        guest = BenchGuest(bare)
        start = plan.low - 1
        guest.prepare(start)
        guest.commit(start)
        guest.fill(0, plan.few_now, start, bolted=True)
        for order in range(plan.low, plan.top + 1):
            _resize(guest, order, "few", record, settle=order == plan.top)
        if guest.present(0, plan.few_now, plan.top) != plan.few_now:
            raise MachineError("bolted entries were lost")


def measure_many(contestant: Contestant, parts: Parts, plan: Plan, record: Record) -> None:
    """Measure the largest COMMIT with many bolted entries, and what it loses of the others."""
    with BareGuest(bare_config(contestant, parts, plan)) as bare:
        guest = BenchGuest(bare)
        before = plan.top - 1
        # In groups of their own, of which the new table has one more bit.
        others = plan.many_now + (1 << (before - GROUP_BYTES_ORDER))
        guest.fill(0, plan.many_now, before, bolted=True)
        guest.fill(others, plan.others_now, before, bolted=False)
        if guest.present(others, plan.others_now, before) != plan.others_now:
            raise MachineError("entries are not where they were put")
        _resize(guest, plan.top, "many", record, settle=True)
        if guest.present(0, plan.many_now, plan.top) != plan.many_now:
            raise MachineError("bolted entries were lost")
        lost = plan.others_now - guest.present(others, plan.others_now, plan.top)
        record("lost_percent", 100 * lost / plan.others_now, order=plan.top)


def measure_churn(contestant: Contestant, parts: Parts, plan: Plan, record: Record) -> None:
    """Measure inserts and removes beside a preparation, after it, and without one.

    Short slices in turn, so that a drift of the machine cancels. A preparation lasts
    only where it can be delayed; the others tell the rate without one.
    """
    slice_ms = max(1, plan.churn_ms // CHURN_SLICES)
    can_delay = DELAY_PROPERTY in contestant.properties
    options = [f"{DELAY_PROPERTY}={slice_ms * DELAY_FACTOR}"] if can_delay else []
    with BareGuest(bare_config(contestant, parts, plan, *options)) as bare:
        guest = BenchGuest(bare)
        order = plan.top - 1
        guest.fill(0, plan.few_now, order, bolted=True)

        def rate() -> float:
            return guest.churn(CHURN_FIRST, CHURN_GROUPS, order, slice_ms)

        rate()  # QEMU translates the loop now
        for _ in range(CHURN_SLICES):
            alone = rate()
            record("churn_per_s", alone, case="alone")
            if not can_delay:
                continue
            guest.prepare_once(plan.top)
            beside = rate()
            if guest.prepare_once(plan.top):
                record("churn_percent", 100 * beside / alone, case="preparing")
            guest.prepare(plan.top)
            record("churn_percent", 100 * rate() / alone, case="ready")
            guest.prepare_once(0)
