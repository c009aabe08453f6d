# SPDX-License-Identifier: GPL-2.0-or-later
"""As little as looks like a kernel tree."""

from __future__ import annotations

from pathlib import Path

FILES = ("Kbuild", "arch/powerpc/Kconfig", "arch/powerpc/platforms/pseries/Kconfig", "init/main.c")


def make(root: Path) -> Path:
    """Write the tree of a Linux 6.12.7; each file has its name in it, but the Makefile."""
    for name in FILES:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{name}\n")
    (root / "Makefile").write_text("VERSION = 6\nPATCHLEVEL = 12\nSUBLEVEL = 7\nmrproper:\n")
    return root
