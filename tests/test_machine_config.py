# SPDX-License-Identifier: GPL-2.0-or-later
"""What a machine's configuration becomes, and what is refused before QEMU starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from hptresize.base.errors import UsageError
from hptresize.machine import MachineConfig
from hptresize.machine.settings import parse_size


@pytest.fixture
def config(tmp_path: Path) -> MachineConfig:
    qemu, initrd, kernel = tmp_path / "qemu", tmp_path / "initrd", tmp_path / "vmlinux"
    qemu.write_text("#!/bin/sh\n")
    qemu.chmod(0o755)
    initrd.touch()
    # The first 64 bytes of a little-endian ppc64 executable.
    head = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\x15\x00\x01\x00\x00\x00"
    kernel.write_bytes(head + bytes(64 - len(head)))
    (tmp_path / "vof.bin").touch()
    return MachineConfig(qemu, kernel, initrd, firmware_dir=tmp_path)


def command(config: MachineConfig) -> str:
    return " ".join(config.command(console="C", channel="A", monitor="M"))


def test_a_machine_as_it_is_by_default(config: MachineConfig) -> None:
    config.validate()
    line = command(config)
    for part in ("resize-hpt=enabled", "x-vof=on", "-cpu POWER8", "-smp 2", "size=2048M"):
        assert part in line
    assert "disable_radix" not in line
    assert line.index("chardev=console") < line.index("chardev=channel")


def test_what_can_be_chosen(config: MachineConfig) -> None:
    assert "resize-hpt" not in command(config.but(resize_hpt=None))
    assert "disable_radix" in command(config.but(cpu="power10"))
    assert "disable_radix" not in command(config.but(cpu="POWER10", radix=True))
    assert "-m 1024M,slots=32,maxmem=64G" in command(config.but(memory="1G", maxmem="64G"))
    assert command(config.but(append="debug")).endswith(" debug")
    assert command(config.but(extra_args=("-trace", "x"))).endswith("-trace x")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"qemu": Path("nowhere")}, "QEMU nowhere is not a program"),
        ({"kernel": Path("nowhere")}, "kernel nowhere is not there"),
        ({"initrd": Path("nowhere")}, "initrd nowhere is not there"),
        ({"cpus": 0}, "0 is not a number of CPUs"),
        ({"memory": "much"}, "'much' is not a size of memory"),
        ({"memory": "4G", "maxmem": "2G"}, "maxmem 2G is less"),
        ({"firmware": "bios"}, "'bios' is not a firmware"),
    ],
)
def test_mistakes_are_named(config: MachineConfig, change: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        config.but(**change).validate()


def test_a_firmware_that_is_not_there(config: MachineConfig) -> None:
    with pytest.raises(UsageError, match=r"no slof\.bin in"):
        command(config.but(firmware="slof"))


def test_not_executable(config: MachineConfig) -> None:
    config.qemu.chmod(0o644)
    with pytest.raises(UsageError, match="is not a program"):
        config.validate()


def test_sizes() -> None:
    assert [parse_size(text) for text in ("512M", "2g", "1T")] == [512, 2048, 1048576]
