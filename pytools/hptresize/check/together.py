# SPDX-License-Identifier: GPL-2.0-or-later
"""Ask several checks about one patch at the same time: each has a build directory, all one tree."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from hptresize.base import proc
from hptresize.check.question import FAILED, Check, CheckResult, Step, new_findings

Done = Callable[[Check], None]


def ask_together(checks: Sequence[Check], step: Step, done: Done) -> dict[str, CheckResult]:
    """Ask checks that have a place, with the patch and where that is needed without it.

    :param done: told of each check that has seen the tree, from threads.
    :returns: what each found, by its name.
    """
    with step.tree.lock():
        step.tree.switch(step.commit)
        found = _in_threads(checks, step, done)
        doubtful = [check for check in checks if found[check.name].state == "FAIL"]
        if not doubtful:
            return found
        step.tree.switch(step.parent)
        before = _in_threads(doubtful, step, done)
    for check in doubtful:
        found[check.name] = _compared(before[check.name], found[check.name])
    return found


def _compared(before: CheckResult, after: CheckResult) -> CheckResult:
    """Return what of a check's findings the patch has brought.

    That nothing could be compiled is no better where the patch before is to blame.
    """
    if before.state == "?":
        return before
    failed = [line for line in after.findings if line.startswith(FAILED)]
    fresh = new_findings(before.findings, after.findings)
    new = tuple(dict.fromkeys((*failed, *fresh)))
    return CheckResult("FAIL" if new else "ok", new, before.seconds + after.seconds)


def _in_threads(checks: Sequence[Check], step: Step, done: Done) -> dict[str, CheckResult]:
    """Ask about the tree as it is checked out; in one place one check after the other."""
    places: dict[str, list[Check]] = {}
    for check in checks:
        places.setdefault(check.place, []).append(check)
    found: dict[str, CheckResult] = {}

    def work(these: Sequence[Check]) -> None:
        for check in these:
            found[check.name] = check.answer(step)
            done(check)

    # What has most to do begins first.
    ordered = sorted(places.values(), key=len, reverse=True)
    with ThreadPoolExecutor(max(1, step.builder.jobs)) as pool:
        try:
            for one in [pool.submit(work, these) for these in ordered]:
                one.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            proc.end_all()
            raise
    return found
