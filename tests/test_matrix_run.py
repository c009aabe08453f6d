# SPDX-License-Identifier: GPL-2.0-or-later
"""Cells that are run: their directories, the reports, what stands side by side."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from hptresize.matrix import declaration, gather, verdict
from hptresize.pytest_plugin import built, missing

pytestmark = pytest.mark.boot

PACKAGES = Path(declaration.__file__).parents[2]
LONG = bool(os.environ.get("HPTRESIZE_LONG"))


@dataclass
class Done:
    """A run of the command."""

    out: Path
    status: int
    stdout: str
    stderr: str

    @property
    def cells(self) -> dict[str, verdict.CellOutcome]:
        return {one.id: one for one in gather.load(self.out).cells}


@pytest.fixture(scope="session")
def parts(hpt_kernel: Path, hpt_qemu: Path, hpt_image: Path) -> list[str]:
    """What guests are made of, so that nothing is built here."""
    mainline = built("qemu-stock")
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
    assert len(cells) == len(declaration.load().cells("smoke"))
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
        assert verdict.read(where) == one
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


def test_on_a_cluster(parts: list[str], tmp_path: Path) -> None:
    """The same cells and the same reports, by way of a scheduler."""
    words = ("--set", "smoke", "scenario=debugfs,disabled", "--cluster", "local")
    done = run(tmp_path / "out", *words, *parts)
    assert done.status == 0, done.stderr
    assert {one.status for one in done.cells.values()} == {"pass"}
    for one in done.cells.values():
        assert "Linux version" in (done.out / one.directory / "console.log").read_text()
        assert f"pass  {one.id}" in done.stdout
    assert len(ElementTree.parse(done.out / "junit.xml").findall(".//testcase")) >= 2
    assert (done.out / "report.html").is_file()


# What goes wrong

ONE = (
    "--all", "scenario=disabled", "kernel=series", "endian=le", "pages=64k", "config=plain",
    "cpus=1", "memory=1G", "host=mirror", "qemu=built", "firmware=vof", "--no-measure",
)  # fmt: skip
CPUS = "cpu=POWER8,POWER9,POWER10"

# On a POWER9 it dies of itself; on a POWER10 the process that started it does.
DYING = """#!/bin/sh
case "$*" in
*"-cpu POWER9"*) kill -SEGV $$;;
*"-cpu POWER10"*) kill -KILL $PPID;;
esac
exec {qemu} "$@"
"""


@pytest.fixture(scope="module")
def dying(hpt_qemu: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("qemu") / "qemu"
    path.write_text(DYING.format(qemu=hpt_qemu))
    path.chmod(0o755)
    return str(path)


@pytest.fixture(scope="module")
def died(parts: list[str], dying: str, tmp_path_factory: pytest.TempPathFactory) -> Done:
    return run(tmp_path_factory.mktemp("dying") / "out", *ONE, CPUS, *parts, "--qemu", dying)


def by_cpu(done: Done) -> dict[str, verdict.CellOutcome]:
    return {one.values["cpu"]: one for one in done.cells.values()}


def test_a_cell_that_dies_takes_nothing_along(died: Done) -> None:
    assert died.status == 1, died.stderr
    cells = by_cpu(died)
    assert {cpu: one.status for cpu, one in cells.items()} == {
        "POWER8": "pass", "POWER9": "fail", "POWER10": "fail"
    }  # fmt: skip
    assert cells["POWER9"].how == "QEMU died"
    assert "signal 11" in cells["POWER9"].what
    assert cells["POWER10"].how == "worker died"
    last = died.stderr.splitlines()[-1]
    assert last.startswith("hptresize: error: disabled-series")
    assert "Traceback" not in died.stderr
    assert "not ok" in (died.out / "matrix.ktap").read_text()


def test_what_failed_is_run_again(died: Done, parts: list[str]) -> None:
    test_a_cell_that_dies_takes_nothing_along(died)
    first = by_cpu(died)["POWER8"]
    again = run(died.out, *ONE, "--failed", *parts)
    assert again.status == 0, again.stderr
    assert "POWER8" not in again.stdout
    cells = by_cpu(again)
    assert {one.status for one in cells.values()} == {"pass"}
    assert cells["POWER8"] == first
    nothing = run(died.out, *ONE, "--failed", *parts)
    assert (nothing.status, nothing.stderr.count("\n")) == (2, 1)


def test_the_first_failure_ends_it(parts: list[str], dying: str, tmp_path: Path) -> None:
    done = run(
        tmp_path / "out", *ONE, "cpu=POWER9,POWER10", "-x", "--cpus", "1", *parts, "--qemu", dying
    )
    assert done.status == 1
    assert [one.status for one in done.cells.values()] == ["fail", "unrun"]


def processes_of(out: Path, session_id: int) -> list[str]:
    """Command lines of what belongs to a run: in its session, or with its directory as argument."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError):
            words = (path / "cmdline").read_bytes().decode(errors="replace")
            fields = (path / "stat").read_text().rpartition(")")[2].split()
            if fields[0] != "Z" and (str(out) in words or int(fields[3]) == session_id):
                found.append(words.replace("\0", " "))
    return found


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), *([(signal.SIGTERM, 143)] if LONG else [])]
)
def test_a_signal_leaves_a_report_and_no_process(
    parts: list[str], tmp_path: Path, number: signal.Signals, status: int
) -> None:
    out = tmp_path / "out"
    child = subprocess.Popen(
        command(out, "--set", "smoke", "--no-measure", *parts), env=ENVIRONMENT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not any(" resize to" in log.read_text() for log in out.glob("cells/*/cell.log")):
        assert child.poll() is None
        assert time.monotonic() < deadline, "no cell has booted within a minute"
        time.sleep(0.05)
    assert len(processes_of(out, child.pid)) >= 3
    begin = time.monotonic()
    child.send_signal(number)
    stdout, stderr = child.communicate(timeout=60)
    assert child.returncode == status, stderr
    assert time.monotonic() - begin < 30
    assert "unrun" in stdout
    assert "Traceback" not in stderr
    assert processes_of(out, child.pid) == []
    assert f"Ended early by signal {number.value}" in (out / "report.html").read_text()


# The page


CHROMIUM = (
    "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND", "--window-size=1200,2600",
)  # fmt: skip


def browse(tmp_path: Path, *words: str) -> str:
    """Have Chromium do something; returns what it prints."""
    if shutil.which("chromium") is None:
        missing("chromium is not installed")
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    return subprocess.run(
        [*CHROMIUM, profile, *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL, timeout=100, check=True, text=True,
    ).stdout  # fmt: skip


class Page(HTMLParser):
    """What is in a table of a page: the rows' texts, and the classes of the cells."""

    def __init__(self, text: str, table: str) -> None:
        super().__init__()
        self.wanted = table
        self.inside = False
        self.rows: list[list[str]] = []
        self.classes: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        about = dict(attrs)
        if tag == "table":
            self.inside = about.get("id") == self.wanted
        elif self.inside and tag == "tr":
            self.rows.append([])
        elif self.inside and tag in ("td", "th"):
            self.rows[-1].append("")
            self.classes.append(about.get("class") or "")

    def handle_data(self, data: str) -> None:
        if self.inside and self.rows and self.rows[-1]:
            self.rows[-1][-1] += data.strip()


def test_the_page_in_a_browser(smoke: Done, tmp_path: Path) -> None:
    """The browser's own view: the grid, both sides of the measurement, pictures."""
    dom = browse(tmp_path, "--dump-dom", (smoke.out / "report.html").as_uri())
    grid = Page(dom, "grid")
    assert grid.rows[0][:4] == ["guest", "mirror", "rehash", "mainline"]
    updown = next(row for row in grid.rows if row[0].startswith("updown"))
    assert all(text.startswith("pass") for text in updown[1:4])
    for one in smoke.cells.values():
        assert f'id="{one.id}"' in dom
    assert grid.classes.count("pass") == sum(c.status == "pass" for c in smoke.cells.values())
    bench = Page(dom, "bench")
    assert bench.rows[0] == ["what", "mainline", "rehash", "mirror"]
    commit = next(row for row in bench.rows if row[0].startswith("COMMIT,"))
    assert "n/a" not in commit
    for title in ("COMMIT as a bare guest times it", "PREPARE until ready",
                  "Host memory more after PREPARE", "H_ENTERs to read"):  # fmt: skip
        assert title in dom


COLOURS = {
    "pass": (0xCD, 0xEC, 0xCD), "mainline": (0xD5, 0x5E, 0x00),
    "rehash": (0x00, 0x72, 0xB2), "mirror": (0x00, 0x9E, 0x73),
}  # fmt: skip


def test_the_page_looks_like_it(smoke: Done, tmp_path: Path) -> None:
    """A screenshot has the colours of the outcomes, and those of all three lines."""
    from PIL import Image  # noqa: PLC0415

    picture = tmp_path / "page.png"
    browse(tmp_path, f"--screenshot={picture}", (smoke.out / "report.html").as_uri())
    with Image.open(picture) as image:
        assert image.size == (1200, 2600)
        pixels = image.convert("RGB").getcolors(1200 * 2600) or []
    count = {colour: number for number, colour in pixels}
    for name, colour in COLOURS.items():
        assert count.get(colour, 0) > 50, name


def test_the_page_needs_nothing_else(smoke: Done) -> None:
    page = (smoke.out / "report.html").read_text()
    assert "default-src 'none'" in page
    assert "<script" not in page
    assert not re.findall(r"""(?:src|href)=["'](?!#|data:)""", page)
