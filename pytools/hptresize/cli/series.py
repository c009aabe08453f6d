# SPDX-License-Identifier: GPL-2.0-or-later
"""The commands `hptresize series ...`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console

from hptresize.base.errors import HptResizeError, UsageError
from hptresize.base.kinds import Kind
from hptresize.build.builder import Builder
from hptresize.check import tables as reports
from hptresize.check.all import checks_of
from hptresize.check.ask import CheckReport, check_series
from hptresize.check.export import Mails, export
from hptresize.check.question import Check
from hptresize.cli.options import F, Settings, source_options
from hptresize.series.home import Home, Variant
from hptresize.trees.edit import WorkTree, committed, range_diff
from hptresize.trees.origin import parse_origin
from hptresize.trees.tree import Tree


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
    with committed(home, against) as old, tree.lock():
        base, tip = WorkTree(settings.cache, home).commits(tree)
        said = range_diff(tree, home, old, tip, base)
    click.echo(said or f"{home.words}: the same as {against} has it")


_chosen = click.option(
    "--only", "only", multiple=True, metavar="CHECK", help="Only these checks (may be repeated)."
)


@series_group.command("check")
@click.argument("kind", type=click.Choice(("kernel", "qemu", "all")), default="all")
@click.option("--mainline/--no-mainline", default=None,
              help="Only, or not, the corrections of mainline (default: both).")  # fmt: skip
@_chosen
@click.option("--quick", is_flag=True, help="Only checks that need nothing built.")
@click.option("--tree", "trees", multiple=True, metavar="SOURCE",
              help="In these trees, given like --kernel-source; `all` for those that series.toml "
              "names (default: the first of them).")  # fmt: skip
@click.option("--write", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Write the tables there, as Markdown.")  # fmt: skip
@click.pass_obj
def check(
    settings: Settings, /, *, kind: str, mainline: bool | None, only: tuple[str, ...],
    quick: bool, trees: tuple[str, ...], write: Path | None,
) -> None:  # fmt: skip
    """Look at each patch: does it apply, build, boot, read as it should?"""
    done: list[CheckReport] = []
    for home in _homes(kind, mainline):
        chosen = choose(checks_of(home.kind), only, quick=quick)
        for source in _sources(home, trees):
            done.append(_check_one(settings, home, source, chosen))
            _show(done[-1])
    if write is not None:
        write.write_text(reports.as_markdown(done))
    bad = sum(len(one.failed) for one in done)
    if bad:
        raise HptResizeError(f"{bad} answers are not ok")


@series_group.command("export")
@_which
@click.option("--version", type=click.IntRange(1), default=1, show_default=True, metavar="N",
              help="How often, with this time, the series is sent.")  # fmt: skip
@click.option("--since", metavar="REV", help="Revision of this project that was sent before.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default="outgoing",
              show_default=True, metavar="DIR", help="A new directory for the mails.")  # fmt: skip
@source_options
@click.pass_obj
def export_command(
    settings: Settings, /, *, kind: Kind, variant: Variant, version: int, since: str | None,
    out: Path, kernel_source: str | None, qemu_source: str | None,
) -> None:  # fmt: skip
    """Write a series that a person has signed as mails. Nothing is ever sent.

    The commits come from the work tree of `series edit`; docs/sending.md tells what to do there.
    """
    if (version > 1) != (since is not None):
        raise UsageError("--version 2 or more and --since belong together")
    source = kernel_source if kind == "kernel" else qemu_source
    origin = parse_origin(kind, source)
    mails = Mails(out, version, since, origin.rev if origin.form == "git" else "")
    builder = Builder(settings.cache, kernel_source, qemu_source, settings.jobs)
    written = export(
        Home(kind, variant), builder.tree(kind), builder, checks_of(kind), mails, show=_show
    )
    for path in written:
        click.echo(path)
    click.echo("Nothing was sent. Read docs/sending.md, and every line, before you do.", err=True)


def _show(report: CheckReport) -> None:
    console = Console()
    # Rather lines that a narrow terminal wraps than cells with dots in them.
    console.width = max(console.width, 25 + 7 * len(report.patches))
    console.print(reports.as_table(report))
    for line in reports.as_lines(report):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    console.print(reports.summary(report), highlight=False, soft_wrap=True)


def _check_one(
    settings: Settings, home: Home, source: str | None, chosen: list[Check]
) -> CheckReport:
    kernel, qemu = (source, None) if home.kind == "kernel" else (None, source)
    builder = Builder(settings.cache, kernel, qemu, settings.jobs)
    return check_series(home, builder.tree(home.kind).apart(), builder, chosen)


def _homes(kind: str, mainline: bool | None) -> list[Home]:
    """Return the series that are meant, of those that the project has.

    :raises UsageError: it has none of them.
    """
    kinds: tuple[Kind, ...] = ("kernel", "qemu")
    variants: tuple[Variant, ...] = ("series", "fixes")
    homes = [
        Home(one, variant)
        for one in kinds
        for variant in variants
        if kind in (one, "all") and mainline in (None, variant == "fixes")
    ]
    found = [home for home in homes if home.directory.is_dir()]
    if not found:
        raise UsageError(f"there is no such series: {homes[0].directory}")
    return found


def _sources(home: Home, trees: tuple[str, ...]) -> Sequence[str | None]:
    known = home.load().rules.trees
    if "all" in trees:
        return known or (None,)
    return trees or known[:1] or (None,)


def choose(checks: Sequence[Check], only: Sequence[str], *, quick: bool) -> list[Check]:
    """Return the checks that are meant.

    :param only: names or groups; empty for all.
    :raises UsageError: there is no such check.
    """
    names = {name for one in checks for name in (one.name, one.family)} | {"applies"}
    if unknown := sorted(set(only) - names):
        hint = f"one of {', '.join(sorted(names))}"
        raise UsageError(f"there is no check {unknown[0]!r}", hint=hint)
    return [
        one
        for one in checks
        if (not only or one.name in only or one.family in only) and (one.quick or not quick)
    ]
