# SPDX-License-Identifier: GPL-2.0-or-later
"""What series.toml says: on which trees the patches go, and how, and which tests they pass.

    trees = ["debian:trixie"]         # where all of it is checked; the first is the series' home

    [[without]]                       # a tree has nothing that this patch could be for
    patch = "subject: of the patch"
    versions = "<6.2"
    reason = "the file came with 6.2"

    [[renamed]]                       # a path, or any text, that is another one there
    from = "Documentation/arch/powerpc/"
    to = "Documentation/powerpc/"
    versions = "<6.6"

    [[place]]                         # where added lines go if their context is not there
    patch = "subject: of the patch"
    file = "Documentation/powerpc/index.rst"
    adds = "hpt-resize"               # which hunk: the one whose added lines have this;
                                      # "\\n" before it for the begin of a line
    after = ["    firmware-assisted-dump"]  # or `before`; the first that is there exactly once

    [[config]]                        # what our kernel configuration needs besides in some trees
    lines = ["CONFIG_SLUB=y"]
    versions = "<6.4"
    reason = "tinyconfig has SLOB there"

    [[tests]]                         # what a tree with the patches up to this one passes
    since = "subject: of the patch"
    until = "subject: of another"     # and not from that one on; may be left out
    run = ["tests/test_resize.py::test_name"]

    [[accepted]]                      # what a check may say all the same
    check = "checkpatch"
    finding = "OPEN_ENDED_LINE"       # regular expression for a part of the line
    patch = "subject: of the patch"   # of all, if left out
    reason = "all trace events are laid out like that"

    [message]
    subject = "powerpc/.*: [A-Z].*"   # regular expression for the whole subject
"""

from __future__ import annotations

import dataclasses
import operator
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hptresize.base.errors import PatchError

RULES = "series.toml"

Version = tuple[int, ...]

