# SPDX-License-Identifier: GPL-2.0-or-later
"""The host's side of the contract, asked directly by a guest without a kernel."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from hptresize.machine import BareGuest, MachineConfig
from hptresize.machine.hpt import H_RESIZE_HPT_COMMIT as COMMIT
from hptresize.machine.hpt import H_RESIZE_HPT_MOVE_BOLTED as MOVE_BOLTED
from hptresize.machine.hpt import H_RESIZE_HPT_PREPARE as PREPARE
from hptresize.machine.hpt import HcallStatus
from hptresize.pytest_plugin import built

pytestmark = pytest.mark.boot

# 1 GB: RAM / 128 is 2^23 bytes.
START, LARGEST = 23, 24

H_ENTER, H_READ = 0x08, 0x0C
H_EXACT = 1 << (63 - 24)
HPTE_V_VALID, HPTE_V_BOLTED = 1, 0x10

Start = Callable[..., BareGuest]


@pytest.fixture
def start(bare_kernel: Path, hpt_qemu: Path) -> Iterator[Start]:
    with ExitStack() as stack:

        def one(**changes: Any) -> BareGuest:
            config = MachineConfig(hpt_qemu, bare_kernel, None, memory="1G").but(**changes)
            return stack.enter_context(BareGuest(config))

        yield one


@pytest.fixture
def guest(start: Start) -> BareGuest:
    return start()


def call(guest: BareGuest, number: int, flags: int, order: int) -> HcallStatus | int:
    return guest.hcall(number, flags, order).result


def prepare(guest: BareGuest, order: int, flags: int = 0) -> None:
    """PREPARE until it is done."""
    result = call(guest, PREPARE, flags, order)
    while isinstance(result, HcallStatus) and result.long_busy:
        result = call(guest, PREPARE, flags, order)
    assert result is HcallStatus.H_SUCCESS


def test_before_the_series_both_calls_are_unknown(start: Start) -> None:
    guest = start(qemu=built("qemu-baseline"), resize_hpt=None)
    for number in (PREPARE, COMMIT):
        assert call(guest, number, 0, LARGEST) is HcallStatus.H_FUNCTION


def test_disabled(start: Start) -> None:
    guest = start(resize_hpt="disabled")
    for number in (PREPARE, COMMIT):
        assert call(guest, number, 0, LARGEST) is HcallStatus.H_AUTHORITY


def test_there_and_back(guest: BareGuest) -> None:
    for order in (LARGEST, START, 18, 22, LARGEST):
        prepare(guest, order)
        assert call(guest, COMMIT, 0, order) is HcallStatus.H_SUCCESS
        assert guest.qmp("query-hpt")["order"] == order


@pytest.mark.parametrize("flags", [2, 3, 4, 1 << 31, 1 << 32, 1 << 63, (1 << 64) - 1])
def test_undefined_flags(guest: BareGuest, flags: int) -> None:
    assert call(guest, PREPARE, flags, LARGEST) is HcallStatus.H_PARAMETER
    assert call(guest, COMMIT, flags, LARGEST) is HcallStatus.H_CLOSED


def test_the_one_defined_flag(guest: BareGuest) -> None:
    prepare(guest, LARGEST, MOVE_BOLTED)
    assert call(guest, COMMIT, MOVE_BOLTED, LARGEST) is HcallStatus.H_SUCCESS


# An int32: (1 << 64) - 1 is -1, and so is (1 << 32) - 1.
@pytest.mark.parametrize("order", [1, 17, 47, 63, 64, 1 << 31, (1 << 32) - 1, (1 << 64) - 1])
def test_orders_that_are_none(guest: BareGuest, order: int) -> None:
    assert call(guest, PREPARE, 0, order) is HcallStatus.H_PARAMETER
    assert call(guest, COMMIT, 0, order) is HcallStatus.H_CLOSED


@pytest.mark.parametrize("order", [25, 30, 46])
def test_more_than_this_memory_needs(guest: BareGuest, order: int) -> None:
    assert call(guest, PREPARE, 0, order) is HcallStatus.H_RESOURCE


def test_commit_of_what_was_not_prepared(guest: BareGuest) -> None:
    assert call(guest, COMMIT, 0, LARGEST) is HcallStatus.H_CLOSED
    prepare(guest, 20)
    assert call(guest, COMMIT, 0, LARGEST) is HcallStatus.H_CLOSED
    assert call(guest, COMMIT, 0, 20) is HcallStatus.H_SUCCESS, "the pending one was dropped"
    assert call(guest, COMMIT, 0, 20) is HcallStatus.H_CLOSED


def test_cancel(guest: BareGuest) -> None:
    assert call(guest, PREPARE, 0, 0) is HcallStatus.H_SUCCESS, "nothing is running"
    prepare(guest, LARGEST)
    assert call(guest, PREPARE, 0, 0) is HcallStatus.H_SUCCESS
    assert call(guest, COMMIT, 0, LARGEST) is HcallStatus.H_CLOSED
    assert guest.qmp("query-hpt")["order"] == START


def test_another_size_replaces_the_first(guest: BareGuest) -> None:
    prepare(guest, LARGEST)
    prepare(guest, 20)
    assert call(guest, COMMIT, 0, LARGEST) is HcallStatus.H_CLOSED
    assert call(guest, COMMIT, 0, 20) is HcallStatus.H_SUCCESS


@pytest.mark.parametrize(("flags", "order"), [(0, 17), (0, 47), (8, LARGEST), (0, 30)])
def test_a_refused_call_discards_a_preparation(guest: BareGuest, flags: int, order: int) -> None:
    """LoPAR: what does not match the pending HPT discards it, and is judged then."""
    prepare(guest, LARGEST)
    refused = HcallStatus.H_RESOURCE if order == 30 else HcallStatus.H_PARAMETER
    assert call(guest, PREPARE, flags, order) is refused
    assert call(guest, COMMIT, 0, LARGEST) is HcallStatus.H_CLOSED
    assert resize(guest, LARGEST) is HcallStatus.H_SUCCESS


def test_reset_forgets_a_preparation(start: Start) -> None:
    guest = start(extra_args=("-action", "reboot=reset"))
    prepare(guest, LARGEST)
    guest.qmp("system_reset")
    guest.wait_restart()
    assert call(guest, COMMIT, 0, LARGEST) is HcallStatus.H_CLOSED
    assert guest.qmp("query-hpt")["order"] == START


def enter(guest: BareGuest, group: int, slot: int, vpn: int, *, bolted: bool = True) -> None:
    """Put an entry into a slot: 4K page number ``vpn`` of segment 0, 256 MB."""
    first = (vpn >> 11) << 7 | HPTE_V_VALID | (HPTE_V_BOLTED if bolted else 0)
    second = vpn << 12 & 0xFFFF000 | 0x190
    answer = guest.hcall(H_ENTER, H_EXACT, group * 8 + slot, first, second)
    assert answer.result is HcallStatus.H_SUCCESS


def read(guest: BareGuest, group: int, slot: int) -> tuple[int, int]:
    answer = guest.hcall(H_READ, 0, group * 8 + slot)
    assert answer.result is HcallStatus.H_SUCCESS
    return answer.values[0], answer.values[1]


def resize(guest: BareGuest, order: int, flags: int = 0) -> HcallStatus | int:
    prepare(guest, order, flags)
    return call(guest, COMMIT, flags, order)


def test_bolted_entries_stay_and_others_may_go(guest: BareGuest) -> None:
    # Segment 0 has VSID 0: the hash is the page's index in it.
    enter(guest, 5, 3, 5)
    enter(guest, 5, 4, 5 | 0x800, bolted=False)
    before = read(guest, 5, 3)
    for order in (LARGEST, START, 20):
        assert resize(guest, order) is HcallStatus.H_SUCCESS
        assert read(guest, 5, 3) == before
        assert read(guest, 5, 4)[0] & HPTE_V_BOLTED == 0


def groups_that_merge(guest: BareGuest) -> None:
    """Two bolted entries in slot 0 of two groups that are one in a table of 2^18."""
    low, high = 5, 5 | 1 << 11
    enter(guest, low, 0, low)
    enter(guest, high, 0, high)


def test_a_full_slot_is_pteg_full_and_changes_nothing(guest: BareGuest) -> None:
    groups_that_merge(guest)
    before = read(guest, 5, 0), read(guest, 5 | 1 << 11, 0)
    assert resize(guest, 18) is HcallStatus.H_PTEG_FULL
    assert guest.qmp("query-hpt")["order"] == START
    assert (read(guest, 5, 0), read(guest, 5 | 1 << 11, 0)) == before


def test_with_move_bolted_a_free_slot_will_do(guest: BareGuest) -> None:
    groups_that_merge(guest)
    assert resize(guest, 18, MOVE_BOLTED) is HcallStatus.H_SUCCESS
    valid = [slot for slot in range(8) if read(guest, 5, slot)[0] & HPTE_V_VALID]
    assert len(valid) == 2


def test_an_entry_its_hash_does_not_name_is_dropped(guest: BareGuest) -> None:
    """No walk could ever find it; the merged implementation kills QEMU here."""
    # The entry says that the page index is below 2^11, the group that it is not.
    enter(guest, 77 | 1 << 11, 0, 77)
    assert resize(guest, LARGEST) is HcallStatus.H_SUCCESS
    groups = (77, 77 | 1 << 11, 77 | 1 << 16, 77 | 1 << 11 | 1 << 16)
    assert not any(read(guest, group, 0)[0] for group in groups)


@pytest.mark.parametrize("seed", range(3))
def test_whatever_is_sent_the_host_survives(guest: BareGuest, seed: int) -> None:
    rng = random.Random(seed)
    orders = [0, 1, 17, 18, 19, 20, 23, 24, 25, 46, 47, 1 << 32, (1 << 64) - 1]
    for _ in range(300):
        number = rng.choice((PREPARE, COMMIT))
        answer = call(guest, number, rng.choice((0, 0, 0, 1, 2)), rng.choice(orders))
        assert isinstance(answer, HcallStatus), f"{answer} is no result of a hypercall"
    order = guest.qmp("query-hpt")["order"]
    assert 18 <= order <= LARGEST
    assert resize(guest, START) is HcallStatus.H_SUCCESS
