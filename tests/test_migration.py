# SPDX-License-Identifier: GPL-2.0-or-later
"""Live migration of guests that have resized, are about to, or do so meanwhile.

One CPU: with two, mainline QEMU 10.0 loses the decrementer of the second in any
migration under TCG, of a guest that never resized too; QEMU 7.2 does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from hptresize.demo import MemoryLoad
from hptresize.errors import MigrationFailed
from hptresize.machine import Machine, MachineConfig
from hptresize.pytest_plugin import Boot

pytestmark = pytest.mark.boot

START = 23  # of a 1 GB guest
MODES = ("mirror", "rehash")
SLOW, FAST = 1 << 20, 1 << 40  # bytes a second

Incoming = Callable[[Machine], Machine]


@pytest.fixture
def incoming() -> Iterator[Incoming]:
    """Start a machine like the given one, for its guest to be migrated to."""
    with ExitStack() as stack:

        def start(source: Machine) -> Machine:
            return stack.enter_context(Machine(source.config.but(incoming=True)))

        yield start


def mode_of(mode: str) -> dict[str, object]:
    return {"machine_options": (f"hpt-resize-mode={mode}",)}


def agree(machine: Machine, order: int) -> None:
    assert machine.order_guest() == order
    assert machine.order_host() == order
    assert machine.memory_symbol("ppc64_pft_size") == order


@pytest.mark.parametrize("mode", MODES)
def test_a_resized_table_keeps_its_order(boot: Boot, incoming: Incoming, mode: str) -> None:
    source = boot(memory="1G", cpus=1, **mode_of(mode))
    load = MemoryLoad(source, megabytes=64, threads=1)
    source.resize(24)
    target = incoming(source)
    source.migrate_to(target)
    agree(target, 24)
    load.wait_passes(2)
    assert target.resize(22).agreed
    agree(target, 22)
    load.wait_passes(2)
    load.finish()
    assert load.wrong == 0
    target.console.check()


@pytest.mark.parametrize("mode", MODES)
def test_a_preparation_is_forgotten(boot: Boot, incoming: Incoming, mode: str) -> None:
    """The guest asks the new host, which knows of nothing, and begins anew there."""
    source = boot(memory="1G", cpus=1, **mode_of(mode))
    # The target is started like the source, and has no such delay
    source.qmp("qom-set", path="/machine", property="x-hpt-prepare-delay", value=600_000)
    job = source.start_command("resize", "24")
    wait_state(source, "preparing")
    target = incoming(source)
    source.migrate_to(target)
    done = job.wait(30.0)
    assert "errno=0" in done.text
    agree(target, 24)
    host = target.query_hpt()
    assert host is not None
    assert host["state"] == "idle"
    assert host["resizes"] == 1


def wait_state(machine: Machine, state: str) -> None:
    """Wait until the host says so; a guest that has just been told to is quick."""
    for _ in range(1000):
        host = machine.query_hpt()
        assert host is not None
        if host["state"] == state:
            return
        machine.agent.ping()
    raise AssertionError(f"the host never said {state}: {host}")


@pytest.mark.parametrize("mode", MODES)
def test_resizes_while_the_table_is_sent(boot: Boot, incoming: Incoming, mode: str) -> None:
    """What was sent of the old table is of no use: the stream begins anew."""
    source = boot(memory="1G", cpus=1, **mode_of(mode))
    load = MemoryLoad(source, megabytes=32, threads=1)
    target = incoming(source)

    def resize() -> None:
        for order in (24, 22, 23, 24):
            source.resize(order)
        source.qmp("migrate-set-parameters", max_bandwidth=FAST)

    source.qmp("migrate-set-parameters", max_bandwidth=SLOW)
    source.migrate_to(target, during=resize)
    agree(target, 24)
    load.wait_passes(2)
    load.finish()
    assert load.wrong == 0
    target.console.check()


def test_a_failed_migration_leaves_the_guest(boot: Boot) -> None:
    source = boot(memory="1G", cpus=1)
    smaller: MachineConfig = source.config.but(incoming=True, memory="2G")
    with Machine(smaller) as target, pytest.raises(MigrationFailed):
        source.migrate_to(target)
    source.resize(24)
    agree(source, 24)
