# SPDX-License-Identifier: GPL-2.0-or-later
"""Translations in the form that the driver takes: few of them, and they collide."""

from __future__ import annotations

from hpt_math.model import ENCODINGS, SEGMENT_SHIFT, Translation

RC = 0x180


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


def fields(t: Translation) -> tuple[int, int, int, int, int]:
    """What struct Translation of driver.h holds: real page 0, R and C clear."""
    v, r = t.words()
    value = (~t.hash if t.secondary else t.hash) & (1 << 64) - 1
    return v, r & ~RC, value, max(0, 23 - t.base_shift), t.actual_shift
