# SPDX-License-Identifier: GPL-2.0-or-later
"""The commands `hptresize series ...`."""

from __future__ import annotations

import shutil

import click

from ..baseline import Kind
from ..builds import Builder
from ..errors import HptResizeError
from ..options import F, Settings, source_options
from ..sources import Tree, Variant
from .worktree import Home, WorkTree, committed, range_diff


@click.group("series")
def series_group() -> None:
    """Work on the patch series."""


def _which(command: F) -> F:
    flag = click.option(
        "--mainline", "variant", flag_value="fixes", default="series",
        help="The corrections of the merged feature, on the tree as it came.",
    )  # fmt: skip
    kind = click.argument("kind", type=click.Choice(("kernel", "qemu")))
    return kind(flag(command))


def _tree(settings: Settings, kind: Kind, kernel: str | None, qemu: str | None) -> Tree:
    return Builder(settings.cache, kernel, qemu, settings.jobs).tree(kind)


@series_group.command("show")
@_which
def show(kind: Kind, variant: Variant) -> None:
    """List the patches of a series and the files they touch."""
    for patch in Home(kind, variant).load().patches:
        click.echo(f"{patch.path.name}: {patch.subject}")
        for name in patch.files:
            click.echo(f"    {name}")


@series_group.command("edit")
@_which
@source_options
@click.pass_obj
def edit(
    settings: Settings, /, *, kind: Kind, variant: Variant, kernel_source: str | None,
    qemu_source: str | None,
) -> None:  # fmt: skip
    """Make a git work tree with one commit for each patch; print its path.

    Change the commits there (git rebase -i base, or base-fixes), then `hptresize series refresh`.
    """
    where = WorkTree(settings.cache, Home(kind, variant))
    where.make(_tree(settings, kind, kernel_source, qemu_source))
    click.echo(where.path)


@series_group.command("drop")
@_which
@click.pass_obj
def drop(settings: Settings, kind: Kind, variant: Variant) -> None:
    """Remove the work tree of `series edit`, with whatever was changed there."""
    WorkTree(settings.cache, Home(kind, variant)).drop()


@series_group.command("refresh")
@_which
@click.option("--check", is_flag=True, help="Change nothing; fail if something would change.")
@source_options
@click.pass_obj
def refresh(
    settings: Settings, /, *, kind: Kind, variant: Variant, check: bool,
    kernel_source: str | None, qemu_source: str | None,
) -> None:  # fmt: skip
    """Write the series' files anew: from the work tree of `series edit`, else from themselves."""
    home = Home(kind, variant)
    tree = _tree(settings, kind, kernel_source, qemu_source)
    changed = WorkTree(settings.cache, home).refresh(tree, write=not check)
    for name in changed:
        click.echo(name)
    if check and changed:
        raise HptResizeError(
            f"{home.directory} is not what git format-patch makes of it: {', '.join(changed)}",
            hint=f"run `hptresize series refresh {home.words}`",
        )


@series_group.command("diff")
@_which
@click.option("--against", default="HEAD", show_default=True, metavar="REV",
              help="The revision of this project that has the older series.")  # fmt: skip
@source_options
@click.pass_obj
def diff(
    settings: Settings, /, *, kind: Kind, variant: Variant, against: str,
    kernel_source: str | None, qemu_source: str | None,
) -> None:  # fmt: skip
    """Show what a series is now (its work tree, else its files) against what is committed."""
    home = Home(kind, variant)
    tree = _tree(settings, kind, kernel_source, qemu_source)
    old = committed(home, against)
    try:
        with tree.lock():
            base, tip = WorkTree(settings.cache, home).commits(tree)
            said = range_diff(tree, home, old, tip, base)
    finally:
        shutil.rmtree(old.directory)
    click.echo(said or f"{home.words}: the same as {against} has it")
