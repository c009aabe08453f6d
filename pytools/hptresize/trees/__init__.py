# SPDX-License-Identifier: GPL-2.0-or-later
"""Source trees: fetched, unpacked, kept in git, and with the merged feature taken out."""
