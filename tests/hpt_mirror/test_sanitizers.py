# SPDX-License-Identifier: GPL-2.0-or-later
"""The C code under sanitizers, and with errors put in that the tests have to find."""

from __future__ import annotations

import os
import random
import struct
import subprocess
from pathlib import Path

import pytest

from . import model
from .library import Mutation, build, prepare
from .mutations import BY_ADDRESSES, BY_SEQUENCES, BY_THREADS, BY_THREADS_ADDRESSES

LONG = bool(os.environ.get("HPTRESIZE_LONG"))
ADDRESS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-O1")
PLAIN = ("-O2",)
THREAD = ("-fsanitize=thread", "-Wno-tsan", "-O1")
STEPPED = "-DSHIM_STEPPED"
STEPS = 1000
#: how long the threads run where nothing goes wrong
SECONDS = 60 if LONG else 3


def sequences(count: int, seed: int) -> bytes:
    """Random sequences in the form that replay.c reads."""
    rng = random.Random(seed)
    out = bytearray()
    for i in range(count):
        pool = [model.translation(rng.getrandbits(16)) for _ in range(rng.randint(1, 48))]
        out += struct.pack("=4I", len(pool), 18 + i % 3, i % 4 != 0, STEPS)
        for t in pool:
            out += struct.pack("=3Q2I", *model.fields(t))
        out += rng.randbytes(4 * STEPS)
    return bytes(out)


def run(program: Path, *args: str, data: bytes = b"") -> tuple[int, str]:
    """Run a program of ours; returns its status and what it printed."""
    env = dict(os.environ)
    env["TSAN_OPTIONS"] = env["ASAN_OPTIONS"] = "halt_on_error=1"
    command = [str(program), *args]
    deadline = 60 + 10 * SECONDS
    for prefix in ([], ["setarch", "-R"]):
        done = subprocess.run(
            [*prefix, *command], input=data, env=env, timeout=deadline, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        text = done.stdout.decode(errors="replace")
        # ThreadSanitizer of gcc 12 cannot live with all layouts that a kernel chooses
        if "unexpected memory mapping" not in text:
            break
    return done.returncode, text


@pytest.mark.timeout(600)
def test_addresses(tmp_path: Path) -> None:
    """Sequences under AddressSanitizer and UndefinedBehaviorSanitizer; nothing leaks."""
    replay = build(prepare(tmp_path), "replay", ["driver.c", "replay.c"], *ADDRESS, STEPPED)
    status, text = run(replay, data=sequences(3000 if LONG else 150, seed=1))
    print(text)
    assert status == 0, text


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("cflags", "mode"),
    [
        pytest.param(PLAIN, "mirror", id="plain-mirror"),
        pytest.param(PLAIN, "rehash", id="plain-rehash"),
        pytest.param(ADDRESS, "mirror", id="addresses-mirror"),
        pytest.param(ADDRESS, "rehash", id="addresses-rehash"),
        pytest.param(THREAD, "mirror", id="threads-mirror"),
        pytest.param(THREAD, "rehash", id="threads-rehash"),
    ],
)
def test_threads(cflags: tuple[str, ...], mode: str, tmp_path: Path) -> None:
    """All threads at once: no race, and no bit or entry is lost at a commit."""
    stress = build(prepare(tmp_path), "stress", ["stress.c"], *cflags)
    status, text = run(stress, str(SECONDS), mode, "1", "0")
    print(text)
    assert status == 0, text
    assert int(text.split()[0]) > 20, text


def found(mutation: Mutation, where: Path, cflags: tuple[str, ...], threads: bool) -> str | None:
    """What the test says of the error, or None if it passes."""
    root = prepare(where, [mutation])
    if threads:
        stress = build(root, "stress", ["stress.c"], *cflags)
        status, text = run(stress, "20", "mirror", "1", "0")
    else:
        replay = build(root, "replay", ["driver.c", "replay.c"], *cflags, STEPPED)
        status, text = run(replay, data=sequences(500, seed=2))
    return (text or f"status {status}") if status else None


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "mutation", BY_SEQUENCES if LONG else BY_SEQUENCES[9::8], ids=lambda m: m.name
)
def test_sequences_find(mutation: Mutation, tmp_path: Path) -> None:
    text = found(mutation, tmp_path, PLAIN, False)
    assert text
    print(text.strip()[-400:])


@pytest.mark.timeout(600)
@pytest.mark.parametrize("mutation", BY_ADDRESSES if LONG else [], ids=lambda m: m.name)
def test_addresses_find(mutation: Mutation, tmp_path: Path) -> None:
    assert "ERROR: AddressSanitizer" in (found(mutation, tmp_path, ADDRESS, False) or "")


@pytest.mark.timeout(600)
@pytest.mark.parametrize("mutation", BY_THREADS if LONG else BY_THREADS[1:2], ids=lambda m: m.name)
def test_threads_find(mutation: Mutation, tmp_path: Path) -> None:
    text = found(mutation, tmp_path, PLAIN, True)
    assert text
    print(text.strip()[-400:])


@pytest.mark.timeout(600)
@pytest.mark.parametrize("mutation", BY_THREADS_ADDRESSES, ids=lambda m: m.name)
def test_threads_and_addresses_find(mutation: Mutation, tmp_path: Path) -> None:
    assert "ERROR: AddressSanitizer" in (found(mutation, tmp_path, ADDRESS, True) or "")
