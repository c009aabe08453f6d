# SPDX-License-Identifier: GPL-2.0-or-later
"""Source trees: where they come from, and the git repositories of our own that hold them.

A tree has one repository with one work tree in the cache. Its commits are
`stock` (as it came), `baseline` (the merged feature taken out) and `series`
(our patches on the baseline). Work switches between them by checkout, so only
files that differ get new times and a build stays incremental. What a user
gives us is copied, never changed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, get_args

from hptresize import series as seriesmod
from hptresize.apt import AptRoot
from hptresize.base import git as gitcmd
from hptresize.base import proc, progress
from hptresize.base.cache import GIGA, Cache, digest
from hptresize.base.errors import BaselineError, FetchError, TreeError, UsageError
from hptresize.base.git import git
from hptresize.base.kinds import Kind
from hptresize.baseline import detect, strip_tree, tree_version
from hptresize.series import Series

Variant = Literal["stock", "baseline", "series", "fixes"]
VARIANTS: tuple[Variant, ...] = get_args(Variant)
# Which variant a series of patches stands on.
BASE: dict[Variant, Variant] = {"series": "baseline", "fixes": "stock"}

# Goes up when trees that are in a cache already would not be made the same way again.
LAYOUT = "1"


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


def series_directory(variant: Variant, patches: Path) -> Path:
    """Return where the patches of a variant are.

    :param variant: "series" or "fixes".
    :param patches: directory of the series.
    """
    return patches / "mainline" if variant == "fixes" else patches


def load_series(variant: Variant, patches: Path | Series) -> Series:
    """Read the patches of a variant; there is at least one.

    :param patches: directory of the series, or what is read already.
    :raises UsageError: there is none. PatchError: see series.load.
    """
    if isinstance(patches, Series):
        return patches
    directory = series_directory(variant, patches)
    series = seriesmod.load(directory)
    if not series.patches:
        raise UsageError(f"{directory} has no patches")
    return series


@dataclasses.dataclass(frozen=True)
class Origin:
    """Where a tree comes from, before it is fetched."""

    kind: Kind
    form: Literal["debian", "tarball", "directory", "git"]
    place: str  # suite, or path
    rev: str = ""  # of git: revision; of debian: version

    def __str__(self) -> str:
        tail = f"@{self.rev}" if self.rev else ""
        return f"{self.form} {self.place}{tail}"


def parse_origin(kind: Kind, spec: str | None, rev: str | None = None) -> Origin:
    """Read what a user gave as --kernel-source or --qemu-source.

    :param spec: None or "debian" (the default), "debian:SUITE", "debian:SUITE=VERSION",
        the path of a tarball or directory, or "PATH@REVISION" of a git tree.
    :raises UsageError: it is none of these; names what is wrong.
    """
    if spec is None or spec == "debian" or spec.startswith("debian:"):
        suite, _, version = (spec or "").removeprefix("debian").removeprefix(":").partition("=")
        return Origin(kind, "debian", suite or "trixie", version)
    path = Path(spec).expanduser()
    if rev is None and not path.exists() and "@" in spec:
        head, _, rev = spec.rpartition("@")
        path = Path(head).expanduser()
    if not path.exists():
        raise UsageError(
            f"--{kind}-source {spec}: no such file or directory",
            hint="give a tarball, a directory, PATH@REVISION of a git tree, or debian:SUITE",
        )
    path = path.absolute()
    if rev is not None:
        commit = gitcmd.known(path, f"{rev}^{{commit}}") if path.is_dir() else None
        if commit is None:
            raise UsageError(f"--{kind}-source: {path} has no git revision {rev!r}")
        return Origin(kind, "git", str(path), commit)
    if path.is_dir():
        check_kind(path, kind)
        return Origin(kind, "directory", str(path))
    if not re.search(r"\.(tar(\.\w+)?|tgz|txz)$", path.name):
        raise UsageError(f"--{kind}-source {spec} is neither a directory nor a tarball")
    return Origin(kind, "tarball", str(path))


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
        where = Path(__file__).parent / "baseline"
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


def resolve(cache: Cache, kind: Kind, spec: str | None = None, rev: str | None = None) -> Tree:
    """Return the tree that a user asked for, fetched and unpacked if the cache has none.

    :param spec: see :func:`parse_origin`.
    :raises UsageError, FetchError, TreeError, NoSpace: it cannot be had.
    """
    origin = parse_origin(kind, spec, rev)
    if origin.form == "debian":
        apt = AptRoot(cache, origin.place)
        tarball = apt.source_tarball(KINDS[kind].package, origin.rev or None)
        stem = re.sub(r"\.orig\.tar\.\w+$", "", tarball.name)
        return _tree(cache, origin, f"{stem}-{LAYOUT}", tarball)
    path = Path(origin.place)
    if origin.form == "tarball":
        with progress.step(f"read {path.name}"), path.open("rb") as data:
            mark = hashlib.file_digest(data, "sha256").hexdigest()
    elif origin.form == "git":
        mark = origin.rev
    else:
        mark = fingerprint(path)
    return _tree(cache, origin, f"{kind}-{digest(origin.form, mark, LAYOUT)[:16]}", path)


def fingerprint(root: Path) -> str:
    """Hash names, sizes and times of a directory's files (what git ignores is left out)."""
    total = hashlib.sha256()
    for name in files_of(root):
        facts = (root / name).lstat()
        total.update(f"{name}\0{facts.st_size}\0{facts.st_mtime_ns}\0{facts.st_mode}\n".encode())
    return total.hexdigest()


