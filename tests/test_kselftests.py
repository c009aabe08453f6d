# SPDX-License-Identifier: GPL-2.0-or-later
"""The series' kselftests in guests of ours: each of their sub-tests is one of ours."""

from __future__ import annotations

import dataclasses
import errno
import os
import re

import pytest

from hptresize.base.errors import HptResizeError, MachineError
from hptresize.build import kselftests
from hptresize.machine import Machine
from hptresize.pytest_plugin import Boot, built
from hptresize.run import selftests
from hptresize.run.selftests import SelftestReport

# Of each test under load; with 0 each does a few resizes all the same.
SECONDS = {"le": 20, "be": 20} if os.environ.get("HPTRESIZE_LONG") else {"le": 1, "be": 0}
SUBTESTS = kselftests.subtests()
# What needs another guest, or is a test of its own below.
SKIPPED = {"sysfs.injected_error"}
SLOW_MS = 250
LARGE_PAGES = "cap-hpt-max-page-size=16777216"
DIMM = 512 << 20  # two blocks


@dataclasses.dataclass(frozen=True)
class Setting:
    """Where the programs run."""

    endian: str
    mode: str

    def __str__(self) -> str:
        return f"{self.endian}-{self.mode}"


SETTINGS = (Setting("le", "mirror"), Setting("le", "rehash"), Setting("be", "mirror"))


class Guests:
    """Guests of a module, each started when it is first wanted, and what ran there."""

    def __init__(self, boot: Boot) -> None:
        self._boot = boot
        self._guests: dict[tuple[Setting, bool], Machine] = {}
        self._reports: dict[tuple[Setting, str], SelftestReport | HptResizeError] = {}

    def guest(self, setting: Setting, large_pages: bool = False) -> Machine:
        key = setting, large_pages
        if key not in self._guests:
            kernel = "kernel-be-64k" if setting.endian == "be" else "kernel"
            options = (f"hpt-resize-mode={setting.mode}", *([LARGE_PAGES] if large_pages else []))
            self._guests[key] = self._boot(
                kernel=built(kernel),
                initrd=built(f"selftests-{setting.endian}"),
                memory="1G",
                maxmem="4G",
                machine_options=options,
            )
        return self._guests[key]

    def report(self, setting: Setting, program: str) -> SelftestReport:
        """What a program said there; it runs once."""
        key = setting, program
        if key not in self._reports:
            machine = self.guest(setting, program == "hpt_hugepage")
            try:
                self._reports[key] = run(machine, program, SECONDS[setting.endian])
            except HptResizeError as error:
                self._reports[key] = error
        report = self._reports[key]
        if isinstance(report, HptResizeError):
            raise report
        return report


def run(machine: Machine, program: str, seconds: int) -> SelftestReport:
    """Run a program, with a host that is as it wants it."""
    delay = SLOW_MS if program == "hpt_wait" else 0
    machine.qmp("qom-set", path="/machine", property="x-hpt-prepare-delay", value=delay)
    if program == "hpt_hotplug":
        machine.plug_memory("dimm0", DIMM)
    return selftests.run(
        machine, program, env={"HPT_RESIZE_SECONDS": str(seconds)}, timeout=150 + 4 * seconds
    )


def memory_total(machine: Machine) -> str:
    """The memory that the guest has, all of it online."""
    found = re.search(r"MemTotal: +(\d+)", machine.run("cat", "/proc/meminfo").text)
    assert found
    return found[1]


@pytest.fixture(scope="module")
def guests(boot_module: Boot) -> Guests:
    return Guests(boot_module)


@pytest.mark.boot
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("program", "name"), [(program, name) for program in SUBTESTS for name in SUBTESTS[program]]
)
@pytest.mark.parametrize("setting", SETTINGS, ids=str, scope="module")
def test_subtest(guests: Guests, setting: Setting, program: str, name: str) -> None:
    result = guests.report(setting, program).subtests[name]
    said = "\n".join(result.said)
    assert result.ok, said
    assert (result.skipped is not None) == (name in SKIPPED), said


@pytest.mark.boot
@pytest.mark.parametrize("program", SUBTESTS)
@pytest.mark.parametrize("setting", SETTINGS, ids=str, scope="module")
def test_each_program_ran_what_the_series_has(
    guests: Guests, setting: Setting, program: str
) -> None:
    report = guests.report(setting, program)
    assert (report.status, report.skipped) == (0, None)
    assert set(report.subtests) == set(SUBTESTS[program])


@pytest.mark.boot
def test_memory_is_left_as_it_was(guests: Guests) -> None:
    machine = guests.guest(SETTINGS[0])
    before = memory_total(machine)
    report = selftests.run(machine, "hpt_hotplug", env={"HPT_RESIZE_SECONDS": "0"})
    assert report.status == 0
    assert memory_total(machine) == before


