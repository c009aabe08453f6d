# SPDX-License-Identifier: GPL-2.0-or-later
"""The few git commands we need, apart from the user's own configuration.

Identity and dates are fixed, so the same content gives the same commit ids
on every machine.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from hptresize.base import proc
from hptresize.base.errors import HptResizeError, TreeError

IDENTITY = "hptresize"
EMAIL = "hptresize@localhost"
DATE = "2000-01-01T00:00:00+0000"

ENV = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_EDITOR": "true",
    "LC_ALL": "C.UTF-8",
    "GIT_AUTHOR_NAME": IDENTITY,
    "GIT_AUTHOR_EMAIL": EMAIL,
    "GIT_AUTHOR_DATE": DATE,
    "GIT_COMMITTER_NAME": IDENTITY,
    "GIT_COMMITTER_EMAIL": EMAIL,
    "GIT_COMMITTER_DATE": DATE,
}
# Where these are set (a git hook that runs our tests), git would work on the wrong repository.
_FOREIGN = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_OBJECT_DIRECTORY")


def command(repo: Path, *words: str | os.PathLike[str]) -> list[str | os.PathLike[str]]:
    """Return the command line that runs git in a repository, whoever owns it."""
    unset = [word for name in _FOREIGN for word in ("-u", name)]
    return [
        "env", *unset, "git", "-c", "safe.directory=*", "-c", "core.fsmonitor=false",
        "-C", repo, *words,
    ]  # fmt: skip


def git(
    repo: Path,
    *words: str | os.PathLike[str],
    what: str = "",
    data: bytes | None = None,
    env: Mapping[str, str] | None = None,
    error: type[HptResizeError] = TreeError,
) -> str:
    """Run git in a repository and return its output, without the last newline.

    :param what: what it is for, for the message of a failure.
    :param env: replaces parts of :data:`ENV`.
    :raises error: git failed.
    """
    named = what or f"git {' '.join(str(w) for w in words[:2])} in {repo}"
    out = proc.output(
        command(repo, *words), what=named, env={**ENV, **(env or {})}, data=data, error=error
    )
    return out.decode(errors="replace").rstrip("\n")


def known(repo: Path, rev: str) -> str | None:
    """Return the object id that a revision names, None if there is no such thing."""
    try:
        return git(repo, "rev-parse", "--quiet", "--verify", rev)
    except TreeError:
        return None


def directory(repo: Path) -> Path:
    """Return where git keeps what belongs to a work tree (a linked one has a file .git)."""
    mark = repo / ".git"
    if mark.is_file():
        return Path(mark.read_text().removeprefix("gitdir:").strip())
    return mark


def create(repo: Path) -> None:
    """Make an empty repository that is quick to fill: no compression, no fsync, no gc."""
    git(repo, "init", "--quiet", "--initial-branch=pristine", ".")
    for setting in (
        "core.compression=0", "core.fsync=none", "gc.auto=0", "core.preloadIndex=true",
        "core.autocrlf=false", "advice.detachedHead=false", "index.threads=true",
        f"user.name={IDENTITY}", f"user.email={EMAIL}",
    ):  # fmt: skip
        name, _, value = setting.partition("=")
        git(repo, "config", name, value)


def commit_all(repo: Path, message: str, *, new: Sequence[str] = ("-A", "-f")) -> str:
    """Commit the whole work tree and return the commit's id."""
    git(repo, "add", *new, ".", what=f"add all files of {repo}")
    git(repo, "commit", "--quiet", "--no-verify", "--allow-empty", "-m", message)
    return git(repo, "rev-parse", "HEAD")
