# SPDX-License-Identifier: GPL-2.0-or-later
"""The matrix as it is declared, and what the command makes of nonsense; no guest."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from hptresize import cli
from hptresize.base.errors import UsageError
from hptresize.build.flavours import FLAVOURS
from hptresize.matrix import declaration, tasks
from hptresize.matrix.scenarios import SCENARIOS


@dataclass
class Ended:
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


Run = Callable[..., Ended]
SMALL = """
schema = 1
[axes.scenario.updown]
[axes.pages.64k]
[axes.pages.4k]
[axes.memory.1G]
[axes.memory.128G]
[[cells]]
sets = ["default"]
memory = ["1G", "128G"]
[[cells]]
sets = ["default", "other"]
pages = ["4k"]
[[skip]]
when = { memory = ["128G"] }
reason = "large"
[[expect]]
when = {}
wants = { a = 1, b = 1 }
[[expect]]
when = { pages = ["4k"] }
wants = { b = 2 }
fails = "known"
"""


@pytest.fixture
def small(tmp_path: Path) -> declaration.Matrix:
    (tmp_path / "small.toml").write_text(SMALL)
    return declaration.load(tmp_path / "small.toml")


def test_sets_and_rules(small: declaration.Matrix) -> None:
    cells = {cell.id: cell for cell in small.cells()}
    assert list(cells) == ["updown-64k-1G", "updown-64k-128G", "updown-4k-1G"]
    assert [cell.skip for cell in cells.values()] == ["", "large", ""]
    assert cells["updown-64k-1G"].wants == {"a": 1, "b": 1}
    assert cells["updown-4k-1G"].wants == {"a": 1, "b": 2}
    assert [cell.fails for cell in cells.values()] == ["", "", "known"]
    assert [cell.id for cell in small.cells("other")] == ["updown-4k-1G"]
    assert len(small.cells(None)) == 4


def test_a_filter(small: declaration.Matrix) -> None:
    def left(*terms: str) -> list[str]:
        return [cell.id for cell in small.select("default", terms)]

    assert left("memory=1G") == ["updown-64k-1G", "updown-4k-1G"]
    assert left("memory=1G", "pages=64k") == ["updown-64k-1G"]
    assert len(left("memory=1G,128G")) == 3
    with pytest.raises(UsageError, match="no cell is left"):
        left("pages=4k", "memory=128G")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("schema = 1", "schema = 2"), "schema 2"),
        (('memory = ["1G", ', 'memroy = ["1G", '), r"\[\[cells\]\]: there is no axis 'memroy'"),
        (('pages = ["4k"] }', 'pages = ["5k"] }'), "when: the axis pages has no value '5k'"),
        (("reason", "cause"), "'reason' is missing"),
        (("[axes.", "[axes"), "is not TOML|no axis|missing"),
    ],
)
def test_a_wrong_declaration(tmp_path: Path, change: tuple[str, str], said: str) -> None:
    (tmp_path / "wrong.toml").write_text(SMALL.replace(*change))
    with pytest.raises(UsageError, match=said):
        declaration.load(tmp_path / "wrong.toml")


def test_the_declaration_of_the_project() -> None:
    """What the issue asks of the default set, and that each scenario is there."""
    made = declaration.load()
    assert set(made.axes["scenario"]) <= set(SCENARIOS)
    cells = [cell for cell in made.cells() if not cell.skip]
    assert len(cells) >= 24
    seen = {axis: {cell[axis] for cell in cells} for axis in made.axes}
    assert {"mirror", "rehash", "mainline"} <= seen["host"]
    assert seen["cpu"] == {"POWER8", "POWER9", "POWER10"}
    assert {"1", "4"} <= seen["cpus"]
    assert {"1G", "128G"} <= seen["memory"]
    assert len({tasks.flavour_of(cell) for cell in cells}) >= 2
    for scenario in made.axes["scenario"]:
        hosts = {cell["host"] for cell in cells if cell["scenario"] == scenario}
        assert {"mirror", "mainline"} <= hosts, scenario


def test_every_kernel_can_be_configured() -> None:
    filters = ["scenario=updown", "cpu=POWER8", "memory=1G", "cpus=1"]
    for cell in declaration.load().select(None, filters):
        if not cell.skip and cell["kernel"] != "debian":
            assert tasks.flavour_of(cell) in FLAVOURS, cell.id


def test_memory_of_a_cell() -> None:
    """A guest of 128 GB takes a table and an array of pages, not 128 GB."""
    made = declaration.load()

    def first(memory: str) -> declaration.Cell:
        return made.select(None, [f"memory={memory}", "pages=64k", "host=mirror", "cpus=1"])[0]

    need = {memory: tasks.memory_mb(made, first(memory)) for memory in ("1G", "128G")}
    assert need["1G"] < 1024
    assert 3 * 1024 < need["128G"] < 5 * 1024


@pytest.fixture
def run(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Run:
    """Run the command, in this process; test_cli.py does it as a user does."""
    monkeypatch.setenv("HPTRESIZE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)

    def command(*words: str) -> Ended:
        status = cli.main(["matrix", *words])
        return Ended(status, *capfd.readouterr())

    return command


def text(path: Path, content: str | bytes) -> str:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


WRONG: list[tuple[tuple[str, ...], str]] = [
    (("list", "cpuz=POWER8"), "there is no axis 'cpuz'; do you mean 'cpu'?"),
    (("list", "host=kvm"), "the axis host has no value 'kvm'"),
    (("run", "cpu=POWER8,POWRE9"), "no value 'POWRE9'; do you mean 'POWER9'?"),
    (("run", "POWER8"), "'POWER8' is not axis=value,value"),
    (("run", "cpu="), "'cpu=' is not axis=value,value"),
    (("run", "cpu=POWER8", "cpu=POWER9"), "the axis cpu is there twice"),
    (("list", "--set", "best"), "there is no set 'best'; sets are default, kvmhv, smoke"),
    (("run", "scenario=disabled", "cpu=POWER10"), "no cell is left by the filter"),
    (("run", "--memory-limit", "999", "memory=128G"), "needs 3682 MB of memory and there are 999"),
    (("list", "--declaration", "/no/such.toml"), "/no/such.toml: No such file"),
    (("run", "--failed"), "matrix.json: No such file or directory; run `hptresize matrix run`"),
    (("run", "--kernel", "/no/vmlinux"), "--kernel /no/vmlinux: no such file"),
    (("run", "--cpus", "0"), "0 is not in the range"),
    (("run", "--cluster", "tcp://127.0.0.1:1"), "no scheduler at tcp://127.0.0.1:1"),
    (("run", "--cluster", "nowhere"), "no scheduler at nowhere"),
    (("report", "--out", "/no/such"), "/no/such/matrix.json: No such file"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "said"), WRONG, ids=[" ".join(one[0]) for one in WRONG])
def test_nonsense(run: Run, words: tuple[str, ...], said: str) -> None:
    done = run(*words)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("hptresize: error: ")
    assert said in done.stderr
    assert done.stdout == ""


def test_a_broken_image(run: Run, tmp_path: Path) -> None:
    whole = gzip.compress(b"070701" + bytes(range(256)) * 4000)
    for broken, said in (
        (b"no archive", "Not a gzipped file"),
        (whole[: len(whole) // 2], "ended before"),
        (whole[:200] + b"\0" * 20 + whole[220:], "is broken"),
        (gzip.compress(b"what is this"), "is no cpio archive"),
    ):
        image = text(tmp_path / "initramfs.gz", broken)
        done = run("run", "--initrd", image)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
        assert f"image {image}" in done.stderr
        assert said in done.stderr


def test_a_broken_kernel(run: Run, tmp_path: Path) -> None:
    done = run("run", "--kernel", text(tmp_path / "vmlinux", "no kernel"))
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "vmlinux" in done.stderr


def test_the_axes_are_listed(run: Run) -> None:
    done = run("list", "--axes")
    assert done.returncode == 0
    for axis, values in declaration.load().axes.items():
        assert f"{axis}:\n" in done.stdout
        assert all(f"    {value}" in done.stdout for value in values)
