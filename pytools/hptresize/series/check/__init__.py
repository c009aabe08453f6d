# SPDX-License-Identifier: GPL-2.0-or-later
"""Look at each patch of a series as a maintainer would: with the tools of its tree.

`model` is what a check is, `texts`, `compile`, `analyse` and `boot` are the checks,
`run` runs them and remembers (`together` those that share the tree), `report` shows the table.
"""
