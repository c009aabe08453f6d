# SPDX-License-Identifier: GPL-2.0-or-later
"""The C source of the host series, built outside of QEMU with the programs that drive it.

The source is taken out of the patches, so what is tested is what is delivered.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import hpt_math.library

HERE = Path(__file__).parent

UNITS = ("math", "mirror", "resize")
SOURCES = ("hw/ppc/spapr_hpt.c", *(f"hw/ppc/spapr_hpt_{unit}.c" for unit in UNITS))
HEADERS = (
    "include/hw/ppc/spapr_hpt.h",
    *(f"include/hw/ppc/spapr_hpt_{unit}.h" for unit in UNITS),
)
FLAGS = ("-std=gnu11", "-g", "-Wall", "-Werror", "-Wno-unused-function", "-pthread")


@dataclass(frozen=True)
class Mutation:
    """An error put into the source on purpose: it must be found."""

    name: str
    path: str
    old: str
    new: str
    also: tuple[tuple[str, str], ...] = ()


def extract(into: Path, mutations: Iterable[Mutation] = ()) -> None:
    """Take the files under test out of the host series, errors put in as asked."""
    hpt_math.library.extract(into, *SOURCES, *HEADERS)
    for mutation in mutations:
        path = into / mutation.path
        text = path.read_text()
        for old, new in ((mutation.old, mutation.new), *mutation.also):
            if text.count(old) != 1:
                raise ValueError(f"{mutation.name}: not once in {path.name}: {old}")
            text = text.replace(old, new)
        path.write_text(text)


def stand_in(root: Path) -> None:
    """Write the headers of QEMU that the source includes, and its trace events."""
    text = "".join((root / path).read_text() for path in (*SOURCES, *HEADERS))
    for name in set(re.findall(r'^#include "(.+)"', text, flags=re.M)):
        if not (root / "include" / name).exists():
            header = root / "stand-in" / name
            header.parent.mkdir(parents=True, exist_ok=True)
            machine = name == "hw/ppc/spapr.h"
            header.write_text(f'#include "{"machine" if machine else "qemu"}_shim.h"\n')
    events = sorted(set(re.findall(r"\btrace_\w+", text)))
    lines = "".join(f"#define {event}(...) ((void)0)\n" for event in events)
    (root / "stand-in/trace.h").write_text(lines)


def build(root: Path, output: str, programs: Iterable[str], *cflags: str) -> Path:
    """Compile programs of this directory with the extracted source; returns the output file."""
    result = root / output
    sources = [str(root / path) for path in SOURCES]
    sources += [str(HERE / program) for program in (*programs, "shim.c")]
    includes = ["-I", str(HERE), "-I", str(root / "include"), "-I", str(root / "stand-in")]
    subprocess.run(["cc", *FLAGS, *cflags, *includes, *sources, "-o", str(result)], check=True)
    return result


def prepare(root: Path, mutations: Iterable[Mutation] = ()) -> Path:
    """Make a directory in which build() finds all it needs; returns it."""
    root.mkdir(parents=True, exist_ok=True)
    extract(root, mutations)
    stand_in(root)
    return root
