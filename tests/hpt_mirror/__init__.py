# SPDX-License-Identifier: GPL-2.0-or-later
"""Tests of the host series' table, mirror and resize code, outside of QEMU."""
