# SPDX-License-Identifier: GPL-2.0-or-later
"""Which mirror to ask: the machine's own apt sources, for another suite."""

from __future__ import annotations

import dataclasses
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from hptresize.base.errors import FetchError

ETC_APT = Path("/etc/apt")
OS_RELEASE = Path("/etc/os-release")


@dataclasses.dataclass(frozen=True)
class Source:
    """One place to fetch from, for one suite."""

    uri: str
    suite: str
    components: tuple[str, ...]
    signed_by: str = ""

    def line(self, kind: str, arch: str) -> str:
        """Return it as a one-line entry of the given kind (deb, deb-src)."""
        options = [f"arch={arch}"] if kind == "deb" else []
        if self.signed_by:
            options.append(f"signed-by={self.signed_by}")
        shown = f"[{' '.join(options)}] " if options else ""
        return f"{kind} {shown}{self.uri} {self.suite} {' '.join(self.components)}"


def parse_deb822(text: str) -> Iterator[Source]:
    """Read the entries of a .sources file; unreadable or disabled ones are left out."""
    for stanza in re.split(r"\n\s*\n", text):
        fields: dict[str, str] = {}
        name = ""
        for line in stanza.splitlines():
            if line.startswith("#") or not line.strip():
                continue
            if line[0] in " \t":
                fields[name] = f"{fields.get(name, '')}\n{line.strip()}"
            else:
                name, _, value = line.partition(":")
                name = name.strip().lower()
                fields[name] = value.strip()
        if fields.get("enabled", "yes").lower() in ("no", "false", "0"):
            continue
        signed = fields.get("signed-by", "")
        if "\n" in signed:
            continue  # a key in the file itself cannot be said in one line
        for uri in fields.get("uris", "").split():
            for suite in fields.get("suites", "").split():
                yield Source(uri, suite, tuple(fields.get("components", "").split()), signed)


_ONE_LINE = re.compile(r"^deb(?:-src)?\s+(?:\[(?P<options>[^\]]*)\]\s+)?(?P<rest>.*)$")


def parse_one_line(text: str) -> Iterator[Source]:
    """Read the entries of a .list file."""
    for raw in text.splitlines():
        match = _ONE_LINE.match(raw.split("#", 1)[0].strip())
        if match is None:
            continue
        words = match["rest"].split()
        if len(words) < 3:
            continue
        signed = ""
        for option in (match["options"] or "").split():
            key, _, value = option.partition("=")
            if key == "signed-by":
                signed = value
        yield Source(words[0], words[1], tuple(words[2:]), signed)


def machine_sources(etc: Path = ETC_APT) -> list[Source]:
    """Return all entries of the machine's own apt sources, in the order apt reads them."""
    found: list[Source] = []
    parts = etc / "sources.list.d"
    for path in [
        etc / "sources.list",
        *sorted(parts.glob("*.list")),
        *sorted(parts.glob("*.sources")),
    ]:
        try:
            text = path.read_text()
        except OSError:
            continue
        found += parse_deb822(text) if path.suffix == ".sources" else parse_one_line(text)
    return found


def codename(os_release: Path | None = None) -> str:
    """Return the machine's Debian release name, e.g. bookworm.

    :raises FetchError: this is not a Debian. A derivative is none: its mirrors do not
        serve Debian's suites.
    """
    path = os_release or OS_RELEASE
    try:
        # It is made to be sourced by a shell.
        words = shlex.split(path.read_text(), comments=True)
    except (OSError, ValueError):
        words = []
    fields = {name: value for name, _, value in (word.partition("=") for word in words)}
    distribution, release = fields.get("ID", "nothing"), fields.get("VERSION_CODENAME", "")
    if distribution != "debian":
        what = f"ID={distribution}, and packages come from the mirror of a Debian (ID=debian)"
    elif not release:
        what = "names no release (VERSION_CODENAME)"
    else:
        return release
    raise FetchError(
        f"{path}: {what}",
        hint="work on Debian, in a container say; "
        "your own trees go by --kernel-source and --qemu-source",
    )


def for_suite(sources: list[Source], own: str, suite: str) -> list[Source]:
    """Repeat the machine's Debian entries for another suite.

    :param own: release the machine itself runs; an entry is Debian's if its suite
        is that name alone or with one of Debian's pockets behind it.
    :param suite: release wanted. Pockets are kept: own-security becomes suite-security.
    :raises FetchError: the machine has no entry of Debian's.
    """
    pocket = re.compile(rf"^{re.escape(own)}(|-updates|-security)/?$")
    rolling = suite in ("sid", "unstable", "experimental")
    made: dict[tuple[str, str], Source] = {}
    for one in sources:
        match = pocket.match(one.suite)
        if match is None or "main" not in one.components or (rolling and match[1]):
            continue
        new = dataclasses.replace(one, suite=suite + match[1], components=("main",))
        made.setdefault((new.uri, new.suite), new)
    if not made:
        raise FetchError(
            f"the machine's apt sources have no entry for Debian {own}",
            hint="add one, or give your own --kernel-source and --qemu-source",
        )
    return list(made.values())
