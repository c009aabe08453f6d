# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest to test with: all that one can do with it, in one class."""

from __future__ import annotations

from hptresize.machine.memory import GuestMemory
from hptresize.machine.migration import Migration
from hptresize.machine.resizing import Resizing


class Machine(Resizing, GuestMemory, Migration):
    """A running guest; a context manager that shuts it down whatever happens.

    ``start_timeout`` covers everything from the start of QEMU to the guest's
    agent, in seconds.

    :raises UsageError: the configuration makes no sense.
    :raises QemuStartError: QEMU ended at once; the text is what it said.
    :raises GuestPanicked, GuestHung, QemuDied: on the way up.
    """
