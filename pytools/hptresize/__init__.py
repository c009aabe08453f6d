# SPDX-License-Identifier: GPL-2.0-or-later
"""Build, boot and check live resizing of the POWER hash page table (HPT)."""

__version__ = "0.1.0"
