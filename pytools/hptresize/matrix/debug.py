# SPDX-License-Identifier: GPL-2.0-or-later
"""Into a cell by hand: a shell in its guest, or gdb on it."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from hptresize.base.errors import MachineError, ToolMissing, UsageError
from hptresize.machine import MachineConfig, interactive
from hptresize.machine.process import kill_with_parent
from hptresize.matrix.tasks import Task

GDB = "gdb-multiarch"
CONSOLE = "gdb-console.log"


def find(tasks: Sequence[Task], name: str) -> Task:
    """The task that a user means.

    :param name: a cell's name, or a part that only one has.
    :raises UsageError: there is none, or more than one.
    """
    found = [one for one in tasks if one.id == name] or [one for one in tasks if name in one.id]
    if len(found) != 1:
        what = f"{len(found)} cells" if found else "no cell"
        raise UsageError(f"{what} of the last run: {name}", hint="see report.html for the names")
    return found[0]


def shell(task: Task) -> None:
    """Boot the cell's guest with a shell on this terminal.

    :raises MachineError: QEMU did not end well.
    """
    status = interactive(_here(task))
    if status:
        raise MachineError(f"QEMU ended with status {status}")


def _here(task: Task) -> MachineConfig:
    if task.below is not None:
        raise UsageError(f"{task.id} runs on an emulated host, and cannot be run by hand")
    return task.machine


def gdb(task: Task, directory: Path, arguments: Sequence[str]) -> None:
    """Start the cell's guest, stopped before its first instruction, and gdb on it.

    gdb starts QEMU itself and ends it when it leaves.

    :param directory: gets what the guest prints (gdb-console.log).
    :param arguments: further ones for gdb.
    :raises ToolMissing: no gdb-multiarch.
    :raises MachineError: gdb did not end well.
    """
    program = shutil.which(GDB)
    if program is None:
        raise ToolMissing(f"{GDB} is not installed", hint=f"apt-get install {GDB}")
    config = _here(task)
    config.validate()
    directory.mkdir(parents=True, exist_ok=True)
    console = f"file,path={directory / CONSOLE}"
    qemu = config.command(console=console, channel=None, monitor=None)
    target = shlex.join(kill_with_parent([*qemu, "-S", "-gdb", "stdio"]))
    words = [program, "-q", "-ex", f"target remote | {target}", *arguments, str(task.kernel)]
    status = subprocess.run(words, check=False).returncode
    if status:
        raise MachineError(f"gdb ended with status {status}")
