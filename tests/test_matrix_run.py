# SPDX-License-Identifier: GPL-2.0-or-later
"""Cells that are run: their directories, the reports, what stands side by side."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import pytest

from hptresize.matrix import outcome, session, spec
from hptresize.pytest_plugin import last_build

pytestmark = pytest.mark.boot

PACKAGES = Path(spec.__file__).parents[2]


@dataclass
class Done:
    """A run of the command."""

    out: Path
    status: int
    stdout: str
    stderr: str

    @property
    def cells(self) -> dict[str, outcome.CellOutcome]:
        return {one.id: one for one in session.load(self.out).cells}


@pytest.fixture(scope="session")
def parts(hpt_kernel: Path, hpt_qemu: Path, hpt_image: Path) -> list[str]:
    """What guests are made of, so that nothing is built here."""
    mainline = last_build("qemu-stock")
    if mainline is None:
        pytest.skip("no stock QEMU: `hptresize build qemu --variant stock`")
    given = {"kernel": hpt_kernel, "qemu": hpt_qemu, "initrd": hpt_image, "mainline": mainline}
    return [word for name, path in given.items() for word in (f"--{name}", str(path))]


def command(out: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "hptresize", "matrix", "run", "--out", str(out), *words]


ENVIRONMENT = {**os.environ, "PYTHONPATH": str(PACKAGES), "COLUMNS": "200"}


def run(out: Path, *words: str) -> Done:
    done = subprocess.run(
        command(out, *words), env=ENVIRONMENT, capture_output=True, text=True,
        timeout=280, check=False,
    )  # fmt: skip
    return Done(out, done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def smoke(parts: list[str], tmp_path_factory: pytest.TempPathFactory) -> Done:
    """The smoke set, with a small measurement."""
    return run(
        tmp_path_factory.mktemp("smoke") / "out", "--set", "smoke", "--max-order", "23", *parts
    )


def test_all_do_what_is_expected(smoke: Done) -> None:
    assert smoke.status == 0, smoke.stdout + smoke.stderr
    cells = smoke.cells
    assert len(cells) == len(spec.load().cells("smoke"))
    assert {one.status for one in cells.values()} == {"pass", "skip"}
    hosts = {one.values["host"]: one for one in cells.values() if one.values["qemu"] == "built"}
    assert set(hosts) == {"mirror", "rehash", "mainline"}
    for one in cells.values():
        assert one.id in smoke.stdout or one.status == "skip"
        if one.values["scenario"] == "updown" and one.status == "pass":
            assert [step["result"] for step in one.steps] == ["done"] * 4
            assert all(step["commit_us"] > 0 for step in one.steps)
            assert one.peak_mb is not None
            assert one.peak_mb < 1024


def test_the_directory_of_a_cell(smoke: Done) -> None:
    for one in smoke.cells.values():
        if one.status == "skip":
            continue
        where = smoke.out / one.directory
        assert outcome.read(where) == one
        assert "qemu-system-ppc64" in (where / "command.txt").read_text()
        assert "CONFIG_PPC_PSERIES=y" in (where / "kernel.config").read_text()
        assert (where / "guest.dtb").read_bytes()[:4] == b"\xd0\x0d\xfe\xed"
        assert "Linux version" in (where / "console.log").read_text()
        assert '"execute": "query-version"' in (where / "qmp.log").read_text()
        assert "power off" in (where / "cell.log").read_text()
        if one.values["scenario"] == "updown":
            assert "hpt_resize_done: old=23 order=24 err=0" in (
                where / "guest-trace.log"
            ).read_text()
            assert "spapr_h_resize_hpt_commit" in (where / "qemu-trace.log").read_text()


def test_junit(smoke: Done) -> None:
    suite = ElementTree.parse(smoke.out / "junit.xml").getroot()[0]
    told = {
        re.sub(r".*\[(.*)\]", r"\1", str(case.get("name"))): {part.tag for part in case}
        for case in suite
    }
    for one in smoke.cells.values():
        assert told[one.id] == ({"skipped"} if one.status == "skip" else set())


def test_ktap(smoke: Done) -> None:
    lines = (smoke.out / "matrix.ktap").read_text().splitlines()
    cells = list(smoke.cells.values())
    assert lines[:2] == ["KTAP version 1", f"1..{len(cells)}"]
    assert [line.split()[2] for line in lines if line.startswith("ok ")] == [c.id for c in cells]
    assert sum("# SKIP" in line for line in lines) == sum(c.status == "skip" for c in cells)


def test_kcidb(smoke: Done) -> None:
    """The validator is KernelCI's own; that it is strict is checked as well."""
    from jsonschema import ValidationError  # noqa: PLC0415
    from kcidb_io.schema import V5_3  # type: ignore[import-untyped] # noqa: PLC0415

    data = json.loads((smoke.out / "matrix.kcidb.json").read_text())
    V5_3.validate(data)
    status = {one["id"].partition("-")[2]: one["status"] for one in data["tests"]}
    assert sorted(set(status.values())) == ["PASS", "SKIP"]
    builds = {one["id"] for one in data["builds"]}
    assert {one["build_id"] for one in data["tests"]} == builds
    data["tests"][0]["status"] = "GOOD"
    with pytest.raises(ValidationError):
        V5_3.validate(data)


def test_the_dry_run_prints_what_is_run(smoke: Done, parts: list[str]) -> None:
    dry = run(smoke.out.with_name("dry"), "--set", "smoke", "--dry-run", *parts)
    assert dry.status == 0, dry.stderr
    assert not dry.out.exists()
    lines = dry.stdout.splitlines()
    printed = dict(zip((line.removeprefix("# ") for line in lines[::2]), lines[1::2], strict=True))
    ran = {name for name, one in smoke.cells.items() if one.status != "skip"}
    assert set(printed) == ran
    for name, line in printed.items():
        assert line == (smoke.out / "cells" / name / "command.txt").read_text().strip()
