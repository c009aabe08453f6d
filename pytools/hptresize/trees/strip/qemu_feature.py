# SPDX-License-Identifier: GPL-2.0-or-later
"""HPT resizing as QEMU has had it since 2.10, in the pseries machine."""

from __future__ import annotations

from hptresize.trees.strip.spec import (
    Assignment,
    Call,
    Define,
    Feature,
    FileEdits,
    Function,
    IdleInclude,
    If,
    KeepThen,
    Leftovers,
    Local,
    Member,
    OneOf,
    Prototype,
    Struct,
    TraceEvent,
    Typedef,
)

_INIT = "spapr_machine_init"
# What KVM has against resizing; the latter name in 10.2.
_ERROR = ("resize_hpt_err", "errp")


def _renamed(sort: type[Function] | type[Prototype], name: str) -> OneOf:
    """The function that 8.2 renamed together with its file."""
    return OneOf((sort(f"vhyp_mmu_{name}"), sort(f"softmmu_{name}")))


_HEADERS = (
    FileEdits(
        paths=("include/hw/ppc/spapr.h",),
        edits=(
            Typedef("SpaprPendingHpt"),
            Typedef("SpaprResizeHpt"),
            Member("SpaprMachineClass", "resize_hpt_default"),
            Member("SpaprMachineState", "resize_hpt"),
            Member("SpaprMachineState", "pending_hpt"),
            Define("H_RESIZE_HPT_PREPARE"),
            Define("H_RESIZE_HPT_COMMIT"),
            _renamed(Prototype, "resize_hpt_prepare"),
            _renamed(Prototype, "resize_hpt_commit"),
            Prototype("push_sregs_to_kvm_pr", optional="static before 7.0"),
        ),
    ),
    FileEdits(paths=("include/hw/ppc/spapr_ovec.h",), edits=(Define("OV5_HPT_RESIZE"),)),
    FileEdits(
        paths=("hw/ppc/trace-events",),
        edits=(TraceEvent("spapr_h_resize_hpt_prepare"), TraceEvent("spapr_h_resize_hpt_commit")),
    ),
)

_MACHINE = FileEdits(
    paths=("hw/ppc/spapr.c",),
    edits=(
        If(("resize_hpt", "SPAPR_RESIZE_HPT_DISABLED"), body=("hcall-hpt-resize",)),
        # What stays is what a machine without resizing always did: a table
        # that is large enough for all the memory it may ever get.
        KeepThen(("resize_hpt", "SPAPR_RESIZE_HPT_DISABLED"), body=("maxram_size",)),
        Call("kvmppc_check_papr_resize_hpt", within=_INIT),
        If(("resize_hpt", "SPAPR_RESIZE_HPT_DEFAULT"), within=_INIT),
        Call("assert", args=("resize_hpt", "SPAPR_RESIZE_HPT_DEFAULT"), within=_INIT),
        If(("resize_hpt", "SPAPR_RESIZE_HPT_DISABLED"), body=("exit",), within=_INIT),
        OneOf(tuple(Call("error_free", args=(name,), within=_INIT) for name in _ERROR)),
        OneOf(tuple(Local(_INIT, name) for name in _ERROR)),
        If(("SPAPR_RESIZE_HPT_DISABLED",), body=("OV5_HPT_RESIZE",), within=_INIT),
        Function("spapr_get_resize_hpt"),
        Function("spapr_set_resize_hpt"),
        Call("object_property_add_str", args=("resize-hpt",)),
        Call("object_property_set_description", args=("resize-hpt",)),
        Assignment("spapr_machine_class_init", "resize_hpt_default"),
        Assignment(
            "spapr_machine_2_9_class_options",
            "resize_hpt_default",
            optional="machine removed in 9.1",
        ),
    ),
)

_HCALLS = FileEdits(
    paths=("hw/ppc/spapr_hcall.c",),
    edits=(
        Function("resize_hpt_convert_rc"),
        Function("h_resize_hpt_prepare"),
        Function("h_resize_hpt_commit"),
        If(("guest_radix", "OV5_HPT_RESIZE")),
        Function("push_sregs_to_kvm_pr"),
        Function("do_push_sregs_to_kvm_pr"),
        Call("spapr_register_hypercall", args=("H_RESIZE_HPT_PREPARE",)),
        Call("spapr_register_hypercall", args=("H_RESIZE_HPT_COMMIT",)),
    ),
)

_TABLE = FileEdits(
    # The latter name from 7.0 to 8.1.
    paths=("hw/ppc/spapr_vhyp_mmu.c", "hw/ppc/spapr_softmmu.c"),
    edits=(
        Struct("SpaprPendingHpt"),
        Function("free_pending_hpt"),
        Function("hpt_prepare_thread"),
        Function("cancel_hpt_prepare"),
        _renamed(Function, "resize_hpt_prepare"),
        _renamed(Function, "resize_hpt_commit"),
        Function("new_hpte_load0"),
        Function("new_hpte_store"),
        Function("rehash_hpte"),
        Function("rehash_hpt"),
        IdleInclude("qemu/memalign.h", r"\bqemu_(try_)?memalign\b|\bqemu_vfree\b"),
        IdleInclude("qemu/error-report.h", r"\b(error|warn|info)_(v?report|printf)"),
    ),
)

_STUBS = FileEdits(
    paths=("target/ppc/tcg-stub.c",),
    edits=(
        Function("softmmu_resize_hpt_prepare", optional="only from 7.0 to 8.1"),
        Function("softmmu_resize_hpt_commit", optional="only from 7.0 to 8.1"),
    ),
)

QEMU = Feature(
    kind="qemu",
    title="QEMU",
    landmarks=("VERSION", "configure", "meson.build", "hw/ppc/spapr.c"),
    version_file="VERSION",
    version=(r"^(\d+\.\d+\.\d+)",),
    files=(*_HEADERS, _MACHINE, _HCALLS, _TABLE, _STUBS),
    leftovers=Leftovers(
        pattern=(
            r"resize[_-]?hpt|hpt[_-]?resize|pending_?hpt|rehash_hpt"
            r"|\bhpt\s+resiz|resiz\w*\s+(of\s+)?(the\s+|an?\s+)?(hpt|hash\s+page)"
            r"|hash\s+page\s+table\s+resiz"
        ),
        stems=("hpt", "resiz"),
        roots=("hw", "include", "target/ppc", "docs", "qapi", "system", "tests"),
        # What asks KVM for it; nothing calls it any more.
        allowed=("target/ppc/kvm.c", "target/ppc/kvm_ppc.h"),
    ),
)
