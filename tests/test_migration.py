# SPDX-License-Identifier: GPL-2.0-or-later
"""Live migration of guests that have resized, are about to, or do so meanwhile.

One CPU: with two, mainline QEMU 10.0 loses the decrementer of the second in any
migration under TCG, of a guest that never resized too; QEMU 7.2 does not.
"""

from __future__ import annotations

import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from hptresize.base.errors import MigrationFailed
from hptresize.machine import Machine, MachineConfig
from hptresize.machine.load import MemoryLoad
from hptresize.pytest_plugin import Boot, built

pytestmark = pytest.mark.boot

START = 23  # of a 1 GB guest
MODES = ("mirror", "rehash")
FAST = 1 << 40  # bytes a second
LIMITS = (1 << 20, 16 << 20, 64 << 20)

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


def resize_within_limit(source: Machine, target: Machine, limit: int, order: int) -> None:
    """Migrate with so many bytes a second; resize after the first second's worth.

    The guest is stopped right after it, when the table that was sent is of no use.
    """
    load = MemoryLoad(source, megabytes=16, threads=1)
    load.wait_passes(1)

    def resize() -> None:
        source.qmp("migrate-set-parameters", downtime_limit=1)
        while source.qmp("query-migrate")["ram"]["transferred"] < limit:
            source.agent.ping()
        assert source.resize(order).agreed
        source.qmp("migrate-set-parameters", downtime_limit=2_000_000)

    source.qmp("migrate-set-parameters", max_bandwidth=limit)
    source.migrate_to(target, during=resize)
    assert target.order_guest() == target.memory_symbol("ppc64_pft_size") == order
    assert target.resize(23).agreed
    load.wait_passes(2)
    load.finish()
    assert load.wrong == 0
    target.console.check()


@pytest.mark.parametrize("order", [22, 24])
@pytest.mark.parametrize("limit", LIMITS)
def test_a_resize_within_limited_bandwidth(
    boot: Boot, incoming: Incoming, limit: int, order: int
) -> None:
    source = boot(memory="1G", cpus=1)
    resize_within_limit(source, incoming(source), limit, order)


@pytest.mark.parametrize("mode", MODES)
def test_resizes_while_memory_changes(boot: Boot, incoming: Incoming, mode: str) -> None:
    """What was sent of the old table is of no use: the stream begins anew."""
    source = boot(memory="1G", cpus=1, **mode_of(mode))
    load = MemoryLoad(source, megabytes=32, threads=1)
    target = incoming(source)

    def resize() -> None:
        for order in (24, 22, 23, 24):
            source.resize(order)

    source.qmp("migrate-set-parameters", max_bandwidth=LIMITS[2])
    source.migrate_to(target, during=resize)
    agree(target, 24)
    load.wait_passes(2)
    load.finish()
    assert load.wrong == 0
    target.console.check()


def read_to_the_table(stream: socket.socket) -> None:
    """Read a migration until a section with entries of the table has begun."""
    data = b""
    while b"spapr/htab" not in data:
        data = data[-64:] + stream.recv(1 << 16)
    name = data.index(b"spapr/htab")
    entries = b"\x02" + data[name - 5 : name - 1] + bytes(4)
    while entries not in data:
        data = data[-len(entries) :] + stream.recv(1 << 16)


@contextmanager
def dead_destination(source: Machine) -> Iterator[None]:
    """Migrate to somebody who reads up to the table, and then no more."""
    capabilities = [{"capability": "events", "state": True}]
    source.qmp("migrate-set-capabilities", capabilities=capabilities)
    source.qmp("migrate-set-parameters", max_bandwidth=FAST)
    with (
        tempfile.TemporaryDirectory(prefix="hptresize-") as name,
        socket.socket(socket.AF_UNIX) as listener,
    ):
        listener.bind(f"{name}/migrate")
        listener.listen()
        source.qmp("migrate", uri=f"unix:{name}/migrate")
        with listener.accept()[0] as stream:
            read_to_the_table(stream)
            yield


def live_with_a_dead_destination(source: Machine) -> None:
    """The guest goes on, and the monitor answers, half of the times within 100 ms."""
    times = []
    with dead_destination(source):
        for _ in range(20):
            begin = time.monotonic()
            assert source.qmp("query-status", timeout=5.0)["running"]
            times.append(time.monotonic() - begin)
        assert source.resize(26).agreed
        source.run("true")
        begin = time.monotonic()
        source.qmp("migrate_cancel", timeout=5.0)
        times.append(time.monotonic() - begin)
        source.wait_event("MIGRATION", status="cancelled")
    assert sorted(times)[len(times) // 2] < 0.1
    assert times[-1] < 1.0
    assert source.resize(25).agreed


def test_a_dead_destination(boot: Boot) -> None:
    live_with_a_dead_destination(boot(memory="4G", cpus=1))


def reset_at_the_end(source: Machine, target: Machine) -> None:
    """Reset the machine when the guest is stopped: the last section is the new table's."""
    on = [{"capability": name, "state": True} for name in ("events", "pause-before-switchover")]
    source.qmp("migrate-set-capabilities", capabilities=on)
    source.qmp("set-action", reboot="reset")
    source.resize(24)
    with tempfile.TemporaryDirectory(prefix="hptresize-") as name:
        uri = f"unix:{name}/migrate"
        target.qmp("migrate-incoming", uri=uri)
        source.qmp("migrate", uri=uri)
        source.wait_event("MIGRATION", status="pre-switchover")
        source.qmp("system_reset")
        source.wait_event("RESET")
        source.qmp("migrate-continue", state="pre-switchover")
        source.wait_event("MIGRATION", status="completed")
    source.shutdown(quick=True)
    target.agent.wait_ready(60.0)
    assert target.order_guest() == target.memory_symbol("ppc64_pft_size") == START
    assert target.resize(24).agreed


def test_a_reset_at_the_end(boot: Boot, incoming: Incoming) -> None:
    source = boot(memory="1G", cpus=1)
    reset_at_the_end(source, incoming(source))


def test_a_reset_at_the_end_to_stock(boot: Boot, stock_qemu: Path) -> None:
    source = boot(memory="1G", cpus=1)
    with Machine(source.config.but(incoming=True, qemu=stock_qemu)) as target:
        reset_at_the_end(source, target)


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
