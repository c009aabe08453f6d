# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the workers of a run ask whether their cell may start, and say what it does.

Each worker has a connection. It says what its cell takes and gets an answer when
there is room; the room is free again when the connection ends, however the worker
does. First come, first served: a large cell is not passed by for ever by small ones.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import selectors
import signal
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hptresize.matrix.tasks import Limits

log = logging.getLogger(__name__)

Event = Callable[[str, str], None]
"""Is told the name of a cell and what it does now."""

WAITING, ENDED = "waiting for room", ""


class Hub:
    """The one end.

    :param where: the socket's path, which must be short.
    :param event: called in a thread of its own.
    """

    def __init__(self, where: Path, limits: Limits, event: Event) -> None:
        self._free = limits
        self._event = event
        self._waiting: list[tuple[socket.socket, Limits]] = []
        self._given: dict[socket.socket, Limits] = {}
        self._cells: dict[socket.socket, str] = {}
        self._unread: dict[socket.socket, bytes] = {}
        self._selector = selectors.DefaultSelector()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(where))
        self._listener.listen(64)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._wake, self._woken = socket.socketpair()
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._serve, name="hub", daemon=True)

    def __enter__(self) -> Hub:
        self._thread.start()
        return self

    def __exit__(self, *about: object) -> None:
        self._wake.close()
        self._thread.join(10.0)

    def kill_workers(self) -> None:
        """End the workers that run a cell; the kernel ends their QEMUs with them."""
        for connection in list(self._unread):
            with contextlib.suppress(OSError):
                peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
                pid = struct.unpack("3i", peer)[0]
                if pid != os.getpid():
                    os.kill(pid, signal.SIGKILL)

    # All in the thread

    def _serve(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._woken:
                    self._close()
                    return
                if key.fileobj is self._listener:
                    connection, _ = self._listener.accept()
                    self._unread[connection] = b""
                    self._selector.register(connection, selectors.EVENT_READ)
                elif isinstance(key.fileobj, socket.socket):
                    self._read(key.fileobj)

    def _close(self) -> None:
        for end in (self._listener, self._woken, *self._unread):
            end.close()
        self._selector.close()

    def _read(self, connection: socket.socket) -> None:
        try:
            data = connection.recv(65536)
        except OSError:
            data = b""
        if not data:
            self._end(connection)
            return
        *lines, rest = (self._unread[connection] + data).split(b"\n")
        self._unread[connection] = rest
        for line in lines:
            self._take(connection, json.loads(line))

    def _take(self, connection: socket.socket, said: dict[str, Any]) -> None:
        if "want" in said:
            self._cells[connection] = said["cell"]
            self._event(said["cell"], WAITING)
            self._waiting.append((connection, Limits(*said["want"])))
            self._give()
        else:
            self._event(self._cells.get(connection, ""), said["doing"])

    def _end(self, connection: socket.socket) -> None:
        self._selector.unregister(connection)
        connection.close()
        del self._unread[connection]
        self._waiting = [one for one in self._waiting if one[0] is not connection]
        back = self._given.pop(connection, None)
        if back is not None:
            self._free = Limits(
                self._free.cpus + back.cpus, self._free.memory_mb + back.memory_mb
            )  # fmt: skip
        self._event(self._cells.pop(connection, ""), ENDED)
        self._give()

    def _give(self) -> None:
        while self._waiting:
            connection, want = self._waiting[0]
            if want.cpus > self._free.cpus or want.memory_mb > self._free.memory_mb:
                return
            del self._waiting[0]
            self._free = Limits(
                self._free.cpus - want.cpus, self._free.memory_mb - want.memory_mb
            )  # fmt: skip
            self._given[connection] = want
            with contextlib.suppress(OSError):
                connection.sendall(b"go\n")


@contextlib.contextmanager
def room(where: Path, cell: str, want: Limits) -> Iterator[Callable[[str], None]]:
    """Wait until there is room for a cell, and keep it for the block.

    :returns: what to tell what the cell does.
    :raises ConnectionError: the hub has gone.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as hub:
        hub.connect(str(where))

        def send(**what: object) -> None:
            hub.sendall(json.dumps(what).encode() + b"\n")

        send(cell=cell, want=[want.cpus, want.memory_mb])
        if not hub.recv(16):
            raise ConnectionError("the run has ended")
        yield lambda what: send(doing=what)
