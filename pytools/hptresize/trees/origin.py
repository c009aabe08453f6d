# SPDX-License-Identifier: GPL-2.0-or-later
"""Where a source tree comes from: Debian, a tarball, a directory or a git revision."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Literal

from hptresize.base import git as gitcmd
from hptresize.base import proc, progress
from hptresize.base.cache import Cache, digest
from hptresize.base.errors import FetchError, TreeError, UsageError
from hptresize.base.git import git
from hptresize.base.kinds import Kind
from hptresize.trees.debian import AptRoot
from hptresize.trees.tree import KINDS, Tree, check_kind

# Goes up when trees that are in a cache already would not be made the same way again.
LAYOUT = "1"


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
