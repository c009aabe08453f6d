# SPDX-License-Identifier: GPL-2.0-or-later
"""The page of a run with everything in it that a page must stand, and who gets room when."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from hptresize.matrix import gather, hub, report, verdict
from hptresize.matrix.tasks import Limits

EVIL = "</pre><script>alert(1)</script><img src=x onerror=alert(2)>\nnot ok & \"'\x1b[31m\0"


class Tags(HTMLParser):
    """The tags of a page, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.said = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        assert not any(name.startswith("on") for name, _ in attrs)

    def handle_data(self, data: str) -> None:
        self.said += data


def made(where: Path) -> gather.MatrixResult:
    """A run with an outcome of each kind; what guests and users say is nasty."""
    values = {"scenario": "updown", "kernel": "series", "endian": "le", "pages": "64k",
              "config": "plain", "host": "mirror", "qemu": "built"}  # fmt: skip
    cells = []
    for number, status in enumerate(verdict.STATUSES):
        name = f"cell{number}"
        one = verdict.CellOutcome(
            name, values | {"memory": f"{number + 1}G"}, status, how="guest hung", what=EVIL,
            notes=[EVIL], directory=f"cells/{name}", steps=[{"to": EVIL, "result": EVIL}],
            kernel=EVIL, qemu=EVIL,
        )  # fmt: skip
        (where / one.directory).mkdir(parents=True)
        (where / one.directory / "console.log").write_bytes(EVIL.encode() + b"\xff\xfe" * 100_000)
        one.write(where / one.directory)
        cells.append(one)
    host = {"processor": EVIL, "processors": 2, "load_at_start": 0.5}
    return gather.MatrixResult(
        EVIL, "2026-01-02T03:04:05+0000", host, Limits(2, 100), cells, 1.0, 2, [EVIL]
    )


def test_nothing_gets_out_of_its_place(tmp_path: Path) -> None:
    result = made(tmp_path)
    report.write(result, tmp_path)
    page = (tmp_path / "report.html").read_text()
    tags = Tags(page)
    assert "script" not in tags.tags
    assert "img" not in tags.tags
    assert "alert(1)" in tags.said
    assert "\0" not in page
    assert "\x1b" not in page
    # A console of 200 kB is cut.
    assert len(page) < 100_000 * len(result.cells)
    ktap = (tmp_path / "matrix.ktap").read_text().splitlines()
    assert sum(line.startswith(("ok ", "not ok ")) for line in ktap) == len(result.cells)
    assert ktap[-1].startswith("# ")


class Room:
    """A hub with two CPUs and 100 MB, and what it tells."""

    def __init__(self, where: Path) -> None:
        self.where = where
        self.told: list[tuple[str, str]] = []
        self._changed = threading.Condition()
        self.hub = hub.Hub(where, Limits(2, 100), self._tell)

    def _tell(self, cell: str, what: str) -> None:
        with self._changed:
            self.told.append((cell, what))
            self._changed.notify_all()

    def wait_for(self, cell: str, what: str) -> None:
        """Wait until it has told this."""
        with self._changed:
            assert self._changed.wait_for(lambda: (cell, what) in self.told, 10), self.told

    def ask(self, cell: str, cpus: int, memory: int) -> socket.socket:
        """Ask for room, as a worker does; the hub has dealt with it."""
        end = self._send({"cell": cell, "want": [cpus, memory]}, {"doing": "ask"})
        self.wait_for(cell, "ask")
        return end

    def _send(self, *said: dict[str, object]) -> socket.socket:
        end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        end.connect(str(self.where))
        end.sendall(b"".join(json.dumps(one).encode() + b"\n" for one in said))
        return end

    def settle(self, name: str) -> None:
        """Wait until the hub has dealt with all that it has told: it has one thread."""
        with self._send({"doing": name}):
            self.wait_for("", name)

    def close(self, cell: str, end: socket.socket) -> None:
        """End a worker; the hub has dealt with it."""
        end.close()
        self.wait_for(cell, hub.ENDED)
        self.settle(f"after {cell}")


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    made = Room(tmp_path / "hub")
    with made.hub:
        yield made


def has_room(end: socket.socket) -> bool:
    try:
        return end.recv(16, socket.MSG_DONTWAIT) == b"go\n"
    except BlockingIOError:
        return False


def test_no_more_at_once_than_there_is_room_for(room: Room) -> None:
    first, second = room.ask("first", 1, 60), room.ask("second", 1, 60)
    assert has_room(first)
    assert not has_room(second)
    # First come, first served: it would fit, and has to wait all the same.
    third = room.ask("third", 1, 10)
    assert not has_room(third)
    # However a worker ends, its room is free again.
    room.close("first", first)
    assert has_room(second)
    assert has_room(third)
    fourth = room.ask("fourth", 2, 100)
    room.close("second", second)
    assert not has_room(fourth)
    room.close("third", third)
    assert has_room(fourth)
    for cell in ("first", "second", "third", "fourth"):
        assert room.told.count((cell, hub.WAITING)) == 1
    fourth.close()


def test_a_worker_that_gives_up_waiting(room: Room) -> None:
    first, second, third = (room.ask(name, 2, 50) for name in ("first", "second", "third"))
    assert has_room(first)
    room.close("second", second)
    assert not has_room(third)
    room.close("first", first)
    assert has_room(third)
    third.close()


def test_the_worker_s_end(room: Room) -> None:
    got = threading.Event()

    def other() -> None:
        with hub.room(room.where, "other", Limits(1, 1)):
            got.set()

    thread = threading.Thread(target=other)
    with hub.room(room.where, "cell", Limits(2, 100)) as doing:
        doing("resize")
        thread.start()
        room.wait_for("other", hub.WAITING)
        room.settle("after other")
        assert not got.is_set()
    thread.join(10)
    assert got.is_set()
    assert ("cell", "resize") in room.told
