# SPDX-License-Identifier: GPL-2.0-or-later
"""The benchmark: its numbers, table, files; and that all of it runs (never how fast)."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from rich.console import Console

from hptresize.base.errors import ToolMissing, UsageError
from hptresize.bench import Contestant, Parts, Plan, Results, Sample, Summary, run
from hptresize.bench.measure_linux import _H_ENTER
from hptresize.bench.plot import check
from hptresize.bench.results import SCHEMA, Mode, load
from hptresize.bench.rows import (
    Goal,
    Row,
    as_table,
    empty_stop_machine,
    growth,
    make_rows,
    quantity,
    size_of,
)
from hptresize.build.image import build_bare
from hptresize.cli import main
from hptresize.cli.bench import write
from hptresize.machine import MachineConfig
from hptresize.pytest_plugin import last_build

US: dict[Mode, tuple[int, int]] = {
    "mainline": (5000, 400_000),
    "rehash": (900, 1000),
    "mirror": (4, 5),
}


def some_results(plan: Plan | None = None) -> Results:
    plan = plan or Plan(rounds=3)
    results = Results(host={"processors": 2}, options=plan.as_options())
    for number in range(plan.rounds):
        for mode, times in US.items():
            for order, us in zip((plan.low, plan.top), times, strict=True):
                results.samples.append(
                    Sample("commit_us", mode, number, us + number, "few", order, load=1.5)
                )
    results.qemu = {mode: {"version": "10.0.13", "options": ""} for mode in US}
    return results


def row(results: Results, start: str) -> Row:
    return next(one for one in make_rows(results) if one.what.startswith(start))


def test_summary() -> None:
    assert Summary.of([]) is None
    assert Summary.of([3.0]) == Summary(3.0, 3.0, 3.0, 1)
    assert Summary.of([9, 1, 2, 4]) == Summary(3.0, 1, 9, 4)


def test_values_are_chosen_by_all_that_is_said() -> None:
    results = some_results()
    assert results.values("commit_us", "mirror", order=31) == [5, 6, 7]
    assert results.values("commit_us", "mirror") == [4, 5, 5, 6, 6, 7]
    assert results.values("commit_us", "mirror", case="many") == []
    assert results.summary("commit_us", "mainline", order=24) == Summary(5001, 5000, 5002, 3)
    assert results.orders("commit_us", "few") == [24, 31]
    assert results.load() == Summary(1.5, 1.5, 1.5, 18)


def test_growth_is_told_round_by_round() -> None:
    results = some_results()
    results.samples = [one for one in results.samples if (one.mode, one.round) != ("rehash", 1)]
    found = growth(results)
    assert found["mirror"] == [5 / 4, 6 / 5, 7 / 6]
    assert found["rehash"] == [1000 / 900, 1002 / 902]


@pytest.mark.parametrize(
    ("goal", "value", "met"),
    [(Goal(100), 100, True), (Goal(100), 101, False), (Goal(80, least=True), 79, False)],
)
def test_goals(goal: Goal, value: float, met: bool) -> None:
    assert goal.met(value) is met


def test_rows_compare_with_mainline_and_with_the_goal() -> None:
    commit = row(some_results(), "COMMIT, 1 GB to 2 GB, 8,192")
    assert commit.met == {"rehash": True, "mirror": True}
    assert commit.ratio("mirror") == pytest.approx(400_001 / 6)
    assert commit.ratio("mainline") is None
    against = row(some_results(), "COMMIT, 2 GB against 16 MB")
    assert against.met == {"mirror": True}


def test_a_missed_goal_is_said() -> None:
    results = some_results()
    results.samples += [Sample("commit_us", "mirror", 9, 1e6, "few", 31)] * 4
    assert row(results, "COMMIT, 1 GB").met == {"rehash": True, "mirror": False}
    shown = io.StringIO()
    Console(file=shown, width=132).print(as_table(results, make_rows(results)))
    text = shown.getvalue()
    assert "NO" in text
    assert "mirror <= 500 us" in text


def test_small_tables_are_not_judged() -> None:
    assert not any(one.met for one in make_rows(some_results(Plan.quick())))


def test_standstill_may_take_twice_an_empty_one() -> None:
    results = some_results()
    results.samples.append(Sample("standstill_us", "mirror", 0, 9000, "64K", 31))
    assert row(results, "standstill, Linux, 64K").goals["mirror"] == Goal(3000)
    for stopped, in_host in ((6000, 1000), (4400, 400), (9000, 1000)):
        results.samples += [
            Sample("refused_us", "rehash", 0, stopped),
            Sample("refused_host_us", "rehash", 0, in_host),
            # Only the hypercall's own mode is a reference, and mirror is what is judged.
            Sample("refused_us", "mirror", 0, 1e6),
        ]
    assert empty_stop_machine(results) == Summary(5000, 4000, 8000, 3)
    assert row(results, "standstill, Linux, 64K").met == {"mirror": True}
    results.samples[-2] = Sample("unknown_us", "rehash", 0, 0)
    assert empty_stop_machine(results) is None
    assert row(results, "standstill, Linux, 64K").met == {"mirror": False}


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0, "%", "0%"), (3.888, "us", "3.89 us"), (48.1, "us", "48.1 us"), (1040, "us", "1.04 ms"),
        (388_123, "us", "388 ms"), (9.85e6, "us", "9.85 s"), (-20, "us", "-20 us"),
        (1024.2, "mb", "1024 MB"), (64.44, "x", "64.4 x"), (371_921.4, "/s", "371,921/s"),
    ],
)  # fmt: skip
def test_quantities(value: float, unit: str, text: str) -> None:
    assert quantity(value, unit) == text


def test_sizes() -> None:
    assert [size_of(order) for order in (22, 24, 29, 30, 31)] == [
        "4 MB", "16 MB", "512 MB", "1 GB", "2 GB",
    ]  # fmt: skip


def test_json_holds_samples_and_rows(tmp_path: Path) -> None:
    results = some_results()
    results.missing["mirror"] = "this QEMU has no hpt-resize-mode"
    write(results, tmp_path, with_plot=False)
    data = json.loads((tmp_path / "bench.json").read_text())
    assert data["schema"] == SCHEMA
    assert set(data) == {
        "schema", "host", "options", "qemu", "missing", "problems", "samples", "seconds", "load",
        "rows",
    }  # fmt: skip
    for sample in data["samples"]:
        assert set(sample) == {"metric", "mode", "round", "value", "case", "order", "load"}
    for one in data["rows"]:
        assert set(one) == {"what", "unit", "values", "mainline_ratio", "goals", "met"}
        assert set(one["values"]) <= set(US)
    assert data["rows"][0]["values"]["mirror"] == {"median": 6, "low": 5, "high": 7, "count": 3}
    assert load(tmp_path / "bench.json") == results
    text = (tmp_path / "bench.txt").read_text()
    assert "mirror: n/a, this QEMU has no hpt-resize-mode" in text


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"schema": 99}', '{"schema": 1}'])
def test_what_is_no_result_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bench.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"bench\.json"):
        load(path)


def test_an_empty_result_can_be_written(tmp_path: Path) -> None:
    results = Results(host={"processors": 1}, options=Plan().as_options())
    write(results, tmp_path, with_plot=False)
    assert json.loads((tmp_path / "bench.json").read_text())["rows"] == []


def test_plot(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    write(some_results(), tmp_path, with_plot=True)
    svg = (tmp_path / "pause.svg").read_bytes()
    assert ElementTree.fromstring(svg).tag.endswith("svg")
    for word in ("mainline", "rehash", "mirror", "16 MB", "2 GB"):
        assert word.encode() in svg
    png = (tmp_path / "pause.png").read_bytes()
    assert png.startswith(b"\x89PNG")
    assert len(png) > 5000
    write(some_results(), tmp_path, with_plot=True)
    assert (tmp_path / "pause.svg").read_bytes() == svg


def test_without_matplotlib_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ToolMissing, match=r"matplotlib is not installed.*--no-plot"):
        check()


def test_plan_fits_the_largest_table() -> None:
    assert Plan().memory == f"{128 * 1024}M"
    assert Plan.quick(top=23, low=22).memory == "512M"
    # As many bolted entries as have a group of their own, with room for the others.
    small = Plan.quick(top=23, low=22)
    groups = 1 << (22 - 7)
    assert small.many_now + small.others_now <= groups
    assert small.few_now <= 1 << (21 - 7)


@pytest.mark.parametrize("wrong", [{"rounds": 0}, {"low": 25, "top": 24}, {"top": 32}, {"low": 18}])
def test_plans_that_make_no_sense(wrong: dict[str, int]) -> None:
    with pytest.raises(UsageError):
        Plan(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--min-order", "30", "--max-order", "25"], "--min-order 30 is more than"),
        (["--max-order", "40"], "--max-order"),
        (["--rounds", "0"], "--rounds"),
        (["--qemu", "no-such-program"], "no-such-program"),
    ],
)
def test_options_that_make_no_sense(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["bench", "--no-plot", "--out", str(tmp_path), *words]) == 2
    assert said in capsys.readouterr().err


def test_options_of_a_contestant_come_after_the_machine_s() -> None:
    config = MachineConfig(Path("q"), Path("k"), None, machine_options=("a=1",))
    one = Contestant("mirror", Path("ours"), ("hpt-resize-mode=mirror",))
    assert one.on(config, "b=2").machine_options == ("a=1", "hpt-resize-mode=mirror", "b=2")
    assert one.on(config).qemu == Path("ours")


def test_h_enter_is_counted_in_qemu_s_log() -> None:
    log = (
        b"Raise exception at c000000000001234 => DSI (02) error=00\n"
        b"hypercall r3=0000000000000008 r4=0000000000000000 r5=00000000000000a8\n"
        b"hypercall r3=0000000000000004 r4=0000000000000008 r5=0000000000000008\n"
        b"hypercall r3=0000000000000008 r4=0000000000000000 r5=00000000000000b0\n"
        b"hypercall r3=0000000000000058 r4=0000000000000000\n"
    )
    assert len(_H_ENTER.findall(log)) == 2


@pytest.mark.boot
def test_all_of_it_runs(hpt_qemu: Path, hpt_kernel: Path, hpt_image: Path, tmp_path: Path) -> None:
    parts = Parts(
        bench=build_bare(tmp_path / "bench.elf", "bench.c"),
        kernel=hpt_kernel, initrd=hpt_image, qemu=hpt_qemu, mainline=last_build("qemu-stock"),
    )  # fmt: skip
    results = run(parts, Plan.quick(rounds=1, low=22, top=23))
    assert results.problems == []
    modes = set(results.qemu)
    assert "rehash" in modes
    assert modes | set(results.missing) == set(US)
    for metric in ("commit_us", "prepare_us", "standstill_us", "read_us", "churn_per_s"):
        measured = {one.mode for one in results.samples if one.metric == metric}
        assert measured == modes, metric
    if "mirror" in modes:
        assert results.values("lost_percent", "mirror") == [0]
        assert results.values("inserts_percent", "mirror")[0] < 10
    assert results.values("lost_percent", "rehash") == [100]
    write(results, tmp_path, with_plot=False)
    assert load(tmp_path / "bench.json").samples == results.samples
