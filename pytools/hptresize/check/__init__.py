# SPDX-License-Identifier: GPL-2.0-or-later
"""Look at each patch of a series as a maintainer would: with the tools of its tree.

`question` is what a check is, `texts`, `compile`, `analyse` and `boot` are the checks,
`ask` runs them and remembers (`together` those that share the tree), `tables` shows the
result, and `export` writes a series as mails once it passed.
"""
