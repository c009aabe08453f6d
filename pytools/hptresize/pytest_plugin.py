# SPDX-License-Identifier: GPL-2.0-or-later
"""Fixtures for tests that run a guest, with any kernel and any QEMU.

    def test_grow(boot):
        machine = boot(memory="1G", cpus=2)
        assert machine.resize(24).agreed

At the end of the test every guest is powered off, QEMU has to end well and the
console must not hold any sign of a kernel bug; a failed test shows the console.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

from hptresize.base import paths as own
from hptresize.build.image import build_initramfs
from hptresize.machine import Machine, MachineConfig, elf
from hptresize.machine.kvmhv import HostConfig, KvmHvGuest, KvmHvHost
from hptresize.machine.outcome import tail

CONSOLE_LINES = 120
REQUIRE = "hptresize_require"
_MACHINES = pytest.StashKey[list[Machine]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options that say what to test and on how large a guest."""
    group = parser.getgroup("hptresize", "guests with a hash page table")
    group.addoption("--kernel", type=Path, metavar="VMLINUX", help="kernel (last series built)")
    group.addoption("--qemu", type=Path, metavar="PROGRAM", help="QEMU (last series built)")
    group.addoption("--initrd", type=Path, metavar="FILE", help="image (last one built)")
    group.addoption("--guest-memory", default="1G", metavar="SIZE", help="memory (%(default)s)")
    group.addoption("--guest-cpus", type=int, default=2, metavar="N", help="CPUs (%(default)s)")
    parser.addini(REQUIRE, "what is not built fails a test instead of skipping it", "bool", False)


_required = False


def pytest_configure(config: pytest.Config) -> None:
    """Read whether what is not built is an error."""
    global _required  # noqa: PLW0603 - built() is called without a fixture
    _required = config.getini(REQUIRE)


def missing(why: str) -> NoReturn:
    """Skip the test for want of something, or fail it: see ``hptresize_require``."""
    if _required:
        pytest.fail(why, pytrace=False)
    pytest.skip(why)


def last_build(kind: str) -> Path | None:
    """The last kernel, QEMU or image that was built, or what the environment names.

    :param kind: "kernel" or "qemu" with the series, "image", or another variant, as
        "kernel-baseline";
        HPTRESIZE_KERNEL, HPTRESIZE_KERNEL_BASELINE and so on go first.
    """
    named = os.environ.get(_variable(kind))
    return Path(named) if named else own.last_build(kind)


def _variable(kind: str) -> str:
    return "HPTRESIZE_" + kind.upper().replace("-", "_")


def built(kind: str) -> Path:
    """What was built last, see :func:`last_build`; see :func:`missing` if nothing was."""
    found = last_build(kind)
    if found is None:
        missing(f"no {kind}: `hptresize build --for-tests`")
    return found


def _choose(config: pytest.Config, option: str, kind: str) -> Path:
    chosen: Path | None = config.getoption(option) or last_build(kind)
    if chosen is None:
        missing(f"no {kind}: give --{option}, or build one with `hptresize build`")
    return chosen


@pytest.fixture(scope="session")
def hpt_kernel(pytestconfig: pytest.Config) -> Path:
    """The kernel under test."""
    return _choose(pytestconfig, "kernel", "kernel")


@pytest.fixture(scope="session")
def hpt_qemu(pytestconfig: pytest.Config) -> Path:
    """The QEMU under test."""
    return _choose(pytestconfig, "qemu", "qemu")


def lacking(config: pytest.Config, kind: str, why: str) -> NoReturn:
    """Skip the test if the kernel or QEMU that was named cannot do what it tests.

    The last one built can; see :func:`missing` for one that cannot.
    """
    if config.getoption(kind) or os.environ.get(_variable(kind)):
        pytest.skip(why)
    missing(why)


@pytest.fixture(scope="session")
def needs_symbol(pytestconfig: pytest.Config, hpt_kernel: Path) -> Callable[[str], None]:
    """Check that the kernel has a symbol, see :func:`lacking`."""

    def check(symbol: str) -> None:
        if not elf.has_symbol(hpt_kernel, symbol):
            lacking(pytestconfig, "kernel", f"{hpt_kernel} has no {symbol}")

    return check


def find_gen_init_cpio(kernel: Path | None) -> Path | None:
    """The kernel's archive packer: of the environment, or beside a kernel we built."""
    named = os.environ.get("HPTRESIZE_GEN_INIT_CPIO")
    candidates = [Path(named)] if named else []
    if kernel is not None:
        candidates += [kernel.parent / "gen_init_cpio.c", kernel.parent / "usr/gen_init_cpio.c"]
    return next((path for path in candidates if path.is_file()), None)


