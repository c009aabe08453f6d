# SPDX-License-Identifier: GPL-2.0-or-later
"""ELF facts, and what is no kernel."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from hptresize.base.errors import UsageError
from hptresize.build.toolchain import COMPILERS
from hptresize.machine import elf
from hptresize.pytest_plugin import missing

SOURCE = """
unsigned long htab_hash_mask = 7;
void pseries_lpar_resize_hpt(void) { }
void _start(void) { pseries_lpar_resize_hpt(); }
"""


@pytest.fixture(params=["le", "be"])
def kernel(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    compiler = shutil.which(COMPILERS[request.param])
    if compiler is None:
        missing(f"no {COMPILERS[request.param]}")
    source = tmp_path / "kernel.c"
    source.write_text(SOURCE)
    out = tmp_path / f"vmlinux-{request.param}"
    flags = ["-nostdlib", "-static", "-Wl,-Ttext-segment=0xc000000000000000"]
    subprocess.run([compiler, *flags, "-o", out, source], check=True)
    return out


def test_symbols(kernel: Path) -> None:
    facts = elf.read_kernel(kernel)
    assert facts.byteorder == ("little" if kernel.name.endswith("le") else "big")
    mask = facts.symbol("htab_hash_mask")
    assert mask.size == 8
    assert 0 < mask.physical < 1 << 30
    assert elf.has_symbol(kernel, "pseries_lpar_resize_hpt")
    assert not elf.has_symbol(kernel, "no_such_thing")
    with pytest.raises(UsageError, match="has no symbol no_such_thing"):
        facts.symbol("no_such_thing")


def test_stripped_cannot_tell(kernel: Path) -> None:
    strip = kernel.with_name("stripped")
    objcopy = shutil.which("powerpc64le-linux-gnu-objcopy")
    if objcopy is None:
        missing("no objcopy for powerpc")
    subprocess.run([objcopy, "--strip-all", kernel, strip], check=True)
    with pytest.raises(UsageError, match="stripped"):
        elf.has_symbol(strip, "pseries_lpar_resize_hpt")


def test_no_kernel(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not there"):
        elf.check_kernel(tmp_path / "nowhere")
    text = tmp_path / "text"
    text.write_text("hello")
    with pytest.raises(UsageError, match="is not an ELF file"):
        elf.check_kernel(text)
    empty = tmp_path / "empty"
    empty.write_text("")
    with pytest.raises(UsageError, match="is not an ELF file"):
        elf.check_kernel(empty)
    with pytest.raises(UsageError, match="EM_X86_64"):
        elf.check_kernel(Path("/proc/self/exe"))
