# SPDX-License-Identifier: GPL-2.0-or-later
"""A series as commits: a git work tree to change them in, written back, compared."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hptresize.base import git as gitcmd
from hptresize.base import paths, proc, progress
from hptresize.base.cache import Cache
from hptresize.base.errors import TreeError, UsageError
from hptresize.base.git import git
from hptresize.series.files import Series, load, refresh
from hptresize.series.home import BASE, Home
from hptresize.trees.tree import Tree


class WorkTree:
    """The work tree of `series edit`, of which there is one for each series.

    :ivar path: where it is, or would be.
    """

    def __init__(self, cache: Cache, home: Home) -> None:
        self.home = home
        self.path = cache.root / "edit" / home.words.replace(" --", "-")

    @property
    def exists(self) -> bool:
        """Whether somebody works there."""
        return self.path.exists()

    def make(self, tree: Tree) -> None:
        """Make it, one commit for each patch on top of what the series stands on.

        :raises UsageError: there is one. PatchError: the series does not apply to the tree.
        """
        if self.exists:
            raise UsageError(
                f"{self.path} exists already",
                hint=f"work there, or `hptresize series drop {self.home.words}`",
            )
        home = self.home
        with tree.lock():
            base = tree.commit(BASE[home.variant], home.patches)
            tip = tree.commit(home.variant, home.patches)
            onto, branch = home.branches
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with progress.step(f"make {self.path}"):
                git(tree.path, "worktree", "prune")
                git(tree.path, "branch", "--force", onto, base)
                git(tree.path, "worktree", "add", "-q", "-B", branch, self.path, tip)

    def drop(self) -> None:
        """Remove it, with whatever was changed there.

        :raises UsageError: there is none.
        """
        if not self.exists:
            raise UsageError(f"there is no work tree {self.path}")
        git(self._repository(), "worktree", "remove", "--force", self.path)

    def _repository(self) -> Path:
        return Path(git(self.path, "rev-parse", "--path-format=absolute", "--git-common-dir"))

    def commits(self, tree: Tree) -> tuple[str, str]:
        """Return base and tip of the series: of the work tree, else of the files.

        Call with the tree's lock held.

        :raises UsageError: the work tree belongs to another tree.
        """
        home = self.home
        if not self.exists:
            base = tree.commit(BASE[home.variant], home.patches)
            return base, tree.commit(home.variant, home.patches)
        if self._repository() != tree.path / ".git":
            raise UsageError(
                f"{self.path} was not made from {tree.title}",
                hint="give the same source as to `hptresize series edit`",
            )
        # The baseline may have been made anew since; the commits stand on theirs.
        base = git(tree.path, "rev-parse", f"refs/heads/{home.branches[0]}")
        return base, git(self.path, "rev-parse", "HEAD")

    def refresh(self, tree: Tree, *, write: bool) -> list[str]:
        """Write the files of the series anew; return the names of those that change.

        :param write: False only looks.
        :raises UsageError: the tree has not all of the series.
        """
        series = self.home.load()
        if series.for_version(tree.version).patches != series.patches:
            raise UsageError(
                f"{tree.title} does not get all patches of {self.home.directory}",
                hint="edit and refresh the series on its own tree",
            )
        with tree.lock():
            base, tip = self.commits(tree)
            return refresh(tree.path, base, tip, self.home.directory, write=write)


@contextmanager
def committed(home: Home, rev: str) -> Iterator[Series]:
    """Have the series as a commit of the project has it, its files in a directory for the time.

    :param rev: a revision of the project's repository, such as HEAD.
    :raises UsageError: the project is no git checkout, or has no such revision or series.
    """
    project = paths.project()
    if gitcmd.known(project, f"{rev}^{{commit}}") is None:
        raise UsageError(f"{project} has no git revision {rev!r}")
    name = home.directory.relative_to(project)
    files = gitcmd.git(
        project, "ls-tree", "--name-only", "--full-tree", rev, f"{name}/", error=TreeError
    ).splitlines()
    if not any(one.endswith(".patch") for one in files):
        raise UsageError(f"{rev} has no patches in {name}")
    with tempfile.TemporaryDirectory(prefix="hptresize-committed-") as where:
        for one in files:
            if one.endswith((".patch", ".txt", ".toml")):
                said = proc.output(
                    gitcmd.command(project, "show", f"{rev}:{one}"), what=f"read {one}"
                )
                (Path(where) / Path(one).name).write_bytes(said)
        yield load(Path(where))


def range_diff(tree: Tree, home: Home, old: Series, new: str, base: str) -> str:
    """Return what git range-diff says of an older state of a series (lock held).

    :param new: the newer tip, on base.
    :returns: empty if nothing differs.
    """
    old_base = tree.commit(BASE[home.variant], home.patches)
    old_tip = tree.commit(home.variant, old)
    if old_tip == new:
        return ""
    # Patches are matched by content; of a short one even a small change is most of it.
    words = ("range-diff", "--no-color", "--creation-factor=95")
    said = git(tree.path, *words, f"{old_base}..{old_tip}", f"{base}..{new}")
    same = all(" = " in line for line in said.splitlines() if line[:1].strip())
    return "" if same else said