@pytest.fixture(scope="session")
def gen_init_cpio(pytestconfig: pytest.Config) -> Path:
    """Source of the kernel's archive packer."""
    found = find_gen_init_cpio(pytestconfig.getoption("kernel") or last_build("kernel"))
    if found is None:
        missing("no gen_init_cpio.c: build a kernel, or set HPTRESIZE_GEN_INIT_CPIO")
    return found


@pytest.fixture(scope="session")
def hpt_image(pytestconfig: pytest.Config, request: pytest.FixtureRequest) -> Path:
    """The image under test; made on the spot, without busybox, if there is none."""
    chosen: Path | None = pytestconfig.getoption("initrd") or last_build("image")
    if chosen is not None:
        return chosen
    factory: pytest.TempPathFactory = request.getfixturevalue("tmp_path_factory")
    source: Path = request.getfixturevalue("gen_init_cpio")
    out = factory.mktemp("image") / "initramfs.gz"
    return build_initramfs(out, busybox=None, gen_init_cpio_source=source)


@pytest.fixture(scope="session")
def hpt_config(
    pytestconfig: pytest.Config, hpt_kernel: Path, hpt_qemu: Path, hpt_image: Path
) -> MachineConfig:
    """The machine that the command line describes."""
    return MachineConfig(
        qemu=hpt_qemu,
        kernel=hpt_kernel,
        initrd=hpt_image,
        memory=pytestconfig.getoption("guest_memory"),
        cpus=pytestconfig.getoption("guest_cpus"),
    )


class Boot:
    """Starts guests that end with a test (or a module of tests).

    :param started: gets every guest that was started.
    :param make: makes a machine of a MachineConfig and a ``start_timeout``.
    """

    def __init__(
        self,
        config: MachineConfig,
        stack: contextlib.ExitStack,
        started: list[Machine],
        make: Callable[..., Machine] = Machine,
    ) -> None:
        self._config = config
        self._stack = stack
        self._started = started
        self._make = make

    def __call__(
        self, *, check: bool = True, start_timeout: float = 120.0, **changes: Any
    ) -> Machine:
        """Start a guest.

        :param check: whether its end is to be checked; False for one that is to
            panic, hang or be killed.
        :param start_timeout: seconds until its agent has to be there.
        :param changes: fields of MachineConfig, such as memory="1G" or cpus=4.
        :raises MachineError: it did not come up.
        """
        machine = self._make(self._config.but(**changes), start_timeout=start_timeout)
        self._started.append(machine)
        if check:
            self._stack.callback(machine.power_off)
        else:
            self._stack.callback(machine.shutdown, quick=True)
        machine.start()
        return machine


@pytest.fixture
def boot(hpt_config: MachineConfig, request: pytest.FixtureRequest) -> Iterator[Boot]:
    """Start guests that end, and are checked, with the test: ``boot(memory="1G", cpus=2)``."""
    started = request.node.stash.setdefault(_MACHINES, [])
    with contextlib.ExitStack() as stack:
        yield Boot(hpt_config, stack, started)


@pytest.fixture(scope="module")
def boot_module(hpt_config: MachineConfig, request: pytest.FixtureRequest) -> Iterator[Boot]:
    """Like ``boot``, for a guest that all tests of a module share."""
    started = request.node.stash.setdefault(_MACHINES, [])
    with contextlib.ExitStack() as stack:
        yield Boot(hpt_config, stack, started)


@pytest.fixture(scope="session")
def kvmhv_host(hpt_qemu: Path) -> Iterator[KvmHvHost]:
    """The emulated host with KVM HV, started once."""
    kernel, image = built("kernel-debian"), built("kvmhv-image")
    with KvmHvHost(HostConfig(qemu=hpt_qemu, kernel=kernel, initrd=image)) as host:
        yield host


@pytest.fixture(scope="class")
def boot_kvmhv(
    hpt_config: MachineConfig, kvmhv_host: KvmHvHost, request: pytest.FixtureRequest
) -> Iterator[Boot]:
    """Like ``boot``, for guests on KVM HV, one at a time; they end with the class, or the test."""
    started = request.node.stash.setdefault(_MACHINES, [])
    make = functools.partial(KvmHvGuest, kvmhv_host)
    with contextlib.ExitStack() as stack:
        stack.callback(kvmhv_host.console.check)
        yield Boot(hpt_config, stack, started, make)


def _machines_of(node: Any) -> list[Machine]:
    machines: list[Machine] = node.stash.get(_MACHINES, [])
    return machines


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the consoles of the guests of a test that failed."""
    report = yield
    if report.failed:
        nodes = (item, item.getparent(pytest.Class), item.getparent(pytest.Module))
        machines = [machine for node in nodes if node for machine in _machines_of(node)]
        for number, machine in enumerate(machines, 1):
            text = tail(machine.console.text, CONSOLE_LINES)
            report.sections.append((f"console of guest {number}", text))
            if machine.qemu_stderr:
                report.sections.append((f"QEMU of guest {number}", machine.qemu_stderr))
    return report
