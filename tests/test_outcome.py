# SPDX-License-Identifier: GPL-2.0-or-later
"""Kernel bugs and the end of a guest, told from recorded consoles."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from hptresize.base.errors import ConsoleBug, GuestHung, GuestPanicked, QemuDied, QemuStartError
from hptresize.machine import Console, find_bugs
from hptresize.machine.watch import Watch

RECORDED = Path(__file__).parent / "recorded"


def recorded(name: str) -> str:
    return (RECORDED / f"{name}.log").read_text()


@pytest.mark.parametrize(
    ("log", "names"),
    [
        ("boot-stock", []),
        ("resize-stock", []),
        ("panic-sysrq", ["panic"]),
        ("panic-no-init", ["panic"]),
    ],
)
def test_recorded_consoles(log: str, names: list[str]) -> None:
    assert [finding.pattern.name for finding in find_bugs(recorded(log))] == names


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("[  1.2] Kernel panic - not syncing: Attempted to kill init!", "panic"),
        ("[  1.2] BUG: Unable to handle kernel data access on write at 0xc00c0000", "bad access"),
        ("[  1.2] Oops: Kernel access of bad area, sig: 7 [#1]", "oops"),
        ("[  1.2] WARNING: CPU: 1 PID: 42 at mm/slub.c:123 foo+0x1/0x2", "WARNING"),
        ("[  1.2] WARNING: possible circular locking dependency detected", "lockdep"),
        ("[  1.2] WARNING: possible recursive locking detected", "lockdep"),
        ("[  1.2] WARNING: suspicious RCU usage", "lockdep"),
        ("[  1.2] WARNING: inconsistent lock state", "lockdep"),
        ("[  1.2] INFO: task hog:17 blocked for more than 120 seconds.", "hung task"),
        ("[  1.2] watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [x:1]", "lockup"),
        ("[  1.2] watchdog: CPU 1 self-detected hard LOCKUP @ foo", "lockup"),
        ("[  1.2] rcu: INFO: rcu_sched detected stalls on CPUs/tasks:", "rcu stall"),
        ("[  1.2] rcu: INFO: rcu_sched self-detected stall on CPU", "rcu stall"),
        ("[  1.2] BUG: sleeping function called from invalid context at x.c:1", "sleeping"),
        ("[  1.2] BUG: scheduling while atomic: init/1/0x00000002", "sleeping"),
        ("[  1.2] BUG: KASAN: use-after-free in foo", "sanitizer"),
        ("[  1.2] list_del corruption. prev->next should be x", "list"),
        ("[  1.2] kernel BUG at arch/powerpc/platforms/pseries/lpar.c:99!", "BUG"),
        ("[  1.2] BUG: Bad page state in process x  pfn:1", "memory"),
        ("[  1.2] Call Trace:", "trace"),
    ],
)
def test_patterns(line: str, name: str) -> None:
    found = find_bugs(f"[  1.1] before\n{line}\n[  1.3] after\n")
    assert [(finding.pattern.name, finding.number) for finding in found] == [(name, 2)]


@pytest.mark.parametrize(
    "line",
    [
        "[  0.1] DEBUG: this is no bug",
        "[  0.1] lpar: HPT resize to shift 24 complete (101 ms / 9 ms)",
        "[  0.1] WARNING: nvram corruption detected: 0-length partition",
        "[  0.1] rcu: Hierarchical RCU implementation.",
        "[  0.1] Debug: lockdep is off, BUGs go unseen",
    ],
)
def test_not_a_bug(line: str) -> None:
    assert find_bugs(line) == []


def test_console_check_names_the_line_and_shows_what_is_around() -> None:
    console = Console(Watch())
    console.feed(b"one\r\ntwo\r\nWARNING: CPU: 0 PID: 1 at x\r\nCall Trace:\r\n last\r\n")
    with pytest.raises(ConsoleBug, match=r"WARNING on the guest's console, line 3: WARNING: CPU"):
        console.check()
    console.ignored.add("WARNING")
    console.check()


def test_waiting_ends_with_what_happened() -> None:
    watch = Watch()
    console = Console(watch)
    with pytest.raises(GuestHung, match=r"a thing: not within 0\.01 s"):
        watch.wait(lambda: False, 0.01, "a thing")
    watch.qemu_stderr = lambda: "no such machine\n"
    watch.qemu_exit = 1
    with pytest.raises(QemuStartError, match=r"status 1: no such machine"):
        watch.wait(lambda: False, 9, "a thing")
    watch.started = True
    watch.qemu_exit = -11
    with pytest.raises(QemuDied, match=r"signal 11 while waiting for a thing"):
        watch.wait(lambda: False, 9, "a thing")
    console.feed(recorded("panic-sysrq").encode())
    with pytest.raises(GuestPanicked, match=r"sysrq triggered crash") as caught:
        watch.wait(lambda: False, 9, "a thing")
    assert "sysrq_handle_crash" in caught.value.console


def test_what_was_awaited_comes_before_bad_news() -> None:
    watch = Watch()
    watch.panicked = True
    watch.wait(lambda: True, 1, "nothing")


def test_events_are_forgotten_under_the_lock() -> None:
    """The thread that reads QMP adds to the same list."""
    watch = Watch()
    lock = threading.RLock()
    watch.changed = threading.Condition(lock)

    class Events(list[dict[str, Any]]):
        def clear(self) -> None:
            taken: list[bool] = []
            other = threading.Thread(target=lambda: taken.append(lock.acquire(blocking=False)))
            other.start()
            other.join(10)
            assert taken == [False]
            super().clear()

    watch.events = Events([{"event": "MIGRATION"}])
    watch.forget_events()
    assert watch.events == []


def test_console_text_split_inside_a_character_and_a_line() -> None:
    console = Console(Watch())
    for byte in "größer\r\nKernel panic - not syncing: x\r\n".encode():
        console.feed(bytes((byte,)))
    assert console.text == "größer\nKernel panic - not syncing: x\n"
    assert console.wait_for(r"^Kernel (\w+)", 1).group(1) == "panic"
