# SPDX-License-Identifier: GPL-2.0-or-later
"""The benchmark: mainline QEMU, ours rehashing and ours mirroring, side by side.

``plan`` says what is run, ``bare`` and ``linux`` measure, ``results`` keeps the
samples and makes numbers of them, ``rows`` compares those with the goals, ``plot``
draws. docs/benchmark.md has the method.
"""

from .plan import Contestant, Parts, Plan, contestants
from .results import Results, Sample, Summary
from .run import run

__all__ = ["Contestant", "Parts", "Plan", "Results", "Sample", "Summary", "contestants", "run"]
