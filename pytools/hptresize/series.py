# SPDX-License-Identifier: GPL-2.0-or-later
"""Patch series: files of `git format-patch` in a directory, in order, with a cover letter.

The cover letter's text lives in cover.txt beside the patches (first line: its
subject); 0000-cover-letter.patch is made from it, like everything else by `refresh`.
"""

from __future__ import annotations

import dataclasses
import email
import email.policy
import re
import tempfile
from pathlib import Path

from . import git as gitcmd
from . import proc
from .cache import digest
from .errors import PatchError, UsageError
from .git import git

COVER = "0000-cover-letter.patch"
COVER_TEXT = "cover.txt"


@dataclasses.dataclass(frozen=True)
class Patch:
    """One patch file."""

    path: Path
    subject: str
    author: str
    files: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Series:
    """A directory of patches, in the order of their numbers."""

    directory: Path
    patches: tuple[Patch, ...]

    @property
    def files(self) -> tuple[str, ...]:
        """Paths that any of the patches touches, sorted."""
        return tuple(sorted({name for patch in self.patches for name in patch.files}))

    @property
    def digest(self) -> str:
        """Hash of all patches, the cover letter left out: it builds nothing."""
        return digest(*(patch.path for patch in self.patches))


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
    return Patch(path, plain, str(message["From"]), tuple(dict.fromkeys(files)))


def load(directory: Path) -> Series:
    """Read the series in a directory.

    :raises UsageError: no such directory. PatchError: a number is missing or twice there,
        or a file is no patch.
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
    return Series(directory, tuple(read_patch(path) for path in numbered))


def apply(repo: Path, series: Series) -> str:
    """Apply a series with `git am` on what is checked out; return the new commit's id.

    Where a patch does not apply the tree is left as it was.

    :raises PatchError: names the patch, the file and the line of the hunk.
    """
    if not series.patches:
        return git(repo, "rev-parse", "HEAD")
    proc.output(["rm", "-rf", repo / ".git" / "rebase-apply"], what="forget an interrupted git am")
    words = gitcmd.command(
        repo, "am", "--quiet", "--keep-cr", "--whitespace=nowarn",
        "--committer-date-is-author-date", *(patch.path.absolute() for patch in series.patches),
    )  # fmt: skip
    env = {name: value for name, value in gitcmd.ENV.items() if "AUTHOR" not in name}
    with tempfile.TemporaryFile() as out:
        try:
            with proc.started(words, env=env, stdout=out, stderr=out) as child:
                pass
        finally:
            if (repo / ".git" / "rebase-apply").exists():
                git(repo, "am", "--abort")
        if child.returncode:
            out.seek(0)
            raise _refused(series, out.read().decode(errors="replace"))
    return git(repo, "rev-parse", "HEAD")


def _refused(series: Series, said: str) -> PatchError:
    """Say which patch git am refused and where."""
    number = re.search(r"Patch failed at (\d+)", said)
    name = "a patch"
    if number is not None and 0 < int(number[1]) <= len(series.patches):
        name = str(series.patches[int(number[1]) - 1].path)
    where = re.search(r"patch failed: (\S+):(\d+)", said)
    missing = re.search(r"error: (\S+): (does not exist in index|already exists in \S+)", said)
    if where is not None:
        place = f"the hunk at {where[1]} line {where[2]} does not fit"
    elif missing is not None:
        place = f"{missing[1]} {missing[2].replace('index', 'the tree')}"
    else:
        place = proc.likely_cause(said.splitlines()) or "git am failed"
    return PatchError(f"{name} does not apply: {place}")


def format_patches(repo: Path, base: str, tip: str, out: Path, *, cover: str, prefix: str) -> None:
    """Write the commits base..tip as a series, byte for byte the same each time.

    :param cover: text of the cover letter, its first line the subject.
    :param prefix: what stands in the brackets before the number, e.g. "RFC PATCH".
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
            "-o", out.absolute(), f"{base}..{branch}", env=dict(zip(names, last, strict=True)),
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
