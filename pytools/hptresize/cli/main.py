# SPDX-License-Identifier: GPL-2.0-or-later
"""The command `hptresize`: its options, and how it ends."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
from rich.logging import RichHandler

from hptresize.base import progress
from hptresize.base.errors import HptResizeError, MachineError
from hptresize.build import toolchain
from hptresize.cli.bench import bench
from hptresize.cli.boot import boot
from hptresize.cli.conformance import conformance_command
from hptresize.cli.demo import demo_command
from hptresize.cli.doctor import doctor_command
from hptresize.cli.documents import session_command
from hptresize.cli.fetch_build import build, clean, fetch, path
from hptresize.cli.hostile import hostile_command
from hptresize.cli.kunit import kunit_command
from hptresize.cli.matrix import matrix, soak_command
from hptresize.cli.options import ERR, Settings
from hptresize.cli.series import series_group

# What a shell reports for a process that SIGINT or SIGTERM ended.
INTERRUPTED, TERMINATED = 130, 143


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--cache", "cache_dir", type=click.Path(path_type=Path), metavar="DIR",
    help="Where downloads, trees and builds are kept "
    "(default: $HPTRESIZE_CACHE, else ~/.cache/hptresize).",
)  # fmt: skip
@click.option(
    "-j", "--jobs", type=click.IntRange(1), default=None, metavar="N",
    help="Compiler processes at once (default: one for each processor).",
)  # fmt: skip
@click.option("-v", "--verbose", count=True, help="Say more; twice for all.")
@click.option("--traceback", is_flag=True, help="Show where in the program an error arose.")
@click.version_option(package_name="hptresize")
@click.pass_context
def cli(
    context: click.Context, cache_dir: Path | None, jobs: int | None, verbose: int, traceback: bool
) -> None:
    """Build, boot and check guests that resize their hash page table while they run."""
    level = (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)]
    logging.basicConfig(
        level=level, format="%(message)s", force=True,
        handlers=[RichHandler(console=ERR, show_path=False, show_time=verbose > 1)],
    )  # fmt: skip
    progress.use(progress.choose(ERR))
    context.obj = Settings(cache_dir, jobs or toolchain.jobs(), traceback)


for _command in (
    boot, build, clean, demo_command, doctor_command, fetch, path, session_command,
    bench, conformance_command, hostile_command, kunit_command, matrix, series_group, soak_command,
):  # fmt: skip
    cli.add_command(_command)


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Make SIGTERM and SIGHUP unwind like Ctrl-C does, so that children end and files go."""

    def leave(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    old = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def _fail(text: str, status: int) -> int:
    """Print one line and return the exit status."""
    ERR.file.flush()
    sys.stderr.write(f"hptresize: error: {' '.join(text.split())}\n")
    return status


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; every failure is one line on standard error and a status.

    :param argv: arguments, sys.argv's if None.
    :returns: 0, 1 (the work failed), 2 (an argument makes no sense), 130 (Ctrl-C).
    """
    words = list(sys.argv[1:] if argv is None else argv)
    wants_traceback = "--traceback" in words
    try:
        with _ended_by_signals():
            # What a command returns is nothing, or the status that it asked click to exit with.
            status = cli.main(args=words, prog_name="hptresize", standalone_mode=False)
        return status if isinstance(status, int) else 0
    except (KeyboardInterrupt, click.Abort):
        return _fail("interrupted", INTERRUPTED)
    except SystemExit as leave:
        return _fail("terminated by a signal", leave.code if isinstance(leave.code, int) else 1)
    except BrokenPipeError:
        # The reader of our output has gone; Python would complain once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as err:
        if wants_traceback:
            traceback.print_exc()
        return _fail(*_explain(err))


def _explain(err: Exception) -> tuple[str, int]:
    """Return the line and the exit status for an error."""
    if isinstance(err, click.UsageError):
        command = err.ctx.command_path if err.ctx else "hptresize"
        return f"{err.format_message()} (see `{command} --help`)", err.exit_code
    if isinstance(err, click.ClickException):
        return err.format_message(), err.exit_code
    if isinstance(err, MachineError) and err.console:
        sys.stderr.write("".join(f"  | {line}\n" for line in err.console.splitlines()[-15:]))
    if isinstance(err, HptResizeError):
        return str(err), err.exit_status
    if isinstance(err, OSError):
        return f"{err.filename or 'the system'}: {err.strerror or err}", 1
    if isinstance(err, subprocess.SubprocessError):
        return str(err), 1
    return f"{type(err).__name__}: {err}; a bug in hptresize, --traceback shows where", 70
