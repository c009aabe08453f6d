# SPDX-License-Identifier: GPL-2.0-or-later
"""Put a series on a tree with `git am`, fitted to the tree where series.toml says how."""

from __future__ import annotations

import dataclasses
import re
import shutil
import tempfile
from pathlib import Path

from hptresize.base import git as gitcmd
from hptresize.base import proc
from hptresize.base.errors import PatchError, TreeError
from hptresize.base.git import git
from hptresize.series.files import Patch, Series
from hptresize.series.rules import Place

CONTEXT = 3


def apply(repo: Path, series: Series, version: str = "") -> str:
    """Apply a series on what is checked out; return the new commit's id.

    Patches go on as they are. One that does not fit is tried again with its hunks
    where series.toml places them. If that fails, too, the tree is left as it was.

    :param version: the tree's, e.g. "6.1.187", for rules of some versions only.
    :raises PatchError: names the patch, the file and the line of the hunk.
    """
    shutil.rmtree(gitcmd.directory(repo) / "rebase-apply", ignore_errors=True)
    before = git(repo, "rev-parse", "HEAD")
    wanted = series.for_version(version).patches
    try:
        with tempfile.TemporaryDirectory(prefix="hptresize-am-") as scratch:
            for patch in wanted:
                _apply_one(repo, series, patch, version, Path(scratch))
    except BaseException:
        git(repo, "reset", "--quiet", "--hard", before)
        raise
    return git(repo, "rev-parse", "HEAD")


def _apply_one(repo: Path, series: Series, patch: Patch, version: str, scratch: Path) -> None:
    text = patch.path.read_text(errors="surrogateescape")
    for one in series.rules.renamed:
        if version and one.versions.hold(version):
            text = text.replace(one.origin, one.to)
    said = _am(repo, text, scratch)
    if said is None:
        return
    fitted = text
    for place in series.rules.place:
        if place.patch == patch.subject:
            fitted = _placed(repo, patch, fitted, place)
    if fitted != text:
        said = _am(repo, fitted, scratch)
    if said is not None:
        if _is_there(repo, fitted):
            raise PatchError(f"{patch.path} does not apply: the tree has it already")
        raise _refused(patch, said)


def _is_there(repo: Path, text: str) -> bool:
    """Say whether a patch could be taken back."""
    try:
        git(repo, "apply", "--check", "--reverse", "-", data=text.encode(errors="surrogateescape"))
    except TreeError:
        return False
    return True


def _am(repo: Path, text: str, scratch: Path) -> str | None:
    """Run git am on one patch; return what it said if it refused."""
    file = scratch / "0001.patch"
    file.write_text(text, errors="surrogateescape")
    words = gitcmd.command(
        repo, "am", "--quiet", "--keep-cr", "--whitespace=nowarn",
        "--committer-date-is-author-date", file,
    )  # fmt: skip
    env = {name: value for name, value in gitcmd.ENV.items() if "AUTHOR" not in name}
    with tempfile.TemporaryFile() as out:
        try:
            with proc.started(words, env=env, stdout=out, stderr=out) as child:
                pass
        finally:
            if (gitcmd.directory(repo) / "rebase-apply").exists():
                git(repo, "am", "--abort")
        if not child.returncode:
            return None
        out.seek(0)
        return out.read().decode(errors="replace") or "git am failed"


def _refused(patch: Patch, said: str) -> PatchError:
    """Say which patch git am refused and where."""
    where = re.search(r"patch failed: (\S+):(\d+)", said)
    missing = re.search(r"error: (\S+): (does not exist in index|already exists in \S+)", said)
    if where is not None:
        place = f"the hunk at {where[1]} line {where[2]} does not fit"
    elif missing is not None:
        place = f"{missing[1]} {missing[2].replace('index', 'the tree')}"
    else:
        place = proc.likely_cause(said.splitlines()) or "git am failed"
    return PatchError(f"{patch.path} does not apply: {place}")


@dataclasses.dataclass
class _Hunk:
    """A hunk of one file in a patch's text: where it begins and ends there."""

    begin: int
    end: int
    lines: list[str]

    @property
    def added(self) -> list[str]:
        return [line[1:] for line in self.lines if line.startswith("+")]

    @property
    def only_adds(self) -> bool:
        return not any(line.startswith("-") for line in self.lines)


def _hunks(text: str, file: str) -> list[_Hunk]:
    """Return the hunks of a file of a patch."""
    head = re.search(rf"^diff --git a/\S+ b/{re.escape(file)}$", text, re.MULTILINE)
    if head is None:
        return []
    tail = re.compile(r"^(diff --git |-- $)", re.MULTILINE).search(text, head.end())
    end = tail.start() if tail else len(text)
    starts = [m.start() for m in re.finditer(r"^@@ ", text[:end], re.MULTILINE)]
    starts = [one for one in starts if one > head.end()]
    return [
        _Hunk(begin, stop, text[begin:stop].splitlines()[1:])
        for begin, stop in zip(starts, [*starts[1:], end], strict=True)
    ]


def _placed(repo: Path, patch: Patch, text: str, place: Place) -> str:
    """Write the hunk that a rule speaks of anew, beside the line that the rule names.

    :raises PatchError: the patch has no such hunk, or it does more than to add lines.
    """
    found = [
        hunk
        for hunk in _hunks(text, place.file)
        if place.adds in "\n".join(["", *hunk.added])
    ]
    path = repo / place.file
    if not found and not _hunks(text, place.file):
        return text  # a rule for the file's name in other versions
    if len(found) != 1 or not found[0].only_adds:
        raise PatchError(
            f"{patch.path}: not one hunk of {place.file} that only adds lines, {place.adds!r} "
            "among them; series.toml wants to place it"
        )
    lines = path.read_text(errors="surrogateescape").split("\n") if path.is_file() else []
    at = place.find(lines)
    if at is None:
        return text  # the hunk as it is then says what does not fit
    hunk = found[0]
    return text[: hunk.begin] + _hunk_at(lines, at, hunk.added) + text[hunk.end :]


def _hunk_at(lines: list[str], at: int, added: list[str]) -> str:
    """Write a hunk that adds lines before the line of an index, with context of the file."""
    first = max(0, at - CONTEXT)
    before = lines[first:at]
    after = lines[at : at + CONTEXT]
    if after and after[-1] == "" and at + len(after) == len(lines):
        after = after[:-1]  # what split leaves behind the last newline is no line
    old = len(before) + len(after)
    head = f"@@ -{first + 1},{old} +{first + 1},{old + len(added)} @@"
    marked = ((" ", before), ("+", added), (" ", after))
    body = [sign + line for sign, some in marked for line in some]
    return "\n".join([head, *body, ""])
