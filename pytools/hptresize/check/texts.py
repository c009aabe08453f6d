# SPDX-License-Identifier: GPL-2.0-or-later
"""Checks that read: style, spelling, documentation comments, message, recipients."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

from hptresize.base import git as gitcmd
from hptresize.base.errors import HptResizeError
from hptresize.base.git import git
from hptresize.build import toolchain
from hptresize.check.question import Check, Step, in_tree, new_findings, said_by
from hptresize.trees.tree import Tree

WIDTH = 75

# In-tree scripts want Debian's python3, with its modules, whatever Python we run in.
SYSTEM_PATH = {"PATH": "/usr/local/bin:/usr/bin:/bin"}

_KERNEL_DOC = ("scripts/kernel-doc", "scripts/kernel-doc.py", "tools/docs/kernel-doc")
_ABI = ("scripts/get_abi.pl", "scripts/get_abi.py", "tools/docs/get_abi.py")


def _interpreter(script: Path) -> list[str | Path]:
    """Return how to run a script whose mode bits a tarball may have lost."""
    python = script.suffix == ".py" or "python" in script.open(errors="replace").readline()
    return ["python3" if python else "perl", script]


def checkpatch(step: Step) -> Sequence[str]:
    """Ask the tree's own checkpatch, strictly; nobody has signed the patches, by design."""
    words = ["--strict", "--no-signoff", "--terse"]
    if step.tree.kind == "kernel":
        words += ["--show-types", "--no-summary"]
    with step.as_mail() as mail, step.checked_out() as tree:
        _, lines = said_by(
            [*_interpreter(tree / "scripts/checkpatch.pl"), *words, f"--root={tree}", mail],
            cwd=tree, env=SYSTEM_PATH,
        )  # fmt: skip
    return [
        line.replace(f"{mail.parent}/", "") for line in lines if not line.startswith("total: ")
    ]


def spelling(step: Step) -> Sequence[str]:
    """Ask codespell about the message and the added lines."""
    diff = gitcmd.git(step.tree.path, "diff", "-U0", step.parent, step.commit)
    added = [line[1:] for line in diff.splitlines() if line.startswith("+")]
    text = "\n".join((step.message, *added, ""))
    status, lines = said_by([toolchain.require("codespell"), "-"], data=text.encode())
    # It prints the line, and then what should be in it.
    found = [line for line in lines if "==>" in line]
    if status and not found:
        raise HptResizeError(f"codespell failed: {' '.join(lines[-1:])}")
    return found


def kernel_doc(step: Step) -> Sequence[str] | None:
    """Ask kernel-doc about the C files of the patch; what it said before does not count."""
    names = step.names(".c", ".h")
    if not names:
        return None
    tool = step.tool(*_KERNEL_DOC)
    script = [*_interpreter(tool), "-none"]
    if step.tree.kind == "kernel" and "Wall" in tool.read_text():  # 6.1 has no such option
        script.append("-Wall")
    before, after = (_on_copies(step, names, commit, script) for commit in _both(step))
    return new_findings(before, after)


def _both(step: Step) -> tuple[str, str]:
    return step.parent, step.commit


def _on_copies(
    step: Step, names: Sequence[str], commit: str, command: Sequence[str | Path]
) -> list[str]:
    """Run a command on copies of files as a commit has them."""
    with tempfile.TemporaryDirectory(prefix="hptresize-files-") as root:
        there = [name for name in names if _copy(step, name, commit, Path(root)) is not None]
        if not there:
            return []
        status, lines = said_by([*command, *there], cwd=Path(root), env=SYSTEM_PATH)
    marked = [line for line in lines if re.search(r"warning|error", line, re.IGNORECASE)]
    if status and not marked:
        marked = [f"{Path(command[1]).name} failed: {' '.join(lines[-1:])}"]
    return marked


def _copy(step: Step, name: str, commit: str, root: Path) -> Path | None:
    text = step.text(name, commit)
    if text is None:
        return None
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def abi(step: Step) -> Sequence[str] | None:
    """Look at files in Documentation/ABI: the tree's own tool, and the fields it leaves out."""
    names = [name for name in step.names() if name.startswith("Documentation/ABI/")]
    if not names:
        return None
    script = step.tool(*_ABI)
    with tempfile.TemporaryDirectory(prefix="hptresize-abi-") as root:
        copies = [_copy(step, name, step.commit, Path(root)) for name in names]
        where = Path(root) / "Documentation/ABI"
        words: list[str | Path] = ["validate", "--dir", where]
        if script.suffix == ".py":
            words = ["--dir", where, "validate"]
        _, lines = said_by([*_interpreter(script), *words], env=SYSTEM_PATH)
        lines = [line.replace(f"{root}/", "") for line in lines]
        for name, copy in zip(names, copies, strict=True):
            lines += _fields(name, copy.read_text() if copy else "")
    return lines


