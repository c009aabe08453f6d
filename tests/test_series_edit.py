# SPDX-License-Identifier: GPL-2.0-or-later
"""Work on a series: a work tree with its commits, written back as files."""

from __future__ import annotations

from pathlib import Path

import pytest

import small_tree
from hptresize import cli, series
from hptresize.base import git as gitcmd
from hptresize.base import paths
from hptresize.base.cache import Cache
from hptresize.base.git import git
from hptresize.trees import origin


@pytest.fixture
def patches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A kernel tree in small, with a series of one patch on it."""
    root = small_tree.make(tmp_path / "linux")
    monkeypatch.setenv("HPTRESIZE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(Cache, "need", lambda *args: None)
    tree = origin.resolve(Cache(), "kernel", str(root))
    (tree.path / "init/main.c").write_text("init/main.c\nmore\n")
    tip = gitcmd.commit_all(tree.path, "main: say more\n\nIt said too little.")
    where = tmp_path / "patches"
    where.mkdir()
    (where / "cover.txt").write_text("say more\n\nMuch more.\n")
    series.refresh(tree.path, "refs/tags/stock", tip, where)
    monkeypatch.setattr(paths, "kernel_patches", lambda: where)
    return where


def run(patches: Path, *words: str) -> int:
    source = () if words[0] == "drop" else ("--kernel-source", str(patches.parent / "linux"))
    return cli.main(["series", *words, "kernel", *source])


def test_edit_and_refresh(patches: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(patches, "edit") == 0
    where = Path(capfd.readouterr().out.splitlines()[-1])
    assert (where / "init/main.c").read_text() == "init/main.c\nmore\n"
    assert git(where, "log", "--format=%s", "base..HEAD") == "main: say more"

    (where / "init/main.c").write_text("init/main.c\nmost\n")
    git(where, "commit", "--quiet", "--all", "--amend", "--no-edit")
    assert run(patches, "refresh", "--check") == 1
    assert "0001-main-say-more.patch" in capfd.readouterr().err
    assert run(patches, "refresh") == 0
    assert "+most" in (patches / "0001-main-say-more.patch").read_text()
    assert run(patches, "refresh", "--check") == 0


def test_work_is_not_thrown_away_unasked(patches: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(patches, "edit") == 0
    assert run(patches, "edit") == 2
    assert "exists already" in capfd.readouterr().err
    assert cli.main(["clean", "--all"]) == 2
    assert "series drop kernel" in capfd.readouterr().err
    assert run(patches, "drop") == 0
    assert cli.main(["clean", "--all"]) == 0


def test_what_changed_since_the_last_commit(
    patches: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    project = patches.parent
    (project / ".gitignore").write_text("/linux\n/cache\n")
    monkeypatch.setattr(paths, "project", lambda: project)
    gitcmd.create(project)
    gitcmd.commit_all(project, "the series", new=("-A",))
    assert run(patches, "diff") == 0
    assert "the same as HEAD has it" in capfd.readouterr().out

    assert run(patches, "edit") == 0
    where = Path(capfd.readouterr().out.splitlines()[-1])
    (where / "init/main.c").write_text("init/main.c\nmost\n")
    git(where, "commit", "--quiet", "--all", "--amend", "--no-edit")
    assert run(patches, "diff") == 0
    said = capfd.readouterr().out
    assert "1:" in said and "-+more" in said and "++most" in said
    assert run(patches, "diff", "--against", "nonsense") == 2


def test_a_tree_that_lacks_a_patch_is_none_to_refresh_from(
    patches: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    rule = '[[without]]\npatch = "main: say more"\nversions = "<6.13"\nreason = "not yet"\n'
    (patches / "series.toml").write_text(rule)
    assert run(patches, "refresh") == 2
    assert "does not get all patches" in capfd.readouterr().err
    assert (patches / "0001-main-say-more.patch").exists()


def test_show(patches: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["series", "show", "kernel"]) == 0
    said = capfd.readouterr().out
    assert said == "0001-main-say-more.patch: main: say more\n    init/main.c\n"


def test_the_corrections_of_mainline_are_a_series_of_their_own(
    patches: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    fixes = patches / "mainline"
    fixes.mkdir()
    (fixes / "cover.txt").write_text("mend it\n\nWell.\n")
    mend = (patches / "0001-main-say-more.patch").read_text().replace("more", "well")
    (fixes / "0001-main-say-well.patch").write_text(mend)
    assert run(patches, "refresh", "--mainline") == 0
    assert "Subject: [PATCH 0/1] mend it" in (fixes / "0000-cover-letter.patch").read_text()

    assert run(patches, "edit") == run(patches, "edit", "--mainline") == 0
    where = Path(capfd.readouterr().out.splitlines()[-1])
    assert (where / "init/main.c").read_text() == "init/main.c\nwell\n"
    (where / "init/main.c").write_text("init/main.c\nbest\n")
    git(where, "commit", "--quiet", "--all", "--amend", "--no-edit")
    assert run(patches, "refresh", "--mainline") == 0
    assert run(patches, "refresh", "--check") == 0
    assert "+best" in (fixes / "0001-main-say-well.patch").read_text()
    assert run(patches, "drop") == 0
    assert cli.main(["clean", "--all"]) == 2
    assert "series drop kernel --mainline`" in capfd.readouterr().err
    assert run(patches, "drop", "--mainline") == 0
