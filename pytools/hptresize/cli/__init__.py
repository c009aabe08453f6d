# SPDX-License-Identifier: GPL-2.0-or-later
"""The command `hptresize`: what a user types, one module for each verb."""

from hptresize.cli.main import INTERRUPTED, TERMINATED, cli, main

__all__ = ["INTERRUPTED", "TERMINATED", "cli", "main"]