def _fields(name: str, text: str) -> list[str]:
    """Look for the fields that Documentation/ABI/README asks for in each entry."""
    # Several What: may share what follows.
    text = re.sub(r"^(What:.*\n)(?=What:)", "", text, flags=re.MULTILINE)
    entries = re.split(r"^(?=What:)", text, flags=re.MULTILINE)
    wanted = ("Date", "Contact", "Description")
    found = [
        f"{name}: {entry.split()[1]} has no {field}:"
        for entry in entries[1:]
        for field in wanted
        if not re.search(rf"^{field}:[ \t]*\S", entry, re.MULTILINE)
    ]
    return [f"{name} does not begin with What:", *found] if entries[0].strip() else found


# A verb's bare form may end like this, too.
_BARE = {"need", "embed", "feed", "bring", "string", "pass", "process", "access", "address", "use"}
_TRAILER = re.compile(r"^[A-Z][\w-]+: \S")


def message(step: Step) -> Sequence[str]:
    """Look at the form of the commit message."""
    text = step.message
    subject, _, rest = text.partition("\n")
    body = rest.strip()
    found: list[str] = []
    if re.fullmatch(step.series.rules.message.subject, subject) is None:
        found.append(f"subject {subject!r} is not in this tree's form")
    if subject.endswith("."):
        found.append("the subject ends with a full stop")
    word = subject.rpartition(": ")[2].partition(" ")[0].lower()
    if word not in _BARE and re.search(r"(ed|ing|[^s]s)$", word):
        found.append(f"the subject does not begin with an imperative: {word!r}")
    if not body:
        found.append("there is no body that says why")
    elif not rest.startswith("\n"):
        found.append("no empty line after the subject")
    found += [
        f"a line of {len(line)} columns: {line[:40]}..."
        for line in body.splitlines()
        if len(line) > WIDTH and "://" not in line and not _TRAILER.match(line)
    ]
    if re.search(rf"^[A-Z][\w-]*-by:.*{re.escape(gitcmd.IDENTITY)}", text, re.MULTILINE):
        found.append("signed by a machine")
    return found


_ASK = ("--no-git", "--no-git-fallback", "--no-rolestats", "--roles")


def recipients_of(tree: Tree, tip: str, base: str) -> tuple[list[str], list[str]]:
    """Return the people and the lists that get_maintainer.pl names for all of a series.

    :raises HptResizeError: it fails, or names nobody.
    """
    diff = git(tree.path, "diff", "--no-renames", base, tip)
    apart = tree.apart()
    with apart.lock(), tempfile.NamedTemporaryFile("w", suffix=".patch") as file:
        apart.switch(tip)
        file.write(f"{diff}\n")
        file.flush()
        script = apart.path / "scripts/get_maintainer.pl"
        status, lines = said_by(
            [*_interpreter(script), *_ASK, file.name], cwd=apart.path, env=SYSTEM_PATH
        )
    # A role may have parentheses of its own: "... (supporter:LINUX FOR POWERPC (64-BIT))".
    people = [one.partition(" (")[0] for one in lines if " list" not in one and "(" in one]
    lists = [one.partition(" ")[0] for one in lines if " list" in one]
    if status or not people or not lists:
        raise HptResizeError(f"{script} names no people or no list: {' '.join(lines)[:200]}")
    return people, lists


def maintained(step: Step) -> Sequence[str]:
    """Look whether the patch has a maintainer and a list, and each new file of it."""
    new = git(step.tree.path, "diff", "--name-only", "--diff-filter=A", step.parent, step.commit)
    found: list[str] = []
    with step.as_mail() as mail, step.checked_out() as tree:
        command = [*_interpreter(tree / "scripts/get_maintainer.pl"), *_ASK]
        asked: list[tuple[str, list[str | Path]]] = [("the patch", [mail])]
        asked += [(name, ["-f", name]) for name in new.splitlines()]
        for what, words in asked:
            _, lines = said_by([*command, *words], cwd=tree, env=SYSTEM_PATH)
            lists = [one for one in lines if "(open list:" in one]
            people = [one for one in lines if "(" in one and " list" not in one]
            if not people or not lists:
                found.append(f"{what}: get_maintainer.pl names no maintainer or no list")
    return found


CHECKS = (
    Check("message", "message: prefix, imperative, 75 columns, no machine's signature", message),
    Check("checkpatch", "the tree's checkpatch.pl --strict", checkpatch,
          tools=in_tree("scripts/checkpatch.pl")),
    Check("spelling", "codespell on message and added lines", spelling,
          tools=lambda step: [toolchain.version("codespell")]),
    Check("kernel-doc", "the tree's kernel-doc: nothing new", kernel_doc,
          tools=in_tree(*_KERNEL_DOC), of="content"),
    Check("recipients", "the tree's get_maintainer.pl names people and a list for each file",
          maintained, tools=in_tree("scripts/get_maintainer.pl"), of="content"),
)  # fmt: skip
ABI = Check("abi", "files in Documentation/ABI: the tree's get_abi, and all fields", abi,
            tools=in_tree(*_ABI), of="content")  # fmt: skip
