# SPDX-License-Identifier: GPL-2.0-or-later
"""The files of a series: `git format-patch` in a directory, in order, with a cover letter.

The cover letter's text lives in cover.txt beside the patches (first line: its
subject); 0000-cover-letter.patch is made from it, like everything else by `refresh`.
"""

from __future__ import annotations

import dataclasses
import email
import email.policy
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

from hptresize.base.cache import digest
from hptresize.base.errors import PatchError, UsageError
from hptresize.base.git import git
from hptresize.series.rules import RULES, Rules, read_rules

COVER = "0000-cover-letter.patch"
COVER_TEXT = "cover.txt"


@dataclasses.dataclass(frozen=True)
class Patch:
    """One patch file.

    :ivar files: paths that it touches; :ivar creates: those that are new.
    """

    path: Path
    subject: str
    author: str
    files: tuple[str, ...]
    creates: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Series:
    """A directory of patches, in the order of their numbers."""

    directory: Path
    patches: tuple[Patch, ...]
    rules: Rules = dataclasses.field(default_factory=Rules)

    @property
    def files(self) -> tuple[str, ...]:
        """Paths that any of the patches touches, sorted."""
        return tuple(sorted({name for patch in self.patches for name in patch.files}))

    @property
    def digest(self) -> str:
        """Hash of all that makes a tree of it: the cover letter builds nothing."""
        return digest(self.rules.applying, *(patch.path for patch in self.patches))

    def first(self, count: int) -> Series:
        """Return the series of only the first patches."""
        return dataclasses.replace(self, patches=self.patches[:count])

    def for_version(self, version: str) -> Series:
        """Return the patches that a tree of a version gets, e.g. "6.1.187"."""
        kept = (p for p in self.patches if self.rules.reason_without(p.subject, version) is None)
        return dataclasses.replace(self, patches=tuple(kept))


def read_patch(path: Path) -> Patch:
    """Read one file of `git format-patch`.

    :raises PatchError: it is not such a file.
    """
    raw = path.read_bytes()
    message = email.message_from_bytes(raw, policy=email.policy.default)
    subject = str(message["Subject"] or "")
    if not raw.startswith(b"From ") or not subject:
        raise PatchError(f"{path} is not a patch made by git format-patch")
    text = raw.decode(errors="replace")
    files = re.findall(r"^diff --git a/(\S+) b/\S+$", text, re.MULTILINE)
    if not files:
        raise PatchError(f"{path} changes no file")
    plain = re.sub(r"^\[[^\]]*\]\s*", "", " ".join(subject.split()))
    creates = re.findall(r"^diff --git a/\S+ b/(\S+)\nnew file mode", text, re.MULTILINE)
    return Patch(path, plain, str(message["From"]), tuple(dict.fromkeys(files)), tuple(creates))


def load(directory: Path) -> Series:
    """Read the series in a directory.

    :raises UsageError: no such directory. PatchError: a number is missing or twice there,
        a file is no patch, or series.toml speaks of a patch that is not there.
    """
    if not directory.is_dir():
        raise UsageError(f"no such directory: {directory}")
    found = sorted(directory.glob("[0-9][0-9][0-9][0-9]-*.patch"))
    numbered = [path for path in found if not path.name.startswith("0000-")]
    for want, path in enumerate(numbered, 1):
        if int(path.name[:4]) != want:
            raise PatchError(
                f"{directory} should have a patch {want:04d} where it has {path.name}",
                hint="the numbers of a series go 1, 2, 3 without a gap",
            )
    series = Series(
        directory, tuple(read_patch(path) for path in numbered), read_rules(directory)
    )
    if lost := sorted(series.rules.subjects() - {one.subject for one in series.patches}):
        raise PatchError(f"{directory / RULES}: no patch has the subject {lost[0]!r}")
    return series


def format_patches(
    repo: Path, base: str, tip: str, out: Path, *, cover: str, prefix: str,
    extra: Sequence[str] = (),
) -> None:  # fmt: skip
    """Write the commits base..tip as a series, byte for byte the same each time.

    :param cover: text of the cover letter, its first line the subject.
    :param prefix: what stands in the brackets before the number, e.g. "RFC PATCH".
    :param extra: further options of git format-patch.
    """
    branch = "hptresize-export"
    # git signs a cover letter with the committer's name and date: those of the last patch.
    names = ("GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL", "GIT_COMMITTER_DATE")
    last = git(repo, "log", "-1", "--format=%an%n%ae%n%ad", tip).splitlines()
    git(repo, "branch", "--force", branch, tip)
    try:
        git(repo, "config", f"branch.{branch}.description", cover)
        git(
            repo, "format-patch", "--quiet", "--zero-commit", "--no-signature", "--numbered",
            "--no-renames", "--full-index", "--cover-letter", "--cover-from-description=subject",
            f"--subject-prefix={prefix}", "--diff-algorithm=myers", "--stat=72", "--no-thread",
            *extra, "-o", out.absolute(), f"{base}..{branch}",
            env=dict(zip(names, last, strict=True)),
        )  # fmt: skip
    finally:
        git(repo, "branch", "--quiet", "-D", branch)


def refresh(repo: Path, base: str, tip: str, directory: Path, *, write: bool = True) -> list[str]:
    """Write the commits base..tip over the series in a directory.

    :param write: False only looks what would change.
    :returns: names of the files that change, come or go; empty if none.
    """
    cover_file = directory / COVER_TEXT
    cover = cover_file.read_text() if cover_file.is_file() else "*** no cover.txt ***\n"
    with tempfile.TemporaryDirectory(prefix="hptresize-series-") as name:
        fresh = Path(name)
        format_patches(
            repo, base, tip, fresh, cover=cover.strip() + "\n", prefix=prefix_of(directory)
        )
        old = {path.name: path.read_bytes() for path in directory.glob("[0-9]*.patch")}
        new = {path.name: path.read_bytes() for path in fresh.glob("*.patch")}
    changed = sorted(n for n in old.keys() | new.keys() if old.get(n) != new.get(n))
    for one in changed if write else ():
        if one in new:
            (directory / one).write_bytes(new[one])
        else:
            (directory / one).unlink()
    return changed


def prefix_of(directory: Path) -> str:
    """Return the words in the subjects' brackets of the series that is there now."""
    for path in sorted(directory.glob("[0-9]*.patch")):
        match = re.search(r"^Subject: \[([^\]]*?)(?: \d+/\d+)?\]", path.read_text(), re.MULTILINE)
        if match is not None:
            return match[1]
    return "PATCH"
