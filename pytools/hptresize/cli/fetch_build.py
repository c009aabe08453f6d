# SPDX-License-Identifier: GPL-2.0-or-later
"""The commands that fill, show and empty the cache: fetch, build, path, clean."""

from __future__ import annotations

from pathlib import Path

import click

from hptresize.base import paths
from hptresize.base.cache import GIGA
from hptresize.base.errors import UsageError
from hptresize.build.builder import Builder
from hptresize.build.flavours import FLAVOURS, PLAIN
from hptresize.cli.options import OUT, Settings, source_options, variant_option
from hptresize.series.home import Variant


@click.command()
@source_options
@click.pass_obj
def fetch(settings: Settings, kernel_source: str | None, qemu_source: str | None) -> None:
    """Fetch and unpack the sources, and what else the network has to give."""
    builder = Builder(settings.cache, kernel_source, qemu_source, settings.jobs)
    for kind in ("kernel", "qemu"):
        tree = builder.tree(kind)
        OUT.print(f"{tree.title}: {tree.path}", soft_wrap=True, highlight=False)
    builder.busybox()


@click.command()
@click.argument(
    "what", type=click.Choice(("kernel", "qemu", "image", "selftests", "all")), default="all"
)
@variant_option
@click.option(
    "--flavour", type=click.Choice(tuple(FLAVOURS)), default=PLAIN, show_default=True,
    help="Byte order and page size of the kernel, and what else it is built with.",
)  # fmt: skip
@click.option("--for-tests", is_flag=True, help="Make all that the project's own tests use.")
@source_options
@click.pass_obj
def build(
    settings: Settings,
    /,
    *,
    what: str,
    variant: Variant,
    flavour: str,
    for_tests: bool,
    kernel_source: str | None,
    qemu_source: str | None,
) -> None:
    """Build the kernel, QEMU, the image, or all of them; or an image with the kselftests."""
    builder = Builder(settings.cache, kernel_source, qemu_source, settings.jobs)
    if for_tests:
        builder.for_tests()
        return
    made: list[Path] = []
    if what in ("kernel", "all"):
        made.append(builder.kernel(variant, flavour).vmlinux)
    if what in ("qemu", "all"):
        made.append(builder.qemu(variant).binary)
    if what in ("image", "all"):
        made.append(builder.image())
    if what == "selftests":
        made.append(builder.selftests(FLAVOURS[flavour].endian))
    for path in made:
        click.echo(path)


@click.command()
@click.argument("what", type=click.Choice(("kernel", "qemu", "image")))
@variant_option
@click.pass_obj
def path(settings: Settings, what: str, variant: Variant) -> None:
    """Print where the last built kernel, QEMU or image lies; an image has no variant."""
    if what == "image":
        name, words = what, what
    else:
        name, words = f"{what}-{variant}", f"{what} --variant {variant}"
    found = paths.last_build(name, settings.cache)
    if found is None:
        raise UsageError(f"{name} is not built", hint=f"run `hptresize build {words}`")
    click.echo(found)


@click.command()
@click.option("--all", "everything", is_flag=True, help="Downloads and source trees as well.")
@click.pass_obj
def clean(settings: Settings, everything: bool) -> None:
    """Remove what was built (and, with --all, what was fetched) from the cache."""
    cache = settings.cache
    freed = cache.clean(everything=everything)
    OUT.print(f"{freed / GIGA:.1f} GB freed under {cache.root}", highlight=False, soft_wrap=True)
