# SPDX-License-Identifier: GPL-2.0-or-later
"""The hash page table in plain Python, from the Power ISA (book III, "Page Table").

It starts from virtual addresses, the other end from where the C code starts:
the C code gets an entry and the group it lies in and works back to the hash.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

VALID, SECONDARY, LARGE, BOLTED = 0x1, 0x2, 0x4, 0x10
SLOTS = 8
MASK64 = (1 << 64) - 1

#: (log2 of the base page size, log2 of the actual one): the LP field
ENCODINGS: Mapping[tuple[int, int], int | None] = {
    (12, 12): None,
    (12, 16): 0x07,
    (12, 24): 0x38,
    (16, 16): 0x01,
    (16, 24): 0x08,
    (24, 24): 0x00,
    (34, 34): 0x03,
}

SEGMENT_SHIFT = {0: 28, 1: 40}


@dataclass(frozen=True)
class Translation:
    """One translation, as the guest thinks of it."""

    ssize: int
    vsid: int
    offset: int
    base_shift: int
    actual_shift: int
    secondary: bool
    bolted: bool
    real_page: int

    @property
    def hash(self) -> int:
        """The hash of the virtual page, before any mask."""
        page = self.offset >> self.base_shift
        if self.ssize == 1:
            return (self.vsid ^ (self.vsid << 25) ^ page) & MASK64
        return (self.vsid ^ page) & MASK64

    def group(self, order: int) -> int:
        """The group of the entry in a table of this order."""
        value = ~self.hash if self.secondary else self.hash
        return value & ((1 << (order - 7)) - 1)

    def words(self) -> tuple[int, int]:
        """The two doublewords of the entry."""
        offset = self.offset >> self.base_shift << self.base_shift
        avpn = (self.vsid << SEGMENT_SHIFT[self.ssize] | offset) >> 23
        v = self.ssize << 62 | avpn << 7 | VALID
        v |= (SECONDARY if self.secondary else 0) | (BOLTED if self.bolted else 0)
        r = (self.real_page << self.actual_shift) & 0x0FFFFFFFFFFFF000
        lp = ENCODINGS[self.base_shift, self.actual_shift]
        if lp is not None:
            v |= LARGE
            r |= lp << 12
        return v, r | 0x196


Place = tuple[int, int]
Table = dict[Place, Translation]


def fits(table: Table, new_order: int, move: bool) -> bool:
    """Whether all bolted entries have a place: of their own slot, or any of the group."""
    wanted = Counter(
        (entry.group(new_order), None if move else slot)
        for (_, slot), entry in table.items()
        if entry.bolted
    )
    return all(count <= (SLOTS if move else 1) for count in wanted.values())
