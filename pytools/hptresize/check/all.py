# SPDX-License-Identifier: GPL-2.0-or-later
"""All checks there are."""

from __future__ import annotations

from hptresize.base.kinds import Kind
from hptresize.check import analyse, texts
from hptresize.check.boot import BOOT
from hptresize.check.compile import KERNEL_BUILDS, QEMU_BUILDS
from hptresize.check.question import Check


def checks_of(kind: Kind) -> list[Check]:
    """Return the checks for the patches of a kind of tree, in the order of tables."""
    if kind == "kernel":
        return [*texts.CHECKS, texts.ABI, *KERNEL_BUILDS, *analyse.KERNEL, BOOT]
    return [*texts.CHECKS, *QEMU_BUILDS, *analyse.QEMU, BOOT]
