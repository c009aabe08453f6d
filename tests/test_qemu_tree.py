# SPDX-License-Identifier: GPL-2.0-or-later
"""The tests that the host series adds to QEMU's tree, run the tree's own way."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hptresize.base import paths
from hptresize.base.cache import Cache
from hptresize.base.git import git
from hptresize.base.kinds import Kind
from hptresize.build.builder import Builder
from hptresize.machine.settings import SYSTEM_FIRMWARE
from hptresize.pytest_plugin import built, missing

KIND: Kind = "qemu"
UNIT = "tests/unit/test-spapr-hpt-math"
FUNCTIONAL = "tests/functional/test_ppc64_hpt_resize.py"
PASSED = re.compile(r"^ok \d", re.MULTILINE)


def test_unit() -> None:
    """What `make check-unit` runs: built by the tree's own meson, with QEMU's own flags."""
    done = subprocess.run(
        [built("qemu-tests") / UNIT, "--tap"], capture_output=True, text=True, check=False,
        timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(PASSED.findall(done.stdout)) == 4


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """What a functional test needs of QEMU's tree, with the series."""
    if not Cache().note("source-trixie-qemu"):
        missing("needs the tree: `make test` makes it")
    source = Builder(Cache()).tree(KIND)
    commit = source.known("series", paths.qemu_patches())
    if commit is None:
        missing("needs the series in the tree: `hptresize build qemu`")
    archive = tmp_path / "tree.tar"
    git(source.path, "archive", "-o", archive, commit, "python", "tests/functional")
    shutil.unpack_archive(archive, tmp_path / "tree")
    return tmp_path / "tree"


@pytest.mark.boot
def test_functional(tree: Path, hpt_qemu: Path, tmp_path: Path) -> None:
    """What `make check-functional-ppc64` runs.  It needs no guest, so nothing is fetched."""
    if not (SYSTEM_FIRMWARE / "vof.bin").is_file():
        missing(f"no firmware in {SYSTEM_FIRMWARE}")
    build = tmp_path / "build"
    share = build / "qemu-bundle/usr/local/share"
    share.mkdir(parents=True)
    # Where a QEMU that is not installed looks, and it looks beside the file itself.
    (share / "qemu").symlink_to(SYSTEM_FIRMWARE)
    shutil.copy2(hpt_qemu, build / "qemu-system-ppc64")
    env = {
        **os.environ,
        "QEMU_BUILD_ROOT": str(build),
        "QEMU_TEST_QEMU_BINARY": str(build / "qemu-system-ppc64"),
        "PYTHONPATH": f"{tree}/python:{tree}/tests/functional",
    }
    done = subprocess.run(
        [sys.executable, tree / FUNCTIONAL], env=env, capture_output=True, text=True,
        check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(PASSED.findall(done.stdout)) == 5
    assert "not ok" not in done.stdout
