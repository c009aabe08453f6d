# SPDX-License-Identifier: GPL-2.0-or-later
"""The merged feature is taken out whole and neatly, or not at all."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from baseline_samples import TREES, read, snapshot, unpack
from hptresize.base.errors import BaselineError, TreeError
from hptresize.base.kinds import Kind
from hptresize.trees.strip import detect, strip_tree, tree_version
from hptresize.trees.strip.csource import CSource, apply
from hptresize.trees.strip.engine import FEATURES
from hptresize.trees.strip.finders import find
from hptresize.trees.strip.spec import Edit, IdleInclude, Local, OneOf

BASES = ("linux-6.1", "qemu-10.0")
# Sample, file and edit, for each part that must be there.
PARTS = [
    (name, file.paths[0], edit)
    for name in BASES
    for file in FEATURES[TREES[name]].files
    for edit in file.edits
    if not edit.optional and not isinstance(edit, IdleInclude)
]


def take_one_out(root: Path, path: str, edit: Edit) -> None:
    """Remove a single part of the feature from a sample."""
    source = CSource((root / path).read_bytes())
    choices = edit.edits if isinstance(edit, OneOf) else (edit,)
    if isinstance(choices[0], Local):
        # Still used, so the finder would refuse.
        line = re.compile(rb"^.*\*" + choices[0].name.encode() + rb" = .*\n", re.MULTILINE)
        (root / path).write_bytes(line.sub(b"", source.text))
        return
    # Where there are several, the earlier ones are inside things that go too.
    cuts = [cut for choice in choices for cut in find(source, choice)]
    (root / path).write_bytes(apply(source.text, cuts[-1]))


@pytest.mark.parametrize("name", TREES)
def test_the_feature_goes_and_all_else_stays(name: str, tmp_path: Path) -> None:
    report = strip_tree(unpack(name, tmp_path), TREES[name])
    assert report.changed
    assert snapshot(tmp_path) == read(f"{name}-stripped")


@pytest.mark.parametrize("name", TREES)
def test_a_second_run_does_nothing(name: str, tmp_path: Path) -> None:
    strip_tree(unpack(name, tmp_path), TREES[name])
    assert not strip_tree(tmp_path, TREES[name]).changed
    assert snapshot(tmp_path) == read(f"{name}-stripped")


@pytest.mark.parametrize("name", TREES)
def test_a_tree_that_never_had_it_is_left_alone(name: str, tmp_path: Path) -> None:
    unpack(f"{name}-stripped", tmp_path)
    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    report = strip_tree(tmp_path, TREES[name])
    assert (report.changed, report.edits, report.lines) == (False, (), 0)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == written


@pytest.mark.parametrize("name", BASES)
def test_a_tree_without_the_files_that_newer_ones_have(name: str, tmp_path: Path) -> None:
    unpack(f"{name}-stripped", tmp_path)
    feature = FEATURES[TREES[name]]
    for file in feature.files:
        for path in file.paths:
            if path not in feature.landmarks:
                (tmp_path / path).unlink(missing_ok=True)
    assert not strip_tree(tmp_path, TREES[name]).changed


@pytest.mark.parametrize(
    ("name", "path", "edit"), PARTS, ids=[f"{path}: {edit.what}" for _, path, edit in PARTS]
)
def test_any_part_missing_is_named_and_nothing_written(
    name: str, path: str, edit: Edit, tmp_path: Path
) -> None:
    take_one_out(unpack(name, tmp_path), path, edit)
    before = snapshot(tmp_path)
    with pytest.raises(BaselineError) as caught:
        strip_tree(tmp_path, TREES[name])
    assert caught.value.what.startswith(f"{path}: {edit.what} not found")
    assert "\n" not in str(caught.value)
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("name", BASES)
def test_a_missing_file_is_named(name: str, tmp_path: Path) -> None:
    gone = FEATURES[TREES[name]].files[1].paths[0]
    (unpack(name, tmp_path) / gone).unlink()
    before = snapshot(tmp_path)
    with pytest.raises(BaselineError, match=gone):
        strip_tree(tmp_path, TREES[name])
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize(
    ("name", "path", "text"),
    [
        ("linux-6.1", "arch/powerpc/mm/new.c", "/* calls resize_hpt() */\n"),
        ("linux-6.1", "Documentation/new.rst", "\nResizing the hash page table\n"),
        ("linux-6.1-stripped", "arch/powerpc/mm/new.c", "int x = FW_FEATURE_HPT_RESIZE;\n"),
        ("qemu-10.0", "docs/new.rst", "``resize-hpt=enabled``\n"),
    ],
)
def test_a_mention_elsewhere_is_an_error(name: str, path: str, text: str, tmp_path: Path) -> None:
    unpack(name, tmp_path)
    (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / path).write_text(text)
    before = snapshot(tmp_path)
    with pytest.raises(BaselineError, match=rf"{path}:\d: mentions"):
        strip_tree(tmp_path, TREES[name.removesuffix("-stripped")])
    assert snapshot(tmp_path) == before


def test_a_write_that_fails_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unpack("linux-6.1", tmp_path)
    before = snapshot(tmp_path)

    def fail(source: Path, target: Path) -> None:
        if source.name == "lpar.c":
            raise OSError(28, "No space left on device", str(target))

    monkeypatch.setattr(shutil, "copymode", fail)
    with pytest.raises(TreeError, match="No space left"):
        strip_tree(tmp_path, "kernel")
    assert snapshot(tmp_path) == before


def test_modes_of_files_survive(tmp_path: Path) -> None:
    file = unpack("qemu-10.0", tmp_path) / "hw/ppc/spapr.c"
    file.chmod(0o640)
    strip_tree(tmp_path, "qemu")
    assert file.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(
    ("name", "kind", "version"),
    [("linux-6.1", "kernel", "6.1.7"), ("qemu-10.2", "qemu", "10.2.1")],
)
def test_kind_and_version_are_recognised(
    name: str, kind: Kind, version: str, tmp_path: Path
) -> None:
    unpack(name, tmp_path)
    assert detect(tmp_path) == kind
    assert tree_version(tmp_path, kind) == version


@pytest.mark.parametrize(("name", "wrong"), [("linux-6.1", "qemu"), ("qemu-10.0", "kernel")])
def test_the_wrong_kind_of_tree_is_refused(name: str, wrong: Kind, tmp_path: Path) -> None:
    unpack(name, tmp_path)
    with pytest.raises(TreeError, match=r"is not a .* source tree: .* is missing"):
        strip_tree(tmp_path, wrong)
    assert snapshot(tmp_path) == read(name)


def test_what_is_no_tree_at_all_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for root in (tmp_path, tmp_path / "file", tmp_path / "nowhere"):
        assert detect(root) is None
        with pytest.raises(TreeError, match="is not a Linux source tree"):
            tree_version(root, "kernel")


def test_a_makefile_of_something_else_is_refused(tmp_path: Path) -> None:
    (unpack("linux-6.1", tmp_path) / "Makefile").write_text("all:\n")
    with pytest.raises(TreeError, match="names no version"):
        strip_tree(tmp_path, "kernel")


def test_the_report_names_each_thing_once(tmp_path: Path) -> None:
    report = strip_tree(unpack("qemu-7.2", tmp_path), "qemu")
    whats = [(edit.file, edit.what) for edit in report.edits]
    assert len(whats) == len(set(whats))
    assert ("target/ppc/tcg-stub.c", "function softmmu_resize_hpt_commit()") in whats
    removed = sum(text.count("\n") for text in read("qemu-7.2").values())
    removed -= sum(text.count("\n") for text in read("qemu-7.2-stripped").values())
    assert report.lines == removed
