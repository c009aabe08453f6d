# SPDX-License-Identifier: GPL-2.0-or-later
"""All checks there are."""

from __future__ import annotations

from ...baseline import Kind
from . import texts
from .model import Check


def checks_of(kind: Kind) -> list[Check]:
    """Return the checks for the patches of a kind of tree, in the order of tables."""
    return [*texts.CHECKS, *([texts.ABI] if kind == "kernel" else [])]
