# SPDX-License-Identifier: GPL-2.0-or-later
"""What is around the matrix: the long run, the shell, gdb, and the helper for git bisect."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hptresize.matrix import bisect, declaration, verdict
from hptresize.pytest_plugin import missing

PACKAGES = Path(declaration.__file__).parents[2]
COMMAND = [sys.executable, "-m", "hptresize"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(PACKAGES), "COLUMNS": "200"}

LONG = bool(os.environ.get("HPTRESIZE_LONG"))

boots = pytest.mark.boot


@pytest.fixture
def parts(hpt_kernel: Path, hpt_qemu: Path, hpt_image: Path) -> list[str]:
    """What guests are made of, so that nothing is built here."""
    given = {"kernel": hpt_kernel, "qemu": hpt_qemu, "initrd": hpt_image}
    return [word for name, path in given.items() for word in (f"--{name}", str(path))]


def start(*words: str, cwd: Path | None = None) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, *words], env=ENVIRONMENT, text=True, cwd=cwd, stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip


@boots
def test_a_long_run_ends_when_it_is_told(parts: list[str], tmp_path: Path) -> None:
    """Ctrl-C is an end like any other: the report is there, and it is a good one."""
    child = start("soak", "--minutes", "30", "--seed", "7", "--out", str(tmp_path), *parts)
    console = tmp_path / "console.log"
    deadline = time.monotonic() + 90
    while not (console.is_file() and console.read_text().count("HPT resized") >= 3):
        assert child.poll() is None
        assert time.monotonic() < deadline, "no three resizes in 90 s"
        time.sleep(0.1)
    child.send_signal(signal.SIGINT)
    stdout, stderr = child.communicate(timeout=60)
    assert child.returncode == 0, stderr
    result = json.loads((tmp_path / "soak.json").read_text())
    assert result["done"]["resize"] >= 2
    assert result["failures"] == []
    assert result["wrong"] == 0
    assert f"{result['resizes_per_minute']:.1f} resizes a minute, 0 failures" in stdout
    assert "QEMU's memory: " in stdout


@boots
def test_a_long_run_tells_a_failure(parts: list[str], tmp_path: Path, hpt_qemu: Path) -> None:
    """A QEMU that dies is a failure, with the report of what there was."""
    qemu = tmp_path / "qemu"
    qemu.write_text(f'#!/bin/sh\ntimeout -s SEGV 5 {hpt_qemu} "$@"\nkill -SEGV $$\n')
    qemu.chmod(0o755)
    child = start(
        "soak", "--minutes", "5", "--out", str(tmp_path / "out"), *parts, "--qemu", str(qemu)
    )
    stdout, stderr = child.communicate(timeout=120)
    assert child.returncode == 1
    assert stderr.splitlines()[-1].startswith("hptresize: error: failed after 0.")
    assert "1 failures" in stdout
    assert "QEMU died" in stdout
    assert json.loads((tmp_path / "out" / "soak.json").read_text())["failures"]


CELL = (
    "--all", "scenario=disabled", "kernel=series", "endian=le", "pages=64k", "config=plain",
    "cpu=POWER8", "cpus=1", "memory=1G", "host=mirror", "qemu=built", "firmware=vof",
)  # fmt: skip


@pytest.fixture
def ran(parts: list[str], tmp_path: Path) -> Path:
    """The directory of a run of one cell."""
    out = tmp_path / "out"
    child = start("matrix", "run", *CELL, "--no-measure", "--out", str(out), *parts)
    _, stderr = child.communicate(timeout=120)
    assert child.returncode == 0, stderr
    return out


@boots
def test_a_shell_and_gdb_in_a_cell(ran: Path) -> None:
    child = start("matrix", "shell", "disabled-series", "--out", str(ran))
    stdout, stderr = child.communicate("cat /proc/version\npoweroff -f\n", timeout=120)
    assert child.returncode == 0, stderr
    assert "Linux version" in stdout
    if shutil.which("gdb-multiarch") is None:
        missing("gdb-multiarch is not installed")
    words = ("-batch", "-ex", "tbreak start_kernel", "-ex", "continue", "-ex", "bt 1")
    child = start("matrix", "shell", "disabled-series", "--gdb", "--out", str(ran), "--", *words)
    stdout, stderr = child.communicate(timeout=120)
    assert child.returncode == 0, stderr
    assert "#0" in stdout
    assert "start_kernel ()" in stdout
    child = start("matrix", "shell", "no such cell", "--out", str(ran))
    _, stderr = child.communicate(timeout=60)
    assert (child.returncode, stderr.count("\n")) == (2, 1)


def of(*statuses: verdict.Status) -> list[verdict.CellOutcome]:
    return [verdict.CellOutcome(str(n), {}, status) for n, status in enumerate(statuses)]


@pytest.mark.parametrize(
    ("cells", "wanted"),
    [
        (of("pass", "pass", "skip"), 0),
        (of("pass", "xfail"), 0),
        (of("pass", "fail", "unrun"), 1),
        (of("pass", "xpass"), 1),
        (of("pass", "unrun"), 125),
        (of("skip", "skip"), 125),
        (of(), 125),
    ],
)
def test_what_git_bisect_is_told(cells: list[verdict.CellOutcome], wanted: int) -> None:
    assert bisect.status(cells, None) == wanted
    assert bisect.status(cells, signal.SIGINT) >= 128


@boots
@pytest.mark.skipif(not LONG, reason="HPTRESIZE_LONG is not set")
def test_a_bisection(parts: list[str], tmp_path: Path, hpt_qemu: Path) -> None:
    """Of four commits, git finds the one from which QEMU dies."""
    repo = tmp_path / "repo"
    repo.mkdir()

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", "-c", "user.name=t", "-c", "user.email=t@example.com", *words],
            cwd=repo, check=True, capture_output=True, text=True, env=ENVIRONMENT, timeout=200,
        ).stdout  # fmt: skip

    git("init", "-q")
    good, bad = f'#!/bin/sh\nexec {hpt_qemu} "$@"\n', "#!/bin/sh\nkill -SEGV $$\n"
    for number, text in enumerate((good, good, bad, bad)):
        (repo / "qemu").write_text(text + f"# {number}\n")
        (repo / "qemu").chmod(0o755)
        git("add", "-A")
        git("commit", "-qm", f"commit {number}")
    run = [*COMMAND, "matrix", "bisect-run", *CELL, "--out", str(tmp_path / "out"), *parts]
    git("bisect", "start", "HEAD", "HEAD~3")
    git("bisect", "run", *run, "--qemu", str(repo / "qemu"))
    log = git("bisect", "log")
    assert "first bad commit" in log
    assert log.splitlines()[-1].endswith("commit 2")


def test_a_bisection_with_nonsense_ends(tmp_path: Path) -> None:
    child = start("matrix", "bisect-run", "cpu=POWER5", "--out", str(tmp_path))
    _, stderr = child.communicate(timeout=60)
    assert (child.returncode, stderr.count("\n")) == (128, 1)
    assert "no value 'POWER5'" in stderr


def test_a_tree_that_does_not_build_is_skipped(tmp_path: Path) -> None:
    """What is not a kernel cannot be tested, which says nothing of the commit."""
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "README").write_text("no kernel here\n")
    child = start(
        "--cache", str(tmp_path / "cache"), "matrix", "bisect-run", "scenario=updown",
        "--kernel-source", str(tmp_path / "tree"), "--out", str(tmp_path),
    )  # fmt: skip
    _, stderr = child.communicate(timeout=60)
    assert child.returncode == 125, stderr
    assert "this commit cannot be tested" in stderr
