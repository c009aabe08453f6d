# SPDX-License-Identifier: GPL-2.0-or-later
"""Where trees come from: told apart, copied, never changed, wrong ones refused in one line."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

import small_tree
from hptresize import series
from hptresize.base import git as gitcmd
from hptresize.base.cache import Cache
from hptresize.base.errors import BaselineError, FetchError, PatchError, TreeError, UsageError
from hptresize.base.git import git
from hptresize.trees import origin
from hptresize.trees.tree import Tree


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


@pytest.fixture
def kernel(tmp_path: Path) -> Path:
    """As little as looks like a kernel tree."""
    return small_tree.make(tmp_path / "user" / "linux")


@pytest.fixture(autouse=True)
def little_space(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Cache, "need", lambda *args: None)


def _snapshot(root: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path): (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def test_a_directory_is_copied_and_left_alone(cache: Cache, kernel: Path) -> None:
    before = _snapshot(kernel)
    tree = origin.resolve(cache, "kernel", str(kernel))
    assert tree.title == "Linux 6.12.7"
    assert tree.path.is_relative_to(cache.root)
    assert (tree.path / "init/main.c").read_text() == "init/main.c\n"
    assert _snapshot(kernel) == before


def test_the_same_directory_is_taken_from_the_cache(cache: Cache, kernel: Path) -> None:
    first = origin.resolve(cache, "kernel", str(kernel))
    assert origin.resolve(cache, "kernel", str(kernel)) == first
    (kernel / "init/main.c").write_text("changed\n")
    changed = origin.resolve(cache, "kernel", str(kernel))
    assert changed.key != first.key
    assert (changed.path / "init/main.c").read_text() == "changed\n"


def test_a_tarball_with_one_top_directory(cache: Cache, kernel: Path, tmp_path: Path) -> None:
    tarball = tmp_path / "linux.tar.xz"
    subprocess.run(["tar", "-cJf", tarball, "-C", kernel.parent, "linux"], check=True)
    tree = origin.resolve(cache, "kernel", str(tarball))
    assert (tree.path / "Kbuild").is_file()


def test_the_same_content_has_the_same_id_however_it_came(
    cache: Cache, kernel: Path, tmp_path: Path
) -> None:
    tarball = tmp_path / "linux.tar.gz"
    subprocess.run(["tar", "-czf", tarball, "-C", kernel.parent, "linux"], check=True)
    ids = {
        tree.content(tree.commit("stock", tmp_path))
        for tree in (
            origin.resolve(cache, "kernel", str(tarball)),
            origin.resolve(cache, "kernel", str(kernel)),
        )
    }
    assert len(ids) == 1


def test_a_git_tree_at_a_revision(cache: Cache, kernel: Path) -> None:
    gitcmd.create(kernel)
    gitcmd.commit_all(kernel, "one")
    git(kernel, "tag", "v1")
    (kernel / "init/main.c").write_text("two\n")
    gitcmd.commit_all(kernel, "two")
    (kernel / "init/main.c").write_text("not committed\n")
    old = origin.resolve(cache, "kernel", f"{kernel}@v1")
    assert (old.path / "init/main.c").read_text() == "init/main.c\n"
    now = origin.resolve(cache, "kernel", str(kernel))
    assert (now.path / "init/main.c").read_text() == "not committed\n"
    with pytest.raises(UsageError, match="no git revision 'v9'"):
        origin.resolve(cache, "kernel", f"{kernel}@v9")


def test_what_git_ignores_is_not_copied(cache: Cache, kernel: Path) -> None:
    gitcmd.create(kernel)
    (kernel / ".gitignore").write_text("*.o\n")
    gitcmd.commit_all(kernel, "one", new=())
    (kernel / "init/main.o").write_text("object")
    tree = origin.resolve(cache, "kernel", str(kernel))
    assert not (tree.path / "init/main.o").exists()


@pytest.mark.parametrize(
    ("spec", "what"),
    [
        ("{tmp}/none", "no such file or directory"),
        ("{tmp}/none@v6", "no such file or directory"),
        ("{tmp}/text", "neither a directory nor a tarball"),
    ],
)
def test_wrong_places(tmp_path: Path, spec: str, what: str) -> None:
    (tmp_path / "text").write_text("x")
    with pytest.raises(UsageError, match=what):
        origin.parse_origin("kernel", spec.format(tmp=tmp_path))


def test_a_tree_of_the_wrong_kind(cache: Cache, kernel: Path, tmp_path: Path) -> None:
    with pytest.raises(TreeError, match=r"is not a QEMU source tree: .*; it is a Linux tree"):
        origin.resolve(cache, "qemu", str(kernel))
    tarball = tmp_path / "x.tar"
    subprocess.run(["tar", "-cf", tarball, "-C", kernel.parent, "linux"], check=True)
    with pytest.raises(TreeError, match="is not a QEMU source tree"):
        origin.resolve(cache, "qemu", str(tarball))
    assert list((cache.root / "trees").iterdir()) == []


def test_a_damaged_tarball(cache: Cache, kernel: Path, tmp_path: Path) -> None:
    tarball = tmp_path / "linux.tar.xz"
    (kernel / "random").write_bytes(os.urandom(100000))
    subprocess.run(["tar", "-cJf", tarball, "-C", kernel.parent, "linux"], check=True)
    os.truncate(tarball, tarball.stat().st_size // 2)
    with pytest.raises(FetchError, match=r"cannot be unpacked: .*; remove it"):
        origin.resolve(cache, "kernel", str(tarball))
    assert list((cache.root / "trees").iterdir()) == []


def test_specs_of_debian() -> None:
    assert origin.parse_origin("kernel", None).place == "trixie"
    assert origin.parse_origin("kernel", "debian:sid").place == "sid"
    got = origin.parse_origin("qemu", "debian:trixie=1:10.0.2+ds-1")
    assert (got.place, got.rev) == ("trixie", "1:10.0.2+ds-1")


def _series(tree: Tree, where: Path, text: str, name: str = "init/main.c") -> Path:
    """Write a series of one patch that appends to a file of the stock tree, or makes it."""
    git(tree.path, "checkout", "--quiet", "--detach", "refs/tags/stock")
    with (tree.path / name).open("a") as out:
        out.write(text)
    tip = gitcmd.commit_all(tree.path, "main: more")
    where.mkdir()
    series.refresh(tree.path, "refs/tags/stock", tip, where)
    return where


def test_variants(cache: Cache, kernel: Path, tmp_path: Path) -> None:
    tree = origin.resolve(cache, "kernel", str(kernel))
    patches = _series(tree, tmp_path / "patches", "more\n")
    with tree.lock():
        # Nothing of the feature is in this tree, so the baseline is the stock tree.
        assert tree.content(tree.checkout("baseline", patches)) == tree.content("refs/tags/stock")
        untouched = (tree.path / "Kbuild").stat().st_mtime_ns
        tree.checkout("series", patches)
        assert (tree.path / "init/main.c").read_text() == "init/main.c\nmore\n"
        tree.checkout("stock", patches)
        assert (tree.path / "init/main.c").read_text() == "init/main.c\n"
        assert (tree.path / "Kbuild").stat().st_mtime_ns == untouched


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("init/main.c", r"0001-main-more\.patch does not apply: the tree has it already"),
        ("init/more.c", r"Linux 6\.12\.7 has the series already: init/more\.c is a file of it"),
    ],
)
def test_a_tree_that_has_the_series_already(
    cache: Cache, kernel: Path, tmp_path: Path, name: str, said: str
) -> None:
    tree = origin.resolve(cache, "kernel", str(kernel))
    patches = _series(tree, tmp_path / "patches", "more\n", name)
    with (kernel / name).open("a") as out:
        out.write("more\n")
    tree = origin.resolve(cache, "kernel", str(kernel))
    with tree.lock(), pytest.raises((PatchError, BaselineError), match=said):
        tree.checkout("series", patches)
    assert (tree.path / name).read_text().endswith("more\n")


def test_a_series_that_does_not_fit_can_be_mended(
    cache: Cache, kernel: Path, tmp_path: Path
) -> None:
    tree = origin.resolve(cache, "kernel", str(kernel))
    patches = _series(tree, tmp_path / "patches", "more\n")
    patch = next(patches.glob("0001-*"))
    good = patch.read_text()
    patch.write_text(good.replace(" init/main.c\n", " init/other.c\n"))
    with tree.lock():
        with pytest.raises(PatchError, match="does not apply"):
            tree.checkout("series", patches)
        patch.write_text(good)
        tree.checkout("series", patches)
    assert (tree.path / "init/main.c").read_text() == "init/main.c\nmore\n"


def test_marks_of_an_interrupted_checkout_are_overcome(
    cache: Cache, kernel: Path, tmp_path: Path
) -> None:
    tree = origin.resolve(cache, "kernel", str(kernel))
    (tree.path / ".git" / "index.lock").write_text("")
    (tree.path / "left-over.c").write_text("")
    with tree.lock():
        tree.checkout("stock", tmp_path)
    assert not (tree.path / "left-over.c").exists()
