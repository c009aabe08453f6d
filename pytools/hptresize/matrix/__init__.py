# SPDX-License-Identifier: GPL-2.0-or-later
"""The boot-and-resize matrix.

``declaration`` reads data/matrix.toml, ``tasks`` makes tasks of cells and says what
they need, ``runner`` runs one with its ``scenarios``, ``gather`` runs all through pytest
(``cells``, ``plugin``), ``report`` writes what came of it.
docs/matrix.md has how to use it.
"""

from hptresize.matrix.declaration import Cell, Matrix, load

__all__ = ["Cell", "Matrix", "load"]
