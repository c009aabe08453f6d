# SPDX-License-Identifier: GPL-2.0-or-later
"""Tests of the table arithmetic that the host series adds to QEMU."""
