# SPDX-License-Identifier: GPL-2.0-or-later
"""The initramfs of the emulated host: Debian's QEMU, its libraries, KVM's modules."""

from __future__ import annotations

import tempfile
from pathlib import Path

from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile

from hptresize.base.errors import BuildError
from hptresize.build.image import build_initramfs

QEMU = "/usr/bin/qemu-system-ppc64"
# Where QEMU looks by itself, in Debian's package as in the host.
FIRMWARE = "/usr/share/qemu"

_LIBRARIES = "lib/powerpc64le-linux-gnu"
_LOADER = "/lib64/ld64.so.2"
_MODULES = ("virtio_pci", "virtio_console", "kvm_hv")

# The ports of the host's virtio-serial.  They appear in the order of their numbers, so
# an agent on the last one means that all are there.
PORTS = {"guest_console": 1, "guest_channel": 2, "guest_monitor": 3, "files": 4, "channel": 5}

_INIT = """#!/bin/sh
mount -t devtmpfs devtmpfs /dev
for module in /modules/*; do insmod "$module"; done
export CHANNEL={channel}
exec /init
"""


def port_path(name: str) -> str:
    """The device of a port, in the host."""
    return f"/dev/vport0p{PORTS[name]}"


def _libraries(root: Path, program: Path) -> dict[str, Path]:
    """All shared libraries of a program: their names, and where each lies here.

    :raises BuildError: one is not among the unpacked packages.
    """
    found: dict[str, Path] = {}
    wanted = [program]
    while wanted:
        for name in _needed(wanted.pop()):
            if name in found:
                continue
            places = (root / _LIBRARIES / name, root / "usr" / _LIBRARIES / name)
            place = next((path for path in places if path.is_file()), None)
            if place is None:
                raise BuildError(f"{program.name} needs {name}, which no package under {root} has")
            found[name] = place
            wanted.append(place)
    return found


def _needed(path: Path) -> list[str]:
    with path.open("rb") as file:
        section = ELFFile(file).get_section_by_name(".dynamic")
        if not isinstance(section, DynamicSection):
            return []
        tags = section.iter_tags("DT_NEEDED")
        return [tag.needed for tag in tags]  # type: ignore[attr-defined]


def _modules(directory: Path) -> list[Path]:
    """The modules that the host needs, each after those it depends on.

    :raises BuildError: one is not there.
    """
    files = {path.stem.replace("-", "_"): path for path in directory.rglob("*.ko")}
    ordered: list[Path] = []

    def visit(name: str) -> None:
        if name not in files:
            raise BuildError(f"no module {name} under {directory}")
        for other in _depends(files[name]):
            visit(other.replace("-", "_"))
        if files[name] not in ordered:
            ordered.append(files[name])

    for name in _MODULES:
        visit(name)
    return ordered


def _depends(module: Path) -> list[str]:
    with module.open("rb") as file:
        section = ELFFile(file).get_section_by_name(".modinfo")
        information = b"" if section is None else section.data()
    for word in information.split(b"\0"):
        key, _, value = word.partition(b"=")
        if key == b"depends":
            return [name for name in value.decode().split(",") if name]
    return []


def build_host_image(
    out: Path, *, packages: Path, kernel_package: Path, busybox: Path, gen_init_cpio_source: Path
) -> Path:
    """Build the host's initramfs.

    :param out: the file to make; made whole or not at all.
    :param packages: Debian's qemu-system-ppc for ppc64el with all it depends on, unpacked.
    :param kernel_package: Debian's ppc64el linux-image, unpacked.
    :param busybox: static, for ppc64el.
    :param gen_init_cpio_source: ``usr/gen_init_cpio.c`` of any kernel tree.
    :returns: ``out``.
    :raises BuildError: a library or module is missing, or a tool failed.
    """
    program = packages / QEMU.lstrip("/")
    extra = {QEMU: program, _LOADER: packages / _LIBRARIES / Path(_LOADER).name}
    for name, path in _libraries(packages, program).items():
        extra[f"/{_LIBRARIES}/{name}"] = path
    for name in ("vof.bin", "slof.bin"):
        extra[f"{FIRMWARE}/{name}"] = packages / FIRMWARE.lstrip("/") / name
    for number, path in enumerate(_modules(kernel_package / "lib/modules")):
        extra[f"/modules/{number:02}-{path.name}"] = path
    with tempfile.TemporaryDirectory(prefix="hptresize-") as scratch:
        script = Path(scratch) / "host"
        script.write_text(_INIT.format(channel=port_path("channel")))
        script.chmod(0o755)
        return build_initramfs(
            out, busybox=busybox, extra={**extra, "/host": script},
            gen_init_cpio_source=gen_init_cpio_source,
        )  # fmt: skip
