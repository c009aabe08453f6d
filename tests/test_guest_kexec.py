# SPDX-License-Identifier: GPL-2.0-or-later
"""The next kernel learns the size of the table that it inherits."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from hptresize.build.image import build_initramfs
from hptresize.build.image.initramfs import GUEST_FLAGS
from hptresize.build.toolchain import compiler_for
from hptresize.machine import Machine, MachineConfig
from hptresize.pytest_plugin import Boot, built, last_build

pytestmark = pytest.mark.boot

SOURCE = Path(__file__).parent / "guest/kexec.c"
# Debian's kexec-tools, which uses the older system call, and what it needs.
KEXEC_TOOLS = {
    "/sbin/kexec": "sbin/kexec",
    "/lib64/ld64.so.2": "lib/powerpc64le-linux-gnu/ld64.so.2",
    "/lib/libc.so.6": "lib/powerpc64le-linux-gnu/libc.so.6",
}
WORDS = "console=hvc0 oops=panic panic=-1"
START = 23
ORDER = "/sys/kernel/mm/hpt/order"
CPUS = "/proc/device-tree/cpus/PowerPC,POWER8@{}/"


def build_images(where: Path, kernel: Path, gen_init_cpio: Path) -> Path:
    """Build an image that holds the kernel and another such image, so that kexec works twice."""
    tool = where / "kexec"
    argv = [compiler_for("le"), *GUEST_FLAGS, "-o", str(tool), str(SOURCE)]
    subprocess.run(argv, check=True, timeout=60)
    extra = {"/bin/kexec": tool, "/kernel": kernel}
    tools = last_build("kexec-tools")
    if tools is not None:
        extra |= {name: tools.parents[1] / path for name, path in KEXEC_TOOLS.items()}
    made = where / "image0"
    build_initramfs(made, busybox=None, gen_init_cpio_source=gen_init_cpio)
    for number in (1, 2):
        out = where / f"image{number}"
        inner = {**extra, "/initrd": made}
        made = build_initramfs(out, busybox=None, extra=inner, gen_init_cpio_source=gen_init_cpio)
    return made


@pytest.fixture(scope="module")
def image(
    hpt_config: MachineConfig, needs_symbol: Callable[[str], None], gen_init_cpio: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:  # fmt: skip
    """Images with the kernel under test, if that is one that can."""
    for symbol in ("hpt_dt_update", "kexec_purgatory_get_set_symbol"):
        needs_symbol(symbol)
    where = tmp_path_factory.mktemp("kexec")
    return build_images(where, hpt_config.kernel, gen_init_cpio)


def agree(machine: Machine, order: int, cpus: Sequence[int] = (0,)) -> None:
    assert machine.order_guest() == order
    assert machine.order_host() in (order, None)
    for cpu in cpus:
        written = machine.run("cat", CPUS.format(cpu) + "ibm,pft-size").stdout
        assert written[4:] == order.to_bytes(4)


def load(machine: Machine, what: str = "load") -> None:
    machine.run("kexec", what, "/kernel", "/initrd", WORDS)


def load_with_tools(machine: Machine, what: str = "load") -> None:
    """By kexec_load(2): user space makes the device tree of the next kernel out of ours."""
    built("kexec-tools")
    argv = ("/sbin/kexec", "--kexec-syscall", f"--{what}".replace("crash", "load-panic"), "/kernel")
    machine.run(*argv, "--initrd=/initrd", f"--command-line={WORDS}")


def go(machine: Machine, boots: int) -> None:
    machine.start_command("kexec", "go")
    machine.agent.wait_ready(60, boots=boots)


def test_the_device_tree_follows(boot: Boot) -> None:
    machine = boot(memory="1G", cpus=2)
    for order in (24, 22, START):
        machine.resize(order)
        agree(machine, order, (0, 1))


def test_the_device_tree_of_cpus_that_come_back(boot: Boot) -> None:
    """One that was offline has its node all the time, one that was removed gets a new one."""
    machine = boot(memory="1G", cpus=2)
    online = "/sys/devices/system/cpu/cpu1/online"
    machine.run("write", online, "0")
    machine.resize(24)
    machine.run("write", online, "1")
    agree(machine, 24, (0, 1))
    index = int.from_bytes(machine.run("cat", CPUS.format(1) + "ibm,my-drc-index").stdout)
    machine.run("write", "/sys/kernel/dlpar", f"cpu remove index {index:#x}")
    machine.resize(22)
    assert machine.agent.run(["cat", CPUS.format(1) + "ibm,pft-size"]).status
    machine.run("write", "/sys/kernel/dlpar", f"cpu add index {index:#x}")
    agree(machine, 22, (0, 1))
    assert machine.run("cat", online).text == "1"


@pytest.mark.parametrize("by", [load, load_with_tools])
def test_kexec_twice_with_resizes_between(
    boot: Boot, image: Path, by: Callable[[Machine], None]
) -> None:
    machine = boot(initrd=image, memory="1G", cpus=2)
    machine.resize(24)
    by(machine)
    go(machine, 2)
    agree(machine, 24)
    machine.resize(22)
    by(machine)
    go(machine, 3)
    agree(machine, 22)
    machine.resize(START)
    agree(machine, START)


@pytest.mark.parametrize(("by", "order"), [(load, 22), (load_with_tools, 24)])
def test_a_resize_after_the_kernel_was_loaded(
    boot: Boot, image: Path, by: Callable[[Machine], None], order: int
) -> None:
    machine = boot(initrd=image, memory="1G", cpus=2)
    by(machine)
    machine.resize(order)
    go(machine, 2)
    agree(machine, order)


@pytest.mark.parametrize(("by", "order"), [(load_with_tools, 22), (load, 24)])
def test_a_crash_kernel_after_a_resize(
    boot: Boot, image: Path, by: Callable[[Machine, str], None], order: int
) -> None:
    """Loaded before the resize, as kdump does at boot; it finds its memory and the dump."""
    machine = boot(initrd=image, memory="1G", cpus=2, append="crashkernel=256M")
    by(machine, "crash")
    machine.resize(order)
    machine.qmp("inject-nmi")
    machine.agent.wait_ready(60, boots=2)
    agree(machine, order)
    assert b"elfcorehdr=" in machine.run("cat", "/proc/cmdline").stdout
    # What the first kernel had, less what the second one lives in.
    assert 512 < int(machine.run("kexec", "dump").text) <= 1024


def test_kexec_while_a_table_is_prepared(boot: Boot, image: Path) -> None:
    """The resize ends at once, and memory that comes then waits for nobody."""
    machine = boot(initrd=image, memory="1G", cpus=2, maxmem="16G")
    load(machine)
    machine.qmp("qom-set", path="/machine", property="x-hpt-prepare-delay", value=5000)
    state = machine.start_command("pollfile", "/sys/kernel/mm/hpt/state")
    assert state.line(10) == "idle"
    machine.start_command("resize", "24")
    assert state.line(10) == "preparing"
    machine.start_command("kexec", "go")
    machine.qmp("object-add", qom_type="memory-backend-ram", id="dimm0-ram", size=1 << 30)
    machine.qmp("device_add", driver="pc-dimm", id="dimm0", memdev="dimm0-ram")
    machine.agent.wait_ready(30, boots=2)
    agree(machine, START)


def test_the_flattened_tree_of_the_next_kernel(boot: Boot, image: Path) -> None:
    """Loaded by kexec_load(2) before the resize: its tree names the old size, and is not lost."""
    machine = boot(initrd=image, memory="1G", cpus=2)
    load_with_tools(machine)
    machine.resize(24)
    go(machine, 2)
    agree(machine, 24)
    assert machine.agent.run(["cat", "/sys/firmware/fdt"]).status == 0
    assert "CRC check failed" not in machine.console.text


def test_kexec_after_memory_came(boot: Boot, image: Path) -> None:
    """Hotplug and kexec take the same locks: lockdep knows in which order."""
    machine = boot(kernel=built("kernel-le-64k-debug"), initrd=image, memory="1G", cpus=2,
                   maxmem="16G")  # fmt: skip
    machine.plug_memory("dimm0", 8 << 30)
    load(machine)
    go(machine, 2)
    assert machine.order_guest() == machine.order_host() == 24


def test_shrinking_after_kexec(boot: Boot, image: Path) -> None:
    """To the next kernel the table that it has at boot says nothing."""
    dimm = ("-object", "memory-backend-ram,id=ram1,size=8G,reserve=off",
            "-device", "pc-dimm,id=dimm0,memdev=ram1")  # fmt: skip
    machine = boot(initrd=image, memory="1G", cpus=2, maxmem="16G", extra_args=dimm)
    start = machine.order_guest()
    machine.resize(start + 1)
    load(machine)
    go(machine, 2)
    agree(machine, start + 1)
    machine.run("write", "/sys/kernel/dlpar", "memory remove count 20")
    order = machine.order_guest()
    assert order < start
    agree(machine, order)
