# SPDX-License-Identifier: GPL-2.0-or-later
"""Patch series: read, put on a tree, written anew, checked, exported.

`files` is the format on disk, `rules` what series.toml beside the patches says of trees,
`applying` puts a series on a tree, `check` looks at each patch, `export` writes the mails.
"""

from hptresize.series.applying import apply
from hptresize.series.files import (
    COVER,
    COVER_TEXT,
    Patch,
    Series,
    format_patches,
    load,
    prefix_of,
    read_patch,
    refresh,
)
from hptresize.series.rules import RULES, Rules, read_rules

__all__ = [
    "COVER", "COVER_TEXT", "RULES", "Patch", "Rules", "Series", "apply", "format_patches",
    "load", "prefix_of", "read_patch", "read_rules", "refresh",
]  # fmt: skip
