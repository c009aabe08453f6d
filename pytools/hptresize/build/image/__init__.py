# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest's initramfs: our own init and tools, busybox if there is one."""

from hptresize.build.image.bare_program import build_bare
from hptresize.build.image.initramfs import build_initramfs, image_key

__all__ = ["build_bare", "build_initramfs", "image_key"]
