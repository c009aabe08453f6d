# SPDX-License-Identifier: GPL-2.0-or-later
"""The C source of the host series, built into a library that Python can call.

The source is taken out of the patches themselves, so what is tested is what
is delivered. HPTRESIZE_QEMU_TREE in the environment names a source tree to take
it from instead: for a series that is being edited.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import cffi

REPO = Path(__file__).resolve().parents[2]
SHIM = Path(__file__).parent / "shim"
SOURCE = "hw/ppc/spapr_hpt_math.c"
HEADER = "include/hw/ppc/spapr_hpt_math.h"


def extract(into: Path, *paths: str) -> None:
    """Take some of QEMU's files out of the host series, by default the arithmetic."""
    paths = paths or (SOURCE, HEADER)
    if tree := os.environ.get("HPTRESIZE_QEMU_TREE"):
        for path in paths:
            (into / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(Path(tree) / path, into / path)
        return
    for patch in sorted((REPO / "qemu-patches").glob("0*.patch")):
        text = patch.read_text()
        if any(f" b/{path}\n" in text for path in paths):
            subprocess.run(
                ["git", "apply", *(f"--include={path}" for path in paths), str(patch)],
                cwd=into,
                check=True,
            )


def declarations(header: str) -> str:
    """The declarations of the header, in the form that cffi reads."""
    text = re.sub(r"/\*.*?\*/", "", header, flags=re.S)
    text = re.sub(r"^static inline.*?^}\n", "", text, flags=re.S | re.M)
    defines = dict(re.findall(r"^#define (HPT_\w+) +(\d+)$", text, flags=re.M))
    text = re.sub(r"^#.*$", "", text, flags=re.M)
    for name, value in defines.items():
        text = text.replace(f"[{name}]", f"[{value}]")
    return text


def load(build_dir: Path, *cflags: str) -> tuple[Any, Any]:
    """Build the library; returns cffi's (ffi, lib)."""
    extract(build_dir)
    library = build_dir / "libhptmath.so"
    subprocess.run(
        ["cc", "-std=gnu11", "-O2", "-g", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC",
         *cflags, "-I", str(SHIM), "-I", str(build_dir / "include"),
         str(build_dir / SOURCE), "-o", str(library)],
        check=True,
    )  # fmt: skip
    ffi = cffi.FFI()
    ffi.cdef(declarations((build_dir / HEADER).read_text()))
    return ffi, ffi.dlopen(str(library))
