# SPDX-License-Identifier: GPL-2.0-or-later
"""Run checks on the patches of a series in a tree, and keep what they found."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Sequence

from hptresize.base import progress
from hptresize.base.cache import Cache
from hptresize.base.errors import HptResizeError, PatchError
from hptresize.build.builder import Builder
from hptresize.check.question import Check, CheckResult, Step
from hptresize.check.together import ask_together
from hptresize.series.files import Patch, Series
from hptresize.series.home import BASE, Home
from hptresize.trees.tree import Tree

APPLIES = Check("applies", "git am, on the patches before it", lambda step: ())


@dataclasses.dataclass(frozen=True)
class CheckReport:
    """What the checks found of a series in one tree.

    :ivar patches: subjects, in order.
    :ivar results: of each check (by name) and patch (by place in `patches`).
    """

    home: Home
    title: str
    patches: tuple[Patch, ...]
    checks: tuple[Check, ...]
    results: dict[tuple[str, int], CheckResult]

    @property
    def failed(self) -> list[tuple[str, Patch, CheckResult]]:
        """Everything that is not as it should be: check, patch, result."""
        return [
            (check, self.patches[place], result)
            for (check, place), result in self.results.items()
            if result.state in ("FAIL", "?")
        ]


def check_series(
    home: Home, tree: Tree, builder: Builder, checks: Sequence[Check], series: Series | None = None
) -> CheckReport:
    """Ask all checks about all patches of a series in a tree.

    :param series: instead of the one in home's directory.
    :raises BaselineError, UsageError: there is nothing to apply the series to.
    """
    series = series or home.load()
    results: dict[tuple[str, int], CheckResult] = {}
    steps = _steps(home, tree, builder, series, results)
    report = CheckReport(home, tree.title, series.patches, (APPLIES, *checks), results)
    alone = [check for check in checks if not check.quick and not check.place]
    places = [check for check in checks if check.place]
    # What is quick, and what shares the tree, goes patch by patch: it is switched less often.
    with progress.step(f"{home.words} on {tree.title}: read {len(steps)} patches") as shown:
        for count, step in enumerate(steps, 1):
            for check in checks:
                if check.quick and not check.place:
                    shown.update(count, len(steps), f"{check.name} {step.patch.path.name}")
                    results[check.name, step.number - 1] = ask(check, step)
    if places:
        with progress.step(f"{home.words} on {tree.title}: compile and analyse") as shown:
            for count, step in enumerate(steps, 1):
                for name, found in ask_all(places, step, shown, (count, len(steps))).items():
                    results[name, step.number - 1] = found
    for check in alone:
        with progress.step(f"{home.words} on {tree.title}: {check.name}") as shown:
            for count, step in enumerate(steps, 1):
                shown.update(count, len(steps), step.patch.path.name)
                results[check.name, step.number - 1] = ask(check, step)
    return report


def _steps(
    home: Home, tree: Tree, builder: Builder, series: Series,
    results: dict[tuple[str, int], CheckResult],
) -> list[Step]:  # fmt: skip
    """Apply the patches one after the other as far as it goes; note what applied."""
    steps: list[Step] = []
    stopped = ""
    with tree.lock():
        base = parent = tree.commit(BASE[home.variant], home.patches)
        wanted = series.for_version(tree.version)
        with contextlib.suppress(PatchError):
            tree.commit(home.variant, wanted)  # all in one go; if that fails, how far does it go?
        for place, patch in enumerate(series.patches):
            key = APPLIES.name, place
            reason = series.rules.reason_without(patch.subject, tree.version)
            if reason is not None:
                results[key] = CheckResult("-", (f"not for this tree: {reason}",))
                continue
            if stopped:
                results[key] = CheckResult("?", (f"comes after {stopped}",))
                continue
            try:
                upto = wanted.first(wanted.patches.index(patch) + 1)
                commit = tree.commit(home.variant, upto)
            except PatchError as err:
                stopped = f"{patch.path.name}, which does not apply"
                said = str(err).replace(f"{patch.path.parent}/", "")  # it goes to a page
                results[key] = CheckResult("FAIL", (said,))
                continue
            steps.append(
                Step(home, tree, wanted, place + 1, patch, commit, parent, base, builder)
            )
            results[key] = CheckResult("ok")
            parent = commit
    return steps


def ask(check: Check, step: Step) -> CheckResult:
    """Ask a check about a patch, or take its earlier answer from the cache."""
    return _answers([check], step, lambda left: {check.name: check.answer(step)})[check.name]


def ask_all(
    checks: Sequence[Check], step: Step, shown: progress.RunningStep, how_far: tuple[int, int]
) -> dict[str, CheckResult]:
    """Ask checks that share the tree about a patch, or take their earlier answers.

    :param how_far: this patch, of so many, for the step that is shown.
    :returns: what each found, by its name.
    """

    def done(check: Check) -> None:
        shown.update(*how_far, f"{check.name} {step.patch.path.name}")

    return _answers(checks, step, lambda left: ask_together(left, step, done))


def _answers(
    checks: Sequence[Check], step: Step, really: Callable[[list[Check]], dict[str, CheckResult]]
) -> dict[str, CheckResult]:
    """Return what checks found of a patch, by their names.

    :param really: asks those whose answers are not in the cache; they are kept there.
    """
    cache = step.tree.cache
    found: dict[str, CheckResult] = {}
    left: dict[str, Check] = {}  # by the key of the answer
    for check in checks:
        try:
            key = check.key(step)
        except HptResizeError as err:
            found[check.name] = CheckResult("?", (str(err),))
            continue
        known = _recall(cache, key)
        if known is None:
            left[key] = check
        else:
            found[check.name] = known
    if left:
        found |= really(list(left.values()))
        for key, check in left.items():
            _remember(cache, key, check, step, found[check.name])
    return {check.name: _accept(check, step, found[check.name]) for check in checks}


def _accept(check: Check, step: Step, found: CheckResult) -> CheckResult:
    """Leave out what series.toml accepts; the cache keeps all."""
    left = tuple(
        line
        for line in found.findings
        if not any(
            one.holds(check.family, step.patch.subject, line)
            for one in step.series.rules.accepted
        )
    )
    if found.state == "FAIL" and not left:
        return dataclasses.replace(found, state="ok", findings=())
    return dataclasses.replace(found, findings=left)


def _recall(cache: Cache, key: str) -> CheckResult | None:
    kept = cache.note(key, "checks")
    state, findings = kept.get("state"), kept.get("findings")
    if state not in ("ok", "FAIL", "-") or not isinstance(findings, list):
        return None
    return CheckResult(state, tuple(str(one) for one in findings), cached=True)


def _remember(cache: Cache, key: str, check: Check, step: Step, result: CheckResult) -> None:
    """Keep an answer; not one that is to be mended, perhaps outside of what the key names."""
    if _accept(check, step, result).state in ("ok", "-"):
        cache.set_note(
            key, {"state": result.state, "findings": list(result.findings)}, "checks"
        )
