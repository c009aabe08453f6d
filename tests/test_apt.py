# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian's entries among the machine's apt sources, and what apt says, read right."""

from __future__ import annotations

from pathlib import Path

import pytest

from hptresize import cli
from hptresize.base.cache import Cache
from hptresize.base.errors import FetchError, UsageError
from hptresize.trees import debian
from hptresize.trees import mirror as apt_mirror
from hptresize.trees.debian import AptRoot, SourceVersion
from hptresize.trees.mirror import (
    Source,
    codename,
    for_suite,
    machine_sources,
    parse_deb822,
    parse_one_line,
)

DEB822 = """\
# a comment
Types: deb
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/archive.gpg

Types: deb
# another
URIs: http://security.example/debian-security
Suites: bookworm-security
Components: main

Enabled: no
Types: deb
URIs: http://off.example/debian
Suites: bookworm
Components: main

Types: deb
URIs: http://vendor.example/repo
Suites: nodistro
Components: main
"""

ONE_LINE = """\
deb [arch=amd64 signed-by=/k.gpg] http://mirror.example/debian bookworm main
deb-src http://mirror.example/debian bookworm main
# deb http://off.example/debian bookworm main
deb http://vendor.example/apt tool-bookworm main
deb http://flat.example/ ./
"""


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    parts = tmp_path / "etc" / "sources.list.d"
    parts.mkdir(parents=True)
    (parts / "debian.sources").write_text(DEB822)
    (parts / "other.list").write_text(ONE_LINE)
    (parts / "ignored.save").write_text("deb http://no.example/debian bookworm main\n")
    return parts.parent


def test_only_debian_for_another_suite(etc: Path) -> None:
    found = for_suite(machine_sources(etc), "bookworm", "trixie")
    assert {(one.uri, one.suite) for one in found} == {
        ("http://mirror.example/debian", "trixie"),
        ("http://mirror.example/debian", "trixie-updates"),
        ("http://security.example/debian-security", "trixie-security"),
    }


def test_lines(etc: Path) -> None:
    found = {one.suite: one for one in parse_deb822(DEB822)}
    assert found["bookworm"].line("deb-src", "amd64") == (
        "deb-src [signed-by=/usr/share/keyrings/archive.gpg] "
        "http://mirror.example/debian bookworm main contrib"
    )
    assert found["bookworm-security"].line("deb", "ppc64el") == (
        "deb [arch=ppc64el] http://security.example/debian-security bookworm-security main"
    )


def test_one_line_options() -> None:
    first = next(iter(parse_one_line(ONE_LINE)))
    assert first == Source("http://mirror.example/debian", "bookworm", ("main",), "/k.gpg")


def test_a_rolling_suite_has_no_pockets(etc: Path) -> None:
    found = for_suite(machine_sources(etc), "bookworm", "sid")
    assert [one.suite for one in found] == ["sid"]


def test_no_debian_at_all() -> None:
    with pytest.raises(FetchError, match="no entry for Debian bookworm"):
        for_suite([Source("http://x.example", "nodistro", ("main",))], "bookworm", "trixie")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ID=ubuntu\nID_LIKE=debian\nVERSION_CODENAME=noble\n", "ID=ubuntu"),
        ('ID="linuxmint"\nID_LIKE="ubuntu debian"\nVERSION_CODENAME=wilma\n', "ID=linuxmint"),
        ("ID=raspbian\nID_LIKE=debian\nVERSION_CODENAME=bookworm\n", "ID=raspbian"),
        ("ID=fedora\nVERSION_CODENAME=''\n", "ID=fedora"),
        ("VERSION_CODENAME=bookworm\n", "ID=nothing"),
        ("", "ID=nothing"),
        ("'", "ID=nothing"),
        ("ID=debian\n", "names no release"),
    ],
)
def test_a_host_that_is_no_debian(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str],
    text: str, said: str,
) -> None:  # fmt: skip
    """Its mirrors, a derivative's as well, do not serve Debian's suites: none is asked."""
    release = tmp_path / "os-release"
    release.write_text(text)
    monkeypatch.setattr(apt_mirror, "OS_RELEASE", release)
    monkeypatch.setattr(AptRoot, "_apt", lambda self, words, what: pytest.fail(f"asked: {what}"))
    cache = tmp_path / "cache"
    assert cli.main(["--cache", str(cache), "fetch"]) == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(f"hptresize: error: {release}: ")
    assert said in line
    assert "--kernel-source" in line
    assert list(cache.rglob("sources.list")) == []
    with pytest.raises(FetchError, match=said):
        codename()


