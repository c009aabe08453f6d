# SPDX-License-Identifier: GPL-2.0-or-later
"""What `git bisect run` wants to know, from what became of some cells."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from hptresize.base.errors import BuildError, HptResizeError, PatchError, TreeError
from hptresize.matrix import verdict
from hptresize.matrix.verdict import CellOutcome

GOOD, BAD, SKIP, ABORT = 0, 1, 125, 128
"""Statuses as git-bisect(1) has them; from 128 on it gives up."""


class Abort(HptResizeError):
    """There is no sense in going on with any commit."""

    exit_status = ABORT

    def __init__(self, why: HptResizeError) -> None:
        super().__init__(why.what, hint=why.hint, log=why.log)


def at_head(source: str) -> str:
    """The source of a tree at the commit that is checked out, for a git tree.

    Changes that are not committed do not count; what is built has the commit's name.
    """
    return f"{source}@HEAD" if "@" not in source and (Path(source) / ".git").exists() else source


@contextlib.contextmanager
def untestable() -> Iterator[None]:
    """Say 125 for what is wrong with this commit.

    :raises click.exceptions.Exit: it cannot be built.
    """
    try:
        yield
    except (BuildError, PatchError, TreeError) as err:
        click.echo(f"this commit cannot be tested: {err}", err=True)
        raise click.exceptions.Exit(SKIP) from err


def status(cells: Sequence[CellOutcome], ended_by: int | None) -> int:
    """The exit status for the outcomes of the cells.

    A cell that failed makes a commit bad; that one was not run, or all were skipped,
    tells nothing of it.
    """
    counts = verdict.count(cells)
    if ended_by is not None:
        return ABORT + ended_by
    if any(counts.get(one) for one in verdict.BAD):
        return BAD
    return SKIP if counts.get("unrun") or not counts.get("pass") else GOOD
