# SPDX-License-Identifier: GPL-2.0-or-later
"""Look at the machine: is all there that the work needs?"""

from __future__ import annotations

import dataclasses
import os
import shutil
import sys
from pathlib import Path

from hptresize.base.cache import GIGA, Cache
from hptresize.base.errors import HptResizeError
from hptresize.build import toolchain
from hptresize.machine.settings import SYSTEM_FIRMWARE
from hptresize.trees import debian, mirror

SPACE = 12 * GIGA  # two trees with their repositories and builds
MEMORY = 3 * GIGA  # the demo's guest and the largest compiler processes


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    :ivar good: False counts for the exit status.
    """

    name: str
    good: bool
    text: str


def examine(cache: Cache, *, network: bool = False) -> list[Finding]:
    """Look at tools, libraries, firmware, space and memory.

    :param network: also ask Debian's mirror.
    """
    found = [_tool(tool) for tool in toolchain.TOOLS]
    found += [_library(library) for library in toolchain.LIBRARIES]
    found += [_firmware(name) for name in ("vof.bin", "slof.bin")]
    found += [_python(), _meson(), _space(cache), _memory(), _mirror()]
    if network:
        found.append(_network(cache))
    return found


def _tool(tool: toolchain.Tool) -> Finding:
    if shutil.which(tool.program) is None:
        text = f"missing, needed for {tool.needed_for}: Debian's {tool.package}"
        return Finding(tool.program, False, text)
    try:
        return Finding(tool.program, True, toolchain.version(tool.program))
    except HptResizeError as err:
        return Finding(tool.program, False, str(err))


def _library(library: toolchain.Library) -> Finding:
    try:
        toolchain.require_library(library)
    except HptResizeError as err:
        return Finding(library.header, False, str(err))
    return Finding(library.header, True, f"from Debian's {library.package}")


def _firmware(name: str) -> Finding:
    path = SYSTEM_FIRMWARE / name
    text = str(path) if path.is_file() else "missing: Debian's qemu-system-data"
    return Finding(name, path.is_file(), text)


def _python() -> Finding:
    return Finding("python", sys.version_info >= (3, 11), sys.version.partition(" ")[0])


def _meson() -> Finding:
    """QEMU's configure looks for meson in the Python that it is given."""
    path = Path(sys.executable).parent / "meson"
    text = str(path) if path.exists() else f"not beside {sys.executable}: run `make setup`"
    return Finding("meson", path.exists(), text)


def _space(cache: Cache) -> Finding:
    free = shutil.disk_usage(cache.root).free
    used = any((cache.root / "trees").glob("[!.]*")) if (cache.root / "trees").is_dir() else False
    good = free >= (2 * GIGA if used else SPACE)
    return Finding("space", good, f"{free / GIGA:.0f} GB free under {cache.root}")


def _memory() -> Finding:
    have = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Finding("memory", have >= MEMORY, f"{have / GIGA:.0f} GB, {toolchain.jobs()} processors")


def _mirror() -> Finding:
    try:
        own = mirror.codename()
        known = mirror.for_suite(mirror.machine_sources(), own, own)
    except HptResizeError as err:
        return Finding("apt sources", False, str(err))
    return Finding("apt sources", True, f"Debian {own} from {known[0].uri}")


def _network(cache: Cache) -> Finding:
    try:
        debian.AptRoot(cache).update()
    except HptResizeError as err:
        return Finding("network", False, str(err))
    return Finding("network", True, "Debian's mirror answers")
