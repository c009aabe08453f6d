# SPDX-License-Identifier: GPL-2.0-or-later
"""Source trees: the git repositories of our own that hold them.

A tree has one repository with one work tree in the cache. Its commits are
`stock` (as it came), `baseline` (the merged feature taken out) and `series`
(our patches on the baseline). Work switches between them by checkout, so only
files that differ get new times and a build stays incremental. What a user
gives us is copied, never changed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from hptresize import series as seriesmod
from hptresize.base import git as gitcmd
from hptresize.base import progress
from hptresize.base.cache import GIGA, Cache, digest
from hptresize.base.errors import BaselineError, TreeError
from hptresize.base.git import git
from hptresize.base.kinds import Kind
from hptresize.series import Series
from hptresize.series.home import BASE, Variant, load_series
from hptresize.trees import strip
from hptresize.trees.strip import detect, strip_tree, tree_version


@dataclasses.dataclass(frozen=True)
class KindFacts:
    """What we need to know of one kind of tree to fetch and keep it."""

    title: str
    package: str  # Debian's source package
    space: int  # bytes that tree, repository and build need
    build_dirs: tuple[str, ...]  # what a user's own builds may have left


KINDS: dict[Kind, KindFacts] = {
    "kernel": KindFacts("Linux", "linux", 5 * GIGA, ()),
    "qemu": KindFacts("QEMU", "qemu", 2 * GIGA, ("build",)),
}


def check_kind(root: Path, kind: Kind) -> str:
    """Check that a directory holds a tree of a kind; return its version, e.g. 6.12.107.

    :raises TreeError: it does not; says what is missing, and what it is instead.
    """
    try:
        return tree_version(root, kind)
    except TreeError as err:
        other = detect(root)
        hint = f"it is a {KINDS[other].title} tree" if other else err.hint
        raise TreeError(err.what, hint=hint) from err


@dataclasses.dataclass(frozen=True)
class Tree:
    """A source tree in the cache.

    :ivar path: its work tree; only change what is checked out while holding :meth:`lock`.
    """

    kind: Kind
    key: str
    path: Path
    cache: Cache

    @property
    def title(self) -> str:
        """What to call it in messages."""
        return f"{KINDS[self.kind].title} {self.version}"

    @property
    def version(self) -> str:
        """The tree's own version, e.g. 6.12.107."""
        return check_kind(self.path, self.kind)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other processes from switching the tree or building in it."""
        with self.cache.lock(f"tree-{self.key}"):
            yield

    def known(self, variant: Variant, patches: Path | Series) -> str | None:
        """Return the id of a variant's commit if it has been made; needs no lock."""
        if variant == "stock":
            return gitcmd.known(self.path, "refs/tags/stock")
        if variant == "baseline":
            return gitcmd.known(self.path, self.baseline_tag)
        base = self.known(BASE[variant], patches)
        if base is None:
            return None
        return self._applied(base, load_series(variant, patches).for_version(self.version))

    def commit(self, variant: Variant, patches: Path | Series) -> str:
        """Return the id of a variant's commit, made now if need be (call with the lock held).

        :param patches: directory of the series, the fixes are in its mainline/; or a series.
        :raises BaselineError: the merged feature is not as described.
        :raises PatchError: the series does not apply.
        """
        if (made := self.known(variant, patches)) is not None:
            return made
        if variant == "baseline":
            return self._make_baseline(patches)
        base = self.commit(BASE[variant], patches)
        series = load_series(variant, patches).for_version(self.version)
        count = len(series.patches)
        # What is changed is mostly one of the later patches.
        made = None
        while made is None:
            count -= 1
            made = self._applied(base, series.first(count))
        rest = series.patches[count:]
        with progress.step(f"apply {len(rest)} patches to {self.title}"):
            self.switch(made)
            for number, patch in enumerate(rest, count + 1):
                made = seriesmod.apply(
                    self.path, dataclasses.replace(series, patches=(patch,)), self.version
                )
                git(self.path, "update-ref", self._series_tag(base, series.first(number)), made)
        return made

    def _applied(self, base: str, series: Series) -> str | None:
        """Return the id of base with the patches on it, if it has been made."""
        if not series.patches:
            return base
        return gitcmd.known(self.path, self._series_tag(base, series))

    def apart(self) -> Tree:
        """Return the same tree with a work tree and a lock of its own, for long work."""

        key = f"{self.key}-apart"
        path = self.path.with_name(key)
        with self.cache.lock(f"trees-{key}"):
            if not (path / ".git").exists():
                with progress.step(f"make a work tree of its own of {self.title}"):
                    git(self.path, "worktree", "prune")
                    fresh = path.with_name(f".tmp-{key}")
                    shutil.rmtree(fresh, ignore_errors=True)
                    git(self.path, "worktree", "add", "-f", "-q", "--detach", fresh, "stock")
                    git(self.path, "worktree", "move", fresh, path)
        return dataclasses.replace(self, key=key, path=path)

    @property
    def baseline_tag(self) -> str:
        """Name of the baseline as the description of today makes it."""
        where = Path(strip.__file__).parent
        return f"refs/tags/baseline-{digest(self.kind, *sorted(where.glob('*.py')))[:16]}"

    @staticmethod
    def _series_tag(base: str, series: Series) -> str:
        return f"refs/tags/series-{digest(base, series.digest)[:16]}"

    def _make_baseline(self, patches: Path | Series) -> str:
        self.switch("refs/tags/stock")
        ours = patches if isinstance(patches, Series) else seriesmod.load(patches)
        for name in (name for patch in ours.patches for name in patch.creates):
            if (self.path / name).exists():
                raise BaselineError(
                    f"{self.title} has the series already: {name} is a file of it",
                    hint="give the tree without it; `--variant stock` builds this one as it is",
                )
        with progress.step(f"take the merged feature out of {self.title}"):
            try:
                strip_tree(self.path, self.kind)
                made = gitcmd.commit_all(self.path, "baseline: without HPT resizing", new=("-u",))
            except BaseException:
                git(self.path, "checkout", "--quiet", "--force", "refs/tags/stock")
                raise
        git(self.path, "update-ref", self.baseline_tag, made)
        return made

    def switch(self, rev: str) -> None:
        """Put a commit into the work tree (call with the lock held)."""
        # An interrupted checkout or git am may have left its marks; the lock is ours.
        own = gitcmd.directory(self.path)
        (own / "index.lock").unlink(missing_ok=True)
        shutil.rmtree(own / "rebase-apply", ignore_errors=True)
        git(self.path, "checkout", "--quiet", "--force", "--detach", rev)
        git(self.path, "clean", "--quiet", "-d", "--force")

    def checkout(self, variant: Variant, patches: Path | Series) -> str:
        """Put a variant into the work tree (call with the lock held); return its commit id."""
        commit = self.commit(variant, patches)
        self.switch(commit)
        return commit

    def artifact(
        self,
        variant: Variant,
        patches: Path | Series,
        *,
        key: Callable[[str], str],
        make: Callable[[Path, set[str]], None],
        what: str,
    ) -> Path:
        """Return what is built from a variant; the tree is locked only if it has to be built.

        :param key: names the result, given the id of the variant's content.
        :param make: builds in the checked-out tree into a directory; it is told the
            files that the series touches, in which a warning is an error.
        """

        def build(into: Path) -> None:
            self.checkout(variant, patches)
            touched = load_series(variant, patches).files if variant in BASE else ()
            make(into, set(touched))

        known = self.known(variant, patches)
        if known is not None and self.cache.has("artifacts", name := key(self.content(known))):
            return self.cache.dir("artifacts", name, build, what)
        with self.lock():
            name = key(self.content(self.commit(variant, patches)))
            return self.cache.dir("artifacts", name, build, what)

    def content(self, commit: str) -> str:
        """Return the id of a commit's content: the same files give the same id."""
        return git(self.path, "rev-parse", f"{commit}^{{tree}}")
