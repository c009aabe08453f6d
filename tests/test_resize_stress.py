# SPDX-License-Identifier: GPL-2.0-or-later
"""Hundreds of resizes of guests that use their memory on all CPUs all the time."""

from __future__ import annotations

import os
import random

import pytest

from hptresize.machine import Machine
from hptresize.machine.load import MemoryLoad
from hptresize.pytest_plugin import Boot

pytestmark = pytest.mark.boot

ORDERS = (22, 23, 24)  # of a 1 GB guest
RESIZES = 1000 if os.environ.get("HPTRESIZE_LONG") else 60


def resize_at_random(machine: Machine, count: int, seed: int) -> None:
    """Each resize to an order that is not the present one."""
    choose = random.Random(seed)
    order = machine.order_guest()
    for _ in range(count):
        order = choose.choice([other for other in ORDERS if other != order])
        machine.resize(order)


@pytest.mark.parametrize("cpus", (1, 2, 4))
@pytest.mark.parametrize("mode", ("mirror", "rehash"))
def test_no_wrong_byte(boot: Boot, mode: str, cpus: int) -> None:
    machine = boot(memory="1G", cpus=cpus, machine_options=(f"hpt-resize-mode={mode}",))
    load = MemoryLoad(machine, megabytes=32, threads=cpus)
    load.wait_passes(1)
    resize_at_random(machine, RESIZES, seed=cpus)
    load.wait_passes(2)
    load.finish()
    assert load.wrong == 0
    host = machine.query_hpt()
    assert host is not None
    assert (host["mode"], host["state"], host["resizes"]) == (mode, "idle", RESIZES)
    assert host["order"] == machine.order_guest()
    machine.console.check()
