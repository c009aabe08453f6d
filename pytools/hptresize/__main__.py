# SPDX-License-Identifier: GPL-2.0-or-later
"""`python -m hptresize` is the command `hptresize`."""

import sys

from hptresize.cli import main

if __name__ == "__main__":
    sys.exit(main())
