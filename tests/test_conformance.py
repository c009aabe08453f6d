# SPDX-License-Identifier: GPL-2.0-or-later
"""The conformance payload: each of its tests is one of ours, in both modes of the host."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from hptresize.base.errors import UsageError
from hptresize.cli.conformance import as_json, conformance_command
from hptresize.pytest_plugin import lacking, missing
from hptresize.run import conformance, conformance_table
from hptresize.run.conformance import Outcome, Subject

MODES = ("mirror", "rehash")
TESTS = {test.name: test for test in conformance.load_tests()}

# Each known defect of mainline and difference to LoPAR, by a test that must fail where it
# exists.  (The walk of a freed table is missing: it crashes mainline often, not each time.)
FAIL_ON_MAINLINE = {
    "prepare.flags_discard": "left the pending HPT",
    "commit.other_flags": "gave H_PARAMETER",
    "entries.4k_256m_secondary": "SIGABRT",
    "entries.bolted_foreign_group": "SIGABRT",
    "entries.64k_in_16m_256m": "SIGABRT",
    "mmu.dropped_faults": "still reads",
    "mmu.dropped_then_removed_faults": "still reads",
    "host.threads_and_memory": "threads became",
    "host.no_memory_is_told": "not H_RESOURCE",
    "host.no_memory_once": "H_NO_MEM",
    "host.commit_after_no_memory": "",
    "host.reset_forgets": "not H_CLOSED",
    "host.cas_forgets": "not H_CLOSED",
    "host.cas_without_resizing_forgets": "not H_CLOSED",
}
ON_SLOF = (
    *("prepare.zero", "results.offered", "entries.64k_1t_secondary", "changes.one_cpu"),
    *("mmu.dropped_faults", "host.cas_forgets"),
)

Outcomes = Callable[[str], dict[str, Outcome]]


@pytest.fixture(scope="module")
def outcomes(hpt_qemu: Path, payload: Path, pytestconfig: pytest.Config) -> Outcomes:
    """All tests of the payload in a mode; they run once."""
    known: dict[str, dict[str, Outcome]] = {}

    def of_mode(mode: str) -> dict[str, Outcome]:
        option = f"hpt-resize-mode={mode}"
        if not conformance.takes_machine_option(hpt_qemu, option):
            lacking(pytestconfig, "qemu", f"{hpt_qemu} has no {option}")
        if mode not in known:
            subject = Subject(hpt_qemu, machine_options=(option,))
            found = conformance.run(subject, payload=payload)
            known[mode] = {one.name: one for one in found}
        return known[mode]

    return of_mode


@pytest.fixture(scope="module")
def mainline() -> Path:
    """Debian's QEMU, which has the merged implementation."""
    found = shutil.which("qemu-system-ppc64")
    if found is None:
        missing("no qemu-system-ppc64 of the system's own")
    if conformance.takes_machine_option(Path(found), "hpt-resize-mode=mirror"):
        pytest.skip("the system's qemu-system-ppc64 is one of ours")
    return Path(found)


@pytest.mark.boot
@pytest.mark.parametrize("name", TESTS)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.xdist_group("conformance")
def test_payload(outcomes: Outcomes, mode: str, name: str) -> None:
    outcome = outcomes(mode)[name]
    if outcome.status == "skip":
        pytest.skip(outcome.what)
    assert outcome.status == "pass", f"{outcome.text}: {outcome.what}"


@pytest.mark.boot
def test_slof_starts_it_too(hpt_qemu: Path, payload: Path) -> None:
    found = conformance.run(
        Subject(hpt_qemu, "slof"), payload=payload, tests=[TESTS[name] for name in ON_SLOF]
    )
    assert [one for one in found if one.status != "pass"] == []


@pytest.mark.boot
def test_mainline_fails_where_the_issue_says(mainline: Path, payload: Path) -> None:
    """Proof that these tests can fail."""
    tests = [TESTS[name] for name in TESTS if name in FAIL_ON_MAINLINE]
    for one in conformance.run(Subject(mainline), payload=payload, tests=tests):
        assert one.status == "fail", f"{one.name} passes on mainline"
        assert FAIL_ON_MAINLINE[one.name] in one.what


