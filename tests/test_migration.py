# SPDX-License-Identifier: GPL-2.0-or-later
"""Live migration of guests that have resized, are about to, or do so meanwhile.

One CPU: with two, mainline QEMU 10.0 loses the decrementer of the second in any
migration under TCG, of a guest that never resized too; QEMU 7.2 does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from hptresize.demo import MemoryLoad
from hptresize.errors import MigrationFailed
from hptresize.machine import Machine, MachineConfig
from hptresize.pytest_plugin import Boot, built

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


@pytest.fixture
def stock_qemu() -> Path:
    """Mainline's QEMU of the same version, from the same source."""
    return built("qemu-stock")


def test_to_stock_and_back(boot: Boot, stock_qemu: Path) -> None:
    """Nothing pending, nothing in the stream that mainline would not know."""
    source = boot(memory="1G", cpus=1)
    load = MemoryLoad(source, megabytes=32, threads=1)
    source.resize(24)
    with (
        Machine(source.config.but(incoming=True, qemu=stock_qemu)) as stock,
        Machine(source.config.but(incoming=True)) as back,
    ):
        source.migrate_to(stock)
        assert stock.query_hpt() is None
        assert stock.order_guest() == 24
        load.wait_passes(2)
        stock.migrate_to(back)
        agree(back, 24)
        load.wait_passes(2)
        back.resize(23)
        load.finish()
    assert load.wrong == 0


@pytest.mark.parametrize("mode", MODES)
def test_a_snapshot_brings_its_order_back(boot: Boot, tmp_path: Path, mode: str) -> None:
    """Savevm with one order, loadvm while the guest runs on another."""
    machine = boot(memory="1G", cpus=1, **mode_of(mode))
    disk = tmp_path / "vmstate.qcow2"
    disk.touch()
    machine.qmp("blockdev-add", driver="file", node_name="file", filename=str(disk))
    qcow2 = {"driver": "qcow2", "file": "file", "size": 1 << 20}
    run_job(machine, "blockdev-create", options=qcow2)
    machine.qmp("blockdev-add", driver="qcow2", node_name="vmstate", file="file")
    snapshot = {"tag": "resized", "vmstate": "vmstate", "devices": ["vmstate"]}
    machine.resize(24)
    run_job(machine, "snapshot-save", **snapshot)
    machine.resize(22)
    run_job(machine, "snapshot-load", **snapshot)
    agree(machine, 24)
    machine.resize(23)
    agree(machine, 23)


def run_job(machine: Machine, command: str, **arguments: object) -> None:
    """Run one of QEMU's background jobs to a good end."""
    machine.qmp(command, job_id=command, **arguments)
    machine.wait_event("JOB_STATUS_CHANGE", status="concluded", id=command)
    assert "error" not in machine.qmp("query-jobs")[0]
    machine.qmp("job-dismiss", id=command)
