# SPDX-License-Identifier: GPL-2.0-or-later
"""What series.toml says: on which trees the patches go, and how, and which tests they pass.

    trees = ["debian:trixie"]         # where all of it is checked; the first is the series' home

    [[without]]                       # a tree has nothing that this patch could be for
    patch = "subject: of the patch"
    versions = "<6.2"
    reason = "the file came with 6.2"

    [[moved]]                         # the same thing under another name
    from = "Documentation/arch/powerpc/"
    to = "Documentation/powerpc/"
    versions = "<6.6"

    [[place]]                         # where added lines go if their context is not there
    patch = "subject: of the patch"
    file = "Documentation/powerpc/index.rst"
    adds = "hpt-resize"               # which hunk: the one whose added lines have this
    after = ["    firmware-assisted-dump"]  # lines, the first that the file has exactly once

    [[tests]]                         # what a tree with the patches up to this one passes
    since = "subject: of the patch"
    run = ["tests/test_resize.py::test_name"]
"""

from __future__ import annotations

import dataclasses
import operator
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..errors import PatchError

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
class Moved:
    """A path, or the beginning of paths, that is called otherwise in some versions."""

    origin: str
    to: str
    versions: Versions


@dataclasses.dataclass(frozen=True)
class Place:
    """Where the lines of a hunk that only adds go in a tree that lacks its context."""

    patch: str
    file: str
    adds: str
    after: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Tests:
    """Tests that pass from a patch on."""

    since: str
    run: tuple[str, ...]


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
    moved: tuple[Moved, ...] = ()
    place: tuple[Place, ...] = ()
    tests: tuple[Tests, ...] = ()
    message: Message = Message()

    @property
    def applying(self) -> str:
        """All that decides what the patches make of a tree, as text: part of a cache key."""
        return repr((self.without, self.moved, self.place))

    def reason_without(self, subject: str, version: str) -> str | None:
        """Return why a tree of a version does not get a patch; None if it gets it."""
        for one in self.without:
            if one.patch == subject and version and one.versions.hold(version):
                return one.reason
        return None

    def subjects(self) -> set[str]:
        """Return the subjects of all patches that the rules speak of."""
        named: tuple[tuple[Without | Place, ...], ...] = (self.without, self.place)
        return {one.patch for group in named for one in group} | {one.since for one in self.tests}


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


def _rules(data: Mapping[str, Any]) -> Rules:
    known = {"trees", "without", "moved", "place", "tests", "message"}
    if unknown := sorted(data.keys() - known):
        raise ValueError(f"{unknown[0]!r} means nothing here")
    message = Message(**data.get("message", {}))
    re.compile(message.subject)
    return Rules(
        trees=tuple(data.get("trees", ())),
        without=tuple(
            Without(one["patch"], Versions(one["versions"]), one["reason"])
            for one in data.get("without", ())
        ),
        moved=tuple(
            Moved(one["from"], one["to"], Versions(one["versions"]))
            for one in data.get("moved", ())
        ),
        place=tuple(
            Place(one["patch"], one["file"], one["adds"], tuple(one["after"]))
            for one in data.get("place", ())
        ),
        tests=tuple(Tests(one["since"], tuple(one["run"])) for one in data.get("tests", ())),
        message=message,
    )
