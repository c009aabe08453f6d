# SPDX-License-Identifier: GPL-2.0-or-later
"""The checks see what is wrong with a patch, remember it, and nothing unsigned is exported."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import signal
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

import small_tree
from hptresize import cli, series
from hptresize.base import git as gitcmd
from hptresize.base import paths
from hptresize.base.cache import Cache
from hptresize.base.errors import HptResizeError
from hptresize.base.git import git
from hptresize.base.kinds import Kind
from hptresize.build import flavours, toolchain
from hptresize.build import kernel as kbuild
from hptresize.build.builder import Builder
from hptresize.build.image import initramfs
from hptresize.check import analyse, boot, question, texts
from hptresize.check import compile as compile_
from hptresize.check.all import checks_of
from hptresize.check.ask import CheckReport, check_series
from hptresize.check.boot import passed_by
from hptresize.check.question import Check, Step, new_findings, said_by
from hptresize.check.tables import as_lines
from hptresize.pytest_plugin import built
from hptresize.series.home import Home
from hptresize.trees import origin
from hptresize.trees.tree import Tree

MAINTAINER = """\
#!/usr/bin/perl
print "A Person <person\\@example.org> (maintainer:ALL)\\n", "list\\@example.org (open list:ALL)\\n"
    unless grep { /orphan/ } @ARGV;
"""
ABI = "What:\t\t/sys/x\nWhat:\t\t/sys/y\nDate:\t\tMay 2026\nContact:\tme\nDescription:\tIt is.\n"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A kernel tree in small, with in-tree tools that say little, and an empty series."""
    root = small_tree.make(tmp_path / "linux")
    (root / "scripts").mkdir()
    (root / "scripts/get_maintainer.pl").write_text(MAINTAINER)
    (root / "scripts/get_abi.pl").write_text("#!/usr/bin/perl\n")
    (root / "scripts/checkpatch.pl").write_text(
        '#!/usr/bin/perl\nopen(F, "<", $ARGV[-1]); while (<F>) '
        '{ print "$ARGV[-1]:$.: ERROR:X: bad\\n" if /^\\+.*bad/ }\n'
    )
    monkeypatch.setenv("HPTRESIZE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(Cache, "need", lambda *args: None)
    patches = tmp_path / "patches"
    patches.mkdir()
    (patches / "cover.txt").write_text("say more\n\nMuch more.\n")
    monkeypatch.setattr(paths, "kernel_patches", lambda: patches)
    return Home("kernel")


@pytest.fixture
def tree(home: Home) -> Tree:
    return origin.resolve(Cache(), "kernel", str(home.directory.parent / "linux"))


Commit = Callable[..., None]


@pytest.fixture
def commit(home: Home, tree: Tree) -> Commit:
    """Add a patch to the series: a message and files."""
    git(tree.path, "checkout", "--quiet", "--detach", "stock")

    def make(message: str, **files: str) -> None:
        for name, text in files.items():
            path = tree.path / re.sub("_([ch])$", r".\1", name.replace("__", "/"))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        gitcmd.commit_all(tree.path, message)
        series.refresh(tree.path, "stock", "HEAD", home.directory)

    return make


def asked(home: Home, tree: Tree, *checks: Check) -> CheckReport:
    return check_series(home, tree.apart(), Builder(tree.cache), checks)


def found(report: CheckReport, check: str) -> list[str]:
    """What a check found of all patches, one string."""
    return [line for name, _, result in report.failed if name == check for line in result.findings]


def named(name: str) -> Check:
    return next(one for one in (*texts.CHECKS, texts.ABI) if one.name == name)


GOOD = "main: Say more\n\nIt said too little."


def test_a_good_patch(home: Home, tree: Tree, commit: Commit) -> None:
    commit(GOOD, init__main_c="more\n")
    checks = [named(name) for name in ("message", "checkpatch", "recipients", "abi")]
    report = asked(home, tree, *checks)
    assert report.failed == []
    assert report.results["abi", 0].state == "-"
    again = asked(home, tree, *checks)
    assert all(again.results[one.name, 0].cached for one in checks)


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("main: Says more\n\nWhy.", "imperative: 'says'"),
        ("main: Added more\n\nWhy.", "imperative: 'added'"),
        ("main: Say more.\n\nWhy.", "full stop"),
        ("main: Say more", "no body"),
        ("Say more\n\nWhy.", "not in this tree's form"),
        (f"main: Say more\n\n{'word ' * 16}end", "a line of 83 columns"),
        (
            "main: Say more\n\nWhy.\n\nSigned-off-by: hptresize <hptresize@localhost>",
            "signed by a machine",
        ),
    ],
)
def test_messages(
    home: Home, tree: Tree, commit: Commit, message: str, said: str
) -> None:
    commit(message, init__main_c="more\n")
    assert any(said in line for line in found(asked(home, tree, named("message")), "message"))


