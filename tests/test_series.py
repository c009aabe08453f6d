# SPDX-License-Identifier: GPL-2.0-or-later
"""Series: read, applied, refused in one line, written again byte for byte."""

from __future__ import annotations

from pathlib import Path

import pytest

from hptresize import series
from hptresize.base import git as gitcmd
from hptresize.base.errors import PatchError, UsageError
from hptresize.base.git import git


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A repository with a base commit and two commits on it."""
    where = tmp_path / "repo"
    where.mkdir()
    gitcmd.create(where)
    (where / "a.c").write_text("".join(f"line {n}\n" for n in range(30)))
    base = gitcmd.commit_all(where, "base")
    git(where, "tag", "base", base)
    (where / "a.c").write_text("".join(f"line {n}\n" for n in range(30)).replace("5", "five"))
    gitcmd.commit_all(where, "a: say five\n\nBecause it is.")
    (where / "new.c").write_text("int x;\n")
    gitcmd.commit_all(where, "new: add x")
    git(where, "tag", "tip")
    return where


@pytest.fixture
def directory(repo: Path, tmp_path: Path) -> Path:
    """The two commits as a series."""
    where = tmp_path / "patches"
    where.mkdir()
    (where / "cover.txt").write_text("five and x\n\nTwo small things.\n")
    series.refresh(repo, "base", "tip", where)
    return where


def test_read(directory: Path) -> None:
    got = series.load(directory)
    assert [one.subject for one in got.patches] == ["a: say five", "new: add x"]
    assert got.files == ("a.c", "new.c")
    cover = (directory / "0000-cover-letter.patch").read_text()
    assert "Subject: [PATCH 0/2] five and x" in cover
    assert "Two small things." in cover


def test_applied_and_written_again_it_is_the_same(repo: Path, directory: Path) -> None:
    before = {path.name: path.read_bytes() for path in directory.iterdir()}
    git(repo, "checkout", "--quiet", "--detach", "base")
    tip = series.apply(repo, series.load(directory))
    assert git(repo, "rev-parse", f"{tip}^{{tree}}") == git(repo, "rev-parse", "tip^{tree}")
    assert series.refresh(repo, "base", tip, directory) == []
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == before


def test_commit_ids_do_not_depend_on_when(repo: Path, directory: Path) -> None:
    ids = set()
    for _ in range(2):
        git(repo, "checkout", "--quiet", "--force", "--detach", "base")
        ids.add(series.apply(repo, series.load(directory)))
    assert len(ids) == 1


def test_a_patch_that_does_not_fit_leaves_the_tree(repo: Path, directory: Path) -> None:
    git(repo, "checkout", "--quiet", "--detach", "base")
    (repo / "a.c").write_text("something else\n")
    changed = gitcmd.commit_all(repo, "changed")
    with pytest.raises(
        PatchError, match=r"0001-a-say-five\.patch does not apply: .* a\.c line"
    ) as got:
        series.apply(repo, series.load(directory))
    assert "\n" not in str(got.value)
    assert git(repo, "rev-parse", "HEAD") == changed
    assert git(repo, "status", "--porcelain") == ""
    assert not (repo / ".git" / "rebase-apply").exists()


def test_a_missing_file_is_named(repo: Path, directory: Path) -> None:
    git(repo, "checkout", "--quiet", "--detach", "base")
    (repo / "a.c").unlink()
    (repo / "b.c").write_text("")
    gitcmd.commit_all(repo, "no a.c")
    with pytest.raises(PatchError, match=r"a\.c does not exist in the tree"):
        series.apply(repo, series.load(directory))


def test_an_interrupted_am_does_not_stand_in_the_way(repo: Path, directory: Path) -> None:
    git(repo, "checkout", "--quiet", "--detach", "base")
    (repo / ".git" / "rebase-apply").mkdir()
    series.apply(repo, series.load(directory))


def test_a_gap_in_the_numbers(directory: Path) -> None:
    (directory / "0001-a-say-five.patch").unlink()
    with pytest.raises(PatchError, match="should have a patch 0001"):
        series.load(directory)


def test_a_file_that_is_no_patch(directory: Path) -> None:
    (directory / "0003-x.patch").write_text("hello\n")
    with pytest.raises(PatchError, match="not a patch made by git format-patch"):
        series.load(directory)


def test_no_directory(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such directory"):
        series.load(tmp_path / "none")


def test_the_prefix_is_kept(repo: Path, directory: Path) -> None:
    for path in directory.glob("*.patch"):
        path.write_text(path.read_text().replace("[PATCH ", "[RFC PATCH v2 "))
    assert series.prefix_of(directory) == "RFC PATCH v2"
    assert series.refresh(repo, "base", "tip", directory) == []


def test_a_patch_that_went_is_removed(repo: Path, directory: Path) -> None:
    assert "0002-new-add-x.patch" in series.refresh(repo, "base", "tip~1", directory)
    assert not (directory / "0002-new-add-x.patch").exists()


def rule(directory: Path, text: str) -> series.Series:
    (directory / series.RULES).write_text(text)
    return series.load(directory)


def test_a_version_may_go_without_a_patch(repo: Path, directory: Path) -> None:
    got = rule(
        directory,
        '[[without]]\npatch = "a: say five"\nversions = ">=6.2 <7"\nreason = "it has five"\n',
    )
    assert [one.subject for one in got.for_version("6.2").patches] == ["new: add x"]
    for version in ("6.1.187", "7.0.0", "7", ""):
        assert len(got.for_version(version).patches) == 2
    assert got.rules.reason_without("a: say five", "6.12.1") == "it has five"
    git(repo, "checkout", "--quiet", "--detach", "base")
    series.apply(repo, got, "6.12.1")
    assert git(repo, "diff", "--name-only", "base", "HEAD") == "new.c"


def test_what_is_called_otherwise(repo: Path, directory: Path) -> None:
    got = rule(directory, '[[renamed]]\nfrom = "new.c"\nto = "old/x.c"\nversions = "<6.2"\n')
    for version, name in (("6.1.7", "old/x.c"), ("6.2.0", "new.c")):
        git(repo, "checkout", "--quiet", "--detach", "base")
        series.apply(repo, got, version)
        assert (repo / name).read_text() == "int x;\n"


PLACE = """
[[place]]
patch = "a: more"
file = "a.c"
adds = "fresh"
after = ["nowhere", "line 20"]
"""


@pytest.fixture
def foreign(repo: Path, directory: Path) -> Path:
    """Another tree than the patch "a: more" was made on: its lines are not there."""
    text = (repo / "a.c").read_text()
    (repo / "a.c").write_text(text.replace("line 10\n", "line 10\nfresh\nlines\n"))
    gitcmd.commit_all(repo, "a: more")
    series.refresh(repo, "base", "HEAD", directory)
    git(repo, "checkout", "--quiet", "--detach", "base")
    (repo / "a.c").write_text("".join(f"line {n}\n" for n in range(30) if n != 10))
    gitcmd.commit_all(repo, "other")
    return repo


@pytest.mark.parametrize("beside", ['after = ["nowhere", "line 20"]', 'before = ["line 21"]'])
def test_lines_go_where_the_rules_say(foreign: Path, directory: Path, beside: str) -> None:
    got = rule(directory, PLACE.replace('after = ["nowhere", "line 20"]', beside))
    series.apply(foreign, got)
    said = (foreign / "a.c").read_text().splitlines()
    assert said[18:23] == ["line 19", "line 20", "fresh", "lines", "line 21"]
    assert said[5] == "line five"


def test_a_place_that_is_not_there_changes_nothing(foreign: Path, directory: Path) -> None:
    before = git(foreign, "rev-parse", "HEAD")
    got = rule(directory, PLACE.replace("line 20", "line 40"))
    with pytest.raises(PatchError, match=r"0003-a-more\.patch does not apply: .* a\.c line 9"):
        series.apply(foreign, got)
    assert git(foreign, "rev-parse", "HEAD") == before
    assert git(foreign, "status", "--porcelain") == ""
    assert "five" not in (foreign / "a.c").read_text()


def test_what_a_configuration_needs_besides(directory: Path) -> None:
    lines = '[[config]]\nlines = ["CONFIG_A=y"]\nversions = "<6.4"\nreason = "so be it"\n'
    got = rule(directory, lines)
    assert got.rules.settings("6.1.187") == ("CONFIG_A=y",)
    assert got.rules.settings("6.4.0") == ()
    assert got.digest == series.load(directory).digest


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[[config]]\nversions = ""\n', "'lines' is missing"),
        ("[[without]]\n", "'patch' is missing"),
        ("nonsense = 1\n", "'nonsense' means nothing here"),
        ("[[without\n", "series.toml"),
        ('[[without]]\npatch = "a"\nversions = "=6"\nreason = ""\n', "no bound of a version"),
        ('[[tests]]\nsince = "a: gone"\nrun = []\n', "no patch has the subject 'a: gone'"),
    ],
)
def test_rules_that_make_no_sense(directory: Path, text: str, said: str) -> None:
    with pytest.raises(PatchError, match=said):
        rule(directory, text)
