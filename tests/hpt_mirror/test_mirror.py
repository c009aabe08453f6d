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
        """Go through a sequence; raises AssertionError where something does not hold."""
        pool = self.ffi.new("Translation[]", [model.fields(model.translation(s)) for s in seeds])
        words = self.ffi.from_buffer("uint32_t[]", raw)
        self.c.driver_start(pool, len(seeds), order, mirrors)
        wrong = self.c.driver_run(words, len(words))
        failure = self.ffi.string(self.c.driver_failure()).decode()
        left = self.c.driver_end()
        assert wrong < 0, f"step {wrong}: {failure}"
        assert left == 0, f"{left} blocks of memory are left"


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
    """What mirror.md says holds after every step, and nothing is left at the end."""
    driver.run(seeds, order, mirrors, raw)
