# SPDX-License-Identifier: GPL-2.0-or-later
"""The vocabulary in which a feature of a C tree is described.

A description is data: which things (functions, constants, members, statements)
make up a feature and in which file they live. It names them as a programmer
would, never by line number, so that it fits every version that has them.
`engine` knows how to find and remove each sort.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hptresize.base.kinds import Kind


@dataclass(frozen=True, kw_only=True)
class Edit:
    """One thing to take out, or a choice to settle.

    :ivar optional: empty if every tree with the feature has the thing, else
        the reason (a version, a commit) why some have not.
    """

    optional: str = ""

    @property
    def what(self) -> str:
        """The thing in words, for reports and error messages."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class _Named(Edit):
    name: str = field(kw_only=False)


class Define(_Named):
    """A macro: `#define NAME ...`."""

    @property
    def what(self) -> str:
        """See `Edit.what`."""
        return f"#define {self.name}"


class Function(_Named):
    """A function's definition, with the comment above it."""

    @property
    def what(self) -> str:
        """See `Edit.what`."""
        return f"function {self.name}()"


class Prototype(_Named):
    """A function's declaration."""

    @property
    def what(self) -> str:
        """See `Edit.what`."""
        return f"prototype of {self.name}()"


class Struct(_Named):
    """The definition of a structure: `struct NAME { ... };`."""

    @property
    def what(self) -> str:
        """See `Edit.what`."""
        return f"struct {self.name}"


class Typedef(_Named):
    """A typedef, with the structure or enumeration that it may define."""

    @property
    def what(self) -> str:
        """See `Edit.what`."""
        return f"typedef {self.name}"


class Entry(_Named):
    """The element `{ NAME, ... }` of an initialised table."""

    @property
    def what(self) -> str:
        """See `Edit.what`."""
        return f"table entry of {self.name}"


class Operand(_Named):
    """NAME or `CALL(NAME)` as one operand of a chain of `|`."""

    @property
    def what(self) -> str:
        """See `Edit.what`."""
        return f"operand {self.name}"


class TraceEvent(_Named):
    """One line of a QEMU `trace-events` file."""

    @property
    def what(self) -> str:
        """See `Edit.what`."""
        return f"trace event {self.name}"


@dataclass(frozen=True, kw_only=True)
class Member(Edit):
    """A member of a structure."""

    struct: str = field(kw_only=False)
    name: str = field(kw_only=False)

    @property
    def what(self) -> str:
        """See `Edit.what`."""
        return f"member {self.name} of struct {self.struct}"


@dataclass(frozen=True, kw_only=True)
class Local(Edit):
    """A variable declared in a function."""

    within: str = field(kw_only=False)
    name: str = field(kw_only=False)

    @property
    def what(self) -> str:
        """See `Edit.what`."""
        return f"variable {self.name} of {self.within}()"


@dataclass(frozen=True, kw_only=True)
class If(Edit):
    """An `if` without `else`.

    :ivar condition: words (identifiers, strings) that its condition mentions.
    :ivar body: words that what it guards mentions.
    :ivar within: the function it is in; empty for any.
    """

    condition: tuple[str, ...] = field(kw_only=False)
    body: tuple[str, ...] = ()
    within: str = ""

    @property
    def what(self) -> str:
        """See `Edit.what`."""
        return f"if ({' ... '.join(self.condition)}){_place(self.within, self.body)}"


class KeepThen(If):
    """An `if`/`else` that is settled: its first branch stays, without the `if`."""

    @property
    def what(self) -> str:
        """See `Edit.what`."""
        return f"choice by ({' ... '.join(self.condition)}){_place(self.within, self.body)}"


@dataclass(frozen=True, kw_only=True)
class Call(Edit):
    """A statement that is one call, or a macro's use at file level.

    :ivar callee: function or macro.
    :ivar args: words that its arguments mention.
    :ivar within: the function it is in; empty for any, or none.
    """

    callee: str = field(kw_only=False)
    args: tuple[str, ...] = ()
    within: str = ""

    @property
    def what(self) -> str:
        """See `Edit.what`."""
        return f"call {self.callee}({', '.join(self.args)}){_place(self.within, ())}"


@dataclass(frozen=True, kw_only=True)
class Assignment(Edit):
    """A statement that assigns to a variable or member."""

    within: str = field(kw_only=False)
    name: str = field(kw_only=False)

    @property
    def what(self) -> str:
        """See `Edit.what`."""
        return f"assignment to {self.name}{_place(self.within, ())}"


@dataclass(frozen=True, kw_only=True)
class IdleInclude(Edit):
    """An `#include` that goes when nothing left in the file uses it.

    It came with the feature, but other code may have come to rely on it; so
    it is neither required nor counted as a sign of the feature.

    :ivar users: regular expression of what would be a use.
    """

    header: str = field(kw_only=False)
    users: str = field(kw_only=False)

    @property
    def what(self) -> str:
        """See `Edit.what`."""
        return f"#include of {self.header}"


@dataclass(frozen=True, kw_only=True)
class OneOf(Edit):
    """A thing that versions name differently: the first that is there is meant."""

    edits: tuple[Edit, ...] = field(kw_only=False)

    @property
    def what(self) -> str:
        """See `Edit.what`."""
        return " or ".join(edit.what for edit in self.edits)


@dataclass(frozen=True, kw_only=True)
class FileEdits:
    """The edits of one file.

    :ivar paths: where the file is, relative to the tree; where versions differ
        several names, of which the first that exists is meant.
    """

    paths: tuple[str, ...]
    edits: tuple[Edit, ...]


@dataclass(frozen=True, kw_only=True)
class Leftovers:
    """What must not be found in a tree afterwards.

    :ivar pattern: regular expression, case is ignored.
    :ivar stems: lower-case words without all of which `pattern` cannot match;
        they spare the expression most of the files.
    :ivar roots: directories to search.
    :ivar allowed: files, and directories with a final slash, that may mention it.
    """

    pattern: str
    stems: tuple[str, ...]
    roots: tuple[str, ...]
    allowed: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Feature:
    """All there is to say about the feature in one sort of tree.

    :ivar kind: the sort.
    :ivar title: the sort in words.
    :ivar landmarks: files that make a tree one of this sort.
    :ivar version_file: the file that holds its version.
    :ivar version: expressions whose first groups, joined by dots, are the version.
    """

    kind: Kind
    title: str
    landmarks: tuple[str, ...]
    version_file: str
    version: tuple[str, ...]
    files: tuple[FileEdits, ...]
    leftovers: Leftovers


def _place(within: str, body: tuple[str, ...]) -> str:
    guarded = f" around {' ... '.join(body)}" if body else ""
    return guarded + (f" in {within}()" if within else "")
