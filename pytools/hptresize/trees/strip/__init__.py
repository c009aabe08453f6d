# SPDX-License-Identifier: GPL-2.0-or-later
"""Take the merged HPT resizing out of a Linux or QEMU tree, by meaning.

`linux_feature` and `qemu_feature` describe what makes up the feature, `spec` is the vocabulary
they use, `engine` (with `finders` and `csource`) removes it.
"""

from hptresize.trees.strip.engine import EditRecord, StripReport, detect, strip_tree, tree_version

__all__ = ["EditRecord", "StripReport", "detect", "strip_tree", "tree_version"]
