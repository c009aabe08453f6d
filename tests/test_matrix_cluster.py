# SPDX-License-Identifier: GPL-2.0-or-later
"""The cells on a cluster: a scheduler and two workers on this machine, one of which is lost."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from hptresize.machine import MachineConfig
from hptresize.matrix import declaration, hub, verdict
from hptresize.matrix.tasks import Limits, Task

pytestmark = pytest.mark.boot

distributed = pytest.importorskip("distributed")
from hptresize.matrix import cluster as engine  # noqa: E402

CHOICE = (
    "scenario=updown,disabled", "kernel=series", "endian=le", "pages=64k", "config=plain",
    "cpu=POWER8", "cpus=1", "memory=1G", "host=mirror", "qemu=built", "firmware=vof",
)  # fmt: skip

# The first worker that starts it is killed, as its machine might be.
ONCE = """#!/bin/sh
mkdir {mark} 2>/dev/null && kill -KILL $PPID
exec {qemu} "$@"
"""


def tasks_of(config: MachineConfig, qemu: Path) -> list[Task]:
    made = declaration.load()
    return [
        Task(cell, qemu, config.kernel, config.initrd or Path(), None, memory_mb=500)
        for cell in made.select(None, CHOICE)
    ]


def test_a_lost_worker(hpt_config: MachineConfig, tmp_path: Path) -> None:
    """Its cell is run again, with files that went there and come back."""
    qemu = tmp_path / "qemu"
    mark = tmp_path / "killed"
    qemu.write_text(ONCE.format(mark=mark, qemu=hpt_config.qemu))
    # What is not on the worker's machine has to be sent.
    for name in ("kernel", "initrd"):
        shutil.copyfile(getattr(hpt_config, name), tmp_path / name)
    tasks = tasks_of(
        hpt_config.but(kernel=tmp_path / "kernel", initrd=tmp_path / "initrd"), qemu
    )  # fmt: skip
    told: list[tuple[str, str]] = []
    with engine.connected(
        engine.LOCAL, Limits(2, 2000), tasks, lambda *what: told.append(what)
    ) as cluster:
        for task in tasks:
            for name in ("kernel", "initrd"):
                (tmp_path / name).unlink(missing_ok=True)
            done = cluster.fetch(task.id, tmp_path / "cells")
            assert done.status == "pass", done
            where = tmp_path / "cells" / task.id
            assert verdict.read(where) == done
            assert "Linux version" in (where / "console.log").read_text()
    assert mark.is_dir()
    for task in tasks:
        said = [what for name, what in told if name == task.id]
        assert "boot" in said
        # It is over once, and nothing is told of it afterwards.
        assert (said[0], said.index(hub.ENDED)) == (hub.WAITING, len(said) - 1)
