# SPDX-License-Identifier: GPL-2.0-or-later
"""Run one cell, whatever comes of it, and leave all there is to know in its directory."""

from __future__ import annotations

import logging
import re
import shlex
import shutil
import time
from dataclasses import replace
from pathlib import Path

from hptresize.base.errors import (
    ConsoleBug,
    GuestHung,
    GuestPanicked,
    HptResizeError,
    QemuDied,
    QemuStartError,
)
from hptresize.matrix.scenarios import SCENARIOS, Guest, Say
from hptresize.matrix.tasks import Task
from hptresize.matrix.verdict import CellOutcome, Failure, Status

log = logging.getLogger(__name__)

COMMAND = "command.txt"
LOG = "cell.log"
CELLS = "cells"
# How it failed if the defect is ours; nobody expects that.
ERROR = "error"

_HOW: tuple[tuple[type[Exception], Failure], ...] = (
    (GuestPanicked, Failure.PANICKED),
    (GuestHung, Failure.HUNG),
    (QemuDied, Failure.QEMU_DIED),
    (QemuStartError, Failure.QEMU_DIED),
    (ConsoleBug, Failure.KERNEL_BUG),
    (HptResizeError, Failure.COMMAND_FAILED),
)


def command_line(task: Task) -> str:
    """QEMU's command line for a cell, as a shell would take it.

    The three sockets are file descriptors that come from us; to run it by hand, say
    ``stdio`` for the console and leave the other two out.
    """
    sockets = {"console": "socket,fd=3", "channel": "socket,fd=4", "monitor": "socket,fd=5"}
    argv = task.machine.command(**sockets)
    # On an emulated host QEMU and its files have other names; the host is what runs here.
    return shlex.join(argv if task.below is None else task.below.command(**sockets))


def run_cell(task: Task, directory: Path, doing: Say) -> CellOutcome:
    """Run a cell.

    :param directory: gets its files; what was there goes.
    :param doing: is told what is done now.
    :returns: the outcome, which is in the directory as well. Only what ends the whole
        run (Ctrl-C, a time limit) is raised.
    """
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    (directory / COMMAND).write_text(command_line(task) + "\n")
    if task.kernel_config is not None:
        shutil.copyfile(task.kernel_config, directory / "kernel.config")
    begin = time.monotonic()

    def say(what: str) -> None:
        with (directory / LOG).open("a") as out:
            out.write(f"{time.monotonic() - begin:8.2f} {what}\n")
        doing(what)

    how = what = ""
    guest: Guest | None = None
    try:
        guest = Guest(task, directory, say)
        with guest.running():
            SCENARIOS[task.cell["scenario"]](guest)
    except Exception as err:
        how, what = explain(err)
        say(f"{how}: {what}")
    made = _outcome(task, guest, how, what, time.monotonic() - begin)
    made.write(directory)
    return made


def explain(err: Exception) -> tuple[str, str]:
    """In which way a cell failed, and why, for an exception."""
    found = next((how.value for kind, how in _HOW if isinstance(err, kind)), "")
    if not found:
        log.error("matrix: %r", err, exc_info=err)
        return ERROR, f"{type(err).__name__}: {err}"
    text = err.what if isinstance(err, HptResizeError) else str(err)
    return found, re.sub(r"\s+", " ", text)


def _outcome(task: Task, guest: Guest | None, how: str, what: str, seconds: float) -> CellOutcome:
    status: Status
    if task.cell.fails and how != ERROR:
        status = "xfail" if how else "xpass"
        what = what or f"passed, and was expected to fail: {task.cell.fails}"
    else:
        status = "fail" if how else "pass"
    made = CellOutcome(
        task.id, dict(task.cell.values), status, how, what,
        seconds=round(seconds, 3), directory=f"{CELLS}/{task.id}",
    )  # fmt: skip
    if guest is None:
        return made
    return replace(
        made, steps=guest.steps, notes=guest.notes, peak_mb=round(guest.peak_mb, 1) or None,
        kernel=guest.kernel, qemu=guest.qemu,
    )  # fmt: skip
