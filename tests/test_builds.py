# SPDX-License-Identifier: GPL-2.0-or-later
"""What decides about a build, read out of recorded words of the tools."""

from __future__ import annotations

import dataclasses
import itertools
import json
from pathlib import Path

import pytest

from hptresize import series
from hptresize.base import git, paths, proc, progress
from hptresize.base.cache import Cache
from hptresize.base.errors import BuildError, ToolMissing, UsageError
from hptresize.build import flavours, toolchain
from hptresize.build import kernel as kbuild
from hptresize.build.builder import Builder
from hptresize.pytest_plugin import built
from hptresize.run import demo
from hptresize.run.demo import DemoReport, StepResult


def test_settings_that_kconfig_refused() -> None:
    wanted = "CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C=2048\nCONFIG_D=y\n# CONFIG_D is not set\n"
    got = "CONFIG_A=y\nCONFIG_C=1024\n# CONFIG_D is not set\n"
    assert kbuild.unmet(wanted, got) == ["CONFIG_C=2048"]
    assert kbuild.unmet("CONFIG_E=y\n# CONFIG_B is not set\n", "CONFIG_B=y\n") == [
        "CONFIG_E=y",
        "CONFIG_B=n",
    ]


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("../arch/powerpc/mm/x.c:12:3: warning: unused", "arch/powerpc/mm/x.c"),
        ("/tree/arch/powerpc/mm/x.c:12:3: warning: unused", "arch/powerpc/mm/x.c"),
        ("  CC      arch/powerpc/mm/x.o", ""),
    ],
)
def test_the_file_a_warning_is_about(line: str, name: str) -> None:
    assert kbuild._named(line, Path("/tree")) == name


@pytest.mark.parametrize(
    ("lines", "cause"),
    [
        (["  CC  a.o", "a.c:1:1: error: x", "make: *** [a.o] Error 1"], "a.c:1:1: error: x"),
        (["ok", "E: Unable to locate package x"], "E: Unable to locate package x"),
        (["something", "", "the last word", ""], "the last word"),
        ([], ""),
    ],
)
def test_the_likely_cause(lines: list[str], cause: str) -> None:
    assert proc.likely_cause(lines) == cause


def test_a_failing_tool_names_its_log(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "x.log"
    seen: list[str] = []
    with pytest.raises(BuildError) as caught:
        proc.run(
            ["sh", "-c", "echo one; echo 'x: error: two' >&2; exit 3"], what="doing it",
            log_file=log, on_line=seen.append,
        )  # fmt: skip
    assert str(caught.value) == f"doing it failed (status 3): x: error: two; see {log}"
    assert seen == ["one", "x: error: two"]
    assert "echo one" in log.read_text()


def test_a_missing_tool_names_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ToolMissing, match="Debian's ninja-build"):
        toolchain.require("ninja")


def test_every_tool_s_package_is_installed_by_setup() -> None:
    listed = (Path(kbuild.__file__).parents[1] / "data" / "debian-packages.txt").read_text().split()
    essential = {"tar", "apt", "dpkg"}
    wanted = {tool.package for tool in (*toolchain.TOOLS, *toolchain.LIBRARIES)}
    assert wanted - essential <= set(listed)


def test_flavours_differ_in_what_they_ask_for() -> None:
    asked = {(one.endian, one.lines) for one in flavours.FLAVOURS.values()}
    assert len(asked) == len(flavours.FLAVOURS)
    for one in flavours.FLAVOURS.values():
        assert ("CONFIG_CPU_BIG_ENDIAN=y" in one.lines) == (one.endian == "be")


def test_the_committed_series_are_as_git_writes_them() -> None:
    """`series refresh` changes nothing: what is committed is what the commits say."""
    cache = Cache()
    for kind, directory in (("kernel", paths.kernel_patches()), ("qemu", paths.qemu_patches())):
        built(kind)  # so the trees are there
        tree = Builder(cache).tree("kernel" if kind == "kernel" else "qemu")
        with tree.lock():
            base = tree.commit("baseline", directory)
            tip = tree.commit("series", directory)
            assert series.refresh(tree.path, base, tip, directory, write=False) == []
        names = git.git(tree.path, "diff", "--name-only", base, tip).split()
        assert sorted(names) == list(series.load(directory).files)


STEP = StepResult(
    wanted=25, before=24, after=25, host_before=24, host_after=25, mask_order=25, pft_order=25,
    prepare_us=1500, commit_us=900, wall_us=3000, passes=2, wrong=0,
)  # fmt: skip


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({}, None),
        ({"host_before": None, "host_after": None}, None),
        ({"after": 24}, "the guest says order 24"),
        ({"host_after": 24}, "the host says order 24"),
        ({"mask_order": 24}, "htab_hash_mask says order 24"),
        ({"pft_order": 24}, "ppc64_pft_size says order 24"),
        ({"host_before": 23}, "the guest said 24 and the host 23"),
        ({"wrong": 7}, "7 words of memory were wrong"),
    ],
)
def test_what_the_demo_calls_a_problem(change: dict[str, int | None], problem: str | None) -> None:
    step = dataclasses.replace(STEP, **change)  # type: ignore[arg-type]
    report = DemoReport("10.0.13", "6.12", "2G", 2, 128, 1.0, [STEP, step])
    if problem is None:
        assert report.problems == []
    else:
        assert len(report.problems) == 1
        assert report.problems[0].startswith("step 2: ")
        assert problem in report.problems[0]


def test_a_host_that_has_to_tell() -> None:
    silent = dataclasses.replace(STEP, host_before=None, host_after=None)
    report = DemoReport("10.0.13", "6.12", "2G", 2, 128, 1.0, [STEP, silent], host_tells=True)
    assert report.problems == ["the host does not tell the order"]


def test_the_demo_s_report(tmp_path: Path) -> None:
    demo.write(DemoReport("10.0.13", "6.12", "2G", 2, 128, 1.0, [STEP]), tmp_path / "report")
    text = (tmp_path / "report" / "demo.txt").read_text()
    assert "24 → 25" in text
    assert "0.9" in text
    data = json.loads((tmp_path / "report" / "demo.json").read_text())
    assert data["problems"] == []
    assert data["steps"][0]["commit_us"] == 900


def test_the_demo_goes_up_and_down() -> None:
    orders = (24, *demo.ORDERS)
    ups = [a < b for a, b in itertools.pairwise(orders)]
    assert ups.count(True) >= 3
    assert ups.count(False) >= 3
    assert all(a != b for a, b in itertools.pairwise(orders))


def test_progress_on_a_log_is_lines_and_not_too_many(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.console import Console  # noqa: PLC0415 (it looks at stdout as it is now)

    progress.use(progress.PlainReporter(Console(width=80)))
    with progress.step("work") as step:
        for number in range(1000):
            step.update(number, 1000)
    with pytest.raises(ZeroDivisionError), progress.step("more"):
        _ = 1 / 0
    progress.use(progress._Quiet())
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "work ..."
    assert lines[1].startswith("work: done in ")
    assert lines[3].startswith("more: stopped after ")
    assert len(lines) == 4


def test_a_package_without_its_checkout(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake = tmp_path / "a" / "b" / "c" / "paths.py"
    monkeypatch.setattr(paths, "__file__", str(fake))
    with pytest.raises(UsageError, match="is not a checkout"):
        paths.project()
