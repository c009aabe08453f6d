# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests under QEMU, as objects that a test can talk to."""

from .agent import Agent, CompletedCommand, Job
from .bare import Answer, BareGuest
from .config import MachineConfig
from .console import Console
from .machine import Machine, ResizeResult
from .outcome import Outcome, find_bugs
from .process import interactive

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
