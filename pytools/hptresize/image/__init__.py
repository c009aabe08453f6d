# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest's initramfs: our own init and tools, busybox if there is one."""

from hptresize.image.bare import build_bare
from hptresize.image.initramfs import Endian, build_initramfs, image_key

__all__ = ["Endian", "build_bare", "build_initramfs", "image_key"]
