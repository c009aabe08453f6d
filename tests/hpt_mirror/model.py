# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest's table and what a resize makes of it, in plain Python.

It replays a sequence that the C code went through, and takes from there only
what it cannot know: when the copier was done, and what a hypercall answered.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from hpt_math.model import BOLTED, ENCODINGS, SEGMENT_SHIFT, SLOTS, Translation

V_DIRTY = 0x40
R, C = 0x100, 0x80
RC = R | C
H_SUCCESS = 0


class Step(Protocol):
    """A decoded step, as driver.h declares it."""

    op: int
    t: int
    slot: int
    x: int
    y: int
    z: int


def translation(seed: int) -> Translation:
    """One of 2^16 translations that share few groups of a small table."""
    sizes = [k for k in ENCODINGS if k[0] < SEGMENT_SHIFT[seed & 1]]
    base, actual = sizes[(seed >> 1 & 7) % len(sizes)]
    near, far = seed >> 4 & 3, seed >> 6 & 0xFF
    page = near if base < 34 else 0
    vsid = far << 11 | (near ^ page)
    return Translation(
        seed & 1, vsid, page << base, base, actual,
        secondary=bool(seed & 1 << 14), bolted=bool(seed & 1 << 15), real_page=0,
    )  # fmt: skip


def known_bits(t: Translation) -> int:
    """How many low bits of its group's number any page of the size may have."""
    return max(0, 23 - t.base_shift)


@dataclass(frozen=True)
class Entry:
    """An entry of a table: doublewords, and what it translates."""

    what: Translation
    v: int
    r: int
    stray: bool = False

    @property
    def bolted(self) -> bool:
        return bool(self.v & BOLTED)


Table = dict[int, Entry]


def in_order(table: Table, order: int, new_order: int) -> Iterator[tuple[int, int, int, Entry]]:
    """(old ptex, new group, slot, entry) of what a walk can find, lower groups first."""
    for ptex, entry in sorted(table.items()):
        if not entry.stray:
            yield ptex, entry.what.group(new_order), ptex % SLOTS, entry


def mirror(table: Table, order: int, new_order: int, move: bool) -> Table | None:
    """What the mirror has to be; None if some bolted entry finds no place."""
    new: Table = {}
    homeless: list[tuple[int, Entry]] = []
    for _, group, slot, entry in in_order(table, order, new_order):
        if entry.bolted and new.setdefault(group * SLOTS + slot, entry) is not entry:
            homeless.append((group, entry))
    for group, entry in homeless:
        free = [p for p in range(group * SLOTS, group * SLOTS + SLOTS) if p not in new]
        if not move or not free:
            return None
        new[free[0]] = entry
    for _, group, slot, entry in in_order(table, order, new_order):
        if not entry.bolted:
            new.setdefault(group * SLOTS + slot, entry)
    return new


def rehash(table: Table, order: int, new_order: int, move: bool) -> Table | None:
    """What a commit by rehashing has to make; None if some bolted entry finds no place."""
    new: Table = {}
    for _, group, slot, entry in in_order(table, order, new_order):
        if not entry.bolted:
            continue
        places = [group * SLOTS + slot]
        if move:
            places += range(group * SLOTS, group * SLOTS + SLOTS)
        free = [p for p in places if p not in new]
        if not free:
            return None
        new[free[0]] = entry
    return new


