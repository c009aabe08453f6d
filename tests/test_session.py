# SPDX-License-Identifier: GPL-2.0-or-later
"""The administrator's session in docs/ prints what it says there."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from hptresize.base.errors import UsageError
from hptresize.machine.hpt import ORDER_MIN
from hptresize.pytest_plugin import Boot
from hptresize.run import documents

DOCUMENT = Path(__file__).parents[1] / "docs/administrator.md"


@pytest.mark.boot
def test_the_session_is_true(boot: Boot) -> None:
    """Each line again, in order: the same but for numbers, and the sizes are those that it says."""
    machine = boot(**documents.MACHINE)
    text = DOCUMENT.read_text()
    again = documents.replay(text, lambda line: documents.run(machine, line))
    assert documents.shape(again) == documents.shape(text)
    sizes = [
        [after for line, after in itertools.pairwise(lines) if line.endswith("hpt/order")]
        for lines in (text.splitlines(), again.splitlines())
    ]
    assert sizes[0] == sizes[1]
    assert len(sizes[0]) > 4
    assert machine.order_guest() == machine.order_host() == 24 > ORDER_MIN


def test_only_sessions_are_run() -> None:
    seen: list[str] = []

    def execute(line: str) -> list[str]:
        seen.append(line)
        return ["new"]

    text = "# A title\n```\n# not this\n```\n```session\n# this\nold\n(qemu) info hpt\n```\nend\n"
    done = documents.replay(text, execute)
    assert seen == ["# this", "(qemu) info hpt"]
    assert done == text.replace("old", "new").replace("hpt\n", "hpt\nnew\n")


def test_a_block_without_end() -> None:
    with pytest.raises(UsageError, match="no end"):
        documents.replay("```session\n# ls\n", lambda line: [])
