# SPDX-License-Identifier: GPL-2.0-or-later
"""What all floors use: errors, child processes, the cache, git, paths and progress."""
