# SPDX-License-Identifier: GPL-2.0-or-later
"""The arithmetic of the host series against a model, on random tables."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from . import model
from .library import load
from .model import ENCODINGS, SEGMENT_SHIFT, SLOTS, Table, Translation

Lib = tuple[Any, Any]

orders = st.integers(18, 46)
#: small enough to hold whole tables in memory, and to collide
small_orders = st.integers(18, 21)
slots = st.integers(0, SLOTS - 1)


@pytest.fixture(scope="module")
def lib(tmp_path_factory: pytest.TempPathFactory) -> Lib:
    return load(tmp_path_factory.mktemp("hpt_math"))


@st.composite
def translations(draw: st.DrawFn, narrow: bool = False) -> Translation:
    """Any translation; narrow ones share few groups, so that tables collide."""
    ssize = draw(st.sampled_from([0, 1]))
    base, actual = draw(st.sampled_from([k for k in ENCODINGS if k[0] < SEGMENT_SHIFT[ssize]]))
    vsid_bits = 55 - (SEGMENT_SHIFT[ssize] - 23)
    vsid = draw(st.integers(0, 1 if narrow else (1 << vsid_bits) - 1))
    pages = 1 << (SEGMENT_SHIFT[ssize] - base)
    page = draw(st.integers(0, pages - 1))
    if narrow:
        page = page & ~0x7FF | page & 1
    return Translation(
        ssize, vsid, page << base, base, actual,
        secondary=draw(st.booleans()),
        bolted=draw(st.booleans()),
        real_page=draw(st.integers(0, (1 << (60 - actual)) - 1)),
    )  # fmt: skip


def entry_of(ffi: Any, words: tuple[int, int]) -> Any:
    entry = ffi.new("HptEntry *")
    entry.v, entry.r = words
    return entry


@settings(max_examples=2000, deadline=None)
@given(t=translations(), order=orders)
def test_hash_comes_back(lib: Lib, t: Translation, order: int) -> None:
    """The entry and its group give the hash that put it there."""
    ffi, c = lib
    found = ffi.new("uint64_t *")
    entry = entry_of(ffi, t.words())
    assert c.hpt_base_page_shift(entry) == t.base_shift
    assert c.hpt_entry_hash(entry, t.group(order), order, found)
    # The host never needs bits of the hash beyond those of the largest table
    mask = (1 << (46 - 7)) - 1
    assert found[0] & mask == t.hash & mask


@settings(max_examples=2000, deadline=None)
@given(t=translations(), order=orders, new_order=orders)
def test_group_in_another_table(lib: Lib, t: Translation, order: int, new_order: int) -> None:
    """Growing and shrinking, the entry goes where a walk will look for it."""
    ffi, c = lib
    found = ffi.new("uint64_t *")
    entry = entry_of(ffi, t.words())
    assert c.hpt_entry_group(entry, t.group(order), order, new_order, found)
    assert found[0] == t.group(new_order)


@settings(max_examples=1000, deadline=None)
@given(t=translations(), order=orders, data=st.data())
def test_foreign_group_is_refused(
    lib: Lib, t: Translation, order: int, data: st.DataObject
) -> None:
    """An entry in a group that its hash does not name is told from the others.

    Bits of the page index below bit 23 of the address are known by the group
    alone: any value of those is somebody's home.
    """
    ffi, c = lib
    free_bits = max(0, 23 - t.base_shift)
    group_bits = order - 7
    if free_bits == group_bits:
        return
    bit = data.draw(st.integers(free_bits, group_bits - 1))
    found = ffi.new("uint64_t *")
    entry = entry_of(ffi, t.words())
    assert not c.hpt_entry_hash(entry, t.group(order) ^ 1 << bit, order, found)


@given(lp=st.integers(0, 255), bad=st.sampled_from([2, 3]), order=orders)
def test_bad_encodings_are_refused(lib: Lib, lp: int, bad: int, order: int) -> None:
    """Segment sizes and page sizes that no CPU has are no entry at all."""
    ffi, c = lib
    found = ffi.new("uint64_t *")
    assert not c.hpt_entry_hash(entry_of(ffi, (bad << 62 | 1, 0)), 0, order, found)
    shift = c.hpt_base_page_shift(entry_of(ffi, (model.LARGE | model.VALID, lp << 12)))
    if lp == 0 or lp & 0xF in (1, 7) or lp in (0x08, 0x38, 0x03):
        assert shift
    else:
        assert not shift


class CTable:
    """A table in the form that the C code works on."""

    def __init__(self, lib: Lib, order: int) -> None:
        self.ffi, self.c = lib
        self.order = order
        self.memory = self.ffi.new("uint64_t[]", (1 << order) // 8)

    def words(self) -> dict[model.Place, tuple[int, int]]:
        """All entries that are not zero, read past the C code: big-endian words."""
        raw = bytes(self.ffi.buffer(self.memory))
        found = {}
        for ptex in {match.start() // 16 for match in re.finditer(rb"[^\0]+", raw)}:
            words = raw[ptex * 16 : ptex * 16 + 16]
            found[divmod(ptex, SLOTS)] = (
                int.from_bytes(words[:8], "big"),
                int.from_bytes(words[8:], "big"),
            )
        return found


class Followed:
    """A table, one that follows it, and what has to be in them."""

    def __init__(self, lib: Lib, order: int, new_order: int, move: bool) -> None:
        self.ffi, self.c = lib
        self.current, self.next = CTable(lib, order), CTable(lib, new_order)
        self.move = move and new_order < order
        self.pair = self.ffi.new(
            "HptPair *",
            (self.current.memory, order, self.next.memory, new_order, move),
        )
        #: what is in the current table: all of it, and what has been followed
        self.table: Table = {}
        self.words: dict[model.Place, tuple[int, int]] = {}
        self.followed: Table = {}
        self.full = False

    def write(self, place: model.Place, t: Translation | None, rc: int = 0) -> Any:
        """Store an entry into the current table alone; returns what was there."""
        ptex = place[0] * SLOTS + place[1]
        was = self.c.hpt_load(self.current.memory, ptex)
        v, r = t.words() if t else (0, 0)
        words = (v, r & ~0x180 | rc)
        self.c.hpt_store(self.current.memory, ptex, entry_of(self.ffi, words))
        for known in (self.table, self.words, self.followed):
            known.pop(place, None)
        if t:
            self.table[place], self.words[place] = t, words
        return was

    def follow(self, place: model.Place, was: Any = None) -> None:
        """Have the next table follow one place; by default as the copier does."""
        ptex = place[0] * SLOTS + place[1]
        was = was or self.c.hpt_load(self.current.memory, ptex)
        at = self.ffi.new("uint64_t *")
        result = self.c.hpt_follow_entry(self.pair, ptex, self.ffi.addressof(was), at)
        t = self.table.get(place)
        if t:
            self.followed[place] = t
        if result == self.c.HPT_FOLLOW_PLACED:
            assert t
            found = self.c.hpt_load(self.next.memory, at[0])
            assert (found.v, found.r) == self.words[place]
            assert at[0] // SLOTS == t.group(self.next.order)
        elif result == self.c.HPT_FOLLOW_FULL:
            same = [p for p, e in self.table.items() if p[0] == place[0] and e == t]
            twice = self.move and len(same) > 1
            assert twice or not model.fits(self.followed, self.next.order, self.move)
            self.full = True
        elif t:
            assert not t.bolted
            slot = t.group(self.next.order) * SLOTS + place[1]
            assert self.c.hpt_load(self.next.memory, slot).v & model.VALID

    def check(self) -> None:
        """Who is in the next table belongs there, and who has to be there is."""
        assert self.current.words() == self.words
        copies = self.next.words()
        sources = {p: (t.group(self.next.order), p[1]) for p, t in self.table.items()}
        slots = {
            (sources[p][0], None if self.move and t.bolted else p[1], self.words[p])
            for p, t in self.table.items()
        }
        for (group, slot), words in copies.items():
            assert {(group, slot, words), (group, None, words)} & slots, "a copy without source"
        of_groups = Counter((group, words) for (group, _), words in copies.items())
        wanted = Counter((sources[p][0], self.words[p]) for p in self.table)
        assert of_groups <= wanted, "a source has two copies"
        grows = self.next.order >= self.current.order
        if self.full:
            return
        assert model.fits(self.followed, self.next.order, self.move)
        needed = Counter(
            (sources[p][0], self.words[p]) for p, t in self.followed.items() if grows or t.bolted
        )
        assert needed <= of_groups, "an entry has no copy"


@settings(max_examples=150, deadline=None)
@given(
    orders=st.tuples(small_orders, small_orders),
    move=st.booleans(),
    before=st.lists(st.tuples(translations(narrow=True), slots), max_size=40),
    data=st.data(),
)
def test_follow(
    lib: Lib, orders: tuple[int, int], move: bool, before: list[Any], data: st.DataObject
) -> None:
    """Entries are copied in any order, and change before and after: both tables are right."""
    order = orders[0]
    f = Followed(lib, *orders, move)
    real_pages = itertools.count()
    for t, slot in before:
        f.write((t.group(order), slot), replace(t, real_page=next(real_pages)))
    uncopied = data.draw(st.permutations(list(f.table)))
    pool = [t for t, _ in before] + data.draw(
        st.lists(translations(narrow=True), min_size=1, max_size=20)
    )
    changes = st.tuples(
        st.sampled_from(["copy", "store", "remove", "mark"]),
        st.sampled_from(pool), slots, st.sampled_from([0, 0x80, 0x100, 0x180]),
    )  # fmt: skip
    for what, t, slot, rc in data.draw(st.lists(changes, max_size=60)):
        place = (t.group(order), slot)
        if what == "copy":
            if uncopied:
                f.follow(uncopied.pop())
        elif what == "store":
            f.follow(place, f.write(place, replace(t, real_page=next(real_pages)), rc))
        elif what == "remove":
            f.follow(place, f.write(place, None))
        elif place in f.table:
            f.write(place, f.table[place], rc)
            f.follow(place)
    f.check()
    for place in uncopied:
        f.follow(place)
    f.check()
    assert f.full or f.followed == f.table


def test_growing_never_collides(lib: Lib) -> None:
    """Eight bolted entries in every group of the smallest table all find room."""
    f = Followed(lib, 18, 19, False)
    for group in range(1 << 11):
        for slot in range(SLOTS):
            t = Translation(0, slot << 11, group << 12, 12, 12, False, True, group)
            f.follow((t.group(18), slot), f.write((t.group(18), slot), t))
    f.check()
    assert not f.full
    assert len(f.next.words()) == 1 << 14


@pytest.mark.parametrize(
    ("count", "move", "full"),
    [(1, False, False), (2, False, True), (8, True, False), (9, True, True)],
)
def test_shrinking_collides(lib: Lib, count: int, move: bool, full: bool) -> None:
    """Two of a slot are one too many; with leave to move, only nine of a group are."""
    f = Followed(lib, 22, 18, move)
    entries = [Translation(0, n << 11, 0, 12, 12, False, True, n) for n in range(count)]
    assert {t.group(18) for t in entries} == {0}
    for t in entries:
        f.follow((t.group(22), 0), f.write((t.group(22), 0), t))
    assert f.full == full
    f.check()


@pytest.mark.parametrize(
    ("orders", "full"), [((19, 18), True), ((18, 18), False), ((18, 19), False)]
)
def test_entry_entered_twice(lib: Lib, orders: tuple[int, int], full: bool) -> None:
    """A bolted entry is not taken for another one of its group that has the same contents."""
    f = Followed(lib, *orders, move=True)
    t = Translation(0, 0, 0, 12, 12, False, True, 0)
    for slot in (0, 1):
        f.write((0, slot), t)
    f.follow((0, 0))
    f.follow((0, 1))
    assert f.full == full
    f.check()
    f.follow((0, 0), f.write((0, 0), None))
    f.check()
