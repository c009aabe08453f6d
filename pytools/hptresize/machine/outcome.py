# SPDX-License-Identifier: GPL-2.0-or-later
"""How a run fails, and the signs of kernel bugs on a console; pure functions over text."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Pattern:
    """One way in which a kernel says that something is wrong with it.

    :param fatal: no guest goes on after this.
    """

    name: str
    regex: re.Pattern[str]
    fatal: bool = False


def _pattern(name: str, regex: str, *, fatal: bool = False) -> Pattern:
    return Pattern(name, re.compile(regex), fatal)


# First match names the line, so the special ones stand before the general.
BUG_PATTERNS: tuple[Pattern, ...] = (
    _pattern("panic", r"Kernel panic - not syncing", fatal=True),
    _pattern("bad access", r"(?:Unable to handle kernel|Kernel attempted to)"),
    _pattern("oops", r"\bOops(?: - |:|\[)"),
    _pattern("exception", r"Unrecoverable (?:exception|FP|VMX|VSX)|unexpected exception"),
    _pattern("checkstop", r"Machine check (?:in kernel mode|interrupt)"),
    _pattern(
        "lockdep",
        r"possible (?:circular|recursive|irq) lock|inconsistent lock state|bad unlock balance"
        r"|held lock freed|lock held when returning|suspicious RCU usage"
        r"|possible irq lock inversion|HARDIRQ-safe -> HARDIRQ-unsafe|BUG: MAX_LOCK"
        r"|Invalid wait context|turning off the locking correctness validator",
    ),
    _pattern("lockup", r"(?:soft|hard) lockup|self-detected hard LOCKUP|Hard LOCKUP"),
    _pattern("rcu stall", r"rcu.*(?:self-)?detected (?:expedited )?stall"),
    _pattern("hung task", r"INFO: task .* blocked for more than"),
    _pattern("sanitizer", r"BUG: K[A-Z]+AN:|UBSAN:"),
    _pattern("sleeping", r"sleeping function called from invalid context|scheduling while atomic"),
    _pattern("list", r"list_(?:add|del) corruption"),
    _pattern("memory", r"Bad page (?:state|map)|Bad rss-counter|Out of memory: Kill"),
    _pattern("BUG", r"\bBUG(?::| at )|kernel BUG"),
    _pattern("leak", r"kmemleak: \d+ new suspected"),
    _pattern("WARNING", r"\bWARNING: "),
    _pattern("trace", r"\bCall Trace:"),
)

# Lines that look like a bug and are none, each with its reason.
HARMLESS: tuple[re.Pattern[str], ...] = (
    # Nobody has formatted the NVRAM of a machine that VOF started.
    re.compile(r"WARNING: nvram corruption detected: 0-length partition"),
)

_END_OF_PANIC = re.compile(r"---\[ end Kernel panic")


@dataclass(frozen=True)
class Finding:
    """A line of a console that matches a pattern.

    :param line: the text of the line.
    :param number: its number, from 1.
    """

    pattern: Pattern
    line: str
    number: int


def scan(text: str, *, start: int = 1) -> list[Finding]:
    """All lines that say that the kernel has a bug, in order.

    :param start: the number of the first line of ``text``.
    """
    found = []
    for number, line in enumerate(text.splitlines(), start):
        if any(harmless.search(line) for harmless in HARMLESS):
            continue
        for pattern in BUG_PATTERNS:
            if pattern.regex.search(line):
                found.append(Finding(pattern, line.strip(), number))
                break
    return found


def find_bugs(text: str) -> list[Finding]:
    """Like :func:`scan`, but a "Call Trace" that only belongs to a finding is left out."""
    found = scan(text)
    serious = [finding for finding in found if finding.pattern.name != "trace"]
    return serious or found


def is_fatal(line: str) -> bool:
    """Whether no guest goes on after this line of its console."""
    return any(p.fatal and p.regex.search(line) for p in BUG_PATTERNS)


def panic_is_whole(text: str) -> bool:
    """Whether the console holds the end of a panic's report."""
    return _END_OF_PANIC.search(text) is not None


def tail(text: str, lines: int = 15) -> str:
    """The last lines of a console, without empty ones."""
    kept = [line.rstrip() for line in text.splitlines() if line.strip()]
    return "\n".join(kept[-lines:])


def around(text: str, number: int, *, before: int = 3, after: int = 25) -> str:
    """The lines of a console around line ``number`` (from 1)."""
    lines = text.splitlines()
    return "\n".join(lines[max(0, number - 1 - before) : number + after])
