# SPDX-License-Identifier: GPL-2.0-or-later
""" "Exit 1", "panicked", "hung" and "QEMU died" are four different outcomes."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hptresize.base.errors import (
    CommandFailed,
    GuestHung,
    GuestPanicked,
    QemuDied,
    QemuStartError,
    QmpError,
    UsageError,
)
from hptresize.build.image import build_initramfs
from hptresize.build.toolchain import COMPILERS
from hptresize.machine import MachineConfig
from hptresize.pytest_plugin import Boot, missing

pytestmark = pytest.mark.boot


def test_exit_1(boot: Boot) -> None:
    machine = boot()
    with pytest.raises(CommandFailed) as caught:
        machine.run("child", "exit", "1")
    assert caught.value.status == 1
    with pytest.raises(QmpError, match="no-such-command"):
        machine.qmp("no-such-command")
    machine.shutdown()
    assert machine.exit_status == 0


def test_panicked(boot: Boot) -> None:
    machine = boot(check=False)
    start = time.monotonic()
    with pytest.raises(GuestPanicked, match="sysrq triggered crash") as caught:
        machine.agent.run(["write", "/proc/sysrq-trigger", "c"], timeout=60)
    assert time.monotonic() - start < 10, "it was waited for longer than it took"
    assert "sysrq_handle_crash" in caught.value.console
    with pytest.raises(GuestPanicked):
        machine.agent.ping()


def test_hung(boot: Boot) -> None:
    machine = boot(check=False)
    machine.qmp("stop")
    start = time.monotonic()
    with pytest.raises(GuestHung, match="agent: not within 1 s") as caught:
        machine.agent.ping(timeout=1)
    assert 1 <= time.monotonic() - start < 5
    assert "init" in caught.value.console, "the last lines of the console are not there"
    machine.qmp("cont")
    machine.agent.ping()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGABRT])
def test_qemu_died(boot: Boot, number: signal.Signals) -> None:
    machine = boot(check=False)
    job = machine.start_command("child", "hang")
    job.line(10)
    os.kill(machine.qemu_pid, number)
    start = time.monotonic()
    with pytest.raises(QemuDied, match=rf"signal {number.value} while waiting for the end of"):
        job.wait(60)
    assert time.monotonic() - start < 5
    with pytest.raises(QemuDied):
        machine.qmp("query-status")
    assert machine.exit_status == -number


def test_qemu_died_of_its_own_accord(boot: Boot) -> None:
    machine = boot(check=False)
    machine.qmp("quit")
    with pytest.raises(QemuDied, match="status 0 while waiting"):
        machine.agent.ping(timeout=30)


def test_qemu_does_not_start(boot: Boot) -> None:
    with pytest.raises(QemuStartError, match=r"status 1.*no-such-option"):
        boot(check=False, extra_args=("-no-such-option",))
    with pytest.raises(QemuStartError, match="ic-mode"):
        boot(check=False, machine_options=("ic-mode=nonsense",))
    with pytest.raises(QemuStartError, match=r"no-such-cpu"):
        boot(check=False, cpu="no-such-cpu")


def test_wrong_files(boot: Boot, hpt_config: MachineConfig, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="EM_X86_64"):
        boot(check=False, kernel=hpt_config.qemu)
    broken = tmp_path / "vmlinux"
    broken.write_bytes(hpt_config.kernel.read_bytes()[:64])
    with pytest.raises((QemuStartError, GuestHung)):
        boot(check=False, kernel=broken, start_timeout=5)
    noise = tmp_path / "initrd"
    noise.write_bytes(b"not an archive")
    with pytest.raises(GuestPanicked, match=r"Kernel panic - not syncing: (VFS|No working init)"):
        boot(check=False, initrd=noise)


def test_image_of_the_other_byte_order(boot: Boot, tmp_path: Path, gen_init_cpio: Path) -> None:
    other = "be" if boot().agent.machine == "ppc64le" else "le"
    if shutil.which(COMPILERS[other]) is None:
        missing(f"no {COMPILERS[other]}")
    image = build_initramfs(
        tmp_path / "image.gz",
        endian="be" if other == "be" else "le",
        busybox=None,
        gen_init_cpio_source=gen_init_cpio,
    )
    with pytest.raises(GuestPanicked, match="No working init"):
        boot(check=False, initrd=image)


CHILD = """
import sys
from pathlib import Path
from hptresize.machine import Machine, MachineConfig
qemu, kernel, initrd = map(Path, sys.argv[1:])
with Machine(MachineConfig(qemu, kernel, initrd, memory="1G")) as machine:
    print(machine.qemu_pid, flush=True)
    machine.agent.run(["child", "hang"], timeout=100)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_no_qemu_is_left_behind(hpt_config: MachineConfig, number: signal.Signals) -> None:
    files = [str(path) for path in (hpt_config.qemu, hpt_config.kernel, hpt_config.initrd)]
    argv = [sys.executable, "-c", CHILD, *files]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
        assert child.stdout is not None
        qemu = os.pidfd_open(int(child.stdout.readline()))
        try:
            child.send_signal(number)
            child.wait(timeout=30)
            wait_for_end(qemu)
        finally:
            os.close(qemu)


def wait_for_end(pidfd: int) -> None:
    """Wait until a process that is not our child has ended."""
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    assert poller.poll(10_000), "QEMU still runs"


def test_qemu_that_died_unseen_is_no_good_end(boot: Boot) -> None:
    """Nobody waited for anything when it died."""
    machine = boot(check=False)
    pidfd = os.pidfd_open(machine.qemu_pid)
    os.kill(machine.qemu_pid, signal.SIGSEGV)
    wait_for_end(pidfd)
    os.close(pidfd)
    with pytest.raises(QemuDied, match="signal 11, not by a power-off"):
        machine.power_off()
    well = boot()
    well.shutdown(quick=True)
    well.power_off()


def test_files_for_a_look_afterwards(boot: Boot, tmp_path: Path) -> None:
    machine = boot(run_dir=tmp_path / "run")
    machine.shutdown()
    log = tmp_path / "run" / "console.log"
    assert log.read_bytes().decode().replace("\r", "") == machine.console.text
    assert sorted(path.name for path in log.parent.iterdir()) == [
        "console.log", "qemu.log", "qmp.log",
    ]  # fmt: skip


def test_nothing_is_left_open(boot: Boot) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    boot().shutdown()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