def files_of(root: Path) -> list[str]:
    """List a directory's files relative to it; of a git tree those that git does not ignore."""
    if (root / ".git").exists():
        listed = git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
        names = [name for name in listed.split("\0") if name]
        return sorted(name for name in set(names) if os.path.lexists(root / name))
    found: list[str] = []
    for directory, _, files in os.walk(root):
        rel = os.path.relpath(directory, root)
        found += [os.path.normpath(f"{rel}/{name}") for name in files]
    return sorted(found)


def _tree(cache: Cache, origin: Origin, key: str, path: Path) -> Tree:
    """Fill the repository of a tree and commit it as `stock`."""
    kind = origin.kind
    facts = KINDS[kind]

    def make(into: Path) -> None:
        cache.need(facts.space, f"the {facts.title} tree and its build")
        if origin.form in ("debian", "tarball"):
            unpack(path, into)
        elif origin.form == "git":
            _export(path, origin.rev, into)
        else:
            _copy(path, into)
        for name in facts.build_dirs:
            shutil.rmtree(into / name, ignore_errors=True)
        if kind == "kernel" and (into / ".config").exists():
            # The user built in place; a build elsewhere refuses such a tree.
            proc.output(["make", "-C", into, "mrproper"], what="make mrproper in our copy")
        version = check_kind(into, kind)
        with progress.step(f"record {facts.title} {version} in a repository of our own"):
            shutil.rmtree(into / ".git", ignore_errors=True)
            gitcmd.create(into)
            stock = gitcmd.commit_all(into, f"stock: {facts.title} {version}")
            git(into, "update-ref", "refs/tags/stock", stock)

    return Tree(kind, key, cache.dir("trees", key, make, f"{facts.title} tree"), cache)


_DECOMPRESS = {b"\xfd7zXZ": "-J", b"\x1f\x8b": "-z", b"BZh": "-j", b"\x28\xb5\x2f\xfd": "--zstd"}


def unpack(tarball: Path, into: Path) -> None:
    """Unpack a tarball into an empty directory; a single top directory is left out.

    :raises FetchError: it is damaged.
    """
    size = tarball.stat().st_size
    with progress.step(f"unpack {tarball.name}") as step, tarball.open("rb") as data:
        head = data.read(6)
        data.seek(0)
        how = [flag for magic, flag in _DECOMPRESS.items() if head.startswith(magic)]
        words: list[str | Path] = ["tar", "-x", *how, "-C", into, "-f", "-", "--no-same-owner"]
        with proc.started(words, stdin=subprocess.PIPE, env={"XZ_DEFAULTS": "-T0"}) as child:
            assert child.stdin is not None and child.stdout is not None
            done = 0
            with contextlib.suppress(BrokenPipeError):
                while chunk := data.read(1 << 20):
                    child.stdin.write(chunk)
                    done += len(chunk)
                    step.update(done / 1e6, size / 1e6, "MB")
                child.stdin.close()
            said = child.stdout.read().decode(errors="replace")
            child.wait()
        if child.returncode:
            if "No space left" in said:
                raise OSError(28, "No space left on device")
            raise FetchError(
                f"{tarball} cannot be unpacked: {proc.likely_cause(said.splitlines())}",
                hint="remove it and try again",
            )
    inside = list(into.iterdir())
    if len(inside) == 1 and inside[0].is_dir():
        top = inside[0].rename(into / ".unpacked-top")
        for one in list(top.iterdir()):
            one.rename(into / one.name)
        top.rmdir()


def _export(repo: Path, commit: str, into: Path) -> None:
    """Write the files of a commit of a user's git tree."""
    archive = into.with_name(f"{into.name}.tar")
    with progress.step(f"copy {repo} at {commit[:12]}"):
        try:
            git(repo, "archive", "--format=tar", "-o", archive, commit)
            proc.output(["tar", "-x", "-C", into, "-f", archive], what="unpack the copy")
        finally:
            archive.unlink(missing_ok=True)


def _copy(root: Path, into: Path) -> None:
    """Copy a user's directory."""
    with progress.step(f"copy {root}"):
        names = "\0".join(files_of(root)).encode()
        archive = into.with_name(f"{into.name}.tar")
        try:
            proc.output(
                ["tar", "-c", "-C", root, "--null", "--no-recursion", "-T", "-", "-f", archive],
                what=f"read {root}", data=names, error=TreeError,
            )  # fmt: skip
            proc.output(["tar", "-x", "-C", into, "-f", archive], what="write the copy")
        finally:
            archive.unlink(missing_ok=True)
