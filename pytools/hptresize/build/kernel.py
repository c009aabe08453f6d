# SPDX-License-Identifier: GPL-2.0-or-later
"""Build a guest kernel: tinyconfig, our fragment, vmlinux."""

from __future__ import annotations

import dataclasses
import re
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from hptresize.base import paths, proc, progress
from hptresize.base.cache import Cache, digest
from hptresize.base.errors import BuildError
from hptresize.base.git import git
from hptresize.build import toolchain
from hptresize.build.flavours import FLAVOURS, PLAIN, Flavour
from hptresize.series import Series, read_rules
from hptresize.series.home import Variant
from hptresize.trees.tree import Tree

# Goes up when an artifact that is in a cache already would not be made the same way again.
RECIPE = "1"

# About so many lines a full build prints, until we have counted.
_OBJECTS = 1010


@dataclasses.dataclass(frozen=True)
class KernelBuild:
    """A built kernel.

    :ivar directory: where the files lie: vmlinux, .config, System.map.
    :ivar source_dir: the tree; what is checked out there may have changed since.
    :ivar gen_init_cpio: the tree's usr/gen_init_cpio.c, for images.
    """

    directory: Path
    build_dir: Path
    source_dir: Path
    variant: Variant

    @property
    def vmlinux(self) -> Path:
        """The kernel, an ELF file with symbols."""
        return self.directory / "vmlinux"

    @property
    def config(self) -> Path:
        """Its complete configuration."""
        return self.directory / "config"

    @property
    def gen_init_cpio(self) -> Path:
        """Source of the program that packs an initramfs."""
        return self.directory / "gen_init_cpio.c"


_ENV = {
    "KBUILD_BUILD_TIMESTAMP": "2000-01-01",
    "KBUILD_BUILD_USER": "hptresize",
    "KBUILD_BUILD_HOST": "localhost",
    "KBUILD_BUILD_VERSION": "1",
    "LOCALVERSION": "",
    "LC_ALL": "C.UTF-8",
}
_STEP_LINE = re.compile(r"^  [A-Z][A-Z0-9_]+ +(\[M\] +)?(?P<file>\S+)")
_WARNING = re.compile(r"^(?P<file>[^\s:]+):\d+:(\d+:)? warning: ")


def build_kernel(
    cache: Cache,
    tree: Tree,
    variant: Variant,
    *,
    flavour: str = PLAIN,
    patches: Path | Series | None = None,
    fragment: Path | None = None,
    jobs: int | None = None,
) -> KernelBuild:
    """Build (or take from the cache) the kernel of a variant of a tree.

    :param patches: the series or its directory; the project's own if None.
    :param fragment: configuration on top of tinyconfig; the project's own if None.
    :raises BuildError: the compiler failed, warned about a file that the series
        touches, or the configuration did not take what the fragment asks for.
    """
    patches = patches or paths.kernel_patches()
    fragment = fragment or paths.kernel_fragment()
    facts = FLAVOURS[flavour]
    what = f"{tree.title} {variant} {flavour}"
    build_dir = cache.root / "build" / f"{tree.key}-{flavour}"

    def key(content: str) -> str:
        # A fragment of the tree's own is part of its content.
        ours = settings(tree, facts, facts.own or fragment.read_text())
        made_of = digest(content, ours, flavour, toolchain.version(facts.gcc), RECIPE)
        return f"kernel-{made_of[:16]}"

    def make(into: Path, touched: set[str]) -> None:
        for tool in ("make", "flex", "bison", "bc", "perl", "gcc"):
            toolchain.require(tool)
        work = Work(cache, tree, facts, build_dir, jobs or toolchain.jobs())
        work.log.unlink(missing_ok=True)
        first = tree.path / facts.own if facts.own else fragment
        if not first.is_file():
            raise BuildError(f"{what}: there is no {facts.own} in this tree")
        work.configure(settings(tree, facts, first.read_text()))
        work.compile(what, touched)
        shutil.copy2(build_dir / "vmlinux", into / "vmlinux")
        shutil.copy2(build_dir / ".config", into / "config")
        shutil.copy2(build_dir / "System.map", into / "System.map")
        shutil.copy2(tree.path / "usr/gen_init_cpio.c", into / "gen_init_cpio.c")
        for name in facts.keeps:
            shutil.copytree(tree.path / name, into / name)

    done = tree.artifact(variant, patches, key=key, make=make, what=f"kernel {what}")
    return KernelBuild(done, build_dir, tree.path, variant)


