# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests under QEMU, as objects that a test can talk to."""

from hptresize.machine.agent import Agent, CompletedCommand, Job
from hptresize.machine.bare import Answer, BareGuest
from hptresize.machine.config import MachineConfig
from hptresize.machine.console import Console
from hptresize.machine.machine import Machine, ResizeResult
from hptresize.machine.outcome import Outcome, find_bugs
from hptresize.machine.process import interactive

__all__ = [
    "Agent",
    "Answer",
    "BareGuest",
    "CompletedCommand",
    "Console",
    "Job",
    "Machine",
    "MachineConfig",
    "Outcome",
    "ResizeResult",
    "find_bugs",
    "interactive",
]