_COMPARE: dict[str, Callable[[Version, Version], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Versions:
    """A range of versions of a tree, e.g. ">=6.2 <7"; empty for all."""

    text: str = ""

    def __post_init__(self) -> None:
        for word in self.text.split():
            if re.fullmatch(r"(<=?|>=?)\d+(\.\d+)*", word) is None:
                raise ValueError(f"{word!r} is no bound of a version, such as >=6.2")

    def hold(self, version: str) -> bool:
        """Say whether a version such as "6.1.187" lies in the range ("6.1" counts as 6.1.0)."""
        have = _version(version)
        return all(
            _COMPARE[sign](have, _version(bound))
            for sign, bound in re.findall(r"([<>]=?)([\d.]+)", self.text)
        )


def _version(text: str) -> Version:
    numbers = [int(one) for one in re.findall(r"\d+", text)][:3]
    return (*numbers, *(0 for _ in range(3 - len(numbers))))


@dataclasses.dataclass(frozen=True)
class Without:
    """A patch that trees of some versions do not get, and why."""

    patch: str
    versions: Versions
    reason: str


@dataclasses.dataclass(frozen=True)
class Renamed:
    """A path, or other text of patches, that is another one in some versions."""

    origin: str
    to: str
    versions: Versions


@dataclasses.dataclass(frozen=True)
class Place:
    """Where the lines of a hunk that only adds go in a tree that lacks its context."""

    patch: str
    file: str
    adds: str
    after: tuple[str, ...] = ()
    before: tuple[str, ...] = ()

    def find(self, lines: Sequence[str]) -> int | None:
        """Return before which line of a file (from 0) the hunk's lines go; None for nowhere."""
        for anchors, further in ((self.after, 1), (self.before, 0)):
            for one in anchors:
                if lines.count(one) == 1:
                    return lines.index(one) + further
        return None


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings that the kernel configuration of some versions needs besides, and why."""

    lines: tuple[str, ...]
    versions: Versions
    reason: str


@dataclasses.dataclass(frozen=True)
class Tests:
    """Tests that pass from a patch on, and until another one if that is named."""

    since: str
    run: tuple[str, ...]
    until: str = ""


@dataclasses.dataclass(frozen=True)
class Accepted:
    """Findings of a check that are right so, and why."""

    check: str
    finding: str
    reason: str
    patch: str = ""

    def holds(self, check: str, subject: str, line: str) -> bool:
        """Say whether a finding of a check about a patch is one of these."""
        mine = self.check == check and self.patch in ("", subject)
        return mine and re.search(self.finding, line) is not None


@dataclasses.dataclass(frozen=True)
class Message:
    """The form of messages in this tree.

    :ivar subject: regular expression for the whole subject.
    """

    subject: str = r"[\w/.-]+: \S.*"


@dataclasses.dataclass(frozen=True)
class Rules:
    """The contents of series.toml."""

    trees: tuple[str, ...] = ()
    without: tuple[Without, ...] = ()
    renamed: tuple[Renamed, ...] = ()
    place: tuple[Place, ...] = ()
    config: tuple[Config, ...] = ()
    tests: tuple[Tests, ...] = ()
    accepted: tuple[Accepted, ...] = ()
    message: Message = Message()

    @property
    def applying(self) -> str:
        """All that decides what the patches make of a tree, as text: part of a cache key."""
        return repr((self.without, self.renamed, self.place))

    def reason_without(self, subject: str, version: str) -> str | None:
        """Return why a tree of a version does not get a patch; None if it gets it."""
        for one in self.without:
            if one.patch == subject and version and one.versions.hold(version):
                return one.reason
        return None

    def settings(self, version: str) -> tuple[str, ...]:
        """Return the lines for the kernel configuration of a version, e.g. "6.1.187"."""
        return tuple(
            line for one in self.config if one.versions.hold(version) for line in one.lines
        )

    def subjects(self) -> set[str]:
        """Return the subjects of all patches that the rules speak of."""
        named: tuple[tuple[Without | Place | Accepted, ...], ...]
        named = (self.without, self.place, self.accepted)
        since = {name for one in self.tests for name in (one.since, one.until)}
        return (since | {one.patch for group in named for one in group}) - {""}


def read_rules(directory: Path) -> Rules:
    """Read series.toml of a directory of patches; without one there are no rules.

    :raises PatchError: it is not as described above; says what is wrong.
    """
    path = directory / RULES
    if not path.is_file():
        return Rules()
    try:
        return _rules(tomllib.loads(path.read_text()))
    except (tomllib.TOMLDecodeError, ValueError, TypeError, KeyError) as err:
        missing = f"{err} is missing" if isinstance(err, KeyError) else str(err)
        raise PatchError(f"{path}: {missing}") from err


def _lines(data: Mapping[str, Any], name: str) -> tuple[str, ...]:
    return tuple(data.get(name, ()))


def _rules(data: Mapping[str, Any]) -> Rules:
    known = {"trees", "without", "renamed", "place", "config", "tests", "accepted", "message"}
    if unknown := sorted(data.keys() - known):
        raise ValueError(f"{unknown[0]!r} means nothing here")
    message = Message(**data.get("message", {}))
    accepted = tuple(Accepted(**one) for one in data.get("accepted", ()))
    for pattern in (message.subject, *(one.finding for one in accepted)):
        try:
            re.compile(pattern)
        except re.error as err:
            raise ValueError(f"{pattern!r} is no regular expression: {err}") from err
    return Rules(
        trees=tuple(data.get("trees", ())),
        without=tuple(
            Without(one["patch"], Versions(one["versions"]), one["reason"])
            for one in data.get("without", ())
        ),
        renamed=tuple(
            Renamed(one["from"], one["to"], Versions(one["versions"]))
            for one in data.get("renamed", ())
        ),
        place=tuple(
            Place(**{**one, "after": _lines(one, "after"), "before": _lines(one, "before")})
            for one in data.get("place", ())
        ),
        config=tuple(
            Config(tuple(one["lines"]), Versions(one["versions"]), one["reason"])
            for one in data.get("config", ())
        ),
        tests=tuple(Tests(**{**one, "run": tuple(one["run"])}) for one in data.get("tests", ())),
        accepted=accepted,
        message=message,
    )
