# SPDX-License-Identifier: GPL-2.0-or-later
"""What a check is: a question to one patch in one tree."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

from hptresize.base import git as gitcmd
from hptresize.base import proc
from hptresize.base.cache import digest
from hptresize.base.errors import HptResizeError
from hptresize.build import flavours, toolchain
from hptresize.build import kernel as kbuild
from hptresize.build import qemu as qemubuild
from hptresize.build.builder import Builder
from hptresize.series.files import Patch, Series
from hptresize.series.home import Home
from hptresize.trees.tree import Tree

State = Literal["ok", "FAIL", "-", "?"]

# How it is asked is part of each answer's key.
CODE = (
    *sorted(one for one in Path(__file__).parent.glob("*.py") if one.stem != "export"),
    *(Path(str(one.__file__)) for one in (kbuild, flavours, qemubuild, toolchain)),
)

# How the line begins that says that a tool could not do its work at all.
FAILED = "error: "


@dataclasses.dataclass(frozen=True)
class CheckResult:
    """What a check found of a patch.

    :ivar state: "ok"; "FAIL"; "-" where there is nothing to look at; "?" where it could
        not be asked.
    :ivar findings: one line each; what was found, or why it could not be asked.
    :ivar seconds: it took, when it really ran.
    :ivar cached: an earlier run had it.
    """

    state: State
    findings: tuple[str, ...] = ()
    seconds: float = 0.0
    cached: bool = False


@dataclasses.dataclass(frozen=True)
class Step:
    """One patch in one tree, applied on those before it.

    :ivar number: its place in the series as it is committed, from 1.
    :ivar commit: the tree with it, :ivar parent: without it; :ivar base: without any.
    :ivar builder: makes what a guest needs.
    """

    home: Home
    tree: Tree
    series: Series
    number: int
    patch: Patch
    commit: str
    parent: str
    base: str
    builder: Builder

    @property
    def upto(self) -> Series:
        """The series up to this patch."""
        count = self.series.patches.index(self.patch) + 1
        return self.series.first(count)

    @property
    def log(self) -> Path:
        """Where the output of tools goes."""
        return self.tree.cache.logs / f"check-{self.tree.key}.log"

    def names(self, *endings: str) -> list[str]:
        """Return the files that the patch changes and leaves there, relative to the tree."""
        said = gitcmd.git(
            self.tree.path, "diff", "--name-only", "--no-renames", "--diff-filter=d",
            self.parent, self.commit,
        )  # fmt: skip
        return [name for name in said.splitlines() if not endings or name.endswith(endings)]

    def text(self, name: str, commit: str) -> str | None:
        """Return a file as a commit has it, None if it has none."""
        if gitcmd.known(self.tree.path, f"{commit}:{name}") is None:
            return None
        return gitcmd.git(self.tree.path, "show", f"{commit}:{name}") + "\n"

    def tool(self, *names: str) -> Path:
        """Return the first of these files that the tree has: in-tree tools move about.

        :raises HptResizeError: it has none of them.
        """
        for name in names:
            if (self.tree.path / name).is_file():
                return self.tree.path / name
        raise HptResizeError(f"{self.tree.title} has no {' or '.join(names)}")

    @contextlib.contextmanager
    def checked_out(self) -> Iterator[Path]:
        """Hold the tree with this patch applied while the block runs."""
        with self.tree.lock():
            self.tree.switch(self.commit)
            yield self.tree.path

    @contextlib.contextmanager
    def as_mail(self) -> Iterator[Path]:
        """Give the patch as a file, as it is in this tree."""
        with tempfile.TemporaryDirectory(prefix="hptresize-patch-") as name:
            said = gitcmd.git(
                self.tree.path, "format-patch", "-1", "--stdout", "--no-signature",
                "--zero-commit", "--no-renames", self.commit,
            )  # fmt: skip
            path = Path(name) / self.patch.path.name
            path.write_text(said + "\n")
            yield path

    @property
    def message(self) -> str:
        """The commit message: subject, empty line, body."""
        return gitcmd.git(self.tree.path, "log", "-1", "--format=%B", self.commit)


Asks = Callable[[Step], Sequence[str] | None]
"""Look at a patch; return what is wrong, one line each, or None if it has nothing to look at.

