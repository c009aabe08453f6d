# SPDX-License-Identifier: GPL-2.0-or-later
"""What can go wrong, one class for each thing a caller may want to tell apart.

The library raises these and never prints; the command line turns one into a
single line (what, where, what to do) and an exit status.
"""

from __future__ import annotations

from pathlib import Path


class HptResizeError(Exception):
    """Base of all errors of this package.

    :param what: what went wrong and where, one line.
    :param hint: what the user can do about it, one line, may be empty.
    :param log: a file that holds the whole story, if there is one.
    """

    exit_status = 1

    def __init__(self, what: str, *, hint: str = "", log: Path | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint
        self.log = log

    def __str__(self) -> str:
        parts = [self.what]
        if self.hint:
            parts.append(self.hint)
        if self.log is not None:
            parts.append(f"see {self.log}")
        return "; ".join(parts)


class UsageError(HptResizeError):
    """An argument makes no sense: a wrong path, an unknown order or name."""

    exit_status = 2


class ToolMissing(HptResizeError):
    """A program that the work needs is not on this machine."""


class NoSpace(HptResizeError):
    """The disk is full, or too full for what is about to be made."""


class FetchError(HptResizeError):
    """A source or package could not be obtained (no network, not served)."""


class TreeError(HptResizeError):
    """A source tree is not what it should be (wrong kind, damaged)."""


class BaselineError(TreeError):
    """Part of the merged feature is not where its description says."""


class PatchError(HptResizeError):
    """A patch of a series does not apply."""


class BuildError(HptResizeError):
    """A compiler or build tool failed."""


class MachineError(HptResizeError):
    """Base of what can happen to a running guest.

    :param console: the last lines of the guest's console.
    """

    def __init__(
        self, what: str, *, hint: str = "", log: Path | None = None, console: str = ""
    ) -> None:
        super().__init__(what, hint=hint, log=log)
        self.console = console


class QemuStartError(MachineError):
    """QEMU did not start; the text is what it said."""


class QemuDied(MachineError):
    """QEMU ended while the guest was to run (crash, signal, abort)."""


class GuestPanicked(MachineError):
    """The guest's kernel panicked or printed a pattern of a fatal fault."""


class GuestHung(MachineError):
    """What was awaited did not come in time, and the guest lives."""


class CommandFailed(MachineError):
    """A command in the guest ended with a non-zero status.

    :param status: its exit status, or minus the signal that ended it.
    """

    def __init__(self, what: str, *, status: int, console: str = "") -> None:
        super().__init__(what, console=console)
        self.status = status


class ConsoleBug(MachineError):
    """The guest's console holds a pattern of a kernel bug (oops, WARN, lockdep...)."""


class AgentError(MachineError):
    """What came over the command channel makes no sense."""


class QmpError(MachineError):
    """QEMU refused a QMP command; the text is what it said.

    :param error_class: QMP's own class of the error, such as "CommandNotFound".
    """

    def __init__(self, what: str, *, error_class: str = "GenericError") -> None:
        super().__init__(what)
        self.error_class = error_class


class ResizeRefused(CommandFailed):
    """The guest's kernel refused to resize its table.

    :param errno_name: what the write to the hook ended with, such as "ENOSPC".
    """

    def __init__(self, what: str, *, status: int, errno_name: str, console: str = "") -> None:
        super().__init__(what, status=status, console=console)
        self.errno_name = errno_name


class MigrationFailed(MachineError):
    """A live migration did not come to its end; the guest runs on where it was."""
