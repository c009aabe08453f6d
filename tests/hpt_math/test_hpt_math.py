# SPDX-License-Identifier: GPL-2.0-or-later
"""The arithmetic of the host series against a model, on random tables."""

from __future__ import annotations

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


@st.composite
def tables(draw: st.DrawFn) -> tuple[int, Table]:
    """A table with entries where a guest may have put them."""
    order = draw(small_orders)
    table: Table = {}
    for t in draw(st.lists(translations(narrow=True), min_size=10, max_size=60)):
        group = t.group(order)
        free = [s for s in range(SLOTS) if (group, s) not in table]
        if free:
            table[group, draw(st.sampled_from(free))] = t
    return order, table


class CTable:
    """A table in the form that the C code works on."""

    def __init__(self, lib: Lib, order: int) -> None:
        self.ffi, self.c = lib
        self.order = order
        self.memory = self.ffi.new("uint64_t[]", (1 << order) // 8)

    def store(self, group: int, slot: int, words: tuple[int, int]) -> None:
        self.c.hpt_store(self.memory, group * SLOTS + slot, entry_of(self.ffi, words))

    def valid(self) -> dict[model.Place, tuple[int, int]]:
        """All valid entries, read past the C code: big-endian words."""
        raw = bytes(self.ffi.buffer(self.memory))
        found = {}
        for ptex in range(len(raw) // 16):
            words = raw[ptex * 16 : ptex * 16 + 16]
            if words[7] & 1:
                v, r = int.from_bytes(words[:8], "big"), int.from_bytes(words[8:], "big")
                found[divmod(ptex, SLOTS)] = (v, r)
        return found


def rehash(lib: Lib, old: CTable, new: CTable, groups: set[int], move: bool) -> tuple[bool, Any]:
    """Run the C code over the groups; returns whether all found a place."""
    ffi, c = lib
    stats = ffi.new("HptRehashStats *")
    placed = ffi.new("uint64_t[8]")
    for group in sorted(groups):
        n = c.hpt_rehash_group(
            old.memory, old.order, group, new.memory, new.order, move, placed, stats
        )
        if n < 0:
            return False, stats
        assert all(g < 1 << (new.order - 7) for g in placed[0:n])
    return True, stats


@settings(max_examples=150, deadline=None)
@given(ordered=tables(), new_order=small_orders, move=st.booleans())
def test_rehash(lib: Lib, ordered: tuple[int, Table], new_order: int, move: bool) -> None:
    """A whole table carried over agrees with the model, entry by entry."""
    order, table = ordered
    old, new = CTable(lib, order), CTable(lib, new_order)
    for (group, slot), t in table.items():
        old.store(group, slot, t.words())
    before = old.valid()
    fits, stats = rehash(lib, old, new, {g for g, _ in table}, move)

    assert old.valid() == before, "the table in use was written to"
    bolted = [t for t in table.values() if t.bolted]
    expected = model.rehash(table, new_order)
    if not fits:
        assert model.overfull(bolted, new_order) if move else expected is None
        return
    assert stats.kept + stats.moved == len(bolted)
    assert stats.dropped == len(table) - len(bolted)
    result = new.valid()
    if expected is not None:
        assert result == {place: t.words() for place, t in expected.items()}
    else:
        assert move
        assert sorted((g, t) for (g, _), t in result.items()) == sorted(
            (t.group(new_order), t.words()) for t in bolted
        )


def test_growing_never_collides(lib: Lib) -> None:
    """Eight bolted entries in every group of the smallest table all find room."""
    old = CTable(lib, 18)
    for group in range(1 << 11):
        for slot in range(SLOTS):
            t = Translation(0, slot << 11, group << 12, 12, 12, False, True, group)
            assert t.group(18) == group
            old.store(group, slot, t.words())
    new = CTable(lib, 19)
    fits, stats = rehash(lib, old, new, set(range(1 << 11)), False)
    assert fits
    assert stats.kept == 1 << 14


@pytest.mark.parametrize(
    ("count", "move", "fits"),
    [(1, False, True), (2, False, False), (8, True, True), (9, True, False)],
)
def test_shrinking_collides(lib: Lib, count: int, move: bool, fits: bool) -> None:
    """Two of a slot are one too many; with leave to move, only nine of a group are."""
    old, new = CTable(lib, 22), CTable(lib, 18)
    entries = [Translation(0, n << 11, 0, 12, 12, False, True, n) for n in range(count)]
    for t in entries:
        old.store(t.group(22), 0, t.words())
    assert {t.group(18) for t in entries} == {0}
    done, stats = rehash(lib, old, new, {t.group(22) for t in entries}, move)
    assert done == fits
    if fits:
        assert stats.moved == count - 1
        assert sorted(new.valid().values()) == sorted(t.words() for t in entries)
