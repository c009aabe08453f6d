# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's flavours: byte order, page size, and what else it is built with."""

from __future__ import annotations

import dataclasses

from hptresize.build.toolchain import COMPILERS, Endian


@dataclasses.dataclass(frozen=True)
class Flavour:
    """One way to configure the kernel, on top of the fragment.

    :ivar endian: byte order of the kernel, and of the programs it runs.
    :ivar lines: settings that come after those of the fragment.
    :ivar own: a fragment of the tree's own, by its path there, in the place of ours.
    :ivar keeps: directories of the tree that are kept with the kernel.
    """

    name: str
    endian: Endian
    lines: tuple[str, ...] = ()
    own: str = ""
    keeps: tuple[str, ...] = ()

    @property
    def gcc(self) -> str:
        """Its compiler, as the kernel's make finds it by the prefix."""
        return COMPILERS[self.endian]


_BE = ("# CONFIG_CPU_LITTLE_ENDIAN is not set", "CONFIG_CPU_BIG_ENDIAN=y")
_4K = ("# CONFIG_PPC_64K_PAGES is not set", "CONFIG_PPC_4K_PAGES=y")
# Guests of a guest, without help of the hypervisor.
_KVM_PR = ("CONFIG_VIRTUALIZATION=y", "CONFIG_KVM_BOOK3S_64=y", "CONFIG_KVM_BOOK3S_64_PR=y")

PLAIN = "le-64k"
KUNIT = "kunit"
FLAVOURS: dict[str, Flavour] = {
    one.name: one
    for one in (
        Flavour(PLAIN, "le"),
        Flavour("le-4k", "le", _4K),
        Flavour("be-64k", "be", _BE),
        Flavour("be-4k", "be", (*_BE, *_4K)),
        # The locks, and what sleeps where it must not.
        Flavour(
            "le-64k-debug", "le",
            ("CONFIG_PROVE_LOCKING=y", "CONFIG_DEBUG_VM=y", "CONFIG_DEBUG_PAGEALLOC=y", *_KVM_PR),
        ),
        # With KFENCE the linear mapping always consists of small pages that come and go.
        Flavour("le-4k-kfence", "le", (*_4K, "CONFIG_DEBUG_PAGEALLOC=y", "CONFIG_KFENCE=y")),
        Flavour("le-64k-hash", "le", ("# CONFIG_PPC_RADIX_MMU is not set", *_KVM_PR)),
        Flavour(
            "be-4k-nohotplug", "be",
            (*_BE, *_4K, "# CONFIG_MEMORY_HOTPLUG is not set",
             "# CONFIG_MEMORY_HOTREMOVE is not set"),
        ),
        # What the tree's own file leaves to the defaults, and tinyconfig has not.
        Flavour(
            KUNIT, "le",
            ("CONFIG_CPU_LITTLE_ENDIAN=y", "CONFIG_PPC_OF_BOOT_TRAMPOLINE=y",
             "CONFIG_RELOCATABLE=y", "CONFIG_TTY=y", "CONFIG_PRINTK=y", "CONFIG_PRINTK_TIME=y",
             "CONFIG_BUG=y", "CONFIG_PROC_FS=y", "CONFIG_SYSFS=y",
             "CONFIG_DEBUG_KERNEL=y", "CONFIG_DEBUG_ATOMIC_SLEEP=y"),
            own="arch/powerpc/platforms/pseries/.kunitconfig",
            keeps=("tools/testing/kunit",),
        ),
    )
}  # fmt: skip
