# SPDX-License-Identifier: GPL-2.0-or-later
"""The package's pytest plugin, if it is not installed, and what several modules of tests need."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from hptresize.build.image import build_bare
from hptresize.build.image.conformance_program import build_conformance
from hptresize.build.toolchain import COMPILERS
from hptresize.pytest_plugin import missing

if not any(entry.value == "hptresize.pytest_plugin" for entry in entry_points(group="pytest11")):
    pytest_plugins = ["hptresize.pytest_plugin"]

# A shell has what it starts in the background ignore SIGINT, and children inherit that: the
# tests that interrupt one would wait for ever.
signal.signal(signal.SIGINT, signal.default_int_handler)


def _compiled(program: Callable[[Path], Path], where: Path) -> Path:
    if shutil.which(COMPILERS["be"]) is None:
        missing(f"no {COMPILERS['be']}")
    return program(where)


@pytest.fixture(scope="session")
def bare_kernel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The guest without a kernel that makes hypercalls as it is told."""
    return _compiled(build_bare, tmp_path_factory.mktemp("bare") / "bare.elf")


@pytest.fixture(scope="session")
def payload(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The guest without a kernel that knows the contract of the hypercalls."""
    return _compiled(build_conformance, tmp_path_factory.mktemp("conformance") / "payload.elf")
