# SPDX-License-Identifier: GPL-2.0-or-later
"""The kinds of source trees."""

from __future__ import annotations

from typing import Literal

Kind = Literal["kernel", "qemu"]
