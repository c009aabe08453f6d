# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the project keeps what it builds from: series, fragment."""

from __future__ import annotations

from pathlib import Path

from hptresize.base.cache import Cache
from hptresize.base.errors import UsageError


def project() -> Path:
    """Return the checkout this package runs from.

    :raises UsageError: it was installed without one.
    """
    root = Path(__file__).resolve().parents[3]
    if not (root / "Kconfig.fragment").is_file():
        raise UsageError(
            f"{root} is not a checkout of the project: it has no Kconfig.fragment",
            hint="install with `pip install -e` from a checkout, or run make there",
        )
    return root


def kernel_patches() -> Path:
    """Return the directory of the guest series."""
    return project() / "kernel"


def qemu_patches() -> Path:
    """Return the directory of the host series."""
    return project() / "qemu-patches"


def kernel_fragment() -> Path:
    """Return the guest's configuration on top of tinyconfig."""
    return project() / "Kconfig.fragment"


def last_build(kind: str, cache: Cache | None = None) -> Path | None:
    """Return where what was built last lies, None if there is none.

    :param kind: "kernel" or "qemu" for the last one with the series, "kernel-baseline" and
        so on for one of another variant; "kernel-debian" is Debian's, "qemu-tests" the
        directory of QEMU's unit tests; "image" and others have no variants.
    """
    name = f"{kind}-series" if kind in ("kernel", "qemu") else kind
    known = (cache or Cache()).note(f"last-{name}").get("path")
    return Path(known) if isinstance(known, str) and Path(known).exists() else None
