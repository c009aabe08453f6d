# SPDX-License-Identifier: GPL-2.0-or-later
"""On the production hypervisor: Debian's KVM HV and QEMU on an emulated POWER9."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hptresize.base.errors import GuestPanicked, QemuStartError, UsageError
from hptresize.machine import Machine, MachineConfig, frame
from hptresize.machine.frame import Frame
from hptresize.machine.kvmhv import KvmHvGuest, KvmHvHost
from hptresize.machine.load import MemoryLoad
from hptresize.pytest_plugin import Boot, built
from test_guest_flags import flags_passed

# pytest finds the fixture `image` by its name here.
from test_guest_kexec import image  # noqa: F401

pytestmark = [pytest.mark.boot, pytest.mark.timeout(600)]

# 512 MB: QEMU starts with RAM / 128, which is order 22, and grants twice that.  Its 8192
# bolted entries fill half of the slots of order 18; KVM HV keeps each in its slot of the
# group, so below 21 two of them may want the same.
START, LARGEST, COLLIDES = 22, 23, 18
# Each block of a DIMM is 4096 H_ENTER, which an emulated hypervisor takes its time for, so
# a small guest: 256 MB starts with order 21, and 2.25 GB want RAM / 1024.
SMALL_START, WITH_DIMM = 21, 22
DIMM = 2 << 30
BOOT_TIMEOUT = 240.0
TREE = "/proc/device-tree/cpus/PowerPC,POWER9@0/ibm,pft-size"


def agree(machine: Machine, order: int) -> None:
    """All that can name the size of the table names this one, KVM too."""
    assert machine.order_guest() == order
    assert machine.order_host() == order
    assert machine.memory_symbol("ppc64_pft_size") == order
    assert machine.memory_symbol("htab_hash_mask") == (1 << (order - 7)) - 1


@pytest.fixture(scope="class")
def guest(boot_kvmhv: Boot, needs_symbol: Callable[[str], None]) -> Machine:
    """One guest for a class of tests, left with the order it started with."""
    needs_symbol("hpt_resize_status")
    machine = boot_kvmhv(memory="512M", cpus=1, start_timeout=BOOT_TIMEOUT)
    assert "hv:linux,kvm" in machine.console.text
    return machine


class TestResize:
    def test_grow_and_shrink_with_memory_under_check(self, guest: Machine) -> None:
        agree(guest, START)
        load = MemoryLoad(guest, megabytes=16, threads=2)
        load.wait_passes(1)
        before = START
        for order in (23, 22, 21, 23, 21, 22):
            result = guest.resize(order)
            assert (result.before, result.host_before) == (before, before)
            assert (result.after, result.host_after) == (order, order)
            assert result.commit_us is not None
            assert 0 < result.commit_us < result.wall_us
            agree(guest, order)
            load.wait_passes(1)
            before = order
        load.finish()
        assert load.wrong == 0

    def test_the_flag_is_not_passed(self, guest: Machine) -> None:
        """KVM HV would say H_PARAMETER to MOVE_BOLTED, and does not offer it."""
        assert flags_passed(guest, LARGEST, START) == [0]
        agree(guest, START)

    @pytest.mark.parametrize(
        ("order", "errno"),
        [
            *[(text, "EINVAL") for text in ("0", "17", "47", "4294967318", "x")],
            *[(text, "EPERM") for text in ("24", "46")],
            (str(COLLIDES), "ENOSPC"),
        ],
    )
    def test_refused_orders_change_nothing(self, guest: Machine, order: str, errno: str) -> None:
        result = guest.try_resize(order)
        assert result.errno_name == errno
        assert (result.before, result.after, result.host_after) == (START, START, START)
        agree(guest, START)
        assert guest.hpt("state") == "idle"

    def test_a_shrink_that_collides_is_no_end(self, guest: Machine) -> None:
        """Found out when the guest stands still; the old table and its contents stay."""
        load = MemoryLoad(guest, megabytes=16, threads=2)
        for _ in range(2):
            assert guest.try_resize(COLLIDES).errno_name == "ENOSPC"
            load.wait_passes(1)
            guest.resize(LARGEST)
            guest.resize(START)
        load.finish()
        assert load.wrong == 0
        agree(guest, START)


def test_the_table_follows_memory(boot_kvmhv: Boot) -> None:
    """One resize for a DIMM of 8 blocks; CAS has made the first table small."""
    machine = boot_kvmhv(memory="256M", cpus=1, maxmem="64G", start_timeout=BOOT_TIMEOUT)
    agree(machine, SMALL_START)
    machine.plug_memory("dimm0", DIMM, timeout=180)
    assert machine.console.text.count("HPT resized from order") == 1
    agree(machine, WITH_DIMM)
    machine.unplug_memory("dimm0", timeout=180)
    # As small as the bolted entries fit, each in its slot.
    machine.console.wait_for(f"HPT resized from order {WITH_DIMM} to", 60)
    order = machine.order_guest()
    assert order <= SMALL_START
    agree(machine, order)


def test_kexec_twice_with_resizes_between(boot_kvmhv: Boot, image: Path) -> None:  # noqa: F811
    machine = boot_kvmhv(initrd=image, memory="512M", cpus=1, start_timeout=BOOT_TIMEOUT)
    words = "console=hvc0 oops=panic panic=-1 disable_radix"
    for boots, order in ((2, LARGEST), (3, 21)):
        machine.resize(order)
        machine.run("kexec", "load", "/kernel", "/initrd", words)
        machine.start_command("kexec", "go")
        machine.agent.wait_ready(BOOT_TIMEOUT, boots=boots)
        agree(machine, order)
        assert machine.run("cat", TREE).stdout[4:] == order.to_bytes(4)
    machine.resize(START)
    agree(machine, START)


def test_mainline_resizes_as_well(boot_kvmhv: Boot) -> None:
    """What the merged code makes of it, in sizes that both can."""
    kernel = built("kernel-stock")
    machine = boot_kvmhv(kernel=kernel, memory="512M", cpus=1, start_timeout=BOOT_TIMEOUT)
    load = MemoryLoad(machine, megabytes=16, threads=2)
    for order in (23, 21, 22):
        assert machine.resize(order).host_after == order
        load.wait_passes(1)
    assert machine.try_resize(COLLIDES).errno_name == "ENOSPC"
    load.wait_passes(1)
    load.finish()
    assert load.wrong == 0


class TestHost:
    """What is between us and the guest."""

    def test_one_guest_at_a_time(
        self, guest: Machine, kvmhv_host: KvmHvHost, hpt_config: MachineConfig
    ) -> None:
        with pytest.raises(UsageError, match="runs a guest already"):
            KvmHvGuest(kvmhv_host, hpt_config).start()
        assert guest.run("cat", "/proc/sys/kernel/ostype").text == "Linux"

    def test_a_panic_is_seen_and_the_next_guest_is_a_new_one(
        self, guest: Machine, boot_kvmhv: Boot, kvmhv_host: KvmHvHost
    ) -> None:
        with pytest.raises(GuestPanicked, match="sysrq"):
            guest.run("write", "/proc/sysrq-trigger", "c")
        guest.console.ignored.update(finding.pattern.name for finding in guest.console.bugs())
        guest.shutdown(quick=True)
        assert guest.exit_status is not None
        # What the first one did not live to read; a part of it a tty may lose by itself.
        words = b"\x03write\0/dev/kmsg\0meant for another\0"
        with kvmhv_host.port("guest_channel") as port:
            port.sendall(frame.encode(Frame(frame.START, 1, words)) * 100)
        machine = boot_kvmhv(memory="256M", cpus=1, start_timeout=BOOT_TIMEOUT)
        machine.agent.ping()
        assert "meant for another" not in machine.console.text
        machine.shutdown()
        assert machine.exit_status == 0

    def test_qemu_says_why_it_does_not_start(self, boot_kvmhv: Boot) -> None:
        with pytest.raises(QemuStartError, match="no-such-option"):
            boot_kvmhv(memory="512M", machine_options=("no-such-option=on",))
