# SPDX-License-Identifier: GPL-2.0-or-later
"""Bare guests: no kernel, one program that makes hypercalls when told to."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hptresize.build.image.initramfs import GUEST_DIR, run_tool
from hptresize.build.toolchain import compiler_for

BARE_DIR = GUEST_DIR / "bare"
# QEMU keeps the low 28 bits of a program's address and adds kernel-addr.
BARE_ADDRESS = 0x10000000

_FLAGS = (
    *("-mcpu=power8", "-mabi=elfv2", "-mno-vsx", "-mno-altivec", "-msoft-float"),
    *("-ffreestanding", "-fno-pic", "-fno-pie", "-fno-stack-protector"),
    *("-fno-asynchronous-unwind-tables", "-O2", "-Wall", "-Wextra", "-nostdlib", "-static"),
    f"-Wl,-N,-Ttext={BARE_ADDRESS:#x},--build-id=none,--no-warn-rwx-segments",
)


def build_bare(out: Path, program: str = "bare.c") -> Path:
    """Build a bare guest, an ELF file for QEMU's -kernel.

    :param out: the file to make; made whole or not at all.
    :param program: which one, a source file in BARE_DIR.
    :returns: ``out``.
    :raises ToolMissing: no big-endian cross compiler.
    :raises BuildError: it failed.
    """
    out = out.absolute()
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as scratch:
        made = Path(scratch) / "bare"
        # The first instruction of the first file is the entry.
        argv = [compiler_for("be"), *_FLAGS, "-o", str(made), "start.S", program]
        run_tool(argv, cwd=BARE_DIR, what="compile the bare guest")
        made.rename(out)
    return out
