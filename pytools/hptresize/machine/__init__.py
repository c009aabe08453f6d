# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests under QEMU, as objects that a test can talk to."""

from hptresize.machine.agent import Agent, CompletedCommand, Job
from hptresize.machine.bare_guest import Answer, BareGuest
from hptresize.machine.console import Console
from hptresize.machine.outcome import find_bugs
from hptresize.machine.process import interactive
from hptresize.machine.resizing import ResizeResult
from hptresize.machine.settings import MachineConfig
from hptresize.machine.vm import Machine

__all__ = [
    "Agent",
    "Answer",
    "BareGuest",
    "CompletedCommand",
    "Console",
    "Job",
    "Machine",
    "MachineConfig",
    "ResizeResult",
    "find_bugs",
    "interactive",
]
