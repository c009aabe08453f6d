# SPDX-License-Identifier: GPL-2.0-or-later
"""What a guest is booted for: the demo, unit tests, kselftests, conformance, random calls."""
