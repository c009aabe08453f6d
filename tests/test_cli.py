# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line: every failure is one line and a status; nothing is left behind."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import small_tree
from hptresize import cli
from hptresize.base.cache import Cache
from hptresize.build import kernel as kbuild
from hptresize.build.builder import Builder
from hptresize.build.kernel import KernelBuild
from hptresize.series.home import Variant

Run = Callable[..., subprocess.CompletedProcess[str]]
COMMAND = [sys.executable, "-m", "hptresize"]


def _environment(tmp_path: Path, **more: str) -> dict[str, str]:
    package = Path(cli.__file__).parents[2]
    ours = {
        "HPTRESIZE_CACHE": str(tmp_path / "cache"),
        "PYTHONPATH": str(package),
        "COLUMNS": "200",
    }
    return {**os.environ, **ours, **more}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run the command as a user does."""

    def command(*words: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, *words], env=_environment(tmp_path, **more), cwd=tmp_path,
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    return command


WRONG = [
    (("frob",), 2, "No such command 'frob'"),
    (("build", "everything"), 2, "'everything' is not one of"),
    (("build", "--variant", "best"), 2, "'best' is not one of"),
    (("-j", "0", "doctor"), 2, "0 is not in the range"),
    (("path", "kernel"), 2, "kernel-series is not built; run `hptresize build kernel --"),
    (("path", "image"), 2, "run `hptresize build image`"),
    (("build", "kernel", "--kernel-source", "/no/such"), 2, "/no/such: no such file or directory"),
    (("build", "qemu", "--qemu-source", "."), 1, "is not a QEMU source tree"),
    (("fetch", "--kernel-source", "debian:No/Such"), 2, "not the name of a Debian release"),
    (("boot", "--kernel", "/no/vmlinux"), 2, "--kernel /no/vmlinux: no such file"),
    (("demo", "--qemu", "/no/qemu"), 2, "--qemu /no/qemu: no such file"),
    (("demo", "--cpus", "0"), 2, "0 is not in the range"),
    (("matrix", "list", "cpuz=POWER8"), 2, "there is no axis 'cpuz'"),
    (("series", "show", "hurd"), 2, "'hurd' is not one of"),
]


@pytest.mark.parametrize(("words", "status", "said"), WRONG, ids=[" ".join(w[0]) for w in WRONG])
def test_wrong_arguments(run: Run, words: tuple[str, ...], status: int, said: str) -> None:
    done = run(*words)
    assert done.returncode == status, done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("hptresize: error: ")
    assert said in last
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_traceback_is_there_when_asked_for(run: Run) -> None:
    done = run("--traceback", "path", "kernel")
    assert "Traceback" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("hptresize: error: kernel-series")


def test_the_path_is_that_of_the_series(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever was built last, or is just being built."""

    def build(cache: Cache, tree: object, variant: Variant, **how: object) -> KernelBuild:
        made = KernelBuild(tmp_path / variant, tmp_path, tmp_path, variant)
        made.directory.mkdir(exist_ok=True)
        made.vmlinux.write_text("")
        return made

    monkeypatch.setattr(kbuild, "build_kernel", build)
    monkeypatch.setattr(Builder, "tree", lambda self, kind: None)
    builder = Builder(Cache(tmp_path / "cache"))
    ours = builder.kernel("series").vmlinux
    for variant in ("stock", "baseline", "fixes"):
        theirs = builder.kernel(variant).vmlinux
        assert run("path", "kernel", "--variant", variant).stdout == f"{theirs}\n"
        assert run("path", "kernel").stdout == f"{ours}\n"
    ours.unlink()
    done = run("path", "kernel")
    assert (done.returncode, done.stdout) == (2, "")
    assert "kernel-series is not built; run `hptresize build kernel" in done.stderr


def test_an_unwritable_cache(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = run("--cache", str(tmp_path / "file"), "doctor")
    assert done.returncode == 2
    assert "--cache DIR" in done.stderr


def test_help_names_every_command(run: Run) -> None:
    done = run("--help")
    assert done.returncode == 0
    for name in ("boot", "build", "clean", "demo", "doctor", "fetch", "path", "series"):
        assert f"\n  {name} " in done.stdout
        assert run(name, "--help").returncode == 0


def test_doctor_names_what_is_missing(run: Run, tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("env", "git"):
        (tools / name).symlink_to(f"/usr/bin/{name}")
    done = run("doctor", PATH=str(tools))
    assert done.returncode == 1
    assert "missing, needed for QEMU: Debian's ninja-build" in done.stdout
    assert "flex, bison" in done.stderr


def test_a_missing_tool_is_one_line(run: Run, tmp_path: Path) -> None:
    tree = small_tree.make(tmp_path / "linux")
    done = run("fetch", "--kernel-source", str(tree), PATH=str(tmp_path))
    assert done.returncode == 1
    assert "is not on this machine" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGINT, cli.INTERRUPTED), (signal.SIGTERM, cli.TERMINATED)],
    ids=["Ctrl-C", "SIGTERM"],
)
def test_an_interrupt_leaves_nothing(tmp_path: Path, number: signal.Signals, status: int) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    ready = tmp_path / "ready"
    os.mkfifo(ready)
    fake = tools / "tar"
    # A tool with a child of its own, which must go as well.
    fake.write_text(f"#!/bin/sh\nsleep 1000 &\necho $$ $! > {ready}\nwait\n")
    fake.chmod(0o755)
    path = f"{tools}:{os.environ['PATH']}"
    process = subprocess.Popen(
        [*COMMAND, "fetch", "--kernel-source", str(small_tree.make(tmp_path / "linux"))],
        env=_environment(tmp_path, PATH=path), stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        told = os.open(ready, os.O_RDONLY | os.O_NONBLOCK)
        assert select.select([told], [], [], 30)[0], "the command did not get to its tool"
        pids = [int(word) for word in os.read(told, 100).split()]
        os.close(told)
        process.send_signal(number)
        said = process.communicate(timeout=30)[1]
    finally:
        process.kill()
    assert process.returncode == status
    assert said.splitlines()[-1].startswith("hptresize: error: ")
    assert "Traceback" not in said
    assert len(pids) == 2
    for pid in pids:
        assert _ended(pid)
    assert list((tmp_path / "cache" / "trees").iterdir()) == []


def _ended(pid: int) -> bool:
    """Whether a process ends within a moment; a signal takes its time to be delivered."""
    try:
        watched = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([watched], [], [], 10)[0])
    finally:
        os.close(watched)
