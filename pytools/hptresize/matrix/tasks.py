# SPDX-License-Identifier: GPL-2.0-or-later
"""From cells to tasks: what each is made of, and what it takes of the machine."""

from __future__ import annotations

import gzip
import os
import shutil
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from hptresize.base.errors import UsageError
from hptresize.base.kinds import Kind
from hptresize.build.builder import Builder
from hptresize.build.flavours import PLAIN
from hptresize.build.toolchain import Endian
from hptresize.machine import MachineConfig, elf
from hptresize.machine.kvmhv import HostConfig
from hptresize.machine.settings import Firmware, parse_size
from hptresize.matrix.declaration import Cell, Matrix
from hptresize.series.home import Variant

LOAD_MB = 32
"""Memory that a scenario writes and verifies while it resizes."""

KVMHV = "kvmhv"
PLAN = "plan.json"

# QEMU itself with its caches, and a guest that has booted.
BASE_MB = 450
STRUCT_PAGE_BYTES = 64
# Of a guest without hotplug QEMU makes a table of 1/128.
RAM_TO_TABLE = 128
# What the table of a task may take: itself, and one of twice the size beside it.
TABLES = 3

PATHS = ("qemu", "kernel", "initrd", "kernel_config", "host_kernel", "host_initrd")
CPIO_MAGIC = b"070701"


@dataclass(frozen=True)
class Task:
    """A cell with all that it takes to run it, here or on another machine.

    :ivar kernel_config: its .config, None if there is none.
    :ivar memory_mb: of the host, at most, as far as can be told beforehand.
    :ivar threads: CPUs of the host that it keeps busy.
    :ivar host_kernel: of an emulated host that the guest runs on, None if there is none;
        ``host_initrd`` likewise.
    """

    cell: Cell
    qemu: Path
    kernel: Path
    initrd: Path
    kernel_config: Path | None
    machine_options: tuple[str, ...] = ()
    memory_mb: int = 0
    threads: int = 1
    host_kernel: Path | None = None
    host_initrd: Path | None = None

    @property
    def below(self) -> HostConfig | None:
        """The emulated host that the guest runs on, None if there is none."""
        if self.host_kernel is None:
            return None
        return HostConfig(self.qemu, self.host_kernel, self.host_initrd)

    @property
    def id(self) -> str:
        """The name of the cell."""
        return self.cell.id

    @property
    def machine(self) -> MachineConfig:
        """The guest's machine."""
        cell = self.cell
        return MachineConfig(
            self.qemu,
            self.kernel,
            self.initrd,
            memory=cell["memory"],
            cpus=int(cell["cpus"]),
            cpu=cell["cpu"],
            firmware=cast(Firmware, cell["firmware"]),
            resize_hpt="disabled" if cell["scenario"] == "disabled" else "enabled",
            maxmem="64G" if cell["scenario"] == "hotplug" else None,
            machine_options=self.machine_options,
        )

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return asdict(self) | {
            name: str(path) if path else None
            for name in PATHS
            for path in (getattr(self, name),)
        }

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Task:
        """Return what :meth:`as_dict` told of."""
        paths = {
            name: Path(data[name]) if data[name] else None
            for name in PATHS
        }
        options = tuple(data["machine_options"])
        return cls(**{**data, **paths, "cell": Cell(**data["cell"]), "machine_options": options})


@dataclass(frozen=True)
class Limits:
    """What cells may take at the same time."""

    cpus: int
    memory_mb: int

    @classmethod
    def of_this_machine(cls, cpus: int | None = None, memory_mb: int | None = None) -> Limits:
        """Return what was asked for, or else what is free."""
        return cls(cpus or len(os.sched_getaffinity(0)), memory_mb or available_mb())


