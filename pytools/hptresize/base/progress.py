# SPDX-License-Identifier: GPL-2.0-or-later
"""Show how long work gets on. The library talks to a Reporter; the command line picks which.

A step is one piece of work that a user waits for: it has a title, perhaps a
count ("n of m"), and says at its end how long it took.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

log = logging.getLogger(__name__)


class RunningStep(Protocol):
    """One piece of work under way."""

    def update(self, done: float, total: float | None = None, text: str = "") -> None:
        """Say how far it is: so much of so much, and a word on what it does now."""


class Reporter(Protocol):
    """Where progress goes."""

    def begin(self, title: str) -> RunningStep:
        """Start a step."""

    def end(self, step: RunningStep, seconds: float, ok: bool) -> None:
        """Close a step."""

    def say(self, text: str) -> None:
        """Show one line."""


class _Quiet:
    """The library's default: progress goes to the log only."""

    class _Step:
        def __init__(self, title: str) -> None:
            self.title = title

        def update(self, done: float, total: float | None = None, text: str = "") -> None:
            pass

    def begin(self, title: str) -> RunningStep:
        log.debug("%s ...", title)
        return self._Step(title)

    def end(self, step: RunningStep, seconds: float, ok: bool) -> None:
        pass

    def say(self, text: str) -> None:
        log.info("%s", text)


class PlainReporter:
    """Lines for a log or a CI: begin, now and then how far, end."""

    def __init__(self, console: Console, every: float = 10.0) -> None:
        self.console = console
        self.every = every

    class _Step:
        def __init__(self, owner: PlainReporter, title: str) -> None:
            self.owner = owner
            self.title = title
            self.last = time.monotonic()

        def update(self, done: float, total: float | None = None, text: str = "") -> None:
            now = time.monotonic()
            if now - self.last >= self.owner.every:
                self.last = now
                self.owner.say(f"{self.title}: {_how_far(done, total)} {text}".rstrip())

    def begin(self, title: str) -> RunningStep:
        """Print that it begins."""
        self.say(f"{title} ...")
        return self._Step(self, title)

    def end(self, step: RunningStep, seconds: float, ok: bool) -> None:
        """Print how it ended."""
        assert isinstance(step, self._Step)
        self.say(f"{step.title}: {'done in' if ok else 'stopped after'} {seconds:.1f} s")

    def say(self, text: str) -> None:
        """Print one line."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)


class RichReporter:
    """A bar for each step under way, a line for each that ended."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            TextColumn("{task.fields[count]}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        )
        self.open = 0

    class _Step:
        def __init__(self, progress: Progress, title: str) -> None:
            self.progress = progress
            self.title = title
            self.task: TaskID = progress.add_task(title, total=None, count="")

        def update(self, done: float, total: float | None = None, text: str = "") -> None:
            self.progress.update(
                self.task,
                completed=done,
                total=total,
                count=f"{_how_far(done, total)} {text[:40]}",
            )

    def begin(self, title: str) -> RunningStep:
        """Show a bar."""
        if not self.open:
            self.progress.start()
        self.open += 1
        return self._Step(self.progress, title)

    def end(self, step: RunningStep, seconds: float, ok: bool) -> None:
        """Replace the bar by a line."""
        assert isinstance(step, self._Step)
        self.progress.remove_task(step.task)
        self.open -= 1
        if not self.open:
            self.progress.stop()
        mark = "[green]done[/green]" if ok else "[yellow]stopped[/yellow]"
        self.console.print(f"{mark} {step.title} ({seconds:.1f} s)", highlight=False)

    def say(self, text: str) -> None:
        """Print a line above the bars."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)


def _how_far(done: float, total: float | None) -> str:
    return f"{done:.0f}" if not total else f"{min(done, total):.0f} of {total:.0f}"


class _Current:
    reporter: Reporter = _Quiet()


def use(reporter: Reporter) -> None:
    """Send progress there from now on."""
    _Current.reporter = reporter


def choose(console: Console) -> Reporter:
    """Bars on a terminal, plain lines elsewhere."""
    return RichReporter(console) if console.is_terminal else PlainReporter(console)


def say(text: str) -> None:
    """Show one line to the user (or log it, where there is none)."""
    _Current.reporter.say(text)


@contextlib.contextmanager
def step(title: str) -> Iterator[RunningStep]:
    """Show a piece of work while the block runs."""
    reporter = _Current.reporter
    begin = time.monotonic()
    one = reporter.begin(title)
    ok = False
    try:
        yield one
        ok = True
    finally:
        reporter.end(one, time.monotonic() - begin, ok)
