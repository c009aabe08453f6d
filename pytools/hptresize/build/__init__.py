# SPDX-License-Identifier: GPL-2.0-or-later
"""Kernel, QEMU, images and kselftests: built, or taken from the cache."""
