# SPDX-License-Identifier: GPL-2.0-or-later
"""What a user sees of a run: on a terminal what each cell does now, elsewhere a line for each."""

from __future__ import annotations

import threading
import time
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from hptresize.matrix import hub
from hptresize.matrix.verdict import CellOutcome

COLOURS = {
    "pass": "green", "fail": "red", "xpass": "red", "xfail": "yellow", "skip": "dim", "unrun": "dim"
}  # fmt: skip


class Board:
    """Shows a run.

    :param total: how many cells there are.
    """

    def __init__(self, console: Console, total: int) -> None:
        self._console = console
        self._lock = threading.Lock()
        self._now: dict[str, tuple[str, float]] = {}
        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(bar_width=30), MofNCompleteColumn(),
            TimeElapsedColumn(), console=console,
        )  # fmt: skip
        self._task = self._bar.add_task("cells", total=total)
        self._live = Live(
            get_renderable=self._render, console=console, transient=True,
            redirect_stdout=False, redirect_stderr=False,
        )  # fmt: skip

    def __enter__(self) -> Board:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self._live.stop()

    def event(self, cell: str, doing: str) -> None:
        """Take what a cell says (any thread)."""
        with self._lock:
            if doing == hub.ENDED:
                self._now.pop(cell, None)
            else:
                self._now[cell] = doing, self._now.get(cell, ("", time.monotonic()))[1]

    def ended(self, name: str, status: str, seconds: float, what: str) -> None:
        """Show how a cell ended."""
        text = f"[{COLOURS.get(status, 'red')}]{status:5}[/] {escape(name)} ({seconds:.1f} s)"
        self._console.print(
            text + (f": {escape(what)}" if what else ""), highlight=False, soft_wrap=True
        )
        self._bar.advance(self._task)

    def show(self, done: CellOutcome) -> None:
        """Show the outcome of a cell."""
        what = f"{done.how}: {done.what}" if done.how else done.what
        self.ended(done.id, done.status, done.seconds, what)

    def _render(self) -> Group:
        table = Table.grid(padding=(0, 2))
        with self._lock:
            for cell, (doing, since) in self._now.items():
                table.add_row(f"{time.monotonic() - since:5.1f} s", escape(cell), escape(doing))
        return Group(table, self._bar)
