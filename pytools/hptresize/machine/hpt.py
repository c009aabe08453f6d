# SPDX-License-Identifier: GPL-2.0-or-later
"""Numbers that guest and host share: hypercalls, what they return, sizes of tables."""

from __future__ import annotations

import enum

H_RESIZE_HPT_PREPARE = 0x36C
H_RESIZE_HPT_COMMIT = 0x370

H_RESIZE_HPT_MOVE_BOLTED = 1
"""Flag of both calls: a shrink may put bolted entries into another slot of their group."""

ORDER_MIN, ORDER_MAX = 18, 46

GROUP_BYTES_ORDER = 7
"""Log2 of the bytes of a group: 8 slots of 16 bytes."""


class HcallStatus(enum.IntEnum):
    """What a hypercall returns in r3 (PAPR)."""

    H_SUCCESS = 0
    H_BUSY = 1
    H_CLOSED = 2
    H_NOT_AVAILABLE = 3
    H_HARDWARE = -1
    H_FUNCTION = -2
    H_PRIVILEGE = -3
    H_PARAMETER = -4
    H_BAD_MODE = -5
    H_PTEG_FULL = -6
    H_NOT_FOUND = -7
    H_RESERVED_DABR = -8
    H_NO_MEM = -9
    H_AUTHORITY = -10
    H_PERMISSION = -11
    H_DROPPED = -12
    H_RESOURCE = -16
    H_UNSUPPORTED = -67
    H_LONG_BUSY_ORDER_1_MSEC = 9900
    H_LONG_BUSY_ORDER_10_MSEC = 9901
    H_LONG_BUSY_ORDER_100_MSEC = 9902
    H_LONG_BUSY_ORDER_1_SEC = 9903
    H_LONG_BUSY_ORDER_10_SEC = 9904
    H_LONG_BUSY_ORDER_100_SEC = 9905

    @property
    def long_busy(self) -> bool:
        """Whether the caller is to come again after a while."""
        return 9900 <= self <= 9905


def hash_mask(order: int) -> int:
    """The mask that selects a group of a table of 2^order bytes."""
    return (1 << (order - GROUP_BYTES_ORDER)) - 1


def order_of_mask(mask: int) -> int:
    """The order of the table that a mask belongs to.

    :raises ValueError: it is not one less than a power of two.
    """
    if mask < 0 or mask & (mask + 1):
        raise ValueError(f"{mask:#x} is not a hash mask")
    return mask.bit_length() + GROUP_BYTES_ORDER
