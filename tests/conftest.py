# SPDX-License-Identifier: GPL-2.0-or-later
"""Make the package's pytest plugin known when the package is not installed."""

from __future__ import annotations

import signal
from importlib.metadata import entry_points

if not any(entry.value == "hptresize.pytest_plugin" for entry in entry_points(group="pytest11")):
    pytest_plugins = ["hptresize.pytest_plugin"]

# A shell has what it starts in the background ignore SIGINT, and children inherit that: the
# tests that interrupt one would wait for ever.
signal.signal(signal.SIGINT, signal.default_int_handler)
