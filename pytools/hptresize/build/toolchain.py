# SPDX-License-Identifier: GPL-2.0-or-later
"""Compilers and tools: which there are, what they are called, which version answers."""

from __future__ import annotations

import dataclasses
import functools
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from hptresize.base import proc
from hptresize.base.cache import Cache
from hptresize.base.errors import ToolMissing

Endian = Literal["le", "be"]

COMPILERS: Mapping[str, str] = {
    "le": "powerpc64le-linux-gnu-gcc",
    "be": "powerpc64-linux-gnu-gcc",
}
PACKAGES: Mapping[str, str] = {
    "le": "gcc-powerpc64le-linux-gnu",
    "be": "gcc-powerpc64-linux-gnu",
}


@dataclasses.dataclass(frozen=True)
class Tool:
    """A program we call, and how Debian names what it is in."""

    program: str
    package: str
    needed_for: str


TOOLS = (
    Tool("git", "git", "trees"),
    Tool("tar", "tar", "trees"),
    Tool("xz", "xz-utils", "trees"),
    Tool("apt-get", "apt", "sources"),
    Tool("dpkg-deb", "dpkg", "Debian's guest programs"),
    Tool("make", "make", "the kernel"),
    Tool("gcc", "gcc", "QEMU and host tools"),
    Tool(COMPILERS["le"], PACKAGES["le"], "the kernel and the guest"),
    Tool(COMPILERS["be"], PACKAGES["be"], "big-endian guest programs"),
    Tool("flex", "flex", "the kernel"),
    Tool("bison", "bison", "the kernel"),
    Tool("bc", "bc", "the kernel"),
    Tool("perl", "perl", "the kernel"),
    Tool("ninja", "ninja-build", "QEMU"),
    Tool("pkg-config", "pkg-config", "QEMU"),
    Tool("codespell", "codespell", "checks of the series"),
    Tool("sparse", "sparse", "checks of the series"),
    Tool("spatch", "coccinelle", "checks of the series"),
    Tool("clang", "clang", "checks of the series"),
    Tool("dtc", "device-tree-compiler", "QEMU 10.2 and newer"),
    Tool("qemu-system-ppc64", "qemu-system-ppc", "tests with Debian's stock QEMU"),
)


def require(program: str) -> Path:
    """Return a program's path.

    :raises ToolMissing: it is not on this machine; names Debian's package.
    """
    found = shutil.which(program)
    if found is None:
        package = next((tool.package for tool in TOOLS if tool.program == program), program)
        raise ToolMissing(
            f"{program} is not on this machine",
            hint=f"run `make setup` or install Debian's {package}",
        )
    return Path(found)


@functools.cache
def version(program: str) -> str:
    """Return the first line of what `program --version` says: part of a cache key."""
    out = proc.output([require(program), "--version"], what=f"{program} --version")
    return out.decode(errors="replace").strip().partition("\n")[0]


def compiler(cache: Cache, program: str) -> tuple[str, dict[str, str]]:
    """Return how to call a compiler, and the environment it needs.

    With ccache on the machine, an object that was compiled once from the same
    files is not compiled again, after `clean` or a switch of variants; its store
    is in our cache.
    """
    require(program)
    if shutil.which("ccache") is None or os.environ.get("CCACHE_DISABLE"):
        return program, {}
    env = {
        "CCACHE_DIR": str(cache.sub("ccache")),
        "CCACHE_MAXSIZE": "4G",
        "CCACHE_NOCOMPRESS": "1",
        "CCACHE_COMPILERCHECK": "content",
        # Compare files, do not preprocess: a miss then costs next to nothing, and a patched
        # header moves lines, so preprocessed text would hardly ever hit (35 of 3077 measured).
        "CCACHE_DEPEND": "1",
        # Times of our checkouts say nothing.
        "CCACHE_SLOPPINESS": "time_macros,include_file_mtime,include_file_ctime",
        "CCACHE_CONFIGPATH": os.devnull,
    }
    return f"ccache {program}", env


def compiler_for(endian: Endian) -> str:
    """The cross compiler for a byte order; raises ToolMissing if there is none."""
    compiler = shutil.which(COMPILERS[endian])
    if compiler is None:
        raise ToolMissing(
            f"{COMPILERS[endian]} is not installed",
            hint=f"apt-get install {PACKAGES[endian]} libc6-dev-"
            f"{'ppc64el' if endian == 'le' else 'ppc64'}-cross",
        )
    return compiler


def jobs() -> int:
    """Return how many processors we may use."""
    return len(os.sched_getaffinity(0))


@dataclasses.dataclass(frozen=True)
class Library:
    """A library whose development files we need; Debian's libfdt-dev has no pkg-config file."""

    header: str
    package: str
    flags_from: str = ""  # its name for pkg-config, where it has one


LIBRARIES = (
    Library("glib.h", "libglib2.0-dev", "glib-2.0"),
    Library("libfdt.h", "libfdt-dev"),
)


def require_library(library: Library) -> None:
    """Check that a library's header can be included.

    :raises ToolMissing: it cannot; names Debian's package.
    """
    flags: list[str] = []
    try:
        if library.flags_from:
            command: list[str | Path] = [require("pkg-config"), "--cflags", library.flags_from]
            flags = (
                proc.output(command, what=library.flags_from, error=ToolMissing).decode().split()
            )
        proc.output(
            [require("gcc"), "-E", "-x", "c", "-o", os.devnull, *flags, "-"],
            what=library.header, data=f"#include <{library.header}>\n".encode(), error=ToolMissing,
        )  # fmt: skip
    except ToolMissing as err:
        raise ToolMissing(
            f"no {library.header} for the C compiler",
            hint=f"run `make setup` or install Debian's {library.package}",
        ) from err