@dataclass
class Machine:
    """The table in use, the preparation, and two CPUs that may be in a walk."""

    pool: Sequence[Translation]
    order: int
    mirrors: bool
    ops: Any
    table: Table = field(default_factory=dict)
    pending: tuple[int, int] | None = None
    walks: dict[int, tuple[int, int, int]] = field(default_factory=dict)
    switches: int = 0
    marked: int = 0

    def next_table(self) -> Table | None:
        """What the next table has to be, once its preparation is complete."""
        assert self.pending
        make = mirror if self.mirrors else rehash
        return make(self.table, self.order, self.pending[0], bool(self.pending[1]))

    def replay(self, steps: Iterable[Step], outcomes: Sequence[int]) -> None:
        """Do what the C code did."""
        for i, (s, outcome) in enumerate(zip(steps, outcomes, strict=True)):
            self.step(i, s, outcome)

    def step(self, i: int, s: Step, outcome: int) -> None:
        op = self.ops
        if s.op in (op.OP_ENTER, op.OP_OVERWRITE, op.OP_STRAY):
            self.enter(i, s)
        elif s.op == op.OP_REMOVE:
            self.table.pop(self.place(s), None)
        elif s.op == op.OP_PROTECT:
            self.protect(i, s)
        elif s.op in (op.OP_WALK, op.OP_MARK):
            self.mark(s, outcome)
        elif s.op in (op.OP_PREPARE, op.OP_POLL):
            self.prepare(s, outcome)
        elif s.op == op.OP_COMMIT:
            self.commit(s, outcome)
        elif s.op == op.OP_CANCEL:
            self.pending = None

    def place(self, s: Step) -> int:
        return self.pool[s.t].group(self.order) * SLOTS + s.slot

    def enter(self, i: int, s: Step) -> None:
        t, ptex, stray = self.pool[s.t], self.place(s), s.op == self.ops.OP_STRAY
        bits = self.order - 7 - known_bits(t)
        if stray and bits <= 0:
            return
        if stray:
            ptex ^= SLOTS << known_bits(t) + s.y % bits
        if ptex in self.table and s.op != self.ops.OP_OVERWRITE:
            return
        v, r = words(t)
        r |= i + 1 << t.actual_shift | (s.x & 3) << 7
        self.table[ptex] = Entry(t, v | V_DIRTY, r, stray)

    def protect(self, i: int, s: Step) -> None:
        t, entry = self.pool[s.t], self.table.get(self.place(s))
        if not entry:
            return
        v, r = words(t)
        r = (
            r | i + 1 << t.actual_shift | entry.r & RC
            if s.x & 1 and entry.v == v | V_DIRTY
            else entry.r
        )
        self.table[self.place(s)] = replace(entry, r=r & ~RC if s.x & 2 else r)

    def mark(self, s: Step, outcome: int) -> None:
        cpu = s.x >> 2 & 1
        if s.op == self.ops.OP_WALK or cpu not in self.walks:
            entry = self.table.get(self.place(s))
            if entry and not entry.stray:
                self.walks[cpu] = (self.switches, self.place(s), entry.r)
        if s.op == self.ops.OP_WALK or cpu not in self.walks:
            return
        switches, ptex, r = self.walks.pop(cpu)
        entry = self.table.get(ptex) if switches == self.switches else None
        if entry and not (entry.r ^ r) & ~RC:
            self.table[ptex] = replace(entry, r=entry.r | (s.x & 3 or 2) << 7)
            if outcome != self.ops.MARK_IN_WINDOW:
                self.marked = entry.r | RC

    def prepare(self, s: Step, outcome: int) -> None:
        if s.op == self.ops.OP_PREPARE:
            self.pending = (18 + s.y % 3, s.x & 1)
        if outcome < 0:
            self.pending = None

    def commit(self, s: Step, outcome: int) -> None:
        if not self.pending or not s.x or outcome == 1:
            return
        table = self.next_table()
        assert (outcome >= H_SUCCESS) == (table is not None)
        if table is not None:
            self.table, self.order = table, self.pending[0]
            for ptex, entry in table.items():
                if entry.r | RC == self.marked:
                    table[ptex] = replace(entry, r=entry.r & ~outcome)
            self.switches += 1
        self.pending = None


def words(t: Translation) -> tuple[int, int]:
    """The doublewords of an entry of real page 0, R and C clear."""
    v, r = t.words()
    return v, r & ~RC
