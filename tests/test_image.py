# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest's image is the same from the same input, for both byte orders."""

from __future__ import annotations

import gzip
import io
import os
import shutil
from pathlib import Path
from typing import get_args

import pytest
from elftools.elf.elffile import ELFFile

from hptresize.base.errors import HptResizeError, UsageError
from hptresize.build.image import build_initramfs, image_key
from hptresize.build.image.initramfs import DIRECTORIES, TOOLS
from hptresize.build.toolchain import COMPILERS, Endian
from hptresize.pytest_plugin import missing

ENDIANS = get_args(Endian)


def members(image: Path) -> dict[str, bytes]:
    """Contents of a "newc" archive by name."""
    data = gzip.decompress(image.read_bytes())
    found, at = {}, 0
    while True:
        fields = [int(data[at + 6 + 8 * n : at + 14 + 8 * n], 16) for n in range(13)]
        size, name_size = fields[6], fields[11]
        name = data[at + 110 : at + 110 + name_size - 1].decode()
        start = (at + 110 + name_size + 3) & ~3
        if name == "TRAILER!!!":
            return found
        found["/" + name.lstrip("/")] = data[start : start + size]
        at = (start + size + 3) & ~3


@pytest.fixture(params=ENDIANS)
def endian(request: pytest.FixtureRequest) -> Endian:
    if shutil.which(COMPILERS[request.param]) is None:
        missing(f"no {COMPILERS[request.param]}")
    return request.param


def test_same_bytes_from_elsewhere_and_later(
    endian: Endian, tmp_path: Path, gen_init_cpio: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = build_initramfs(
        tmp_path / "a" / "one.gz", endian=endian, busybox=None, gen_init_cpio_source=gen_init_cpio
    )
    elsewhere = tmp_path / "a directory with blanks"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    copy = Path(shutil.copy(gen_init_cpio, elsewhere / "gen_init_cpio.c"))
    os.utime(copy, (1, 1))
    second = build_initramfs(Path("two.gz"), endian=endian, busybox=None, gen_init_cpio_source=copy)
    assert first.read_bytes() == second.read_bytes()
    assert sorted(path.name for path in elsewhere.iterdir()) == ["gen_init_cpio.c", "two.gz"]


def test_what_is_in_it(endian: Endian, tmp_path: Path, gen_init_cpio: Path) -> None:
    extra = tmp_path / "some file"
    extra.write_bytes(b"contents")
    image = build_initramfs(
        tmp_path / "image.gz",
        endian=endian,
        busybox=extra,
        extra={"/lib/deep/er/file": extra},
        gen_init_cpio_source=gen_init_cpio,
    )
    found = members(image)
    assert set(DIRECTORIES) <= set(found), "an empty mount point is missing"
    assert {f"/tools/{tool}" for tool in TOOLS} <= set(found)
    assert found["/lib/deep/er/file"] == b"contents"
    assert found["/bin/sh"].rstrip(b"\0") == b"busybox"
    order = list(found)
    assert order.index("/lib") < order.index("/lib/deep") < order.index("/lib/deep/er")
    init = ELFFile(io.BytesIO(found["/init"]))
    assert init.little_endian == (endian == "le")
    assert init.header["e_machine"] == "EM_PPC64"
    assert not any(s["p_type"] == "PT_INTERP" for s in init.iter_segments()), "not static"
    for leak in (str(tmp_path), str(Path(__file__).parents[1])):
        assert leak.encode() not in found["/init"]


def test_key_follows_the_contents(tmp_path: Path, gen_init_cpio: Path) -> None:
    busybox = tmp_path / "busybox"
    busybox.write_bytes(b"one")

    def key(endian: Endian = "le") -> str:
        return image_key(endian=endian, busybox=busybox, gen_init_cpio_source=gen_init_cpio)

    first = key()
    os.utime(busybox, (1, 1))
    assert key() == first
    busybox.write_bytes(b"two")
    assert key() != first
    assert key("be") != key("le")


def test_wrong_files_are_named(tmp_path: Path, gen_init_cpio: Path) -> None:
    out = tmp_path / "out.gz"
    with pytest.raises(UsageError, match="nowhere"):
        build_initramfs(out, busybox=tmp_path / "nowhere", gen_init_cpio_source=gen_init_cpio)
    with pytest.raises(UsageError, match=r"no\.c.*usr/gen_init_cpio"):
        build_initramfs(out, busybox=None, gen_init_cpio_source=tmp_path / "no.c")
    with pytest.raises(UsageError, match="absolute"):
        build_initramfs(
            out, busybox=None, extra={"../x": gen_init_cpio}, gen_init_cpio_source=gen_init_cpio
        )
    broken = tmp_path / "broken.c"
    broken.write_text("int main(void) { return oops; }\n")
    with pytest.raises(HptResizeError, match="oops"):
        build_initramfs(out, busybox=None, gen_init_cpio_source=broken)
    assert not [path for path in tmp_path.iterdir() if "out" in path.name], "something was left"
