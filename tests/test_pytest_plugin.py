# SPDX-License-Identifier: GPL-2.0-or-later
"""What is not built skips a user's test and fails ours; an error in our code fails both."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from hptresize.base import paths
from hptresize.base.cache import Cache
from hptresize.build.toolchain import COMPILERS
from hptresize.pytest_plugin import missing

TEST = """\
from hptresize.pytest_plugin import built
def test_boot(boot): boot()
def test_kvm(boot_kvmhv): boot_kvmhv()
def test_built(): built("kernel-kunit")
"""
OURS = "[pytest]\nhptresize_require = true\n"
# As after a renaming that forgot the plugin
BROKEN = "from hptresize.base import paths\ndel paths.last_build\n"
RAISES = """\
from hptresize.base import paths
from hptresize.base.errors import UsageError
def last_build(kind):
    raise UsageError("no way")
paths.last_build = last_build
"""


def pytest_in(where: Path, *words: str, **files: str) -> subprocess.CompletedProcess[str]:
    """Run pytest in a directory of its own, with an empty cache unless there is one."""
    for name, text in {"pytest.ini": "[pytest]\n", **files}.items():
        (where / name).write_text(text)
    ours = {name for name in os.environ if name.startswith("HPTRESIZE_")}
    env = {name: value for name, value in os.environ.items() if name not in ours}
    plugin = () if _installed() else ("-p", "hptresize.pytest_plugin")
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rsfE", *plugin, *words],
        env={**env, "HPTRESIZE_CACHE": str(where / "cache"),
             "PYTHONPATH": str(Path(paths.__file__).parents[2])},
        cwd=where, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def _installed() -> bool:
    return any(one.value == "hptresize.pytest_plugin" for one in entry_points(group="pytest11"))


def test_nothing_is_built(tmp_path: Path) -> None:
    done = pytest_in(tmp_path, **{"test_it.py": TEST})
    assert done.returncode == 0
    assert "3 skipped" in done.stdout
    done = pytest_in(tmp_path, **{"test_it.py": TEST, "pytest.ini": OURS})
    assert done.returncode == 1
    assert "1 failed, 2 errors" in done.stdout
    for kind in ("kernel", "kernel-kunit"):
        assert f"no {kind}: " in done.stdout


@pytest.mark.parametrize("conftest", [BROKEN, RAISES], ids=["renamed", "raises"])
@pytest.mark.parametrize("ini", ["[pytest]\n", OURS], ids=["a user's", "ours"])
def test_an_error_of_ours_is_no_skip(tmp_path: Path, ini: str, conftest: str) -> None:
    files = {"test_it.py": TEST, "pytest.ini": ini, "conftest.py": conftest}
    done = pytest_in(tmp_path, **files)
    assert done.returncode == 1
    assert "skipped" not in done.stdout
    assert "1 failed, 2 errors" in done.stdout


def test_this_project_requires_what_it_builds() -> None:
    with pytest.raises((pytest.fail.Exception, pytest.skip.Exception)) as got:
        missing("a kernel")
    assert got.type is pytest.fail.Exception


def test_a_kernel_of_another_variant_is_not_taken(tmp_path: Path) -> None:
    other = tmp_path / "vmlinux"
    other.write_text("")
    for name in ("last-kernel", "last-kernel-stock"):
        Cache(tmp_path / "cache").set_note(name, {"path": str(other)})
    done = pytest_in(tmp_path, **{"test_it.py": "def test_it(hpt_kernel): pass\n"})
    assert "no kernel: " in done.stdout
    assert "1 skipped" in done.stdout


def test_our_kernel_lacks_what_a_test_needs(tmp_path: Path) -> None:
    """Only one that was named may: ours has the series."""
    if shutil.which(COMPILERS["le"]) is None:
        missing(f"no {COMPILERS['le']}")
    kernel = tmp_path / "vmlinux"
    subprocess.run(
        [COMPILERS["le"], "-nostdlib", "-static", "-x", "c", "-", "-o", kernel], check=True,
        input=b"void _start(void) { }", timeout=60,
    )  # fmt: skip
    Cache(tmp_path / "cache").set_note("last-kernel-series", {"path": str(kernel)})
    test = 'def test_it(needs_symbol): needs_symbol("hpt_resize_status")\n'
    files = {"test_it.py": test, "pytest.ini": OURS}
    done = pytest_in(tmp_path, **files)
    assert done.returncode == 1
    assert f"{kernel} has no hpt_resize_status" in done.stdout
    done = pytest_in(tmp_path, "--kernel", str(kernel), **files)
    assert done.returncode == 0
    assert "1 skipped" in done.stdout
