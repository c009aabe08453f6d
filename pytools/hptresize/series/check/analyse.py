# SPDX-License-Identifier: GPL-2.0-or-later
"""Checks that analyse the C files of a patch: sparse and coccinelle, as each tree calls them."""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from ... import toolchain
from ...cache import digest
from ...kbuild import PLAIN
from .compile import complaints, kernel_work, qemu_objects, qemu_work
from .model import Check, Step, new_findings, said_by


def sparse_kernel(step: Step) -> Sequence[str] | None:
    """Let make call sparse on the files of the patch."""
    names = step.names(".c")
    if not names:
        return None
    toolchain.require("sparse")

    def at(step: Step) -> list[str]:
        work = kernel_work(step, PLAIN)
        objects = work.compiled(name for name in names if (step.tree.path / name).is_file())
        return work.objects(objects, "C=2", "CHECK=sparse") if objects else []

    return complaints(step, at)


def sparse_qemu(step: Step) -> Sequence[str] | None:
    """Let scripts/check_sparse.py call sparse on those compiler commands."""
    names = step.names(".c")
    if not names:
        return None
    cgcc = toolchain.require("cgcc")

    def at(step: Step) -> list[str]:
        build_dir, env, _ = qemu_work(step, "gcc")
        commands = json.loads((build_dir / "compile_commands.json").read_text())
        objects = qemu_objects(build_dir, step.tree.path, names)
        chosen = [one for one in commands if one["output"] in objects]
        for one in chosen:
            one["command"] = re.sub(r"^ccache +", "", one["command"])
        if chosen:  # generated headers have to be there
            said_by(["ninja", "-C", build_dir, *objects], env=env)
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(chosen, file)
            file.flush()
            script = step.tree.path / "scripts/check_sparse.py"
            return said_by(
                [sys.executable, script, file.name, cgcc], env={"MESON_BUILD_ROOT": str(build_dir)}
            )[1]

    return complaints(step, at)


_PLACE = re.compile(r"^\S+:\d+(:\d+)?(-\d+)?: ")


def cocci_kernel(step: Step) -> Sequence[str] | None:
    """Run scripts/coccicheck, all its rules, on copies of the files of the patch."""
    toolchain.require("spatch")

    def at(copies: Path, tree: Path) -> list[str]:
        _, lines = said_by(
            ["bash", tree / "scripts/coccicheck"], cwd=tree,
            env={
                "MODE": "report", "KBUILD_EXTMOD": str(copies), "srctree": str(tree), "J": "1",
                "VERBOSE": "0", "abs_objtree": str(tree),
            },
        )  # fmt: skip
        return [line for line in lines if _PLACE.match(line)]

    return _on_both(step, at)


def cocci_qemu(step: Step) -> Sequence[str] | None:
    """Run the tree's semantic patches: each change that one proposes is a finding."""
    spatch = toolchain.require("spatch")

    def at(copies: Path, tree: Path) -> list[str]:
        found: list[str] = []
        for script in sorted((tree / "scripts/coccinelle").glob("*.cocci")):
            _, lines = said_by(
                [
                    spatch, "--very-quiet", "--macro-file", tree / "scripts/cocci-macro-file.h",
                    "--sp-file", script, "--dir", copies,
                ]
            )  # fmt: skip
            found += [
                f"{script.name}: {line}"
                for line in lines
                if re.match(r"^\+(?!\+\+ )", line)
            ]
        return found

    return _on_both(step, at)


def _on_both(step: Step, at: Callable[[Path, Path], list[str]]) -> Sequence[str] | None:
    """Run a tool on copies of the C files with the patch, and if it complains, without."""
    names = step.names(".c")
    if not names:
        return None
    said: list[list[str]] = []
    for commit in (step.commit, step.parent):
        with tempfile.TemporaryDirectory(prefix="hptresize-cocci-") as root:
            for name in names:
                text = step.text(name, commit)
                if text is not None:
                    path = Path(root) / name
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_text(text)
            lines = at(Path(root), step.tree.path)
            said.append([line.replace(f"{root}/", "") for line in lines])
        if not said[0]:
            return ()
    return new_findings(said[1], said[0])


def _rules(step: Step) -> Sequence[str]:
    scripts = sorted((step.tree.path / "scripts/coccinelle").rglob("*.cocci"))
    return [toolchain.version("spatch"), digest(*scripts)]


def _sparse(step: Step) -> Sequence[str]:
    return [toolchain.version("sparse")]


KERNEL = (
    Check("sparse", "sparse on the files of the patch: nothing new", sparse_kernel,
          tools=_sparse, of="content", quick=False),
    Check("coccicheck", "the tree's coccicheck on the files of the patch: nothing new",
          cocci_kernel, tools=_rules, of="content", quick=False),
)  # fmt: skip
QEMU = (
    Check("sparse", "sparse on the files of the patch: nothing new", sparse_qemu,
          tools=_sparse, of="content", quick=False),
    Check("coccicheck", "the tree's semantic patches on the files of the patch: nothing new",
          cocci_qemu, tools=_rules, of="content", quick=False),
)  # fmt: skip
