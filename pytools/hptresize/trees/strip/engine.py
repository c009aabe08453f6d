# SPDX-License-Identifier: GPL-2.0-or-later
"""Take the merged feature out of a tree, all of it or nothing.

Every edit is found and carried out in memory first; files are written only
when all parts were found and no mention of the feature would be left.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from hptresize.base.errors import BaselineError, TreeError
from hptresize.base.kinds import Kind
from hptresize.trees.strip.csource import CSource, Unclear, apply
from hptresize.trees.strip.finders import find
from hptresize.trees.strip.linux_feature import KERNEL
from hptresize.trees.strip.qemu_feature import QEMU
from hptresize.trees.strip.spec import Edit, Feature, FileEdits, IdleInclude, OneOf

log = logging.getLogger(__name__)

FEATURES: Mapping[Kind, Feature] = {"kernel": KERNEL, "qemu": QEMU}


@dataclass(frozen=True)
class EditRecord:
    """One edit that was made.

    :ivar file: the file, relative to the tree.
    :ivar what: the thing in words.
    :ivar lines: how many lines fewer the file has for it.
    """

    file: str
    what: str
    lines: int


@dataclass(frozen=True)
class StripReport:
    """What `strip_tree` did.

    :ivar edits: in the order made; empty if the tree never had the feature.
    """

    root: Path
    kind: Kind
    version: str
    edits: tuple[EditRecord, ...]

    @property
    def changed(self) -> bool:
        """Whether the tree had the feature."""
        return bool(self.edits)

    @property
    def files(self) -> tuple[str, ...]:
        """The files that were changed, each once."""
        return tuple(dict.fromkeys(edit.file for edit in self.edits))

    @property
    def lines(self) -> int:
        """How many lines were taken out."""
        return sum(edit.lines for edit in self.edits)


@dataclass
class _Plan:
    """The tree's files as they would be."""

    texts: dict[str, bytes]
    edits: list[EditRecord]
    missing: list[tuple[str, str]]


def detect(root: Path) -> Kind | None:
    """Say what sort of tree a directory holds.

    :param root: the top directory.
    :return: the kind, or None if it is neither.
    """
    for kind, feature in FEATURES.items():
        if _why_not(root, feature) is None:
            return kind
    return None


def tree_version(root: Path, kind: Kind) -> str:
    """Read a tree's own version, like "6.12.107" or "10.0.13".

    :param root: the top directory.
    :param kind: what it is expected to be.
    :raises TreeError: it is not such a tree.
    """
    feature = FEATURES[kind]
    reason = _why_not(root, feature)
    if reason is not None:
        raise TreeError(
            f"{root} is not a {feature.title} source tree: {reason}",
            hint=f"give the top directory of a {feature.title} source tree",
        )
    return ".".join(_version_parts(root, feature))


def strip_tree(root: Path, kind: Kind) -> StripReport:
    """Remove the merged feature from a tree, in place.

    A tree that never had it, or from which it was removed before, is left alone.

    :param root: the top directory, writable.
    :param kind: what it is expected to be.
    :return: what was done.
    :raises TreeError: it is not such a tree, or cannot be read or written.
    :raises BaselineError: part of the feature is there and another expected
        part is not, or a mention would be left. Nothing has been written then.
    """
    feature = FEATURES[kind]
    version = tree_version(root, kind)
    try:
        plan = _plan(root, feature)
        _check_complete(root, feature, version, plan)
        _check_leftovers(root, feature, version, plan.texts)
        _write(root, plan.texts)
    except OSError as error:
        raise TreeError(f"{error.filename or root}: {error.strerror}") from error
    report = StripReport(root, kind, version, tuple(plan.edits))
    log.info(
        "baseline: %s %s: %d edits in %d files, %d lines",
        feature.title,
        version,
        len(report.edits),
        len(report.files),
        report.lines,
    )
    return report


def _why_not(root: Path, feature: Feature) -> str | None:
    """Why a directory is not such a tree; None if it is."""
    if not root.is_dir():
        return "it is not a directory"
    for landmark in feature.landmarks:
        if not (root / landmark).exists():
            return f"{landmark} is missing"
    if len(_version_parts(root, feature)) != len(feature.version):
        return f"{feature.version_file} names no version"
    return None


def _version_parts(root: Path, feature: Feature) -> list[str]:
    text = (root / feature.version_file).read_text(encoding="utf-8", errors="replace")
    matches = (re.search(pattern, text, re.MULTILINE) for pattern in feature.version)
    return [match.group(1) for match in matches if match]


