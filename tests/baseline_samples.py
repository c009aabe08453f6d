# SPDX-License-Identifier: GPL-2.0-or-later
"""Small trees in the shape of the real ones, one text file each.

`samples/NAME.txt` is a tree, `samples/NAME-stripped.txt` the same without the
feature. A line `==> PATH <==` begins a file.
"""

from __future__ import annotations

import re
from pathlib import Path

from hptresize.base.kinds import Kind

SAMPLES = Path(__file__).parent / "samples"
TREES: dict[str, Kind] = {
    "linux-6.1": "kernel",
    "linux-7.1": "kernel",
    "qemu-7.2": "qemu",
    "qemu-10.0": "qemu",
    "qemu-10.2": "qemu",
}


def read(name: str) -> dict[str, str]:
    """The files of a sample tree by their paths."""
    text = (SAMPLES / f"{name}.txt").read_text()
    parts = re.split(r"^==> (.*) <==\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def unpack(name: str, root: Path) -> Path:
    """Lay a sample tree out as files under `root`, and return that."""
    for path, text in read(name).items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root


def snapshot(root: Path) -> dict[str, str]:
    """The files of a tree by their paths, in the form of `read`."""
    return {
        path.relative_to(root).as_posix(): path.read_text()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }
