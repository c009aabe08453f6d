# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian's sources and packages through an apt of our own.

apt is given private directories for its lists, cache and configuration of
sources, so the machine's own apt state is neither used nor changed. Which
mirror to ask is taken from the machine's own apt sources (`mirror`): an entry of
Debian's is repeated with another suite. apt checks signatures and hashes as always.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

from hptresize.base import proc, progress
from hptresize.base.cache import Cache
from hptresize.base.errors import FetchError, HptResizeError, UsageError
from hptresize.trees.mirror import codename, for_suite, machine_sources

log = logging.getLogger(__name__)


class NotServed(FetchError):
    """A file is in the index, and the mirror says that there is no such file."""


@dataclasses.dataclass(frozen=True)
class SourceVersion:
    """A version of a source package that the lists offer."""

    version: str
    tarball: str
    directory: str


def parse_showsrc(text: str) -> list[SourceVersion]:
    """Read `apt-cache showsrc`; one entry for each version, as listed."""
    found: dict[str, SourceVersion] = {}
    for stanza in re.split(r"\n\s*\n", text):
        version = re.search(r"^Version: (\S+)", stanza, re.MULTILINE)
        tarball = re.search(r"\s(\S+\.orig\.tar\.\w+)$", stanza, re.MULTILINE)
        where = re.search(r"^Directory: (\S+)", stanza, re.MULTILINE)
        if version and tarball and where:
            found.setdefault(version[1], SourceVersion(version[1], tarball[1], where[1]))
    return list(found.values())


def newest_first(versions: list[SourceVersion]) -> list[SourceVersion]:
    """Sort by Debian's order of versions, one for each tarball (packagings share it)."""

    def compare(a: SourceVersion, b: SourceVersion) -> int:
        less = subprocess.run(
            ["dpkg", "--compare-versions", a.version, "lt", b.version], check=False
        ).returncode
        return 1 if less == 0 else -1

    ordered = sorted(versions, key=functools.cmp_to_key(compare))
    unique: dict[str, SourceVersion] = {}
    for one in ordered:
        unique.setdefault(one.tarball, one)
    return list(unique.values())


class AptRoot:
    """A private apt for one suite and architecture.

    :param suite: Debian release to ask, e.g. trixie.
    :param arch: architecture of binary packages.
    """

    def __init__(self, cache: Cache, suite: str = "trixie", arch: str = "amd64") -> None:
        if not re.fullmatch(r"[a-z]+", suite):
            raise UsageError(f"{suite!r} is not the name of a Debian release")
        self.cache = cache
        self.suite = suite
        self.arch = arch
        self.root = cache.sub("apt") / f"{suite}-{arch}"
        self.log = cache.logs / f"apt-{suite}-{arch}.log"
        self._fresh = False

    def _options(self) -> list[str]:
        """Return what keeps apt inside our directory."""
        root = self.root
        settings = {
            "Dir::State": root / "state",
            "Dir::State::Lists": root / "lists",
            "Dir::State::status": root / "status",
            "Dir::Cache": root / "cache",
            "Dir::Etc::sourcelist": root / "sources.list",
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::Etc::preferencesparts": "/dev/null",
            "Dir::Etc::preferences": "/dev/null",
            "APT::Architecture": self.arch,
            "APT::Architectures": self.arch,
            # Our directories may lie where the user _apt cannot read.
            "APT::Sandbox::User": "root",
            "Acquire::Languages": "none",
            "Acquire::Retries": "2",
            "Acquire::http::Timeout": "30",
            # Hooks of the machine's own package handling are not for us.
            "APT::Update::Post-Invoke-Success": "",
        }
        return [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]

    def _prepare(self) -> None:
        for name in ("lists/partial", "cache/archives/partial", "state"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        (self.root / "status").touch()
        kind = "deb" if self.arch != "amd64" else "deb-src"
        wanted = for_suite(machine_sources(), codename(), self.suite)
        text = "".join(one.line(kind, self.arch) + "\n" for one in wanted)
        path = self.root / "sources.list"
        if not path.exists() or path.read_text() != text:
            path.write_text(text)

    def _apt(self, words: list[str], what: str, cwd: Path | None = None) -> None:
        """Run apt-get with its progress shown.

        :raises FetchError: it failed.
        """
        read, write = os.pipe()
        command = [
            "apt-get",
            "-q",
            "-y",
            *self._options(),
            "-o",
            f"APT::Status-Fd={write}",
            *words,
        ]
        try:
            self.log.parent.mkdir(parents=True, exist_ok=True)
            with progress.step(what) as step, self.log.open("ab+") as out:
                out.write(f"$ {shlex.join(command)}\n".encode())
                out.flush()
                start = out.tell()
                with proc.started(
                    command, cwd=cwd, stdout=out, stderr=out, pass_fds=[write]
                ) as child:
                    os.close(write)
                    write = -1
                    with os.fdopen(read, "r", errors="replace") as status:
                        read = -1
                        for line in status:
                            if (got := re.match(r"dlstatus:\d+:([\d.]+):", line)) is not None:
                                step.update(float(got[1]), 100.0, "%")
                if child.returncode:
                    out.seek(start)
                    raise self._explain(what, out.read().decode(errors="replace"))
        finally:
            for end in (read, write):
                if end >= 0:
                    os.close(end)

    def _explain(self, what: str, said: str) -> FetchError:
        """Turn apt's words into one line; the network is the usual reason."""
        lines = [line for line in said.splitlines() if line.startswith("E: ")]
        reason = lines[0][3:] if lines else "apt-get failed"
        if re.search(r"\b(404|410)\b", reason):
            return NotServed(f"{what}: {reason}", log=self.log)
        offline = re.search(
            r"Could not (resolve|connect)|Temporary failure|Network is unreach", said
        )
        hint = "is there a network? with a filled cache none is needed" if offline else ""
        return FetchError(f"{what}: {reason}", hint=hint, log=self.log)

    def update(self) -> None:
        """Fetch the lists (once in the life of this object)."""
        if self._fresh:
            return
        self._prepare()
        try:
            # Without the option a mirror that cannot be reached is no error to apt.
            strict = ["-o", "APT::Update::Error-Mode=any"]
            self._apt([*strict, "update"], f"fetch package lists of {self.suite} ({self.arch})")
        except FetchError as err:
            # One pocket may be in the middle of a mirror's sync; the release itself is enough.
            if not list((self.root / "lists").glob(f"*_dists_{self.suite}_main_*")):
                raise
            progress.say(f"going on with the package lists that could be had ({err})")
        self._fresh = True

    def versions(self, package: str) -> list[SourceVersion]:
        """Return the source versions on offer, newest first.

        :raises FetchError: there is none.
        """
        self.update()
        text = proc.output(
            ["apt-cache", *self._options(), "showsrc", "--only-source", package],
            what=f"apt-cache showsrc {package}",
            error=FetchError,
        )
        found = newest_first(parse_showsrc(text.decode()))
        if not found:
            raise FetchError(f"Debian {self.suite} has no source package {package}", log=self.log)
        return found

    def source_tarball(self, package: str, version: str | None = None) -> Path:
        """Return the upstream tarball of a source package, fetched if the cache has none.

        The newest version that can really be had: an index may list a file that
        the mirror does not serve yet, or no longer; then the next older one is
        taken. What was taken once is taken again, without asking the network.

        :param version: exactly that Debian version.
        :raises FetchError: none could be had.
        """
        note = f"source-{self.suite}-{package}" + (f"-{version}" if version else "")
        known = self.cache.note(note).get("path")
        if isinstance(known, str) and (path := self.cache.root / known).is_file():
            progress.say(f"{package} source: from the cache ({path.name})")
            return path
        offered = self.versions(package)
        if version is not None:
            offered = [v for v in offered if v.version == version]
            if not offered:
                raise FetchError(f"Debian {self.suite} does not list {package} {version}")
        refused: list[str] = []
        for one in offered:
            try:
                path = self._download(package, one)
            except NotServed as err:
                log.info("%s", err)
                refused.append(one.version)
                continue
            if refused:
                progress.say(
                    f"{package}: took {one.version}; listed but not served: {', '.join(refused)}"
                )
            self.cache.set_note(
                note, {"path": str(path.relative_to(self.cache.root)), "version": one.version}
            )
            return path
        raise FetchError(
            f"Debian {self.suite} lists {package} {', '.join(refused)} but serves none of them",
            log=self.log,
        )

    def _download(self, package: str, one: SourceVersion) -> Path:
        def make(into: Path) -> None:
            self._apt(
                [
                    "source",
                    "--download-only",
                    "--only-source",
                    "--tar-only",
                    f"{package}={one.version}",
                ],
                f"download {one.tarball}",
                cwd=into,
            )
            if not (into / one.tarball).is_file():
                raise FetchError(f"apt-get brought no {one.tarball}", log=self.log)

        key = f"{package}_{one.version}".replace(":", "%3a")
        return (
            self.cache.dir("downloads", key, make, f"{package} {one.version} source") / one.tarball
        )

    def fetch_deb(self, package: str) -> Path:
        """Return a binary package's .deb of this suite and architecture.

        :raises FetchError: it could not be had.
        """

        def make(into: Path) -> None:
            self.update()
            self._apt(["download", package], f"download {package} ({self.arch})", cwd=into)

        where = self.cache.dir(
            "debs", f"{self.suite}-{self.arch}-{package}", make, f"{package}:{self.arch}"
        )
        found = sorted(where.glob("*.deb"))
        if len(found) != 1:
            raise FetchError(f"expected one package file in {where}", hint="remove that directory")
        return found[0]

    def fetch_closure(self, package: str) -> Path:
        """Return a directory with the .deb of a package and of all that it depends on.

        :raises FetchError: they could not be had.
        """

        def make(into: Path) -> None:
            self.update()
            where = ["-o", f"Dir::Cache::archives={into}", "--no-install-recommends"]
            # apt's status file is empty, so nothing counts as installed.
            what = f"download {package} and what it needs ({self.arch})"
            (into / "partial").mkdir()
            self._apt([*where, "--download-only", "install", package], what)
            (into / "lock").unlink(missing_ok=True)
            shutil.rmtree(into / "partial")

        key = f"{self.suite}-{self.arch}-{package}-closure"
        return self.cache.dir("debs", key, make, f"{package}:{self.arch} with its libraries")

    def depends(self, package: str) -> list[str]:
        """Return the names of the packages that a package depends on directly (first choices)."""
        self.update()
        text = proc.output(
            ["apt-cache", *self._options(), "depends", "--no-recommends", "--no-suggests", package],
            what=f"apt-cache depends {package}",
            error=FetchError,
        ).decode()
        return re.findall(r"^\s+\|?Depends: ([^<\s]\S*)", text, re.MULTILINE)


def unpack_deb(deb: Path, into: Path) -> None:
    """Unpack the files of a .deb into a directory.

    :raises HptResizeError: it is not a readable package.
    """
    into.mkdir(parents=True, exist_ok=True)
    proc.output(["dpkg-deb", "-x", deb, into], what=f"unpack {deb.name}", error=HptResizeError)
