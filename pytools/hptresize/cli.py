# SPDX-License-Identifier: GPL-2.0-or-later
"""The command `hptresize`."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.logging import RichHandler
from rich.table import Table

from hptresize import conformance, demo, doctor, hostile, kunit, session
from hptresize.base import paths, progress
from hptresize.base.cache import GIGA
from hptresize.base.errors import HptResizeError, MachineError, UsageError
from hptresize.bench.command import bench
from hptresize.build import toolchain
from hptresize.build.builder import Builder
from hptresize.build.flavours import FLAVOURS, PLAIN
from hptresize.machine import Machine, MachineConfig, interactive
from hptresize.machine.kvmhv import KvmHvGuest, KvmHvHost
from hptresize.machine.kvmhv.host import host_config
from hptresize.machine.settings import parse_size
from hptresize.matrix.command import matrix, soak_command
from hptresize.options import F, Settings, source_options
from hptresize.series.command import series_group
from hptresize.series.home import VARIANTS, Variant

OUT = Console()
ERR = Console(stderr=True)
# What a shell reports for a process that SIGINT or SIGTERM ended.
INTERRUPTED, TERMINATED = 130, 143

_variant = click.option(
    "--variant", type=click.Choice(VARIANTS), default="series", show_default=True,
    help="series: our patches; baseline: the merged feature taken out; stock: as it came; "
    "fixes: stock with the corrections of the merged feature.",
)  # fmt: skip


def _machine_options(command: F) -> F:
    for decorate in (
        click.option("--kernel", type=click.Path(path_type=Path), metavar="VMLINUX",
                     help="Boot this kernel instead of building one."),
        click.option("--qemu", type=click.Path(path_type=Path), metavar="PROGRAM",
                     help="Run this qemu-system-ppc64 instead of building one."),
        click.option("--initrd", type=click.Path(path_type=Path), metavar="FILE",
                     help="Use this image instead of building one."),
        click.option("--memory", default="2G", show_default=True, help="The guest's memory."),
        click.option("--cpus", type=click.IntRange(1, 1024), default=2, show_default=True,
                     help="The guest's processors."),
        click.option("--cpu", default="POWER8", show_default=True, help="Their kind."),
    ):  # fmt: skip
        command = decorate(command)
    return command


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--cache", "cache_dir", type=click.Path(path_type=Path), metavar="DIR",
    help="Where downloads, trees and builds are kept "
    "(default: $HPTRESIZE_CACHE, else ~/.cache/hptresize).",
)  # fmt: skip
@click.option(
    "-j", "--jobs", type=click.IntRange(1), default=None, metavar="N",
    help="Compiler processes at once (default: one for each processor).",
)  # fmt: skip
@click.option("-v", "--verbose", count=True, help="Say more; twice for all.")
@click.option("--traceback", is_flag=True, help="Show where in the program an error arose.")
@click.version_option(package_name="hptresize")
@click.pass_context
def cli(
    context: click.Context, cache_dir: Path | None, jobs: int | None, verbose: int, traceback: bool
) -> None:
    """Build, boot and check guests that resize their hash page table while they run."""
    level = (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)]
    logging.basicConfig(
        level=level, format="%(message)s", force=True,
        handlers=[RichHandler(console=ERR, show_path=False, show_time=verbose > 1)],
    )  # fmt: skip
    progress.use(progress.choose(ERR))
    context.obj = Settings(cache_dir, jobs or toolchain.jobs(), traceback)


@cli.command()
@source_options
@click.pass_obj
def fetch(settings: Settings, kernel_source: str | None, qemu_source: str | None) -> None:
    """Fetch and unpack the sources, and what else the network has to give."""
    builder = Builder(settings.cache, kernel_source, qemu_source, settings.jobs)
    for kind in ("kernel", "qemu"):
        tree = builder.tree(kind)
        OUT.print(f"{tree.title}: {tree.path}", soft_wrap=True, highlight=False)
    builder.busybox()


@cli.command()
@click.argument(
    "what", type=click.Choice(("kernel", "qemu", "image", "selftests", "all")), default="all"
)
@_variant
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


@cli.command()
@click.argument("what", type=click.Choice(("kernel", "qemu", "image")))
@_variant
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


@dataclasses.dataclass(frozen=True)
class _Given:
    """Parts of a guest that the user brings along."""

    kernel: Path | None
    qemu: Path | None
    initrd: Path | None
    memory: str
    cpus: int
    cpu: str

    def machine(self, builder: Builder, variant: Variant) -> MachineConfig:
        """Return the machine: what was given, the rest built."""
        own = (self.kernel, self.qemu, self.initrd)
        for name, part in zip(("kernel", "qemu", "initrd"), own, strict=True):
            if part is not None and not part.is_file():
                raise UsageError(f"--{name} {part}: no such file")
        made = MachineConfig(
            kernel=self.kernel or builder.kernel(variant).vmlinux,
            qemu=self.qemu or builder.qemu(variant).binary,
            initrd=self.initrd or builder.image(),
            memory=self.memory, cpus=self.cpus, cpu=self.cpu,
            resize_hpt=None if variant == "baseline" and self.qemu is None else "enabled",
        )  # fmt: skip
        made.validate()
        return made


@cli.command()
@_machine_options
@_variant
@source_options
@click.option("--append", default="", help="Further words for the kernel's command line.")
@click.pass_obj
def boot(
    settings: Settings,
    /,
    *,
    variant: Variant,
    kernel_source: str | None,
    qemu_source: str | None,
    append: str,
    **given: Any,
) -> None:
    """Boot a guest with a shell on this terminal."""
    builder = Builder(settings.cache, kernel_source, qemu_source, settings.jobs)
    machine = _Given(**given).machine(builder, variant).but(append=append)
    ERR.print(
        "The guest's shell follows. Try: cat /sys/kernel/mm/hpt/order; "
        "echo 25 > /sys/kernel/mm/hpt/order\n"
        "`poweroff` ends it, Ctrl-A X ends QEMU, Ctrl-A C is QEMU's monitor (info hpt).",
        highlight=False,
    )
    status = interactive(machine)
    if status:
        raise MachineError(f"QEMU ended with status {status}")


@cli.command("demo")
@_machine_options
@source_options
@click.option("--mb", type=click.IntRange(1), default=128, show_default=True,
              help="Megabytes of the guest's memory under check.")  # fmt: skip
@click.option("--report", type=click.Path(path_type=Path, file_okay=False), default="report",
              show_default=True, metavar="DIR", help="Where the report goes.")  # fmt: skip
@click.option("--hypervisor", type=click.Choice(("qemu", "kvm-hv")), default="qemu",
              show_default=True,
              help="kvm-hv: Debian's, on a POWER9 that QEMU emulates.")  # fmt: skip
@click.pass_obj
def demo_command(
    settings: Settings,
    /,
    *,
    kernel_source: str | None,
    qemu_source: str | None,
    mb: int,
    report: Path,
    hypervisor: str,
    **given: Any,
) -> None:
    """Build all, boot a guest, resize its table up and down, report."""
    begin = time.monotonic()
    builder = Builder(settings.cache, kernel_source, qemu_source, settings.jobs)
    machine = _Given(**given).machine(builder, "series").but(run_dir=report)
    if hypervisor == "kvm-hv":
        done = _demo_on_kvmhv(builder, machine, mb)
    else:
        # A QEMU of the user's own may be one that cannot tell.
        done = demo.run(machine, megabytes=mb, host_tells=given["qemu"] is None)
    demo.write(done, report)
    OUT.print(done.as_table())
    seconds = time.monotonic() - begin
    OUT.print(
        f"Linux {done.kernel} on QEMU {done.qemu}; booted in {done.boot_seconds:.1f} s, "
        f"{len(done.steps)} resizes, {seconds:.1f} s in all. Report: {report}",
        highlight=False, soft_wrap=True,
    )  # fmt: skip
    if done.problems:
        raise MachineError("; ".join(done.problems), log=report / "console.log")


def _demo_on_kvmhv(builder: Builder, machine: MachineConfig, megabytes: int) -> demo.Report:
    memory = f"{parse_size(machine.memory) + 1024}M"
    config = host_config(builder, machine.qemu).but(memory=memory)
    with contextlib.ExitStack() as stack:
        with progress.step("boot the host with KVM HV"):
            host = stack.enter_context(KvmHvHost(config))
        make = functools.partial(KvmHvGuest, host)
        return demo.run(machine, orders=demo.KVMHV_ORDERS, megabytes=megabytes, make=make)


@cli.command("session")
@click.argument("document", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@source_options
@click.pass_obj
def session_command(
    settings: Settings, document: Path, kernel_source: str | None, qemu_source: str | None
) -> None:
    """Run the commands of the session in DOCUMENT and put below each what it prints."""
    builder = Builder(settings.cache, kernel_source, qemu_source, settings.jobs)
    config = MachineConfig(
        kernel=builder.kernel().vmlinux, qemu=builder.qemu().binary, initrd=builder.image(),
        **session.MACHINE,
    )  # fmt: skip
    with Machine(config) as machine:
        text = session.replay(document.read_text(), lambda line: session.run(machine, line))
        machine.console.check()
    document.write_text(text)


cli.add_command(bench)
cli.add_command(conformance.command)
cli.add_command(kunit.command)
cli.add_command(hostile.command)
cli.add_command(matrix)
cli.add_command(soak_command)
cli.add_command(series_group)


@cli.command("doctor")
@click.option("--network", is_flag=True, help="Ask Debian's mirror, too.")
@click.pass_obj
def doctor_command(settings: Settings, network: bool) -> None:
    """Check that this machine has what the work needs."""
    found = doctor.examine(settings.cache, network=network)
    table = Table("what", "", "finding")
    for one in found:
        table.add_row(one.name, "[green]ok[/]" if one.good else "[red]NO[/]", one.text)
    OUT.print(table)
    bad = [one.name for one in found if not one.good]
    if bad:
        raise HptResizeError(f"not as it should be: {', '.join(bad)}", hint="run `make setup`")


@cli.command()
@click.option("--all", "everything", is_flag=True, help="Downloads and source trees as well.")
@click.pass_obj
def clean(settings: Settings, everything: bool) -> None:
    """Remove what was built (and, with --all, what was fetched) from the cache."""
    cache = settings.cache
    freed = cache.clean(everything=everything)
    OUT.print(f"{freed / GIGA:.1f} GB freed under {cache.root}", highlight=False, soft_wrap=True)


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Make SIGTERM and SIGHUP unwind like Ctrl-C does, so that children end and files go."""

    def leave(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    old = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def _fail(text: str, status: int) -> int:
    """Print one line and return the exit status."""
    ERR.file.flush()
    sys.stderr.write(f"hptresize: error: {' '.join(text.split())}\n")
    return status


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; every failure is one line on standard error and a status.

    :param argv: arguments, sys.argv's if None.
    :returns: 0, 1 (the work failed), 2 (an argument makes no sense), 130 (Ctrl-C).
    """
    words = list(sys.argv[1:] if argv is None else argv)
    wants_traceback = "--traceback" in words
    try:
        with _ended_by_signals():
            # What a command returns is nothing, or the status that it asked click to exit with.
            status = cli.main(args=words, prog_name="hptresize", standalone_mode=False)
        return status if isinstance(status, int) else 0
    except (KeyboardInterrupt, click.Abort):
        return _fail("interrupted", INTERRUPTED)
    except SystemExit as leave:
        return _fail("terminated by a signal", leave.code if isinstance(leave.code, int) else 1)
    except BrokenPipeError:
        # The reader of our output has gone; Python would complain once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as err:
        if wants_traceback:
            traceback.print_exc()
        return _fail(*_explain(err))


def _explain(err: Exception) -> tuple[str, int]:
    """Return the line and the exit status for an error."""
    if isinstance(err, click.UsageError):
        command = err.ctx.command_path if err.ctx else "hptresize"
        return f"{err.format_message()} (see `{command} --help`)", err.exit_code
    if isinstance(err, click.ClickException):
        return err.format_message(), err.exit_code
    if isinstance(err, MachineError) and err.console:
        sys.stderr.write("".join(f"  | {line}\n" for line in err.console.splitlines()[-15:]))
    if isinstance(err, HptResizeError):
        return str(err), err.exit_status
    if isinstance(err, OSError):
        return f"{err.filename or 'the system'}: {err.strerror or err}", 1
    if isinstance(err, subprocess.SubprocessError):
        return str(err), 1
    return f"{type(err).__name__}: {err}; a bug in hptresize, --traceback shows where", 70


if __name__ == "__main__":
    sys.exit(main())
