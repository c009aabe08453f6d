# SPDX-License-Identifier: GPL-2.0-or-later
"""The next kernel learns the size of the table that it inherits."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from hptresize import elf
from hptresize.image import build_initramfs
from hptresize.image.initramfs import GUEST_FLAGS, compiler_for
from hptresize.machine import Machine, MachineConfig
from hptresize.pytest_plugin import Boot

pytestmark = pytest.mark.boot

SOURCE = Path(__file__).parent / "guest/kexec.c"
WORDS = "console=hvc0 oops=panic panic=-1"
START = 23
ORDER = "/sys/kernel/mm/hpt/order"
TREE = "/proc/device-tree/cpus/PowerPC,POWER8@0/ibm,pft-size"


def build_images(where: Path, kernel: Path, gen_init_cpio: Path) -> Path:
    """Build an image that holds the kernel and another such image, so that kexec works twice."""
    tool = where / "kexec"
    argv = [compiler_for("le"), *GUEST_FLAGS, "-o", str(tool), str(SOURCE)]
    subprocess.run(argv, check=True, timeout=60)
    extra = {"/bin/kexec": tool, "/kernel": kernel}
    made = where / "image0"
    build_initramfs(made, busybox=None, gen_init_cpio_source=gen_init_cpio)
    for number in (1, 2):
        out = where / f"image{number}"
        inner = {**extra, "/initrd": made}
        made = build_initramfs(out, busybox=None, extra=inner, gen_init_cpio_source=gen_init_cpio)
    return made


@pytest.fixture(scope="module")
def image(
    hpt_config: MachineConfig, gen_init_cpio: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Images with the kernel under test, if that is one that can."""
    for symbol in ("hpt_dt_update", "kexec_purgatory_get_set_symbol"):
        if not elf.has_symbol(hpt_config.kernel, symbol):
            pytest.skip(f"{hpt_config.kernel} has no {symbol}")
    where = tmp_path_factory.mktemp("kexec")
    return build_images(where, hpt_config.kernel, gen_init_cpio)


def agree(machine: Machine, order: int) -> None:
    assert machine.order_guest() == order
    assert machine.order_host() in (order, None)
    assert machine.run("cat", TREE).stdout[4:] == order.to_bytes(4)


def load(machine: Machine, what: str = "load") -> None:
    machine.run("kexec", what, "/kernel", "/initrd", WORDS)


def go(machine: Machine, boots: int) -> None:
    machine.start_command("kexec", "go")
    machine.agent.wait_ready(60, boots=boots)


def test_the_device_tree_follows(boot: Boot, image: Path) -> None:
    machine = boot(initrd=image, memory="1G", cpus=2)
    for order in (24, 22, START):
        machine.resize(order)
        agree(machine, order)


def test_kexec_twice_with_resizes_between(boot: Boot, image: Path) -> None:
    machine = boot(initrd=image, memory="1G", cpus=2)
    machine.resize(24)
    load(machine)
    go(machine, 2)
    agree(machine, 24)
    machine.resize(22)
    load(machine)
    go(machine, 3)
    agree(machine, 22)
    machine.resize(START)
    agree(machine, START)


@pytest.mark.parametrize("order", [22, 24])
def test_a_resize_after_the_kernel_was_loaded(boot: Boot, image: Path, order: int) -> None:
    machine = boot(initrd=image, memory="1G", cpus=2)
    load(machine)
    machine.resize(order)
    go(machine, 2)
    agree(machine, order)


@pytest.mark.parametrize("order", [22, 24])
def test_a_crash_kernel_after_a_resize(boot: Boot, image: Path, order: int) -> None:
    """Loaded before the resize, as kdump does at boot; it finds its memory and the dump."""
    machine = boot(initrd=image, memory="1G", cpus=2, append="crashkernel=256M")
    load(machine, "crash")
    machine.resize(order)
    machine.qmp("inject-nmi")
    machine.agent.wait_ready(60, boots=2)
    agree(machine, order)
    assert b"elfcorehdr=" in machine.run("cat", "/proc/cmdline").stdout
    # What the first kernel had, less what the second one lives in.
    assert 512 < int(machine.run("kexec", "dump").text) <= 1024
