# SPDX-License-Identifier: GPL-2.0-or-later
"""Random interleavings of all that changes a table, against what must hold."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import cffi
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpt_math.model import Translation

from . import model
from .library import HERE, build, prepare

LONG = bool(os.environ.get("HPTRESIZE_LONG"))
STEPS = 1000
EXAMPLES = 20000 if LONG else 2200


class Driver:
    """driver.c, built with the code under test."""

    def __init__(self, root: Path) -> None:
        library = build(
            root, "driver.so", ["driver.c"], "-O2", "-DSHIM_STEPPED", "-shared", "-fPIC"
        )
        self.ffi: Any = cffi.FFI()
        header = (HERE / "driver.h").read_text()
        self.ffi.cdef(re.sub(r"/\*.*?\*/", "", header, flags=re.S))
        self.c: Any = self.ffi.dlopen(str(library))

    def run(self, seeds: list[int], order: int, mirrors: bool, raw: bytes) -> None:
        """Go through a sequence in C and in Python; raises AssertionError where they differ."""
        pool = [model.translation(seed) for seed in seeds]
        c_pool = self.ffi.new("Translation[]", [self.translation(t) for t in pool])
        n = len(raw) // 4
        outcomes = self.ffi.new("int64_t[]", n)
        words = self.ffi.from_buffer("uint32_t[]", raw)
        self.c.driver_start(c_pool, len(pool), order, mirrors)
        try:
            wrong = self.c.driver_run(words, n, outcomes)
            if wrong >= 0:
                failure = self.ffi.string(self.c.driver_failure()).decode()
                raise AssertionError(f"step {wrong}: {failure}")
            machine = model.Machine(pool, order, mirrors, self.c)
            steps = [self.c.driver_decode(words[i], len(pool)) for i in range(n)]
            machine.replay(steps, list(outcomes))
            self.compare(machine)
        finally:
            left = self.c.driver_end()
        assert left == 0, f"{left} blocks of memory are left"

    def translation(self, t: Translation) -> dict[str, int]:
        v, r = model.words(t)
        value = (~t.hash if t.secondary else t.hash) & (1 << 64) - 1
        return {
            "v": v, "r": r, "hash": value,
            "known_bits": model.known_bits(t), "actual_shift": t.actual_shift,
        }  # fmt: skip

    def compare(self, machine: model.Machine) -> None:
        """Both tables, entry by entry."""
        found = self.dump(False)
        assert found == {p: (e.v, e.r) for p, e in machine.table.items()}
        if machine.pending and (found := self.dump(True)) is not None:
            expected = machine.next_table()
            assert expected is not None
            assert found == {p: (e.v, e.r) for p, e in expected.items()}

    def dump(self, of_next: bool) -> dict[int, tuple[int, int]] | None:
        entries = self.ffi.new("Entry[]", 1024)
        n = self.c.driver_dump(of_next, entries, 1024)
        return None if n < 0 else {e.ptex: (e.v, e.r) for e in entries[0:n]}


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Driver:
    return Driver(prepare(tmp_path_factory.mktemp("hpt_mirror")))


#: a word that is zero is a step that does nothing, so sequences shrink to few steps
sequences = st.binary(min_size=4 * STEPS, max_size=4 * STEPS)
pools = st.lists(st.integers(0, 0xFFFF), min_size=1, max_size=48)


@settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None
)
@given(seeds=pools, order=st.integers(18, 20), mirrors=st.booleans(), raw=sequences)
def test_interleavings(
    driver: Driver, seeds: list[int], order: int, mirrors: bool, raw: bytes
) -> None:
    """What mirror.md says holds after every step, and the tables are the model's at the end."""
    driver.run(seeds, order, mirrors, raw)