@pytest.mark.boot
@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_no_memory_in_the_host(guests: Guests, setting: Setting) -> None:
    """H_RESOURCE, as LoPAR has it: the same as for an order that is not allowed."""
    machine = guests.guest(setting)
    machine.qmp("qom-set", path="/machine", property="x-hpt-fail-alloc", value=True)
    report = selftests.run(
        machine, "hpt_sysfs", "-t", "injected_error", env={"HPT_RESIZE_INJECTED": str(errno.EPERM)}
    )
    result = report.subtests["sysfs.injected_error"]
    assert (result.ok, result.skipped) == (True, None), result.said


@pytest.mark.boot
@pytest.mark.parametrize("setting", SETTINGS[:2], ids=str)
def test_the_host_forgets_what_is_ready(guests: Guests, setting: Setting) -> None:
    """Once for each resize, where it can between PREPARE and COMMIT: that is H_CLOSED."""
    machine = guests.guest(setting)
    machine.qmp("qom-set", path="/machine", property="x-hpt-prepare-delay", value=0)
    before = now = machine.qmp("query-hpt")
    forgotten = before["resizes"] - 1
    job = machine.agent.start(
        [f"{kselftests.GUEST_DIRECTORY}/hpt_memory"], env={"HPT_RESIZE_SECONDS": "2"}
    )
    while job.running:
        now = machine.qmp("query-hpt")
        if now["state"] == "ready" and now["resizes"] > forgotten:
            forgotten = now["resizes"]
            machine.qmp("qom-set", path="/machine", property="x-hpt-forget", value=True)
    done = job.wait(1)
    assert selftests.parse(done.text, done.status).status == 0, done.text
    commits, resizes = (now[name] - before[name] for name in ("commit-calls", "resizes"))
    assert commits > resizes > 0


@pytest.mark.boot
@pytest.mark.parametrize("program", ["hpt_sysfs", "hpt_wait", "hpt_hotplug"])
def test_on_stock_qemu(boot: Boot, program: str) -> None:
    """Its 16 GB in 64K pages fit into no smaller table, for entries keep their slots there.

    The programs that are not here find a defect of that QEMU, stale translations.
    """
    machine = boot(
        kernel=built("kernel"), qemu=built("qemu-stock"), initrd=built("selftests-le"), memory="16G"
    )
    assert machine.try_resize(26).errno_name == "ENOSPC"
    before = memory_total(machine)
    report = selftests.run(machine, program, env={"HPT_RESIZE_SECONDS": "0"})
    assert [one for one in report.subtests.values() if not one.ok] == []
    assert report.status == 0
    assert memory_total(machine) == before


@pytest.mark.boot
def test_no_resize_succeeds(boot: Boot) -> None:
    """That is a failure, not a reason to skip; and the table follows memory as before."""
    machine = boot(kernel=built("kernel"), initrd=built("selftests-le"), memory="1G", maxmem="4G")
    machine.qmp("qom-set", path="/machine", property="x-hpt-prepare-delay", value=600_000)
    machine.run("write", "/sys/kernel/mm/hpt/timeout_ms", "5")
    for program in ("hpt_memory", "hpt_hugepage", "hpt_process", "hpt_hotplug", "hpt_wait"):
        done = machine.agent.run([f"{kselftests.GUEST_DIRECTORY}/{program}"])
        assert done.status == 1, done.text
        assert machine.hpt("auto") == "1"


@pytest.mark.boot
@pytest.mark.parametrize("where", ["kernel-baseline", "kernel-stock", "radix", "disabled"])
def test_skipped_where_nothing_resizes(boot: Boot, where: str) -> None:
    """A guest without the hook: exit status 4, and the reason."""
    changes: dict[str, object] = {"initrd": built("selftests-le"), "memory": "512M", "cpus": 1}
    if where.startswith("kernel"):
        changes["kernel"] = built(where)
    elif where == "radix":
        changes |= {"cpu": "POWER9", "radix": True}
    else:
        changes["resize_hpt"] = where
    machine = boot(**changes)
    for program in SUBTESTS:
        report = selftests.run(machine, program)
        assert report.status == selftests.SKIPPED
        assert report.skipped is not None
        assert "no /sys/kernel/mm/hpt" in report.skipped
        assert report.subtests == {}


def test_a_report_as_data() -> None:
    text = "TAP version 13\n1..3\n# hi\nok 1 a.b\n# no\nnot ok 2 a.c\nok 3 a.d # SKIP why not\n"
    report = selftests.parse(text, 1)
    assert [(one.name, one.ok, one.skipped, one.said) for one in report.subtests.values()] == [
        ("a.b", True, None, ("hi",)),
        ("a.c", False, None, ("no",)),
        ("a.d", True, "why not", ()),
    ]
    assert selftests.parse("TAP version 13\n1..0 # SKIP no luck\n", 4).skipped == "no luck"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "not with its version"),
        ("TAP version 13\nok 1 a\n", "not KTAP"),
        ("TAP version 13\n1..2\nok 1 a\n", "planned 2 sub-tests and ran 1"),
        ("TAP version 13\n1..2\nok 1 a\nok 1 b\n", "after 1 results"),
        ("TAP version 13\n1..1\nfailed\n", "which is not KTAP"),
    ],
)
def test_what_is_not_ktap(text: str, what: str) -> None:
    with pytest.raises(MachineError, match=what):
        selftests.parse(text, 0)
