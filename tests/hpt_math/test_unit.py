# SPDX-License-Identifier: GPL-2.0-or-later
"""The unit test that the host series brings along, outside of QEMU's build."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from .library import HEADER, SHIM, SOURCE, extract

UNIT_TEST = "tests/unit/test-spapr-hpt-math.c"


def test_qemu_unit_test(tmp_path: Path) -> None:
    extract(tmp_path, SOURCE, HEADER, UNIT_TEST)
    glib = subprocess.check_output(["pkg-config", "--cflags", "--libs", "glib-2.0"], text=True)
    program = tmp_path / "unit"
    subprocess.run(
        ["cc", "-std=gnu11", "-Wall", "-Werror", "-fsanitize=address,undefined",
         "-fno-sanitize-recover=all", "-include", "glib.h", "-I", str(SHIM),
         "-I", str(tmp_path / "include"), str(tmp_path / UNIT_TEST), str(tmp_path / SOURCE),
         "-o", str(program), *glib.split()],
        check=True,
    )  # fmt: skip
    done = subprocess.run([program], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(re.findall(r"^ok \d", done.stdout, re.MULTILINE)) == 5
