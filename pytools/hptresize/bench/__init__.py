# SPDX-License-Identifier: GPL-2.0-or-later
"""The benchmark: mainline QEMU, ours rehashing and ours mirroring, side by side.

``plan`` says what is run, ``rounds`` runs it, ``measure_bare`` and ``measure_linux`` measure,
``results`` keeps the samples and makes numbers of them, ``rows`` compares those with the
goals, ``plot`` draws. docs/benchmark.md has the method.
"""

from hptresize.bench.plan import Contestant, Parts, Plan, contestants
from hptresize.bench.results import Results, Sample, Summary
from hptresize.bench.rounds import run

__all__ = ["Contestant", "Parts", "Plan", "Results", "Sample", "Summary", "contestants", "run"]