def test_a_changed_message_is_asked_about_again(
    home: Home, tree: Tree, commit: Commit
) -> None:
    commit(GOOD, init__main_c="more\n")
    assert asked(home, tree, named("message")).failed == []
    git(tree.path, "commit", "--quiet", "--amend", "-m", "main: Say more", "--cleanup=verbatim")
    series.refresh(tree.path, "stock", "HEAD", home.directory)
    said = found(asked(home, tree, named("message")), "message")
    assert said == ["there is no body that says why"]


def test_what_is_accepted_is_no_failure(home: Home, tree: Tree, commit: Commit) -> None:
    commit(GOOD, init__main_c="bad\n")
    report = asked(home, tree, named("checkpatch"))
    assert found(report, "checkpatch") == ["0001-main-Say-more.patch:17: ERROR:X: bad"]
    rule = '[[accepted]]\ncheck = "checkpatch"\nfinding = "ERROR:X"\nreason = "so be it"\n'
    (home.directory / series.RULES).write_text(rule)
    assert asked(home, tree, named("checkpatch")).failed == []


def test_files_that_nobody_maintains(home: Home, tree: Tree, commit: Commit) -> None:
    commit(GOOD, init__orphan_c="int x;\n")
    said = found(asked(home, tree, named("recipients")), "recipients")
    assert said == ["init/orphan.c: get_maintainer.pl names no maintainer or no list"]


def test_abi_files(home: Home, tree: Tree, commit: Commit) -> None:
    commit(GOOD, Documentation__ABI__x=ABI)
    assert asked(home, tree, named("abi")).failed == []
    commit("main: Say most\n\nWhy.", Documentation__ABI__y=ABI.replace("Contact:\tme\n", ""))
    said = found(asked(home, tree, named("abi")), "abi")
    assert said == ["Documentation/ABI/y: /sys/y has no Contact:"]


def test_spelling(home: Home, tree: Tree, commit: Commit) -> None:
    commit("main: Say more\n\nIt said teh least.", init__main_c="more\n")
    said = found(asked(home, tree, named("spelling")), "spelling")
    assert len(said) == 1 and "teh ==> the" in said[0]


def test_after_a_patch_that_does_not_apply(
    home: Home, tree: Tree, commit: Commit
) -> None:
    commit(GOOD, init__main_c="more\n")
    commit("main: Say most\n\nWhy.", init__main_c="most\n")
    first = home.directory / "0001-main-Say-more.patch"
    first.write_text(first.read_text().replace("-init/main.c\n", "-other\n"))
    report = asked(home, tree, named("message"))
    states = [report.results["applies", place].state for place in range(2)]
    assert states == ["FAIL", "?"]
    assert "the hunk at init/main.c line 1" in found(report, "applies")[0]


def test_only_what_is_new_counts() -> None:
    before = ["a.c:1: warning: x", "a.c:5: warning: x"]
    after = ["a.c:11: warning: x", "a.c:15: warning: x", "a.c:20: warning: x"]
    assert new_findings(["a.c:9: lock on line 7"], ["a.c:19: lock on line 17"]) == []
    assert new_findings(before, after) == ["a.c:20: warning: x"]


