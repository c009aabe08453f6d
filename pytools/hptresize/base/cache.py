# SPDX-License-Identifier: GPL-2.0-or-later
"""Results of long work, kept by what went into them.

A directory under the cache is complete or not there: it is made beside its
place and renamed. One lock for each key keeps two processes from making the
same thing; the kernel drops the lock with the process that held it.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from hptresize.base import progress
from hptresize.base.errors import HptResizeError, NoSpace, UsageError

log = logging.getLogger(__name__)

GIGA = 1 << 30

# Only these are ever removed: the cache may have been put into somebody's own directory.
MADE = ("artifacts", "build", "ccache", "checks", "image", "logs", "run")
FETCHED = ("apt", "debs", "downloads", "notes", "trees", "locks")


def digest(*parts: str | bytes | Path | None) -> str:
    """Hash what determines a result: texts, bytes, and the contents of files.

    :returns: 64 hex digits. Part boundaries count: ("ab", "c") is not ("a", "bc").
    """
    total = hashlib.sha256()
    for part in parts:
        if part is None:
            blob = b"\0none"
        elif isinstance(part, Path):
            blob = part.read_bytes()
        else:
            blob = part.encode() if isinstance(part, str) else part
        total.update(len(blob).to_bytes(8, "big") + blob)
    return total.hexdigest()


def default_root() -> Path:
    """Where the cache lies: HPTRESIZE_CACHE, else the user's cache directory."""
    if own := os.environ.get("HPTRESIZE_CACHE"):
        return Path(own).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "hptresize"


@contextlib.contextmanager
def explained(where: Path) -> Iterator[None]:
    """Turn a full or unwritable disk into one line that says so.

    :raises NoSpace: the disk is full. UsageError: we may not write there.
    """
    try:
        yield
    except OSError as err:
        if err.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoSpace(
                f"no space left under {where}",
                hint="free some, run `hptresize clean`, or give another place with --cache",
            ) from err
        if err.errno in (errno.EACCES, errno.EROFS, errno.ENOTDIR, errno.EPERM, errno.EEXIST):
            raise UsageError(
                f"cannot write under {where}: {err.strerror}", hint="give a place with --cache DIR"
            ) from err
        raise


class Cache:
    """The cache directory.

    :param root: where; None takes :func:`default_root`.
    """

    def __init__(self, root: Path | None = None) -> None:
        self.root = (root or default_root()).absolute()
        with explained(self.root):
            self.root.mkdir(parents=True, exist_ok=True)

    @property
    def logs(self) -> Path:
        """Directory of the log files."""
        return self.sub("logs")

    def sub(self, name: str) -> Path:
        """Return a directory under the cache, made if need be."""
        path = self.root / name
        with explained(self.root):
            path.mkdir(parents=True, exist_ok=True)
        return path

    @contextlib.contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Hold a named lock; says so if somebody else has it and waits."""
        own = FileLock(self.sub("locks") / f"{name}.lock")
        with explained(self.root):
            try:
                own.acquire(timeout=0)
            except Timeout:
                progress.say(f"waiting for another hptresize that works on {name}")
                own.acquire()
        try:
            yield
        finally:
            own.release()

    def need(self, size: int, what: str) -> None:
        """Check that so many bytes are free before long work begins.

        :raises NoSpace: they are not.
        """
        free = shutil.disk_usage(self.root).free
        if free < size:
            raise NoSpace(
                f"{what} needs {size / GIGA:.1f} GB under {self.root}, "
                f"{free / GIGA:.1f} GB are free",
                hint="free some, or give another place with --cache",
            )

    def has(self, kind: str, key: str) -> Path | None:
        """Return the complete directory of a key, None if there is none."""
        path = self.root / kind / key
        return path if path.is_dir() else None

    def dir(self, kind: str, key: str, make: Callable[[Path], None], what: str) -> Path:
        """Return the directory of a key, made now if it is not there yet.

        :param kind: family of results, a directory of the cache.
        :param key: names the result by all that went into it.
        :param make: fills the (existing, empty) directory it is given.
        :param what: what it is, for messages.
        """
        if (path := self.has(kind, key)) is not None:
            progress.say(f"{what}: from the cache ({kind}/{key})")
            return path
        path = self.sub(kind) / key
        with self.lock(f"{kind}-{key}"):
            if path.is_dir():  # another process made it while we waited
                progress.say(f"{what}: from the cache ({kind}/{key})")
                return path
            self._sweep(path)
            fresh = path.with_name(f".tmp-{key}-{os.getpid()}")
            try:
                with explained(self.root):
                    fresh.mkdir()
                    make(fresh)
                    fresh.rename(path)
            except BaseException:
                shutil.rmtree(fresh, ignore_errors=True)
                raise
        return path

    @staticmethod
    def _sweep(path: Path) -> None:
        """Remove what a killed process left of a key; its lock is ours now."""
        for old in path.parent.glob(f".tmp-{path.name}-*"):
            log.info("removing half-made %s", old)
            shutil.rmtree(old, ignore_errors=True)

    def note(self, name: str, family: str = "notes") -> dict[str, object]:
        """Read a small named record, empty if there is none or it is damaged."""
        try:
            got = json.loads((self.root / family / f"{name}.json").read_text())
        except (OSError, ValueError):
            return {}
        return got if isinstance(got, dict) else {}

    def set_note(self, name: str, value: dict[str, object], family: str = "notes") -> None:
        """Write a small named record, whole or not at all."""
        path = self.sub(family) / f"{name}.json"
        with explained(self.root):
            fresh = path.with_name(f".{path.name}.{os.getpid()}")
            fresh.write_text(json.dumps(value, indent=1) + "\n")
            fresh.replace(path)

    def clean(self, *, everything: bool) -> int:
        """Remove build results, or (everything) downloads and trees as well.

        :returns: bytes freed, by the file system's account.
        :raises UsageError: a work tree of `series edit` needs the trees.
        :raises HptResizeError: something could not be removed.
        """
        edited = [path.name for path in (self.root / "edit").glob("*")]
        if everything and edited:
            raise UsageError(
                f"work trees of `hptresize series edit` are in use under {self.root / 'edit'}",
                hint=f"run `hptresize series drop {edited[0].replace('-', ' --')}` first",
            )
        before = shutil.disk_usage(self.root).free
        for name in (*MADE, *(FETCHED if everything else ())):
            path = self.root / name
            try:
                if path.is_dir():
                    shutil.rmtree(path)
            except OSError as err:
                raise HptResizeError(f"cannot remove {path}: {err.strerror}") from err
        return max(0, shutil.disk_usage(self.root).free - before)
