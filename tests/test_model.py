# SPDX-License-Identifier: GPL-2.0-or-later
"""The model of the mirror's locking: it holds, and each error in it is found."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

MODEL = Path(__file__).parent / "model" / "hpt_mirror.pml"
LONG = bool(os.environ.get("HPTRESIZE_LONG"))
DEADLINE = 1200 if LONG else 120

pytestmark = [
    pytest.mark.skipif(not shutil.which("spin"), reason="needs the Debian package spin"),
    pytest.mark.timeout(DEADLINE + 60),
]

#: what the model is checked with: all of it must hold
BOUNDS = {
    "one vCPU": [],
    "two vCPUs": ["VCPUS=2", "WALKS=1", "RESIZES=1"],
}
LONG_BOUNDS = {
    "a lock for each entry": ["TWO_LOCKS"],
    "three walks": ["WALKS=3"],
    "two vCPUs, two walks": ["VCPUS=2", "RESIZES=1"],
}

ERRORS = [
    "LOOK_FIRST",
    "NO_REPEAT",
    "REPEAT_TAKES_NO_LOCK",
    "COPY_TAKES_NO_LOCK",
    "STORE_TAKES_NO_LOCK",
    "STOP_LEAVES_COPIER",
    "PUBLISH_LATE",
    "COMMIT_MEETS_WALKS",
    "WALKS_COME_IN",
    "FREE_AT_ONCE",
]


def check(where: Path, defines: list[str], optimize: str = "-O0") -> tuple[int, int, str]:
    """Search the whole state space; returns errors, states and what the checker printed."""
    options = [f"-D{define}" for define in defines]
    subprocess.run(["spin", *options, "-a", str(MODEL)], cwd=where, check=True, timeout=60)
    subprocess.run(
        ["cc", optimize, "-w", "-DSAFETY", "-DCOLLAPSE", "-o", "pan", "pan.c"],
        cwd=where, check=True, timeout=120,
    )  # fmt: skip
    run = subprocess.run(
        ["./pan", "-m1000000", "-w24"],
        cwd=where, check=False, capture_output=True, text=True, timeout=DEADLINE,
    )  # fmt: skip
    text = run.stdout + run.stderr
    errors = re.search(r"errors: (\d+)", text)
    states = re.search(r"(\d+) states, stored", text)
    assert errors and states, text
    assert "max search depth too small" not in text, text
    assert "out of memory" not in text, text
    return int(errors[1]), int(states[1]), text


@pytest.mark.parametrize("name", [*BOUNDS, *(LONG_BOUNDS if LONG else ())])
def test_holds(name: str, tmp_path: Path) -> None:
    """No assertion fails and no run gets stuck, whatever the order of the steps."""
    errors, states, text = check(tmp_path, (BOUNDS | LONG_BOUNDS)[name], "-O2")
    print(f"{name}: {states} states")
    assert errors == 0, text
    assert states > 10_000


@pytest.mark.parametrize("error", ERRORS)
def test_error_is_found(error: str, tmp_path: Path) -> None:
    """A model with one error in the locking fails an assertion."""
    errors, _, text = check(tmp_path, [error])
    assert errors, text
    assert "assertion violated" in text


def test_every_error_is_tried() -> None:
    """The comment in the model and the list here agree."""
    head = MODEL.read_text().split("#ifndef", 1)[0]
    named = set(re.findall(r"-D([A-Z_]+)", head.split("Errors on purpose", 1)[1]))
    assert named == set(ERRORS)