def run(home: Home, *words: str) -> int:
    source = str(home.directory.parent / "linux")
    return cli.main(["series", *words, "kernel", "--kernel-source", source])


def only(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Let the export ask these checks: the small tree has no others' tools."""
    chosen = [named(name) for name in names]
    monkeypatch.setattr("hptresize.cli.series.checks_of", lambda kind: chosen)


def test_export_wants_a_signature_and_no_failure(
    home: Home, commit: Commit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    only(monkeypatch, "message", "checkpatch", "recipients")
    commit(GOOD, init__main_c="more\n")
    out = tmp_path / "outgoing"
    assert run(home, "export", "--out", str(out)) == 2
    assert "no work tree" in capfd.readouterr().err
    assert run(home, "edit") == 0
    where = Path(capfd.readouterr().out.splitlines()[-1])

    def sign(name: str, email: str) -> None:
        git(where, "-c", f"user.name={name}", "-c", f"user.email={email}", "rebase", "-q",
            "--signoff", "base",
            env={"GIT_COMMITTER_NAME": name, "GIT_COMMITTER_EMAIL": email})  # fmt: skip

    assert run(home, "export", "--out", str(out)) == 1
    assert "no human has signed off patch 1" in capfd.readouterr().err
    sign("hptresize", "hptresize@localhost")
    assert run(home, "export", "--out", str(out)) == 1
    assert "no human has signed off patch 1" in capfd.readouterr().err

    git(where, "reset", "-q", "--hard", "HEAD~1")
    git(where, "cherry-pick", git(where, "rev-parse", "ORIG_HEAD~0"))
    (where / "init/main.c").write_text("bad\n")
    git(where, "commit", "-q", "-a", "--amend", "-m", GOOD)
    sign("A Person", "person@example.org")
    assert run(home, "export", "--out", str(out)) == 1
    assert "checkpatch of 0001-main-Say-more.patch" in capfd.readouterr().err
    assert not out.exists()

    (where / "init/main.c").write_text("more\n")
    git(where, "commit", "-q", "-a", "--amend", "--no-edit")
    assert run(home, "export", "--out", str(out)) == 0
    assert "Nothing was sent" in capfd.readouterr().err
    mails = sorted(path.name for path in out.iterdir())
    assert mails == ["0000-cover-letter.patch", "0001-main-Say-more.patch"]
    cover = (out / mails[0]).read_text()
    assert "Subject: [PATCH 0/1] say more" in cover and "\nbase-commit: " in cover
    patch = (out / mails[1]).read_text()
    assert "To: list@example.org\nCc: A Person <person@example.org>\n" in patch
    assert "Signed-off-by: A Person <person@example.org>\n" in patch


def test_a_second_version_tells_what_changed(
    home: Home, commit: Commit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    only(monkeypatch, "message")
    commit(f"{GOOD}\n\nSigned-off-by: A Person <person@example.org>", init__main_c="more\n")
    project = home.directory.parent
    (project / ".gitignore").write_text("/linux\n/cache\n/outgoing\n")
    monkeypatch.setattr(paths, "project", lambda: project)
    gitcmd.create(project)
    gitcmd.commit_all(project, "the series", new=("-A",))
    assert run(home, "edit") == 0
    where = Path(capfd.readouterr().out.splitlines()[-1])
    other = git(where, "log", "-1", "--format=%B").replace("A Person", "Another Person", 1)
    git(where, "commit", "--quiet", "--amend", "-m", other)
    out = project / "same"
    assert run(home, "export", "--version", "2", "--since", "HEAD", "--out", str(out)) == 0
    assert "=\n\n - none but tags\n" in (out / "v2-0000-cover-letter.patch").read_text()
    (where / "init/main.c").write_text("most\n")
    git(where, "commit", "--quiet", "--all", "--amend", "--no-edit")
    out = project / "outgoing"
    assert run(home, "export", "--version", "2", "--out", str(out)) == 2
    assert run(home, "export", "--version", "2", "--since", "HEAD", "--out", str(out)) == 0
    cover = (out / "v2-0000-cover-letter.patch").read_text()
    assert "Changes since v1\n" in cover and " - 1 main: Say more: changed\n" in cover
    assert "Range-diff" in cover and "++most" in cover


def steps_of(home: Home, tree: Tree) -> list[Step]:
    """The steps that a check is given."""
    seen: list[Step] = []

    def keep(step: Step) -> Sequence[str]:
        seen.append(step)
        return ()

    check_series(home, tree.apart(), Builder(tree.cache), [Check("keep", "", keep)])
    return seen


def test_who_includes_a_header_is_compiled_too(
    home: Home, tree: Tree, commit: Commit
) -> None:
    commit(
        GOOD,
        arch__powerpc__include__asm__x_h="int x;\n",
        arch__powerpc__user_c="#include <asm/x.h>\n",
        arch__powerpc__other_c="#include <asm/xx.h>\n",
    )
    commit("main: Say most\n\nWhy.", arch__powerpc__include__asm__x_h="int y;\n")
    assert compile_.affected(steps_of(home, tree)[1]) == ["arch/powerpc/user.c"]


def test_a_warning_counts_where_it_is_new(
    home: Home, tree: Tree, commit: Commit
) -> None:
    commit(GOOD, init__main_c="old\n")
    commit("main: Say most\n\nWhy.", init__main_c="added\nold\n")

    def at(step: Step) -> list[str]:
        lines = (step.tree.path / "init/main.c").read_text().splitlines()
        where = f"{step.tree.path}/init/main.c"
        said = [f"{where}:{n}:1: warning: {line}" for n, line in enumerate(lines, 1)]
        return compile_.complaints(said, step)

    report = asked(home, tree, *(Check(name, "", at, place=name) for name in ("one", "two")))
    for name in ("one", "two"):
        said = [report.results[name, place].findings for place in range(2)]
        assert said == [("init/main.c:1:1: warning: old",), ("init/main.c:1:1: warning: added",)]


def test_what_cannot_be_compiled_is_never_excused(
    home: Home, tree: Tree, commit: Commit
) -> None:
    commit(GOOD, init__main_c="old\n")
    commit("main: Say most\n\nWhy.", init__main_c="added\nold\n")
    report = asked(home, tree, Check("broken", "", lambda step: ["error: no way"], place="one"))
    assert found(report, "broken") == ["error: no way", "error: no way"]


def test_an_interrupt_ends_what_runs(home: Home, tree: Tree, commit: Commit) -> None:
    """Ctrl-C reaches programs that other threads wait for."""
    commit(GOOD, init__main_c="more\n")

    def slow(step: Step) -> Sequence[str]:
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
        return said_by(["sleep", "100"])[1]

    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        asked(home, tree, Check("slow", "", slow, place="here"))
    assert time.monotonic() - begin < 50


def test_objects_of_a_configuration(home: Home, tree: Tree, tmp_path: Path) -> None:
    (tree.path / "init/Makefile").write_text(
        "obj-y += main.o both.o\nboth-y := one.o\nboth-$(CONFIG_A) += two.o\n"
        "obj-$(CONFIG_B) += three.o\nifdef CONFIG_A\nobj-y += four.o\nendif\n"
    )
    (tree.path / "arch/powerpc/Kbuild").write_text("obj-y += on/\nobj-$(CONFIG_B) += off/\n")
    for name in ("arch/powerpc/on", "arch/powerpc/off", "tools/on"):
        (tree.path / name).mkdir(parents=True)
        (tree.path / name / "Makefile").write_text("obj-y += six.o\n")
    build_dir = tmp_path / "build"
    (build_dir / "include/config").mkdir(parents=True)
    (build_dir / "include/config/auto.conf").write_text("CONFIG_A=y\n")
    work = kbuild.Work(tree.cache, tree, flavours.FLAVOURS[flavours.PLAIN], build_dir, 1)
    names = [f"init/{name}.c" for name in ("main", "one", "two", "three", "four", "five")]
    names += [f"{name}/six.c" for name in ("nowhere", "tools/on")]
    names += [f"arch/powerpc/{name}/six.c" for name in ("on", "off")]
    mine = [f"init/{name}.o" for name in ("main", "one", "two", "four")]
    assert work.compiled(names) == ["arch/powerpc/on/six.o", *mine]


COCCICHECK = """\
#!/bin/bash
[[ $COCCI == */bad.cocci ]] && { echo "coccicheck failed"; exit 255; }
[[ $COCCI ]] && echo "$KBUILD_EXTMOD/init/main.c:1:1-2: ${COCCI##*/}"
exit 0
"""


def test_each_rule_of_coccicheck_is_run(
    home: Home, tree: Tree, commit: Commit, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """One that fails is no silence; one in OCaml, for which there is no compiler, is left out."""
    monkeypatch.setattr(toolchain, "require", Path)
    rules = tree.path / "scripts/coccinelle"
    rules.mkdir(parents=True)
    (tree.path / "scripts/coccicheck").write_text(COCCICHECK)
    (rules / "a.cocci").write_text("@initialize:ocaml@\n")
    for name in ("b", "c"):
        (rules / f"{name}.cocci").write_text("@r@\n// no ocaml\n")
    commit(GOOD, init__main_c="more\n")
    (step,) = steps_of(home, tree)
    tree.apart().switch(step.commit)
    said = analyse.cocci_kernel(step)
    assert said == [f"init/main.c:1:1-2: {name}.cocci" for name in ("b", "c")]
    (step.tree.path / "scripts/coccinelle/bad.cocci").write_text("@r@\n")
    with pytest.raises(HptResizeError, match=r"with bad\.cocci failed \(status 255\)"):
        analyse.cocci_kernel(step)


CHECK_SPARSE = """\
import json, sys
for one in json.load(open(sys.argv[1])):
    print(f"../{one['file']}:1:1: {one['command']}")
    if "error" in one["command"]:
        sys.exit(1)
"""


def test_sparse_looks_at_files_after_one_with_an_error(
    home: Home, tree: Tree, commit: Commit, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    (tree.path / "scripts/check_sparse.py").write_text(CHECK_SPARSE)
    commit(GOOD, init__a_c="a\n", init__b_c="b\n")
    (step,) = steps_of(home, tree)
    step.tree.switch(step.commit)
    commands = [
        {"file": str(step.tree.path / f"init/{name}.c"), "output": f"{name}.o", "command": said}
        for name, said in (("a", "error: x"), ("b", "warning: y"))
    ]
    (tmp_path / "compile_commands.json").write_text(json.dumps(commands))
    monkeypatch.setattr(toolchain, "require", Path)
    monkeypatch.setattr(analyse, "qemu_work", lambda step, compiler: (tmp_path, {}))
    said = analyse.sparse_qemu(step) or ()
    assert [line.rpartition("1: ")[2] for line in said] == ["error: x", "warning: y"]
    (step.tree.path / "scripts/check_sparse.py").write_text("raise SystemExit(3)\n")
    with pytest.raises(HptResizeError, match=r"check_sparse\.py failed"):
        analyse.sparse_qemu(step)


def test_a_tool_that_fails_is_no_silence(
    home: Home, tree: Tree, commit: Commit, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    commit(GOOD, init__main_c="more\n")
    tool = tmp_path / "codespell"
    tool.write_text("#!/bin/sh\necho no dictionary; exit 2\n")
    tool.chmod(0o755)
    monkeypatch.setattr(toolchain, "require", lambda program: tool)
    report = asked(home, tree, dataclasses.replace(named("spelling"), tools=lambda step: ()))
    assert report.results["spelling", 0].state == "?"


def test_which_tests_belong_to_a_patch(home: Home, tree: Tree, commit: Commit) -> None:
    commit(GOOD, init__main_c="more\n")
    commit("main: Say most\n\nWhy.", init__main_c="most\n")
    (home.directory / series.RULES).write_text(
        '[[tests]]\nsince = "main: Say more"\nuntil = "main: Say most"\nrun = ["a"]\n'
        '[[tests]]\nsince = "main: Say more"\nrun = ["b"]\n'
        '[[tests]]\nsince = "main: Say most"\nrun = ["c"]\n'
    )
    assert [passed_by(step) for step in steps_of(home, tree)] == [["a", "b"], ["b", "c"]]


@pytest.fixture
def project(
    home: Home, tree: Tree, commit: Commit, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:  # fmt: skip
    """As little as looks like this project, with one patch for which a test is named."""
    root = tmp_path / "project"
    for name, text in {
        "Kconfig.fragment": "CONFIG_A=y\n",
        "pyproject.toml": "",
        "pytools/hptresize/__init__.py": "",
        "pytools/hptresize/pytest_plugin.py": "from . import used\n",
        "pytools/hptresize/used.py": "",
        "pytools/hptresize/unused.py": "",
        "pytools/hptresize/guest/init.c": "",
        "pytools/hptresize/guest/bare/bare.c": "",
        "tests/conftest.py": "",
        "tests/test_it.py": "import helper\ndef test_it(): pass\n",
        "tests/helper.py": "",
        "tests/test_other.py": "",
        "tests/guest/tool.c": "",
        "busybox": "",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    packer = tree.path / "usr/gen_init_cpio.c"
    packer.parent.mkdir()
    packer.write_text("")
    commit(GOOD, init__main_c="more\n")
    shutil.copytree(home.directory, tmp_path / "host")
    (home.directory / series.RULES).write_text(
        '[[tests]]\nsince = "main: Say more"\nrun = ["tests/test_it.py::test_it"]\n'
    )
    monkeypatch.setattr(paths, "project", lambda: root)
    monkeypatch.setattr(paths, "qemu_patches", lambda: tmp_path / "host")
    monkeypatch.setattr(initramfs, "GUEST_DIR", root / "pytools/hptresize/guest")
    monkeypatch.setattr(Builder, "busybox", lambda self: root / "busybox")
    monkeypatch.setattr(Builder, "tree", lambda self, kind: tree)
    return root


BOTH = ("boots", "sparse")


@pytest.mark.parametrize(
    ("name", "asked_anew"),
    [
        ("project/Kconfig.fragment", BOTH),
        ("project/pyproject.toml", ("boots",)),
        ("project/pytools/hptresize/pytest_plugin.py", ("boots",)),
        ("project/pytools/hptresize/used.py", ("boots",)),
        ("project/pytools/hptresize/unused.py", ()),
        ("project/pytools/hptresize/guest/init.c", ("boots",)),
        ("project/pytools/hptresize/guest/bare/bare.c", ("boots",)),
        ("project/tests/conftest.py", ("boots",)),
        ("project/tests/test_it.py", ("boots",)),
        ("project/tests/helper.py", ("boots",)),
        ("project/tests/test_other.py", ()),
        ("project/tests/guest/tool.c", ("boots",)),
        ("project/busybox", ("boots",)),
        ("host/0001-main-Say-more.patch", ("boots",)),
    ],
)
def test_what_an_answer_depends_on(
    home: Home, tree: Tree, project: Path, name: str, asked_anew: tuple[str, ...]
) -> None:
    (step,) = steps_of(home, tree)
    checks = [one for one in checks_of("kernel") if one.name in BOTH]

    def keys() -> dict[str, str]:
        return {one.name: one.key(step) for one in checks}

    before = keys()
    assert keys() == before
    with (project.parent / name).open("a") as out:
        out.write("# CONFIG_B is not set\n")
    after = keys()
    assert {one for one in BOTH if before[one] != after[one]} == set(asked_anew)


@pytest.mark.parametrize("program", ["powerpc64le-linux-gnu-gcc", "sparse"])
def test_an_answer_depends_on_the_tools(
    home: Home, tree: Tree, project: Path, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    (step,) = steps_of(home, tree)
    (check,) = (one for one in checks_of("kernel") if one.name == "sparse")
    before = check.key(step)
    real = toolchain.version
    monkeypatch.setattr(
        toolchain, "version", lambda name: "another" if name == program else real(name)
    )
    assert check.key(step) != before


def test_an_answer_depends_on_how_it_is_asked(
    home: Home, tree: Tree, commit: Commit, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Whichever module of the checks, or of the builds, has changed."""
    commit(GOOD, init__main_c="more\n")
    (step,) = steps_of(home, tree)
    check = Check("any", "", lambda step: ())
    keys = {check.key(step)}
    for number, one in enumerate(question.CODE):
        changed = tmp_path / one.name
        changed.write_bytes(one.read_bytes() + b"\n")
        monkeypatch.setattr(
            question, "CODE", (*question.CODE[:number], changed, *question.CODE[number + 1 :])
        )
        keys.add(check.key(step))
    assert len(keys) == len(question.CODE) + 1
    names = {one.name for one in question.CODE}
    assert {"question.py", "together.py", "compile.py", "flavours.py", "kernel.py"} <= names


def test_a_test_that_is_not_there(home: Home, tree: Tree, project: Path) -> None:
    (project / "tests/test_it.py").unlink()
    (check,) = (one for one in checks_of("kernel") if one.name == "boots")
    (line,) = found(asked(home, tree, check), "boots")
    assert "No module named test_it" in line


def test_what_is_skipped_has_not_passed(
    home: Home, tree: Tree, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boot, "_built", lambda step: (Path("vmlinux"), Path("qemu")))
    monkeypatch.setattr(Builder, "image", lambda self: Path("image"))
    monkeypatch.setenv("PYTEST_ADDOPTS", "--collect-only")
    (project / "pyproject.toml").write_text('[tool.pytest.ini_options]\naddopts = "-ra"\n')
    (step,) = steps_of(home, tree)
    told = []
    for body in ("pass", "pytest.skip('no kernel')", "assert False"):
        text = f"import pytest\ndef test_it():\n    {body}\n"
        (project / "tests/test_it.py").write_text(text)
        told.append([line.partition(" ")[0] for line in boot.boots(step) or ()])
    assert told == [[], ["SKIPPED"], ["FAILED"]]


@pytest.mark.parametrize(
    ("kind", "name"),
    [("kernel", "linuxppc-dev@lists.ozlabs.org"), ("qemu", "qemu-ppc@nongnu.org")],
)
def test_recipients_by_the_real_tree(kind: Kind, name: str) -> None:
    """What get_maintainer.pl is given is what it takes, in each tree."""
    cache = Cache()
    built(kind)  # so the trees are there
    home, tree = Home(kind), Builder(cache).tree(kind)
    with tree.lock():
        tip = tree.commit("series", home.patches)
        base = tree.commit("baseline", home.patches)
    people, lists = texts.recipients_of(tree, tip, base)
    assert name in lists
    assert [one for one in people if re.fullmatch(r"[^()]*<\S+@\S+>|\S+@\S+", one) is None] == []


@pytest.mark.parametrize("kind", ["kernel", "qemu"])
def test_the_committed_series_pass(kind: Kind) -> None:
    """With HPTRESIZE_LONG all that is built, too."""
    cache = Cache()
    built(kind)  # so the trees are there
    if os.environ.get("HPTRESIZE_LONG") != "1":
        chosen = [check for check in checks_of(kind) if check.quick]
    else:
        chosen = checks_of(kind)
    builder = Builder(cache)
    report = check_series(Home(kind), builder.tree(kind).apart(), builder, chosen)
    assert as_lines(report) == []
