# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the project's series are, and what each of them stands on."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal, get_args

from hptresize.base import paths
from hptresize.base.errors import UsageError
from hptresize.base.kinds import Kind
from hptresize.series.files import Series, load

Variant = Literal["stock", "baseline", "series", "fixes"]
VARIANTS: tuple[Variant, ...] = get_args(Variant)
# Which variant a series of patches stands on.
BASE: dict[Variant, Variant] = {"series": "baseline", "fixes": "stock"}


def series_directory(variant: Variant, patches: Path) -> Path:
    """Return where the patches of a variant are.

    :param variant: "series" or "fixes".
    :param patches: directory of the series.
    """
    return patches / "mainline" if variant == "fixes" else patches


def load_series(variant: Variant, patches: Path | Series) -> Series:
    """Read the patches of a variant; there is at least one.

    :param patches: directory of the series, or what is read already.
    :raises UsageError: there is none. PatchError: see files.load.
    """
    if isinstance(patches, Series):
        return patches
    directory = series_directory(variant, patches)
    series = load(directory)
    if not series.patches:
        raise UsageError(f"{directory} has no patches")
    return series


@dataclasses.dataclass(frozen=True)
class Home:
    """One of the project's series: where its files are, what it stands on.

    :ivar variant: "series", or "fixes" for the corrections of mainline.
    """

    kind: Kind
    variant: Variant = "series"

    @property
    def patches(self) -> Path:
        """The directory that trees.tree.Tree wants to know."""
        return paths.kernel_patches() if self.kind == "kernel" else paths.qemu_patches()

    @property
    def directory(self) -> Path:
        """Where the files are."""
        return series_directory(self.variant, self.patches)

    @property
    def words(self) -> str:
        """What a user types to mean it."""
        return self.kind + (" --mainline" if self.variant == "fixes" else "")

    def load(self) -> Series:
        """Read the files.

        :raises UsageError, PatchError: see files.load; there is at least one patch.
        """
        return load_series(self.variant, self.patches)

    @property
    def branches(self) -> tuple[str, str]:
        """Names of the branches of its work tree: what the series stands on, and the series."""
        if self.variant == "series":
            return "base", "edit"
        return f"base-{self.variant}", f"edit-{self.variant}"
