# SPDX-License-Identifier: GPL-2.0-or-later
"""Run build tools so that nothing of them outlives us.

Every child gets a session of its own, and the whole of it is killed if we
leave before the child does, whatever the reason (Ctrl-C, an error, a signal).
"""

from __future__ import annotations

import collections
import contextlib
import logging
import os
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from hptresize.base.errors import BuildError, HptResizeError, ToolMissing

log = logging.getLogger(__name__)

Words = Sequence[str | os.PathLike[str]]


@contextlib.contextmanager
def _signals_later() -> Iterator[None]:
    """Put off what signals raise in us until the end of the block.

    Between the start of a child and the moment we know of it an exception would
    lose the child; another one while we end it would leave it half ended.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # Python runs handlers in the main thread only
        return
    came: list[int] = []
    old = {
        one: signal.signal(one, lambda number, frame: came.append(number))
        for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        if callable(signal.getsignal(one))
    }
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
    for missed in came:
        signal.raise_signal(missed)


def _kill_session(child: subprocess.Popen[bytes]) -> None:
    """End the child's whole session: politely, and after two seconds for good."""
    for sig, patience in ((signal.SIGTERM, 2.0), (signal.SIGKILL, 10.0)):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, sig)
        try:
            child.wait(timeout=patience)
        except subprocess.TimeoutExpired:
            continue
        break
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)


_alive: set[subprocess.Popen[bytes]] = set()


def end_all() -> None:
    """End all programs that are running, whichever thread waits for them."""
    for child in list(_alive):
        _kill_session(child)


@contextlib.contextmanager
def started(
    argv: Words,
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: int | IO[bytes] = subprocess.DEVNULL,
    stdout: int | IO[bytes] = subprocess.PIPE,
    stderr: int | IO[bytes] = subprocess.STDOUT,
    pass_fds: Sequence[int] = (),
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a program; on the way out it has ended or is ended with its children.

    :param argv: the program and its arguments.
    :param env: what to add to (or replace in) our environment.
    :raises ToolMissing: the program does not exist.
    """
    full = None if env is None else {**os.environ, **env}
    log.debug("run: %s (in %s)", shlex.join(str(a) for a in argv), cwd or ".")
    child: subprocess.Popen[bytes] | None = None
    try:
        with _signals_later():
            child = subprocess.Popen(
                [os.fspath(a) for a in argv],
                cwd=cwd, env=full, stdin=stdin, stdout=stdout, stderr=stderr,
                start_new_session=True, pass_fds=pass_fds,
            )  # fmt: skip
            _alive.add(child)
        yield child
        _close(child)
        child.wait()  # how long a tool may take is the caller's to say
    except FileNotFoundError as err:
        if child is not None:
            raise
        if cwd is not None and not cwd.is_dir():
            raise HptResizeError(f"no such directory: {cwd}") from err
        raise ToolMissing(
            f"{argv[0]} is not on this machine", hint="run `make setup`, or see `hptresize doctor`"
        ) from err
    finally:
        if child is not None and child.poll() is None:
            with _signals_later():
                _kill_session(child)
        if child is not None:
            _alive.discard(child)
            _close(child)


def _close(child: subprocess.Popen[bytes]) -> None:
    """Close our ends of a child's pipes."""
    for pipe in (child.stdin, child.stdout, child.stderr):
        if pipe is not None:
            with contextlib.suppress(BrokenPipeError):
                pipe.close()


def run(
    argv: Words,
    *,
    what: str,
    log_file: Path,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    on_line: Callable[[str], None] | None = None,
    error: type[HptResizeError] = BuildError,
) -> float:
    """Run a tool to its end, its output in a log file, each line shown to a callback.

    :param what: what it is for, as the error message will say it.
    :param log_file: where all output is appended, after the command line itself.
    :param on_line: called with each line of output, without its newline.
    :returns: seconds it took.
    :raises error: it ended with a status other than 0; names the log and the likely line.
    """
    begin = time.monotonic()
    tail: collections.deque[str] = collections.deque(maxlen=200)
    log_file.parent.mkdir(parents=True, exist_ok=True)
    with log_file.open("ab") as out:
        out.write(f"$ {shlex.join(str(a) for a in argv)}\n".encode())
        out.flush()
        with started(argv, cwd=cwd, env=env) as child:
            assert child.stdout is not None
            for raw in child.stdout:
                out.write(raw)
                line = raw.decode(errors="replace").rstrip("\n")
                tail.append(line)
                if on_line is not None:
                    on_line(line)
        status = child.returncode
    if status:
        said = likely_cause(tail)
        how = f"signal {-status}" if status < 0 else f"status {status}"
        raise error(f"{what} failed ({how})" + (f": {said}" if said else ""), log=log_file)
    return time.monotonic() - begin


def likely_cause(lines: Sequence[str]) -> str:
    """Pick the line of a tool's output that best says why it failed (may be empty)."""
    strong = ("error:", "ERROR:", "fatal:", "E: ", "No space left", "Error 1", "FAILED")
    for mark in strong:
        for line in lines:
            if mark in line:
                return line.strip()[:300]
    kept = [line for line in lines if line.strip()]
    return kept[-1].strip()[:300] if kept else ""


def output(
    argv: Words,
    *,
    what: str,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    data: bytes | None = None,
    error: type[HptResizeError] = HptResizeError,
) -> bytes:
    """Run a short command and return its standard output.

    :param data: given to it as standard input.
    :raises error: it failed; the text is the last line of its standard error.
    """
    with started(
        argv,
        cwd=cwd,
        env=env,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL if data is None else subprocess.PIPE,
    ) as child:
        out, err = child.communicate(data)
    if child.returncode:
        said = likely_cause(err.decode(errors="replace").splitlines())
        raise error(f"{what} failed: {said or f'status {child.returncode}'}")
    return out