def _plan(root: Path, feature: Feature) -> _Plan:
    plan = _Plan({}, [], [])
    for file in feature.files:
        path = next((path for path in file.paths if (root / path).is_file()), None)
        if path is None:
            name = " or ".join(file.paths)
            plan.missing.extend((name, edit.what) for edit in file.edits if _expected(edit))
            continue
        _plan_file(path, (root / path).read_bytes(), file, feature, plan)
    return plan


def _plan_file(path: str, text: bytes, file: FileEdits, feature: Feature, plan: _Plan) -> None:
    """Carry out one file's edits in memory and note what was (not) found."""
    words = _pattern(feature)
    source = CSource(text)
    errors = source.errors()
    done: list[EditRecord] = []
    for edit in file.edits:
        if isinstance(edit, IdleInclude) and not done:
            continue
        found = _carry_out(path, source, edit, words)
        if found is not None:
            one, result = found
            lines = source.text.count(b"\n") - result.count(b"\n")
            done.append(EditRecord(path, one.what, lines))
            source = CSource(result)
        elif _expected(edit):
            plan.missing.append((path, edit.what))
    if not done:
        return
    if source.errors() > errors:
        raise BaselineError(f"{path}: would no longer be well-formed after the removal")
    plan.texts[path] = source.text
    plan.edits.extend(done)


def _carry_out(
    path: str, source: CSource, edit: Edit, words: re.Pattern[bytes]
) -> tuple[Edit, bytes] | None:
    """What was removed, and the file's contents then; None if there is no such thing."""
    for one in edit.edits if isinstance(edit, OneOf) else (edit,):
        try:
            cuts = find(source, one)
        except Unclear as reason:
            raise BaselineError(f"{path}: {one.what} {reason}, cannot remove it") from reason
        if len(cuts) > 1:
            raise BaselineError(f"{path}: {one.what} is there {len(cuts)} times, expected once")
        if cuts:
            return one, apply(source.text, source.widen(cuts[0], words))
    return None


def _expected(edit: Edit) -> bool:
    return not edit.optional and not isinstance(edit, IdleInclude)


def _check_complete(root: Path, feature: Feature, version: str, plan: _Plan) -> None:
    if not plan.edits or not plan.missing:
        return
    path, what = plan.missing[0]
    more = len(plan.missing) - 1
    raise BaselineError(
        f"{path}: {what} not found, though {plan.edits[0].file} of this {feature.title} "
        f"{version} has {plan.edits[0].what}" + (f" (and {more} more not found)" if more else ""),
        hint=f"is {root} an unchanged tree? nothing was written",
    )


def _check_leftovers(
    root: Path, feature: Feature, version: str, texts: Mapping[str, bytes]
) -> None:
    """Look for mentions in the tree as it would be with `texts` written."""
    pattern = _pattern(feature)
    for path in _searched(root, feature):
        text = texts[path] if path in texts else (root / path).read_bytes()
        lower = text.lower()
        if not any(stem.encode() in lower for stem in feature.leftovers.stems):
            continue
        match = pattern.search(text)
        if match:
            line = text.count(b"\n", 0, match.start()) + 1
            raise BaselineError(
                f"{path}:{line}: mentions {match.group().decode(errors='replace')!r}, "
                f"which the description for {feature.title} {version} does not know",
                hint="nothing was written",
            )


def _searched(root: Path, feature: Feature) -> Iterator[str]:
    """The files to be searched, relative to the tree."""
    allowed = feature.leftovers.allowed
    for top in feature.leftovers.roots:
        for directory, _, names in os.walk(root / top):
            place = Path(directory).relative_to(root).as_posix()
            if f"{place}/".startswith(tuple(one for one in allowed if one.endswith("/"))):
                continue
            for name in names:
                path = f"{place}/{name}"
                if path not in allowed and not (root / path).is_symlink():
                    yield path


def _pattern(feature: Feature) -> re.Pattern[bytes]:
    return re.compile(feature.leftovers.pattern.encode(), re.IGNORECASE)


def _write(root: Path, texts: Mapping[str, bytes]) -> None:
    """Write all files beside the old ones, then put them all in their places."""
    with contextlib.ExitStack() as cleanup:
        ready: list[tuple[Path, Path]] = []
        for path, text in texts.items():
            target = root / path
            handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
            temporary = Path(name)
            cleanup.callback(temporary.unlink, missing_ok=True)
            with os.fdopen(handle, "wb") as file:
                file.write(text)
            shutil.copymode(target, temporary)
            ready.append((temporary, target))
        for temporary, target in ready:
            temporary.replace(target)
