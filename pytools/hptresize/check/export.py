# SPDX-License-Identifier: GPL-2.0-or-later
"""Write a series as mails that a person could send. Nothing here sends anything.

The commits come from the work tree of `series edit`: there, and only there, a
person puts a sign-off. Without one on each patch, or while a check is not
content, nothing is written.
"""

from __future__ import annotations

import dataclasses
import re
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from hptresize.base import git as gitcmd
from hptresize.base.errors import HptResizeError, UsageError
from hptresize.base.git import git
from hptresize.build.builder import Builder
from hptresize.check.ask import CheckReport, check_series
from hptresize.check.question import Check
from hptresize.check.texts import recipients_of
from hptresize.series.files import COVER_TEXT, Series, format_patches, load, prefix_of
from hptresize.series.home import BASE, Home
from hptresize.series.rules import RULES
from hptresize.trees.edit import WorkTree, committed
from hptresize.trees.tree import Tree


class Refused(HptResizeError):
    """The series is not fit to be sent yet."""


@dataclasses.dataclass(frozen=True)
class Mails:
    """What is to be written.

    :ivar out: a directory that is empty or not there yet.
    :ivar version: 1 for the first time the series is sent.
    :ivar since: revision of this project that has the version before.
    :ivar base_commit: id that the receivers know the base by, if there is one.
    """

    out: Path
    version: int = 1
    since: str | None = None
    base_commit: str = ""


def export(
    home: Home, tree: Tree, builder: Builder, checks: Sequence[Check], mails: Mails,
    *, show: Callable[[CheckReport], None],
) -> list[Path]:  # fmt: skip
    """Write the mails of a series; return them, the cover letter first.

    :param tree: the one that the work tree was made from.
    :param show: told what the checks said, whatever it is.
    :raises UsageError: there is no work tree, or the directory holds something.
    :raises Refused: a patch lacks a person's sign-off, or a check is not content.
    """
    if mails.out.exists() and any(mails.out.iterdir()):
        raise UsageError(f"{mails.out} is not empty")
    work = WorkTree(tree.cache, home)
    if not work.exists:
        raise UsageError(
            f"there is no work tree of {home.directory} with your sign-off",
            hint=f"`hptresize series edit {home.words}`, then see docs/sending.md",
        )
    with tree.lock():
        base, tip = work.commits(tree)
    _signed(tree, base, tip)
    with tempfile.TemporaryDirectory(prefix="hptresize-export-") as name:
        series = _as_files(home, tree, base, tip, Path(name))
        report = check_series(home, tree.apart(), builder, checks, series)
    show(report)
    if report.failed:
        check, patch, _ = report.failed[0]
        raise Refused(
            f"{len(report.failed)} answers are not ok, the first is {check} of {patch.path.name}",
            hint="mend the patches, then export",
        )
    return _write(home, tree, (base, tip), mails)


def _signed(tree: Tree, base: str, tip: str) -> None:
    """Look for a person's sign-off in each commit.

    :raises Refused: there is a commit without.
    """
    bare: list[str] = []
    commits = git(tree.path, "rev-list", "--reverse", f"{base}..{tip}").splitlines()
    for number, commit in enumerate(commits, 1):
        text = git(tree.path, "log", "-1", "--format=%B", commit)
        signers = re.findall(r"^Signed-off-by: (.*)$", text, re.MULTILINE)
        if not any(gitcmd.EMAIL not in one for one in signers):
            bare.append(str(number))
    if bare or not commits:
        raise Refused(
            f"no human has signed off patch {', '.join(bare) or '1'}",
            hint="who sends a series answers for it: docs/sending.md tells how to sign it",
        )


def _as_files(home: Home, tree: Tree, base: str, tip: str, into: Path) -> Series:
    """Write the commits as a series with the rules of the committed one."""
    for name in (COVER_TEXT, RULES):
        if (home.directory / name).is_file():
            shutil.copy(home.directory / name, into / name)
    cover = (into / COVER_TEXT).read_text()
    format_patches(tree.path, base, tip, into, cover=cover, prefix=prefix_of(home.directory))
    return load(into)


def _write(home: Home, tree: Tree, commits: tuple[str, str], mails: Mails) -> list[Path]:
    """Let git format-patch write the mails, with all that goes into their heads."""
    base, tip = commits
    extra = [f"--base={git(tree.path, 'rev-parse', 'refs/tags/stock')}"]
    if mails.version > 1:
        extra.append(f"--reroll-count={mails.version}")
    people, lists = recipients_of(tree, tip, base)
    extra += [f"--to={one}" for one in lists] + [f"--cc={one}" for one in people]
    cover = (home.directory / COVER_TEXT).read_text().strip() + "\n"
    if mails.since is not None:
        old_base, old_tip = _older(home, tree, mails.since)
        extra += [f"--range-diff={old_base}..{old_tip}", "--creation-factor=95"]
        cover += _changes(tree, (old_base, old_tip), commits, mails.version)
    mails.out.mkdir(parents=True, exist_ok=True)
    format_patches(
        tree.path, base, tip, mails.out, cover=cover, prefix=prefix_of(home.directory), extra=extra
    )
    written = sorted(mails.out.glob("*.patch"))
    if mails.base_commit:
        text = written[0].read_text()
        written[0].write_text(
            re.sub(r"^base-commit: \w+$", f"base-commit: {mails.base_commit}", text, flags=re.M)
        )
    return written


def _older(home: Home, tree: Tree, since: str) -> tuple[str, str]:
    """Return base and tip of the series as a revision of this project has it."""
    with committed(home, since) as old, tree.lock():
        return tree.commit(BASE[home.variant], home.patches), tree.commit(home.variant, old)


_WHAT = {"!": "changed", "<": "dropped", ">": "new"}


def _changes(tree: Tree, old: tuple[str, str], new: tuple[str, str], version: int) -> str:
    """Say in the cover letter which patches differ; git's range-diff follows it."""
    said = git(
        tree.path, "range-diff", "--no-color", "--no-patch", "--creation-factor=95",
        f"{old[0]}..{old[1]}", f"{new[0]}..{new[1]}",
    )  # fmt: skip
    lines = [f"\nChanges since v{version - 1}\n{'=' * 16}\n"]
    pairs = re.finditer(r"^ *[-\d]+: +(\S+) ([!<>=]) +([-\d]+): +(\S+) (.*)$", said, re.M)
    for before, sign, place, after, subject in (one.groups() for one in pairs):
        if sign == "=" or (sign == "!" and _gist(tree, before) == _gist(tree, after)):
            continue
        lines.append(f" - {'' if place == '-' else f'{place} '}{subject}: {_WHAT[sign]}")
    return "\n".join((*lines, *([" - none but tags"] if len(lines) == 1 else []), ""))


def _gist(tree: Tree, commit: str) -> tuple[str, str]:
    """Return what a reader would call a patch: its diff, and its message without the tags."""
    text = git(tree.path, "log", "-1", "--format=%B", commit)
    tags = re.compile(r"^[A-Z][\w-]*-by: .*\n?", re.MULTILINE)
    diff = git(tree.path, "diff-tree", "--no-commit-id", "-p", commit)
    return re.sub(r"(?m)^(index|@@) .*", r"\1", diff), tags.sub("", f"{text}\n").strip()