def available_mb() -> int:
    """Memory that is to be had without swapping, megabytes."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) // 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES") >> 20


def memory_mb(matrix: Matrix, cell: Cell) -> int:
    """Memory of the host that a cell takes at most, megabytes.

    A guest's memory costs what it touches: the kernel's array of pages and the table,
    which mainline's PREPARE touches all of.
    """
    ram = parse_size(cell["memory"])
    page = 4096 if cell["pages"] == "4k" else 65536
    own = BASE_MB + LOAD_MB + ram * STRUCT_PAGE_BYTES // page + TABLES * ram // RAM_TO_TABLE
    return own + int(matrix.about("host", cell["host"]).get("memory_mb", 0))


def check_fit(matrix: Matrix, cells: Iterable[Cell], limits: Limits) -> None:
    """Check that each cell could run alone.

    :raises UsageError: one takes more memory than there is.
    """
    for cell in cells:
        need = memory_mb(matrix, cell)
        if not cell.skip and need > limits.memory_mb:
            raise UsageError(
                f"{cell.id} needs {need} MB of memory and there are {limits.memory_mb}",
                hint="leave it out with memory=..., or give --memory-limit if you know better",
            )


def check_image(path: Path) -> None:
    """Check that a file is an initramfs that a kernel could unpack.

    :raises UsageError: it is not.
    """
    try:
        with gzip.open(path) as packed:
            good = packed.read(len(CPIO_MAGIC)) == CPIO_MAGIC
            while packed.read(1 << 20):
                pass
    except (OSError, EOFError, zlib.error) as err:
        raise UsageError(f"image {path} is broken: {err}", hint="see --initrd") from err
    if not good:
        raise UsageError(f"image {path} is no cpio archive", hint="see --initrd")


@dataclass
class CellParts:
    """Finds what cells are made of: what the user gave, else built or out of the cache.

    :ivar given: by the names kernel, initrd, qemu and mainline.
    """

    matrix: Matrix
    builder: Builder
    given: Mapping[str, Path | None] = field(default_factory=dict)
    _found: dict[tuple[str, ...], tuple[Path, Path | None]] = field(default_factory=dict)

    def tasks(self, cells: Sequence[Cell], limits: Limits) -> list[Task]:
        """Return the tasks of the cells that are not skipped.

        :raises UsageError: a file that was given is not what it should be.
        :raises BuildError, FetchError: a part cannot be had.
        """
        self._check_given()
        wanted = [cell for cell in cells if not cell.skip]
        return [self._task(cell, limits) for cell in wanted]

    def _check_given(self) -> None:
        for name, path in self.given.items():
            if path is not None and not path.is_file():
                raise UsageError(f"--{name} {path}: no such file")
        if (kernel := self.given.get("kernel")) is not None:
            elf.check_kernel(kernel)
        if (initrd := self.given.get("initrd")) is not None:
            check_image(initrd)

    def _task(self, cell: Cell, limits: Limits) -> Task:
        kernel, kernel_config = self._kernel(cell)
        emulated = cell["host"] == KVMHV
        return Task(
            cell=cell,
            qemu=self._qemu(cell),
            kernel=kernel,
            initrd=self._image(cell),
            kernel_config=kernel_config,
            machine_options=tuple(self.matrix.about("host", cell["host"]).get("options", ())),
            memory_mb=memory_mb(self.matrix, cell),
            threads=min(int(cell["cpus"]), limits.cpus),
            host_kernel=self.builder.debian_kernel() if emulated else None,
            host_initrd=self.builder.kvmhv_image() if emulated else None,
        )

    def _builder(self, kind: Kind, value: str) -> Builder:
        """Return who builds a kernel or QEMU: from its own source, if the declaration has one."""
        source = self.matrix.about(kind, value).get("source")
        if source is None:
            return self.builder
        if kind == "kernel":
            return replace(self.builder, kernel_source=source, remember=False)
        return replace(self.builder, qemu_source=source, remember=False)

    def _kernel(self, cell: Cell) -> tuple[Path, Path | None]:
        own = self.given.get("kernel")
        if own is not None and (cell["kernel"], flavour_of(cell)) == ("series", PLAIN):
            beside = own.with_name("config")
            return own, beside if beside.is_file() else None
        build, flavour = self.matrix.about("kernel", cell["kernel"])["build"], flavour_of(cell)
        key = ("kernel", cell["kernel"], flavour)
        if key not in self._found:
            if build == "debian":
                vmlinux = self.builder.debian_kernel()
                config = vmlinux.with_name(vmlinux.name.replace("vmlinux", "config", 1))
                self._found[key] = vmlinux, config if config.is_file() else None
            else:
                builder = self._builder("kernel", cell["kernel"])
                made = builder.kernel(cast(Variant, build), flavour)
                self._found[key] = made.vmlinux, made.config
        return self._found[key]

    def _image(self, cell: Cell) -> Path:
        own = self.given.get("initrd")
        if own is not None and cell["endian"] == "le":
            return own
        key = ("image", cell["endian"])
        if key not in self._found:
            self._found[key] = self.builder.image(cast(Endian, cell["endian"])), None
        return self._found[key][0]

    def _qemu(self, cell: Cell) -> Path:
        program = self.matrix.about("qemu", cell["qemu"]).get("program")
        if cell["host"] == KVMHV:
            program = None  # Debian's is in the image of the host, which ours emulates
        own = self.given.get("mainline" if cell["host"] == "mainline" else "qemu")
        builder = self._builder("qemu", cell["qemu"])
        if own is not None and not program and builder is self.builder:
            return own
        build = self.matrix.about("host", cell["host"])["build"]
        key = ("qemu", program or build, cell["qemu"])
        if key not in self._found:
            if program:
                self._found[key] = installed(program), None
            else:
                self._found[key] = builder.qemu(cast(Variant, build)).binary, None
        return self._found[key][0]


def flavour_of(cell: Cell) -> str:
    """The kernel configuration of a cell, by its name in build.flavours."""
    plain = f"{cell['endian']}-{cell['pages']}"
    return plain if cell["config"] == "plain" else f"{plain}-{cell['config']}"


def installed(program: str) -> Path:
    """Where a program of the system is.

    :raises UsageError: nowhere.
    """
    found = shutil.which(program)
    if found is None:
        raise UsageError(f"{program} is not installed", hint="leave its cells out with qemu=built")
    return Path(found)
