# SPDX-License-Identifier: GPL-2.0-or-later
"""What several commands have in common: terminal, global options, sources, variants."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console

from hptresize.base.cache import Cache
from hptresize.base.kinds import Kind
from hptresize.series.home import VARIANTS

OUT = Console()
ERR = Console(stderr=True)

F = TypeVar("F", bound=Callable[..., Any])


@dataclasses.dataclass
class Settings:
    """The global options."""

    cache_dir: Path | None
    jobs: int
    show_traceback: bool

    @property
    def cache(self) -> Cache:
        """The cache, its directory made if need be."""
        return Cache(self.cache_dir)


def _source_option(kind: Kind, title: str) -> Callable[[F], F]:
    return click.option(
        f"--{kind}-source", metavar="SOURCE",
        help=f"Where {title} comes from: debian:SUITE[=VERSION] (default debian:trixie), "
        "a tarball, a directory, or PATH@REVISION of a git tree.",
    )  # fmt: skip


kernel_source_option = _source_option("kernel", "the kernel")


def source_options(command: F) -> F:
    """Add --kernel-source and --qemu-source."""
    return kernel_source_option(_source_option("qemu", "QEMU")(command))


variant_option = click.option(
    "--variant", type=click.Choice(VARIANTS), default="series", show_default=True,
    help="series: our patches; baseline: the merged feature taken out; stock: as it came; "
    "fixes: stock with the corrections of the merged feature.",
)  # fmt: skip
