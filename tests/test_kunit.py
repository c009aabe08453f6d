# SPDX-License-Identifier: GPL-2.0-or-later
"""The KUnit tests of the guest series: each of their cases is one of ours."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from hptresize import series
from hptresize.base import paths
from hptresize.base.errors import MachineError, UsageError
from hptresize.machine.outcome import tail
from hptresize.pytest_plugin import built
from hptresize.run import kunit
from hptresize.run.kunit import Run

RECORDED = Path(__file__).parent / "recorded"


def declared() -> list[str]:
    """The cases by "suite.case", out of the patches; a file is called after its suite."""
    found: list[str] = []
    for patch in series.load(paths.kernel_patches()).patches:
        for text in re.split(r"^diff --git ", patch.path.read_text(), flags=re.MULTILINE):
            if named := re.match(r"a/\S+/tests/(\w+)_kunit\.c ", text):
                cases = re.findall(r"^\+\tKUNIT_CASE(?:_PARAM)?\((\w+)", text, re.MULTILINE)
                found += [f"{named[1]}.{case}" for case in cases]
    return found


@pytest.fixture(scope="module")
def kernel() -> Path:
    return built("kernel-kunit")


@pytest.fixture(scope="module")
def done(kernel: Path) -> Run:
    """All of them, in one boot."""
    return kunit.run(kernel)


@pytest.mark.boot
@pytest.mark.parametrize("name", declared())
def test_case(done: Run, name: str) -> None:
    case = done.cases.get(name)
    if case is None:
        pytest.fail(f"{name} did not run\n{tail(done.console, 30)}", pytrace=False)
    if case.status != "pass":
        bad = [value for value, status in case.parameters.items() if status != "pass"]
        pytest.fail(f"{name} {case.status} {', '.join(bad)}\n{case.log}", pytrace=False)


@pytest.mark.boot
def test_nothing_else_ran_and_nothing_was_left_out(done: Run) -> None:
    assert sorted(done.cases) == sorted(declared())
    assert len(done.cases) > 50
    assert not done.problems


@pytest.mark.boot
def test_a_glob_that_no_test_matches(kernel: Path) -> None:
    with pytest.raises(MachineError, match=r"no KUnit test ran that matches 'none\.\*'"):
        kunit.run(kernel, glob="none.*")


def test_a_kernel_without_the_tool(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no kernel with KUnit tests"):
        kunit.run(tmp_path / "vmlinux")


def recorded(name: str) -> Run:
    """What kunit.py made of a kernel that is broken on purpose."""
    result = json.loads((RECORDED / f"{name}.json").read_text())
    return kunit.read_result(result, (RECORDED / f"{name}.txt").read_text(), "")


def test_logs_go_with_their_cases() -> None:
    """H_CLOSED is not tried again."""
    got = recorded("kunit-closed")
    assert len(got.cases) == 7
    assert [name for name, case in got.cases.items() if case.status == "pass"] == [
        "hpt_resize.hpt_prepare_closed"
    ]
    assert (got.unfinished, len(got.problems)) == (0, 6)

    once = got.cases["hpt_resize.hpt_closed_once"]
    assert once.log.count("EXPECTATION FAILED") == once.log.count("# hpt_closed_once: ") == 6
    assert "PASSED" not in once.log and "FAILED]" not in once.log

    after = got.cases["hpt_resize.hpt_commit_fails_after_closed"]
    assert len(after.parameters) == 11
    assert set(after.parameters.values()) == {"fail"}
    assert after.log.count("Expected ctx->nr_calls == ctx->nr_script") == 11
    assert "hpt_prepare_fails_after_closed" not in after.log


def test_a_kernel_that_hangs() -> None:
    got = recorded("kunit-hung")
    assert len(got.cases) == 6
    assert {case.status for case in got.cases.values()} == {"pass"}
    assert got.unfinished == 3
    assert got.problems == ["3 cases did not come to their end"]
