# SPDX-License-Identifier: GPL-2.0-or-later
"""All checks there are."""

from __future__ import annotations

from ...baseline import Kind
from . import analyse, texts
from .boot import BOOT
from .compile import KERNEL_BUILDS, QEMU_BUILDS
from .model import Check


def checks_of(kind: Kind) -> list[Check]:
    """Return the checks for the patches of a kind of tree, in the order of tables."""
    if kind == "kernel":
        return [*texts.CHECKS, texts.ABI, *KERNEL_BUILDS, *analyse.KERNEL, BOOT]
    return [*texts.CHECKS, *QEMU_BUILDS, *analyse.QEMU, BOOT]
