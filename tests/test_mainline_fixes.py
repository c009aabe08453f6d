# SPDX-License-Identifier: GPL-2.0-or-later
"""The defects of the merged feature: each fails a test before its patch, and none after."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from hptresize import series
from hptresize.base import paths
from hptresize.base.errors import MigrationFailed, QemuDied
from hptresize.machine import Machine
from hptresize.machine.load import MemoryLoad
from hptresize.pytest_plugin import Boot, built
from hptresize.run import conformance
from hptresize.run.conformance import Outcome, Subject, takes_machine_option
from test_guest_kexec import build_images, go, load
from test_migration import (
    LIMITS,
    live_with_a_dead_destination,
    reset_at_the_end,
    resize_within_limit,
)

TESTS = {test.name: test for test in conformance.load_tests()}
SEGMENTS = ("256m", "1t")


def secondary(*sizes: str) -> tuple[str, ...]:
    return tuple(f"entries.{size}_{segment}_secondary" for size in sizes for segment in SEGMENTS)


# Number of the patch: what fails without it.  Entries of mixed page size in secondary groups
# need two patches and count for the later one.
QEMU_FIXES: dict[int, tuple[str, ...]] = {
    1: (
        "prepare.flags_discard",
        "prepare.bad_shift_discards",
        "prepare.too_large_discards",
        "commit.none_pending",
        "commit.other_flags",
        "commit.shift_is_int32",
        "move_bolted.not_offered",
        "host.no_memory_is_told",
    ),
    2: ("host.commit_after_no_memory", "host.cas_after_no_memory"),
    3: ("host.no_memory_once",),
    4: ("host.threads_and_memory", "limits.prepare_and_discard"),
    5: (
        *secondary("4k", "64k", "16m"),
        "crowd.same_slot",
        "crowd.accesses",
        "crowd.slow_accesses",
    ),
    6: (
        *(f"entries.{size}_in_16m_{segment}" for size in ("64k", "4k") for segment in SEGMENTS),
        *secondary("64k_in_16m", "4k_in_16m"),
        "mmu.translate_64k_in_16m",
    ),
    7: ("entries.bolted_foreign_group", "entries.bolted_twice"),
    8: (
        "mmu.dropped_faults",
        "mmu.dropped_by_shrinking_faults",
        "mmu.dropped_then_removed_faults",
        "mmu.dropped_faults_on_other_cpus",
        "mmu.dropped_then_removed_faults_on_other_cpus",
    ),
    9: (
        "host.reset_forgets",
        "host.reset_while_preparing",
        "host.reset_while_resizing",
        "host.cas_forgets",
        "host.cas_without_resizing_forgets",
        "host.cas_while_preparing",
    ),
    10: ("smp.walk_while_resizing", "smp.walk_while_resizing_four"),
    # Migrations, below
    11: (),
    12: (),
    13: (),
    14: (),  # seen by reading
}
# Races: they do not fail each time.
RACES = (*QEMU_FIXES[10], "host.reset_while_resizing")
# What mainline never promised: a hint as short as the work, and that a preparation takes so
# long that COMMIT comes before its end.
OURS = ("results.hint_fits", "commit.slow_not_ready", "smp.radix_and_back")

Conformance = Callable[[Path, tuple[str, ...]], dict[str, Outcome]]


def on_fixes(boot: Boot, **changes: object) -> Machine:
    """Start mainline's guest on mainline's host, both corrected."""
    return boot(kernel=built("kernel-fixes"), qemu=built("qemu-fixes"), **changes)


# The patches as files


def test_each_patch_names_what_shows_it() -> None:
    patches = series.load(paths.qemu_patches() / "mainline").patches
    assert list(QEMU_FIXES) == list(range(1, len(patches) + 1))
    for patch, names in zip(patches, QEMU_FIXES.values(), strict=True):
        told = patch.path.read_text().partition("\nShown by: ")[2]
        assert told.startswith(names[0] if names else ("a migration", "")), patch.path.name


@pytest.mark.parametrize("directory", [paths.kernel_patches(), paths.qemu_patches()])
def test_no_patch_is_signed_by_a_machine(directory: Path) -> None:
    for path in (directory / "mainline").glob("*.patch"):
        assert "Signed-off-by:" not in path.read_text()


# The host


@pytest.fixture(scope="module")
def run(payload: Path) -> Conformance:
    """Run tests of the payload on a QEMU."""

    def of(qemu: Path, names: tuple[str, ...]) -> dict[str, Outcome]:
        tests = [TESTS[name] for name in TESTS if name in names]
        found = conformance.run(Subject(qemu), payload=payload, tests=tests)
        return {one.name: one for one in found}

    return of


@pytest.mark.boot
def test_stock_qemu_fails(run: Conformance) -> None:
    names = tuple(n for fixed in QEMU_FIXES.values() for n in fixed if n not in RACES)
    for one in run(built("qemu-stock"), names).values():
        assert one.status == "fail", f"{one.name} passes on stock QEMU"


@pytest.mark.boot
def test_corrected_qemu_passes_all(run: Conformance) -> None:
    found = run(built("qemu-fixes"), tuple(name for name in TESTS if name not in OURS))
    assert [one for one in found.values() if one.status == "fail"] == []


@pytest.mark.boot
@pytest.mark.parametrize("number", [number for number, names in QEMU_FIXES.items() if names])
def test_what_a_patch_mends(run: Conformance, hpt_qemu: Path, number: int) -> None:
    """On the QEMU under test, whichever it is; `series check` gives one for each patch."""
    names = QEMU_FIXES[number]
    if takes_machine_option(hpt_qemu, "hpt-resize-mode=mirror"):
        # That of the host series offers MOVE_BOLTED.
        names = tuple(name for name in names if name != "move_bolted.not_offered")
    found = run(hpt_qemu, names)
    assert [one for one in found.values() if one.status != "pass"] == []


@pytest.mark.boot
def test_linux_resizes_on_corrected_qemu(boot: Boot) -> None:
    machine = boot(
        kernel=built("kernel-stock"), qemu=built("qemu-fixes"), memory="1G", cpus=2
    )
    work = MemoryLoad(machine, megabytes=64, threads=2)
    for order in (24, 22, 23, 24):
        assert machine.resize(order).agreed
        assert machine.memory_symbol("ppc64_pft_size") == order
        work.wait_passes(1)
    work.finish()
    assert work.wrong == 0


@pytest.fixture
def incoming() -> Iterator[Callable[[Machine], Machine]]:
    """Start a machine like the given one, for its guest to be migrated to."""
    with ExitStack() as stack:

        def start(source: Machine) -> Machine:
            return stack.enter_context(Machine(source.config.but(incoming=True)))

        yield start


@pytest.mark.boot
@pytest.mark.parametrize("order", [22, 24])
@pytest.mark.parametrize("limit", LIMITS)
def test_a_resize_within_limited_bandwidth(
    boot: Boot, incoming: Callable[[Machine], Machine], limit: int, order: int
) -> None:
    source = on_fixes(boot, memory="1G", cpus=1)
    resize_within_limit(source, incoming(source), limit, order)


@pytest.mark.boot
@pytest.mark.parametrize("order", [22, 24])
def test_to_stock_after_a_resize(boot: Boot, order: int) -> None:
    """Nothing in the stream that stock QEMU would not know."""
    source = on_fixes(boot, memory="1G", cpus=1)
    with Machine(source.config.but(incoming=True, qemu=built("qemu-stock"))) as target:
        resize_within_limit(source, target, LIMITS[0], order)


@pytest.mark.boot
def test_stock_qemu_cannot_send_a_table_that_grew(boot: Boot) -> None:
    stock = {"qemu": built("qemu-stock"), "kernel": built("kernel-stock")}
    source = boot(**stock, memory="1G", cpus=1, check=False)
    dies = pytest.raises((MigrationFailed, QemuDied))  # assertion of htab_save_later_pass()
    with Machine(source.config.but(incoming=True)) as target, dies:
        resize_within_limit(source, target, LIMITS[0], 24)


@pytest.mark.boot
def test_a_dead_destination(boot: Boot) -> None:
    live_with_a_dead_destination(on_fixes(boot, memory="4G", cpus=1))


@pytest.mark.boot
@pytest.mark.parametrize("qemu", ["qemu-fixes", "qemu-stock"])
def test_a_reset_at_the_end_of_a_migration(boot: Boot, qemu: str) -> None:
    source = on_fixes(boot, memory="1G", cpus=1)
    with Machine(source.config.but(incoming=True, qemu=built(qemu))) as target:
        reset_at_the_end(source, target)


# The guest


@pytest.fixture(scope="module")
def kexec_image(gen_init_cpio: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    kernel = built("kernel-fixes")
    return build_images(tmp_path_factory.mktemp("kexec"), kernel, gen_init_cpio)


@pytest.mark.boot
def test_kexec_after_resizes(boot: Boot, kexec_image: Path) -> None:
    """Loaded before the resize and after it; each kernel finds the table as it is."""
    machine = on_fixes(boot, initrd=kexec_image, memory="1G", cpus=2)
    machine.resize(22)
    load(machine)
    go(machine, 2)
    assert machine.order_guest() == machine.memory_symbol("ppc64_pft_size") == 22
    load(machine)
    machine.resize(24)
    go(machine, 3)
    assert machine.order_guest() == machine.memory_symbol("ppc64_pft_size") == 24
    assert machine.resize(23).agreed


@pytest.mark.boot
def test_a_crash_kernel_after_a_resize(boot: Boot, kexec_image: Path) -> None:
    machine = on_fixes(
        boot, initrd=kexec_image, memory="1G", cpus=2, append="crashkernel=256M"
    )
    load(machine, "crash")
    machine.resize(24)
    machine.qmp("inject-nmi")
    machine.agent.wait_ready(60, boots=2)
    assert machine.order_guest() == 24


def attempts(machine: Machine, start: int) -> list[int]:
    """Orders that the guest tried to resize to, by its log from a place on."""
    text = machine.console.text[start:]
    return [int(order) for order in re.findall(r"Attempting to resize HPT to shift (\d+)", text)]


@pytest.mark.boot
def test_memory_comes_and_goes(boot: Boot) -> None:
    """8 GB in 32 blocks: one resize on the way up, few attempts on the way down."""
    machine = on_fixes(boot, memory="1G", cpus=2, maxmem="64G")
    machine.plug_memory("dimm0", 8 << 30)
    assert attempts(machine, 0) == [24]
    before = len(machine.console.text)
    machine.unplug_memory("dimm0")
    # Stock tries seven times, with the same end.
    assert attempts(machine, before) == [22, 22, 22]
    assert machine.order_guest() == 22