Of a check with a place: return all that a tool says of the tree as it is checked out.
"""


def _nothing(step: Step) -> Sequence[str]:
    return ()


@dataclasses.dataclass(frozen=True)
class Check:
    """A question to every patch.

    :ivar name: what it is called in tables.
    :ivar group: what --only takes to choose it, with others of its sort.
    :ivar title: what it looks at, for the report.
    :ivar asks: the question.
    :ivar tools: versions of the tools it uses: with other ones it is asked anew.
    :ivar of: what the answer depends on besides: the patch and its message, or only the
        content of the tree with and without it.
    :ivar quick: takes no more than a few seconds and needs nothing built.
    :ivar place: the build directory where it runs a tool on the tree as it is checked out:
        with the patch and, if the tool said something, without; what is new counts. Checks
        of different places run at the same time.
    """

    name: str
    title: str
    asks: Asks
    tools: Callable[[Step], Sequence[str]] = _nothing
    group: str = ""
    of: Literal["patch", "content"] = "patch"
    quick: bool = True
    place: str = ""

    @property
    def family(self) -> str:
        """The group, which is the name where it stands alone."""
        return self.group or self.name

    def answer(self, step: Step) -> CheckResult:
        """Ask now; that it cannot be asked is an answer as well."""
        begin = time.monotonic()
        try:
            said = self.asks(step)
        except HptResizeError as err:
            return CheckResult("?", (str(err),))
        state: State = "-" if said is None else "FAIL" if said else "ok"
        return CheckResult(state, tuple(said or ()), time.monotonic() - begin)

    def key(self, step: Step) -> str:
        """Name the result by all that it depends on."""
        tree = step.tree
        state = (tree.content(step.commit), tree.content(step.parent), tree.content(step.base))
        message = step.message if self.of == "patch" else ""
        rules = repr(step.series.rules.message) if self.of == "patch" else ""
        return digest(self.name, *state, message, rules, *self.tools(step), *CODE)


def in_tree(*names: str) -> Callable[[Step], Sequence[str]]:
    """Return the version of an in-tree tool: its content."""
    return lambda step: [digest(step.tool(*names))]


def new_findings(before: Sequence[str], after: Sequence[str]) -> list[str]:
    """Return what a tool says after a change and did not say before; line numbers move."""

    def plain(line: str) -> str:
        return re.sub(r"(:|\bline )\d+", "", line)

    left = collections.Counter(plain(line) for line in before)
    found: list[str] = []
    for line in after:
        if left[plain(line)]:
            left[plain(line)] -= 1
        else:
            found.append(line)
    return found


def said_by(argv: proc.Words, *, cwd: Path | None = None, data: bytes | None = None,
            env: dict[str, str] | None = None) -> tuple[int, list[str]]:  # fmt: skip
    """Run a tool that complains by its output; return its status and the lines."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as source:
        source.write(data or b"")
        source.seek(0)
        with proc.started(argv, cwd=cwd, env=env, stdin=source, stdout=out, stderr=out) as child:
            pass
        out.seek(0)
        lines = out.read().decode(errors="replace").splitlines()
    return child.returncode, [line for line in lines if line.strip()]


def told_by(what: str, argv: proc.Words, *, cwd: Path | None = None,
            env: dict[str, str] | None = None) -> list[str]:  # fmt: skip
    """Run a tool that complains by its output alone; return the lines.

    :raises HptResizeError: it failed, so that what it did not say tells nothing.
    """
    status, lines = said_by(argv, cwd=cwd, env=env)
    if status:
        raise HptResizeError(f"{what} failed (status {status}): {' '.join(lines[-1:])[:200]}")
    return lines