def settings(tree: Tree, flavour: Flavour, fragment: str) -> str:
    """Return all settings for a kernel of a tree.

    :param fragment: the text of the fragment that the flavour starts from.
    """
    needed = () if flavour.own else read_rules(paths.kernel_patches()).settings(tree.version)
    return "\n".join((fragment, *needed, *flavour.lines, ""))


# Prints what a directory's Makefile makes in a configuration, by what Kbuild makes of it:
# objects, and directories with a slash.
_LIST_OBJECTS = """
include include/config/auto.conf
srctree := $(SRC)
src := $(SRC)/$(D)
obj := $(D)
include $(firstword $(wildcard $(src)/Kbuild) $(src)/Makefile)
parts = $(foreach one,$(1),$(or $($(one:.o=-y)),$($(one:.o=-objs)),$(one)))
.PHONY: print
print:
\t@echo $(addprefix $(D)/,$(filter %.o,$(call parts,$(obj-y) $(obj-m))) $(filter %/,$(obj-y)))
"""


class Work:
    """One build directory and the commands that run in it."""

    def __init__(
        self, cache: Cache, tree: Tree, flavour: Flavour, build_dir: Path, jobs: int
    ) -> None:
        self.cache = cache
        self.tree = tree
        self.build_dir = build_dir
        self.log = cache.logs / f"kernel-{build_dir.name}.log"
        compiler, env = toolchain.compiler(cache, flavour.gcc)
        cross = flavour.gcc.removesuffix("gcc")
        self.env = {**_ENV, **env, "ARCH": "powerpc", "CROSS_COMPILE": cross}
        self.make: list[str | Path] = [
            "make", "-C", tree.path, f"O={build_dir}", f"-j{jobs}", f"CC={compiler}",
        ]  # fmt: skip

    def configure(self, wanted: str) -> None:
        """Write .config, only if what is wanted changed: a new time would rebuild much.

        :raises BuildError: Kconfig refused one of the settings.
        """
        stamp = self.build_dir / ".hptresize-wanted"
        # What settings there are, and what the compiler is asked for them.
        deciding = ("*Kconfig*", "Makefile", "arch/powerpc/Makefile", "scripts/*")
        made = digest(wanted, git(self.tree.path, "ls-files", "--stage", *deciding))
        if stamp.is_file() and stamp.read_text() == made:
            return
        self.build_dir.mkdir(parents=True, exist_ok=True)
        fragment = self.build_dir / ".hptresize-fragment"
        fragment.write_text(wanted)
        old = self.build_dir / ".config"
        before = old.read_bytes() if old.is_file() else None
        with progress.step("configure the kernel"):
            commands: tuple[list[str | Path], ...] = (
                [*self.make, "tinyconfig"],
                [
                    self.tree.path / "scripts/kconfig/merge_config.sh", "-m", "-O", self.build_dir,
                    old, fragment,
                ],
                [*self.make, "olddefconfig"],
            )  # fmt: skip
            for words in commands:
                proc.run(
                    words, what="configuring the kernel", log_file=self.log, env=self.env,
                    cwd=self.tree.path,
                )  # fmt: skip
        refused = unmet(wanted, old.read_text())
        if refused:
            raise BuildError(
                f"Kconfig did not take {', '.join(refused)}",
                hint="a dependency is missing from the fragment",
                log=self.log,
            )
        if before is not None and old.read_bytes() == before:
            self.log.open("a").write("(the configuration is the same as before)\n")
        stamp.write_text(made)

    def compiled(self, names: Iterable[str]) -> list[str]:
        """Return the objects that the configuration makes of these files (.c and .S)."""
        wanted = {re.sub(r"\.[cS]$", ".o", name) for name in names}
        # A file, as make forgets its own copy of what comes by standard input.
        makefile = self.build_dir / ".hptresize-objects"
        makefile.write_text(_LIST_OBJECTS)
        made: dict[Path, list[str]] = {}

        def listed(directory: Path) -> list[str]:
            if directory not in made:
                made[directory] = self._listed(directory, makefile)
            return made[directory]

        def reached(directory: Path) -> bool:
            if directory.parts[0] == "tools":
                return False
            # Of the upper two levels all of ours is there in each configuration.
            return len(directory.parts) <= 2 or (
                reached(directory.parent) and f"{directory}/" in listed(directory.parent)
            )

        return [
            name
            for directory in sorted({Path(name).parent for name in wanted})
            if reached(directory)
            for name in listed(directory)
            if name in wanted
        ]

    def _listed(self, directory: Path, makefile: Path) -> list[str]:
        """Return what a directory's Makefile makes; nothing if it has none."""
        if not any((self.tree.path / directory / one).is_file() for one in ("Kbuild", "Makefile")):
            return []
        said = proc.output(
            [
                "make", "-s", "-rR", "-f", makefile, "-C", self.build_dir, "print",
                f"SRC={self.tree.path}", f"D={directory}", "SRCARCH=powerpc", "BITS=64",
            ],
            what=f"read the Makefile in {directory}", env=self.env, error=BuildError,
        )  # fmt: skip
        return said.decode().split()

    def objects(self, objects: Sequence[str], *variables: str) -> list[str]:
        """Make objects anew; return all lines that were printed.

        :param variables: further ones for make, such as W=1.
        :raises BuildError: a tool failed.
        """
        for name in objects:
            (self.build_dir / name).unlink(missing_ok=True)
        lines: list[str] = []
        proc.run(
            [*self.make, *variables, *objects], what=f"compiling {len(objects)} objects",
            log_file=self.log, env=self.env, on_line=lines.append,
        )  # fmt: skip
        return lines

    def compile(self, what: str, touched: set[str]) -> None:
        """Run make, showing how far it is.

        :param touched: files in which a warning is an error.
        :raises BuildError: it failed, or it warned in one of these files.
        """
        note = f"kernel-{self.build_dir.name}"
        fresh = not (self.build_dir / "vmlinux").exists()
        known = self.cache.note(note).get("lines")
        total = known if isinstance(known, int) else _OBJECTS
        count = 0
        warnings: list[str] = []
        with progress.step(f"compile kernel {what}") as step:

            def on_line(line: str) -> None:
                nonlocal count
                if (got := _STEP_LINE.match(line)) is not None:
                    count += 1
                    # What is there already from another variant is not compiled again.
                    text = "" if fresh else f"of at most {total} "
                    step.update(count, total if fresh else None, text + got["file"])
                elif _WARNING.match(line):
                    warnings.append(line)

            proc.run(
                [*self.make, "vmlinux"], what=f"compiling kernel {what}", log_file=self.log,
                env=self.env, on_line=on_line,
            )  # fmt: skip
        if fresh:
            self.cache.set_note(note, {"lines": count})
        ours = [line for line in warnings if _named(line, self.tree.path) in touched]
        if ours:
            raise BuildError(f"a patched file has a warning: {ours[0]}", log=self.log)


def _named(warning: str, root: Path) -> str:
    """Return the file a warning is about, relative to the tree."""
    match = _WARNING.match(warning)
    name = match["file"] if match is not None else ""
    return re.sub(r"^(\.\./)+", "", name.removeprefix(f"{root}/"))


def unmet(wanted: str, got: str) -> list[str]:
    """Return the settings of a fragment that a .config does not have (the last of each counts)."""
    setting = re.compile(r"^(?:(CONFIG_\w+)=(.*)|# (CONFIG_\w+) is not set)$", re.MULTILINE)

    def read(text: str) -> dict[str, str]:
        return {m[1] or m[3]: m[2] or "n" for m in setting.finditer(text)}

    have = read(got)
    return [f"{n}={v}" for n, v in read(wanted).items() if have.get(n, "n") != v]
