# SPDX-License-Identifier: GPL-2.0-or-later
"""The cache: complete or not there, one maker at a time, full disks told in one line."""

from __future__ import annotations

import errno
import queue
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from hptresize.base import cache as cachemod
from hptresize.base import progress
from hptresize.base.cache import Cache, digest
from hptresize.base.errors import NoSpace, UsageError


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def test_a_key_tells_parts_apart(tmp_path: Path) -> None:
    one = tmp_path / "one"
    one.write_text("b")
    assert digest("ab", "c") != digest("a", "bc")
    assert digest("a", "") != digest("a")
    assert digest("a", None) != digest("a", "")
    assert digest("a", one) == digest("a", b"b")


def test_made_once(cache: Cache) -> None:
    made: list[Path] = []

    def make(into: Path) -> None:
        made.append(into)
        (into / "file").write_text("x")

    first = cache.dir("kind", "key", make, "it")
    assert cache.dir("kind", "key", make, "it") == first
    assert len(made) == 1
    assert (first / "file").read_text() == "x"


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_what_fails_leaves_nothing(cache: Cache, error: type[BaseException]) -> None:
    def make(into: Path) -> None:
        (into / "half").write_text("x")
        raise error

    with pytest.raises(error):
        cache.dir("kind", "key", make, "it")
    assert cache.has("kind", "key") is None
    assert list((cache.root / "kind").iterdir()) == []


def test_what_a_killed_process_left_is_removed(cache: Cache) -> None:
    half = cache.sub("kind") / ".tmp-key-12345"
    half.mkdir()
    (half / "part").write_text("x")
    cache.dir("kind", "key", lambda into: None, "it")
    assert [path.name for path in (cache.root / "kind").iterdir()] == ["key"]


def test_two_makers_make_one(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second one waits for the lock, and the first goes on only when it has said so."""
    told: queue.Queue[str] = queue.Queue()
    go_on = threading.Event()
    monkeypatch.setattr(progress, "say", told.put)

    def slow(into: Path) -> None:
        told.put("slow makes it")
        assert go_on.wait(10)

    def start(make: Callable[[Path], None]) -> threading.Thread:
        maker = threading.Thread(target=cache.dir, args=("kind", "key", make, "it"))
        maker.start()
        return maker

    first = start(slow)
    assert told.get(timeout=10) == "slow makes it"
    second = start(lambda into: told.put("second makes it"))
    try:
        assert told.get(timeout=10) == "waiting for another hptresize that works on kind-key"
    finally:
        go_on.set()
        first.join(10)
        second.join(10)
    assert told.get(timeout=10) == "it: from the cache (kind/key)"
    assert told.empty()


def test_a_full_disk_is_one_line(cache: Cache) -> None:
    def make(into: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(NoSpace, match="no space left under"):
        cache.dir("kind", "key", make, "it")
    assert list((cache.root / "kind").iterdir()) == []


def test_space_is_checked_before(cache: Cache) -> None:
    with pytest.raises(NoSpace, match=r"the tree needs .* GB under"):
        cache.need(1 << 60, "the tree")


def test_a_file_in_the_place_of_the_cache(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="--cache DIR"):
        Cache(tmp_path / "file" / "cache")


def test_where_it_lies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HPTRESIZE_CACHE", str(tmp_path / "own"))
    assert cachemod.default_root() == tmp_path / "own"
    monkeypatch.delenv("HPTRESIZE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cachemod.default_root() == tmp_path / "xdg" / "hptresize"


def test_notes_survive_damage(cache: Cache) -> None:
    cache.set_note("n", {"path": "x"})
    assert cache.note("n") == {"path": "x"}
    (cache.root / "notes" / "n.json").write_text('{"pa')
    assert cache.note("n") == {}


def test_clean_leaves_what_is_not_ours(cache: Cache) -> None:
    for name in ("artifacts", "downloads", "somebody-elses"):
        (cache.sub(name) / "file").write_text("x")
    cache.clean(everything=False)
    assert sorted(path.name for path in cache.root.iterdir()) == ["downloads", "somebody-elses"]
    cache.clean(everything=True)
    assert sorted(path.name for path in cache.root.iterdir()) == ["somebody-elses"]


def test_clean_keeps_what_somebody_edits(cache: Cache) -> None:
    (cache.sub("edit") / "kernel").mkdir()
    cache.sub("trees")
    with pytest.raises(UsageError, match="series drop kernel"):
        cache.clean(everything=True)
    assert (cache.root / "trees").is_dir()
