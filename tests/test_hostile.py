# SPDX-License-Identifier: GPL-2.0-or-later
"""A hostile guest against a QEMU with sanitizers; and what it finds where there is something."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from unittest.mock import MagicMock

import pytest
from click.testing import CliRunner

from hptresize.base.errors import MachineError
from hptresize.base.paths import last_build
from hptresize.cli import cli, main
from hptresize.machine.watch import Watch
from hptresize.pytest_plugin import built, missing
from hptresize.run import hostile
from hptresize.run.conformance import takes_machine_option
from hptresize.run.hostile import Attempt, Found, Mode

LONG = bool(os.environ.get("HPTRESIZE_LONG"))
CALLS = 170_000 if LONG else 8_000
# Seeds that reset the guest within so many calls; the even ones migrate it as well.
ATTEMPTS: list[tuple[Mode, int, int]] = [
    ("mirror", 1, 534), ("rehash", 1, 91), ("mirror", 2, 117), ("rehash", 2, 826),
    ("mirror", 4, 826), ("rehash", 4, 133),
]  # fmt: skip


@pytest.fixture(scope="module")
def sanitized() -> Path:
    return built("qemu-sanitized")


@pytest.mark.boot
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "attempt",
    [Attempt(seed, CALLS, cpus, mode) for mode, cpus, seed in ATTEMPTS],
    ids=lambda one: f"{one.mode}-{one.cpus}",
)
def test_nothing_gives(sanitized: Path, payload: Path, tmp_path: Path, attempt: Attempt) -> None:
    """No wrong table, no report of a sanitizer, no leak when QEMU quits."""
    report = hostile.run(attempt, sanitized, payload=payload, logs=tmp_path)
    print(report.as_line())
    assert sum(report.done.values()) >= 3
    calls = re.search(r"calls (\d+), life \d+, checks \d+, commits that", report.told)
    assert calls is not None
    assert int(calls[1]) >= CALLS


@pytest.fixture(scope="module")
def mainline() -> Path:
    """A QEMU that a guest can end."""
    found = last_build("qemu-stock") or shutil.which("qemu-system-ppc64")
    if found is None or takes_machine_option(Path(found), "hpt-resize-mode=mirror"):
        missing("no mainline QEMU")
    return Path(found)


@pytest.mark.boot
def test_a_defect_is_found_and_its_seed_repeats_it(
    mainline: Path, payload: Path, tmp_path: Path
) -> None:
    """What disturbs the guest from outside comes when it comes: a few attempts are allowed."""
    found: list[Found] = []
    for _ in range(5):
        with pytest.raises(Found) as error:
            hostile.run(Attempt(3, 5000, 1, "rehash"), mainline, payload=payload, logs=tmp_path)
        found.append(error.value)
        if error.value.what in [one.what for one in found[:-1]]:
            break
    assert found[-1].what in [one.what for one in found[:-1]]
    assert "--seed 3 --calls 5000 --cpus 1 --mode rehash" in found[0].hint
    assert found[0].log is not None
    assert found[0].log.is_file()


@pytest.mark.parametrize(
    "argv",
    [
        ["--cpus", "0"], ["--cpus", "9"], ["--calls", "0"], ["--minutes", "0"], ["--seed", "-1"],
        ["--mode", "both"], ["--qemu", "/nonexistent/qemu"],
    ],
)  # fmt: skip
def test_arguments_that_make_no_sense(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["hostile", *argv]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_only_the_failure_of_this_migration_excuses_it() -> None:
    """An earlier one may have failed as it may; this one fails in another way."""
    failed = {"event": "MIGRATION", "data": {"status": "failed"}}
    source = MagicMock(watch=Watch())
    source.watch.events.append(failed)
    source.qemu.stderr.return_value = hostile.RESIZED_TOO_LATE

    def qmp(command: str, **arguments: object) -> dict[str, str]:
        if command == "migrate":
            assert source.watch.events == []
            source.watch.events.append(failed)
        return {"status": "failed"}

    source.qmp = qmp
    with pytest.raises(MachineError, match="the migration failed"):
        hostile._migrate(source, MagicMock(), "unix:nowhere")


def test_help_says_what_it_takes() -> None:
    done = CliRunner().invoke(cli, ["hostile", "--help"])
    assert "--minutes" in done.output


def test_the_command_of_an_attempt_is_that_attempt() -> None:
    command = Attempt(7, 100, 4, "rehash").command
    assert command == "hptresize hostile --seed 7 --calls 100 --cpus 4 --mode rehash"
