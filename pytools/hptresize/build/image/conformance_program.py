# SPDX-License-Identifier: GPL-2.0-or-later
"""The conformance payload: no kernel, a program that tests the hypercalls itself."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hptresize.build.image.initramfs import GUEST_DIR, run_tool
from hptresize.build.toolchain import compiler_for

CONFORMANCE_DIR = GUEST_DIR / "conformance"

_FLAGS = (
    *("-mcpu=power8", "-mabi=elfv2", "-mno-vsx", "-mno-altivec", "-msoft-float"),
    *("-ffreestanding", "-fno-pic", "-fno-pie", "-fno-stack-protector"),
    *("-fno-asynchronous-unwind-tables", "-O2", "-Wall", "-Wextra", "-nostdlib", "-static"),
    # Or the loop in memset becomes a call of memset.
    *("-fno-tree-loop-distribute-patterns", "-Wno-missing-field-initializers"),
    "-Wl,-N,-T,link.ld,--build-id=none,--no-warn-rwx-segments",
)


def build_conformance(out: Path) -> Path:
    """Build the conformance payload, an ELF file for QEMU's -kernel.

    :param out: the file to make; made whole or not at all.
    :returns: ``out``.
    :raises ToolMissing: no big-endian cross compiler.
    :raises BuildError: it failed.
    """
    out = out.absolute()
    out.parent.mkdir(parents=True, exist_ok=True)
    sources = ["start.S", *sorted(path.name for path in CONFORMANCE_DIR.glob("*.c"))]
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as scratch:
        made = Path(scratch) / "payload"
        argv = [compiler_for("be"), *_FLAGS, "-o", str(made), *sources]
        run_tool(argv, cwd=CONFORMANCE_DIR, what="compile the conformance payload")
        made.rename(out)
    return out
