# SPDX-License-Identifier: GPL-2.0-or-later
"""The matrix as it is declared: axes, cells, rules."""

from __future__ import annotations

import difflib
import itertools
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hptresize.base.errors import UsageError

DATA = Path(__file__).resolve().parents[1] / "data"
DECLARATION = DATA / "matrix.toml"
SCHEMA = 1

Values = Mapping[str, str]
Choice = Mapping[str, Sequence[str]]
"""For some axes the values that are meant."""


@dataclass(frozen=True)
class Cell:
    """One guest on one host in one scenario.

    :ivar values: one for each axis, in the order of the axes.
    :ivar skip: why it is not run, "" if it is.
    :ivar wants: what its scenario has to see, by the names that the declaration uses.
    :ivar fails: why it is expected to fail, "" if it is not.
    """

    values: Values
    skip: str = ""
    wants: Mapping[str, Any] = field(default_factory=dict)
    fails: str = ""

    @property
    def id(self) -> str:
        """Its name, which is a file name as well."""
        return "-".join(self.values.values())

    def __getitem__(self, axis: str) -> str:
        return self.values[axis]

    def fits(self, choice: Choice) -> bool:
        """Whether each axis has one of the values that a choice names for it."""
        return all(self.values[axis] in values for axis, values in choice.items())


@dataclass(frozen=True)
class _Rule:
    when: Choice
    what: Mapping[str, Any]


@dataclass(frozen=True)
class Matrix:
    """All that is declared.

    :ivar axes: for each axis its values, and for each value how to get it.
    :ivar blocks: products of values, and the sets that each belongs to.
    """

    axes: Mapping[str, Mapping[str, Mapping[str, Any]]]
    blocks: Sequence[tuple[frozenset[str], Choice]]
    skips: Sequence[_Rule]
    expectations: Sequence[_Rule]

    def about(self, axis: str, value: str) -> Mapping[str, Any]:
        """What the declaration says of a value."""
        return self.axes[axis][value]

    @property
    def sets(self) -> list[str]:
        """Names of the sets of cells."""
        return sorted({name for names, _ in self.blocks for name in names})

    def check(self, choice: Choice, where: str) -> None:
        """Check that a choice names axes and values that there are.

        :raises UsageError: it does not; says what there is.
        """
        for axis, values in choice.items():
            if axis not in self.axes:
                raise UsageError(
                    f"{where}: there is no axis {axis!r}",
                    hint=_meant(axis, self.axes) or f"axes are {', '.join(self.axes)}",
                )
            for value in values:
                if value not in self.axes[axis]:
                    raise UsageError(
                        f"{where}: the axis {axis} has no value {value!r}",
                        hint=_meant(value, self.axes[axis])
                        or f"it has {', '.join(self.axes[axis])}",
                    )

    def cells(self, name: str | None = "default", choice: Choice | None = None) -> list[Cell]:
        """The cells of a set; None: every combination of all values.

        :param choice: what is left of them.
        :raises UsageError: there is no such set.
        """
        if name is None:
            blocks: list[Choice] = [{axis: list(values) for axis, values in self.axes.items()}]
        elif name in self.sets:
            blocks = [block for names, block in self.blocks if name in names]
        else:
            raise UsageError(f"there is no set {name!r}", hint=f"sets are {', '.join(self.sets)}")
        found = {cell.id: cell for block in blocks for cell in self._product(block, choice or {})}
        return list(found.values())

    def _product(self, block: Choice, choice: Choice) -> Iterator[Cell]:
        # Chosen before they are combined: of all values there are hundreds of thousands.
        columns = [
            [value for value in block.get(axis, [first]) if value in choice.get(axis, values)]
            for axis, values in self.axes.items()
            for first in (next(iter(values)),)
        ]
        for combined in itertools.product(*columns):
            yield self._cell(dict(zip(self.axes, combined, strict=True)))

    def _cell(self, values: Values) -> Cell:
        bare = Cell(values)
        skip = next((str(one.what["reason"]) for one in self.skips if bare.fits(one.when)), "")
        wants: dict[str, Any] = {}
        fails = ""
        for one in self.expectations:
            if bare.fits(one.when):
                wants |= one.what.get("wants", {})
                fails = one.what.get("fails", fails)
        return Cell(values, skip, wants, fails)

    def select(self, name: str | None, terms: Sequence[str]) -> list[Cell]:
        """The cells of a set that a filter leaves.

        :param name: see :meth:`cells`.
        :param terms: each "axis=value,value"; all of them have to hold.
        :raises UsageError: an axis or value is unknown, or nothing is left.
        """
        choice = parse_filter(terms)
        self.check(choice, "filter")
        found = self.cells(name, choice)
        if not found:
            said = " ".join(terms) or "(none)"
            raise UsageError(
                f"no cell is left by the filter {said}",
                hint="`hptresize matrix list` shows what there is; --all takes every combination",
            )
        return found


def parse_filter(terms: Sequence[str]) -> dict[str, list[str]]:
    """What the terms of a filter mean: for each axis its values.

    :raises UsageError: one is not "axis=value,value", or an axis is there twice.
    """
    found: dict[str, list[str]] = {}
    for term in terms:
        axis, equals, values = term.partition("=")
        wanted = values.split(",")
        if not (axis and equals and all(wanted)):
            raise UsageError(f"filter: {term!r} is not axis=value,value")
        if axis in found:
            raise UsageError(f"filter: the axis {axis} is there twice", hint="use a comma")
        found[axis] = wanted
    return found


def _meant(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), 1, 0.7)
    return f"do you mean {near[0]!r}?" if near else ""


def load(path: Path = DECLARATION) -> Matrix:
    """Read a declaration.

    :raises UsageError: it is not one; names the file and what is wrong in it.
    """
    try:
        data = tomllib.loads(path.read_text())
    except OSError as err:
        raise UsageError(f"{path}: {err.strerror}") from err
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as err:
        raise UsageError(f"{path} is not TOML: {err}") from err
    if data.get("schema") != SCHEMA:
        raise UsageError(f"{path} has schema {data.get('schema')}, not {SCHEMA}")
    try:
        made = Matrix(
            axes=data["axes"],
            blocks=[
                (frozenset(one["sets"]), {k: v for k, v in one.items() if k != "sets"})
                for one in data["cells"]
            ],
            skips=[_Rule(one["when"], {"reason": one["reason"]}) for one in data.get("skip", [])],
            expectations=[_Rule(one["when"], one) for one in data.get("expect", [])],
        )
    except (KeyError, TypeError, AttributeError) as err:
        raise UsageError(f"{path}: {err} is missing or of the wrong kind") from err
    for _, choice in made.blocks:
        made.check(choice, f"{path}, [[cells]]")
    for rule in (*made.skips, *made.expectations):
        made.check(rule.when, f"{path}, when")
    return made
