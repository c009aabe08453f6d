# SPDX-License-Identifier: GPL-2.0-or-later
"""A session in a document: its commands are run, what they print is put below them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from hptresize.base.errors import UsageError
from hptresize.machine import Machine

FENCE, END = "```session", "```"
GUEST, HOST = "# ", "(qemu) "
TIMEOUT = 60.0

#: the machine of docs/administrator.md, as changes to a MachineConfig
MACHINE: dict[str, Any] = {"memory": "2G", "maxmem": "16G", "cpus": 2}

# What differs from one run to the next: times and amounts, and how wide they are.
_VARIES = re.compile(r" *(0x[0-9a-f]+|\d+)")


def run(machine: Machine, command: str) -> list[str]:
    """Run a line of a session, on whichever side it is for.

    :returns: the lines it printed.
    :raises CommandFailed, QmpError: it failed.
    """
    if command.startswith(HOST):
        return machine.monitor(command.removeprefix(HOST)).splitlines()
    # A line that is refused on purpose says so by `|| true`; its message belongs to the session.
    shell = f"exec 2>&1; {command.removeprefix(GUEST)}"
    return machine.run("sh", "-c", shell, timeout=TIMEOUT).text.splitlines()


def _pieces(text: str) -> Iterator[tuple[bool, list[str]]]:
    """Split a document into what is a session and what is not, with its fences."""
    inside = False
    piece: list[str] = []
    for line in text.splitlines():
        if line == (END if inside else FENCE):
            yield inside, piece
            inside, piece = not inside, []
            yield False, [line]
        else:
            piece.append(line)
    if inside:
        raise UsageError(f"a block that begins with {FENCE} has no end")
    yield False, piece


def replay(text: str, execute: Callable[[str], list[str]]) -> str:
    """Return a document with all its sessions run anew.

    :param execute: runs a command line, returns the lines it printed.
    :raises UsageError: a block is not closed.
    """
    lines: list[str] = []
    for inside, piece in _pieces(text):
        if not inside:
            lines += piece
            continue
        for line in piece:
            if line.startswith((GUEST, HOST)):
                lines += [line, *execute(line)]
    return "".join(f"{line.rstrip()}\n" for line in lines)


def shape(text: str) -> list[str]:
    """Return the lines of a document without what differs from one run to the next."""
    return [_VARIES.sub(" N", line) for line in text.splitlines()]
