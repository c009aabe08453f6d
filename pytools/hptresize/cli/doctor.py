# SPDX-License-Identifier: GPL-2.0-or-later
"""The command `hptresize doctor`: is all there that the work needs?"""

from __future__ import annotations

import dataclasses
import os
import shutil
import sys
from pathlib import Path

import click
from rich.table import Table

from hptresize.base.cache import GIGA, Cache
from hptresize.base.errors import HptResizeError
from hptresize.build import toolchain
from hptresize.cli.options import OUT, Settings
from hptresize.machine.settings import SYSTEM_FIRMWARE
from hptresize.trees import debian, mirror

SPACE = 12 * GIGA  # two trees with their repositories and builds
MEMORY = 3 * GIGA  # the demo's guest and the largest compiler processes


@dataclasses.dataclass(frozen=True)
class Examined:
    """One thing that was looked at.

    :ivar good: False counts for the exit status.
    """

    name: str
    good: bool
    text: str


def examine(cache: Cache, *, network: bool = False) -> list[Examined]:
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


def _tool(tool: toolchain.Tool) -> Examined:
    if shutil.which(tool.program) is None:
        text = f"missing, needed for {tool.needed_for}: Debian's {tool.package}"
        return Examined(tool.program, False, text)
    try:
        return Examined(tool.program, True, toolchain.version(tool.program))
    except HptResizeError as err:
        return Examined(tool.program, False, str(err))


def _library(library: toolchain.Library) -> Examined:
    try:
        toolchain.require_library(library)
    except HptResizeError as err:
        return Examined(library.header, False, str(err))
    return Examined(library.header, True, f"from Debian's {library.package}")


def _firmware(name: str) -> Examined:
    path = SYSTEM_FIRMWARE / name
    text = str(path) if path.is_file() else "missing: Debian's qemu-system-data"
    return Examined(name, path.is_file(), text)


def _python() -> Examined:
    return Examined("python", sys.version_info >= (3, 11), sys.version.partition(" ")[0])


def _meson() -> Examined:
    """QEMU's configure looks for meson in the Python that it is given."""
    path = Path(sys.executable).parent / "meson"
    text = str(path) if path.exists() else f"not beside {sys.executable}: run `make setup`"
    return Examined("meson", path.exists(), text)


def _space(cache: Cache) -> Examined:
    free = shutil.disk_usage(cache.root).free
    used = any((cache.root / "trees").glob("[!.]*")) if (cache.root / "trees").is_dir() else False
    good = free >= (2 * GIGA if used else SPACE)
    return Examined("space", good, f"{free / GIGA:.0f} GB free under {cache.root}")


def _memory() -> Examined:
    have = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Examined(
        "memory", have >= MEMORY, f"{have / GIGA:.0f} GB, {toolchain.jobs()} processors"
    )


def _mirror() -> Examined:
    try:
        own = mirror.codename()
        known = mirror.for_suite(mirror.machine_sources(), own, own)
    except HptResizeError as err:
        return Examined("apt sources", False, str(err))
    return Examined("apt sources", True, f"Debian {own} from {known[0].uri}")


def _network(cache: Cache) -> Examined:
    try:
        debian.AptRoot(cache).update()
    except HptResizeError as err:
        return Examined("network", False, str(err))
    return Examined("network", True, "Debian's mirror answers")


@click.command("doctor")
@click.option("--network", is_flag=True, help="Ask Debian's mirror, too.")
@click.pass_obj
def doctor_command(settings: Settings, network: bool) -> None:
    """Check that this machine has what the work needs."""
    found = examine(settings.cache, network=network)
    table = Table("what", "", "finding")
    for one in found:
        table.add_row(one.name, "[green]ok[/]" if one.good else "[red]NO[/]", one.text)
    OUT.print(table)
    bad = [one.name for one in found if not one.good]
    if bad:
        raise HptResizeError(f"not as it should be: {', '.join(bad)}", hint="run `make setup`")
