# SPDX-License-Identifier: GPL-2.0-or-later
"""HPT resizing as Linux has had it since 4.11, on the guest's side."""

from __future__ import annotations

from hptresize.trees.strip.spec import (
    Call,
    Define,
    Entry,
    Feature,
    FileEdits,
    Function,
    IdleInclude,
    If,
    Leftovers,
    Member,
    Operand,
    Struct,
)

_ASM = "arch/powerpc/include/asm"

_HYPERCALLS = (
    FileEdits(
        paths=(f"{_ASM}/hvcall.h",),
        edits=(Define("H_RESIZE_HPT_PREPARE"), Define("H_RESIZE_HPT_COMMIT")),
    ),
    FileEdits(
        paths=(f"{_ASM}/plpar_wrappers.h",),
        edits=(Function("plpar_resize_hpt_prepare"), Function("plpar_resize_hpt_commit")),
    ),
)

_NEGOTIATION = (
    FileEdits(paths=(f"{_ASM}/prom.h",), edits=(Define("OV5_RESIZE_HPT"),)),
    FileEdits(
        paths=(f"{_ASM}/firmware.h",),
        edits=(Define("FW_FEATURE_HPT_RESIZE"), Operand("FW_FEATURE_HPT_RESIZE")),
    ),
    FileEdits(
        paths=("arch/powerpc/platforms/pseries/firmware.c",),
        edits=(Entry("FW_FEATURE_HPT_RESIZE"),),
    ),
    FileEdits(
        paths=("arch/powerpc/kernel/prom_init.c",),
        edits=(Operand("OV5_RESIZE_HPT"),),
    ),
)

_RESIZE = FileEdits(
    paths=("arch/powerpc/platforms/pseries/lpar.c",),
    edits=(
        Define("HPT_RESIZE_TIMEOUT"),
        Struct("hpt_resize_state"),
        Function("pseries_lpar_resize_hpt_commit"),
        Function("pseries_lpar_resize_hpt"),
        If(("FW_FEATURE_HPT_RESIZE",), body=("resize_hpt",), within="hpte_init_pseries"),
        IdleInclude("linux/delay.h", r"\b[mun]delay\b|sleep"),
        IdleInclude("linux/stop_machine.h", r"\bstop_(machine|one_cpu|cpus)|\bcpus?_(read|hp)_"),
    ),
)

_HOOKS = (
    FileEdits(
        paths=(f"{_ASM}/book3s/64/mmu-hash.h",),
        edits=(Member("mmu_hash_ops", "resize_hpt"),),
    ),
    FileEdits(
        paths=("arch/powerpc/mm/book3s64/hash_utils.c",),
        edits=(
            Function("resize_hpt_for_hotplug"),
            Call("resize_hpt_for_hotplug", within="hash__create_section_mapping"),
            If(("resize_hpt_for_hotplug",), within="hash__remove_section_mapping"),
            Function("hpt_order_get"),
            Function("hpt_order_set"),
            Call("DEFINE_DEBUGFS_ATTRIBUTE", args=("fops_hpt_order",)),
            Function("hash64_debugfs"),
            Call("machine_device_initcall", args=("hash64_debugfs",)),
            IdleInclude("linux/debugfs.h", r"debugfs_|DEBUGFS_"),
            # Came with the lock around the hook, in 5.11.
            IdleInclude("linux/cpu.h", r"\bcpus_(read|write)_|\bcpuhp_|\bget_cpu_device\b"),
        ),
    ),
)

KERNEL = Feature(
    kind="kernel",
    title="Linux",
    landmarks=("Makefile", "Kbuild", "arch/powerpc/Kconfig", "arch/powerpc/platforms/pseries"),
    version_file="Makefile",
    version=(r"^VERSION\s*=\s*(\d+)", r"^PATCHLEVEL\s*=\s*(\d+)", r"^SUBLEVEL\s*=\s*(\d+)"),
    files=(*_HYPERCALLS, *_NEGOTIATION, _RESIZE, *_HOOKS),
    leftovers=Leftovers(
        pattern=(
            r"resize[_-]?hpt|hpt[_-]?resize|(\b|fops_)hpt_order|hash64_debugfs"
            r"|\bhpt\s+resiz|resiz\w*\s+(of\s+)?(the\s+|an?\s+)?(hpt|hash\s+page)"
            r"|hash\s+page\s+table\s+resiz"
        ),
        stems=("hpt", "resiz", "hash64_debugfs"),
        roots=("arch/powerpc", "Documentation", "include", "tools"),
        # The hypervisor's half, and its ioctls: a guest needs neither.
        allowed=(
            "arch/powerpc/kvm/",
            f"{_ASM}/kvm_host.h",
            f"{_ASM}/kvm_ppc.h",
            "arch/powerpc/include/uapi/asm/kvm.h",
            "include/uapi/linux/kvm.h",
            "tools/arch/powerpc/include/uapi/asm/kvm.h",
            "tools/include/uapi/linux/kvm.h",
            "Documentation/virt/kvm/",
        ),
    ),
)