def test_codename(tmp_path: Path) -> None:
    path = tmp_path / "os-release"
    path.write_text('NAME="Debian"\n# a comment\nVERSION_CODENAME="bookworm"\nID=debian\n')
    assert codename(path) == "bookworm"


SHOWSRC = """\
Package: linux
Version: 6.12.9-1
Checksums-Sha256:
 1f 150 linux_6.12.9.orig.tar.xz
 2f 15 linux_6.12.9-1.debian.tar.xz
Directory: pool/main/l/linux

Package: linux
Version: 6.12.107-1
Checksums-Sha256:
 3f 150 linux_6.12.107.orig.tar.xz
Directory: pool/main/l/linux

Package: linux
Version: 6.12.107-2
Checksums-Sha256:
 3f 150 linux_6.12.107.orig.tar.xz
Directory: pool/main/l/linux
"""


def test_versions_go_by_number_not_by_letter() -> None:
    found = debian.newest_first(debian.parse_showsrc(SHOWSRC))
    assert [one.version for one in found] == ["6.12.107-2", "6.12.9-1"]


class _Mirror(AptRoot):
    """An apt whose mirror does not serve the newest version."""

    def __init__(self, cache: Cache, served: tuple[str, ...] = ("2-1", "1-1")) -> None:
        super().__init__(cache)
        self.served = served
        self.asked: list[str] = []

    def versions(self, package: str) -> list[SourceVersion]:
        listed = ("3-1", "2-1", "1-1")
        return [SourceVersion(v, f"linux_{v}.orig.tar.xz", "pool") for v in listed]

    def _apt(self, words: list[str], what: str, cwd: Path | None = None) -> None:
        version = words[-1].partition("=")[2]
        self.asked.append(version)
        if version not in self.served:
            raise debian.NotServed(f"{what}: 404")
        assert cwd is not None
        (cwd / f"linux_{version}.orig.tar.xz").write_text("x")


def test_what_is_not_served_gives_way_to_the_next_older(tmp_path: Path) -> None:
    mirror = _Mirror(Cache(tmp_path))
    assert mirror.source_tarball("linux").name == "linux_2-1.orig.tar.xz"
    assert mirror.asked == ["3-1", "2-1"]
    # Once taken, it is taken again, and nobody is asked.
    assert mirror.source_tarball("linux").name == "linux_2-1.orig.tar.xz"
    assert mirror.asked == ["3-1", "2-1"]


def test_a_download_that_brought_nothing_is_not_kept(tmp_path: Path) -> None:
    mirror = _Mirror(Cache(tmp_path), served=())
    with pytest.raises(FetchError, match="serves none of them"):
        mirror.source_tarball("linux")
    assert list((tmp_path / "downloads").iterdir()) == []


def test_a_version_that_is_not_listed(tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="does not list linux 9"):
        _Mirror(Cache(tmp_path)).source_tarball("linux", "9")


def test_a_suite_is_a_word(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not the name of a Debian release"):
        AptRoot(Cache(tmp_path), "../x")


def test_what_apt_says_is_one_line(tmp_path: Path) -> None:
    root = AptRoot(Cache(tmp_path))
    offline = "Err:1 x\n  Could not resolve 'x'\nE: Failed to fetch x  Could not resolve 'x'\n"
    told = root._explain("download it", offline)
    assert "is there a network" in str(told)
    assert "\n" not in str(told)
    assert isinstance(
        root._explain("x", "E: Failed to fetch http://x  404  Not Found"), debian.NotServed
    )
