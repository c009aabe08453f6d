# SPDX-License-Identifier: GPL-2.0-or-later
"""The result in the form that KernelCI's database takes (KCIDB's I/O schema, version 5.3).

A cell's kernel is a build, its cell a test of that build. The checkout is Linux as its
release says; that a patch series is on it is in its comment.
"""

from __future__ import annotations

import json
from typing import Any

from kcidb_io.schema import V5_3  # type: ignore[import-untyped]

from hptresize.matrix.gather import MatrixResult
from hptresize.matrix.verdict import CellOutcome, Status

ORIGIN = "hptresize"
_STATUS: dict[Status, str] = {
    "pass": "PASS", "fail": "FAIL", "xfail": "FAIL", "xpass": "PASS", "skip": "SKIP",
    "unrun": "MISS",
}  # fmt: skip
# What ended without a word on the kernel under test
_TEST_BROKE = ("worker died", "error")
_EXCERPT = 4000


def render(result: MatrixResult) -> str:
    """Return the result as JSON that kcidb-io has found to be valid.

    :raises jsonschema.ValidationError: it is not, which is a defect of ours.
    """
    builds = {_build_id(one): one for one in result.cells}
    checkouts = {_checkout_id(one) for one in result.cells}
    data = {
        "version": {"major": V5_3.major, "minor": V5_3.minor},
        "checkouts": [
            {"id": name, "origin": ORIGIN, "comment": name.partition(":")[2], "valid": True}
            for name in sorted(checkouts)
        ],
        "builds": [_build(name, one) for name, one in builds.items()],
        "tests": [_test(one, result) for one in result.cells],
    }
    V5_3.validate(data)
    return json.dumps(data, indent=1) + "\n"


def _run(result: MatrixResult) -> str:
    return result.started.replace(":", "")


def _checkout_id(one: CellOutcome) -> str:
    return f"{ORIGIN}:linux-{one.values['kernel']}"


def _build_id(one: CellOutcome) -> str:
    return f"{_checkout_id(one)}-{_config(one)}"


def _config(one: CellOutcome) -> str:
    return "-".join(one.values[axis] for axis in ("endian", "pages", "config"))


def _build(name: str, one: CellOutcome) -> dict[str, Any]:
    return {
        "id": name,
        "origin": ORIGIN,
        "checkout_id": _checkout_id(one),
        "architecture": "ppc64le" if one.values["endian"] == "le" else "ppc64",
        "config_name": _config(one),
        "status": "PASS",
    }


def _test(one: CellOutcome, result: MatrixResult) -> dict[str, Any]:
    made: dict[str, Any] = {
        "id": f"{ORIGIN}:{_run(result)}-{one.id}",
        "origin": ORIGIN,
        "build_id": _build_id(one),
        "path": f"hpt.{one.values['scenario']}",
        "status": "ERROR" if one.how in _TEST_BROKE else _STATUS[one.status],
        "comment": one.what or one.id,
        "environment": {
            "comment": " ".join(f"{axis}={value}" for axis, value in one.values.items()),
            "misc": {"qemu": one.qemu, "kernel": one.kernel},
        },
        "misc": {"steps": one.steps, "notes": one.notes, "expected": one.status != "fail"},
    }
    if one.status not in ("skip", "unrun"):
        made |= {"duration": one.seconds, "start_time": _rfc3339(result.started)}
    if one.how:
        made["log_excerpt"] = f"{one.how}: {one.what}"[:_EXCERPT]
    return made


def _rfc3339(started: str) -> str:
    """The time of strftime's %z with the colon that RFC 3339 wants."""
    return f"{started[:-2]}:{started[-2:]}"