@pytest.mark.boot
def test_the_command_tells_by_its_status_and_in_json(mainline: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    pattern = "^(prepare.not_permitted|commit.other_flags|move_bolted.nine)$"
    argv = ["--qemu", str(mainline), "-k", pattern, "--json", str(out)]
    done = CliRunner().invoke(conformance_command, argv, env={"COLUMNS": "160"})
    assert done.exit_code == 1
    assert "commit.other_flags" in done.output
    assert "1 passed, 1 failed, 1 left out" in done.output
    told = json.loads(out.read_text())
    assert told["counts"] == {"pass": 1, "fail": 1, "skip": 1}
    assert str(mainline.parent) not in out.read_text()


def test_the_payload_has_the_tests_that_are_declared() -> None:
    declared = conformance.TESTS_FILE.read_text().count("\nTEST(")
    assert len(TESTS) == declared > 90


def test_a_declaration_is_read() -> None:
    line = 'TEST(host, nothing_leaks, 2, 1024, "plain", "says this")\n'
    (test,) = conformance.load_tests(line)
    assert (test.name, test.cpus, test.memory) == ("host.nothing_leaks", 2, 1024)
    assert (test.kind, test.text) == ("plain", "says this")


@pytest.mark.parametrize("argv", [["--qemu", "/nonexistent"], ["--qemu", "/bin/true", "-k", "%%"]])
def test_arguments_that_make_no_sense(argv: list[str]) -> None:
    done = CliRunner().invoke(conformance_command, argv)
    assert isinstance(done.exception, UsageError)


def test_a_program_that_is_no_qemu(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not run"):
        conformance.qemu_version(tmp_path)


def test_the_document_has_every_test() -> None:
    """As they are declared, each with an outcome in every column; ours fail none."""
    text = (Path(__file__).parents[1] / "docs" / "conformance.md").read_text()
    lines = [line[2:-2].split(" | ") for line in text.splitlines() if line.startswith("| ")]
    head = next(words for words in lines if words[0] == "test")
    rows = {words[0]: words for words in lines if words[0] in TESTS}
    assert list(rows) == list(TESTS), "run what docs/conformance.md says"
    for name, row in rows.items():
        assert row[1] == TESTS[name].text
        assert all(row[2 : len(head) - 1]), f"{name} has no outcome in some column"
        assert {row[head.index("mirror")], row[head.index("rehash")]} <= {"pass", "skip"}


def test_runs_side_by_side(tmp_path: Path) -> None:
    runs = {
        "ours": [Outcome("a.b", "it works", "pass", "", 0.1), Outcome("a.c", "so", "skip", "n", 0)],
        "other": [Outcome("a.b", "it works", "fail", "x | y", 0.1)],
    }
    words = []
    for name, outcomes in runs.items():
        (tmp_path / name).write_text(as_json(Subject(Path("qemu")), "10.0", outcomes))
        words.append(f"{name}={tmp_path / name}")
    document = tmp_path / "doc.md"
    document.write_text(f"above\n{conformance_table.BEGIN}\nold\n{conformance_table.END}\nbelow\n")
    done = CliRunner().invoke(conformance_command, ["--markdown", str(document), *words])
    assert done.exit_code == 0, done.output
    text = document.read_text()
    assert "| a.b | it works | pass | **FAIL** | x \\| y |" in text
    assert "| a.c | so | skip |  |  |" in text
    assert "| ours | 1 | 0 | 1 |" in text
    assert (text[:6], text[-6:], "old" in text) == ("above\n", "below\n", False)


@pytest.mark.parametrize("words", [[], ["a"], ["a=/nonexistent"], ["=x"]])
def test_runs_that_make_no_table(tmp_path: Path, words: list[str]) -> None:
    out = tmp_path / "table.md"
    done = CliRunner().invoke(conformance_command, ["--markdown", str(out), *words])
    assert isinstance(done.exception, UsageError)
    assert not out.exists()


def test_a_document_without_a_place(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"tests": []}')
    document = tmp_path / "doc.md"
    document.write_text("nothing here\n")
    argv = ["--markdown", str(document), f"a={tmp_path / 'a.json'}"]
    assert isinstance(CliRunner().invoke(conformance_command, argv).exception, UsageError)
    assert document.read_text() == "nothing here\n"
