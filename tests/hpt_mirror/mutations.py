# SPDX-License-Identifier: GPL-2.0-or-later
"""Errors that are put into the source on purpose, and which test has to find each."""

from __future__ import annotations

from .library import Mutation

MATH, MIRROR, RESIZE = (
    f"hw/ppc/spapr_hpt_{unit}.c" for unit in ("math", "mirror", "resize")
)
TABLE = "hw/ppc/spapr_hpt.c"

#: found by the sequences of the driver
BY_SEQUENCES = [
    Mutation(
        "what is gone stays in the next table",
        MATH, "hpt_store(pair->to, old_group * HPT_SLOTS_PER_GROUP + at, &none);", "(void)none;",
    ),
    Mutation(
        "entries in a group that their hash does not name are carried over",
        MATH, "return !((*hash ^ primary) & (hpt_groups(order) - 1));", "return true;",
    ),
    Mutation(
        "secondary entries go where primary ones belong",
        MATH, "        hash = ~hash;\n", "",
    ),
    Mutation(
        "a copy is any entry that is in the slot",
        MATH, "    return !((a->v ^ b->v) & ~HPT_V_DIRTY) && !((a->r ^ b->r) & ~HPT_R_RC);\n",
        "    return a->v & b->v & HPT_V_VALID;\n",
    ),
    Mutation(
        "a copy that moved is not found",
        MATH, "int n = hpt_may_move(pair, e) ? HPT_SLOTS_PER_GROUP : 1;", "int n = 1;",
    ),
    Mutation(
        "a copy is looked for in the first slot",
        MATH, "int at = (slot + i) % HPT_SLOTS_PER_GROUP;", "int at = i;",
    ),
    Mutation(
        "an entry that may not move any more stays where it was moved to",
        MATH, "(at == slot || hpt_may_move(pair, &now))", "true",
    ),
    Mutation(
        "a bolted entry that finds no place is not reported",
        MATH, "return now.v & HPT_V_BOLTED ? HPT_FOLLOW_FULL : HPT_FOLLOW_NONE;",
        "return HPT_FOLLOW_NONE;",
    ),
    Mutation(
        "a bolted entry is put over another one",
        MATH, "    if (!hpt_may_move(pair, e)) {\n        return -1;",
        "    if (!hpt_may_move(pair, e)) {\n        return slot;",
    ),
    Mutation(
        "an entry that is not bolted is put over one that is",
        MATH, "    if (!(e->v & HPT_V_BOLTED)) {\n        return -1;",
        "    if (!(e->v & HPT_V_BOLTED)) {\n        return slot;",
    ),
    Mutation(
        "a bolted entry does not take the slot of one that is not",
        MATH, "    if (!(there & HPT_V_BOLTED)) {\n        return slot;\n    }\n", "",
    ),
    Mutation(
        "a bolted entry does not take another slot of one that is not",
        MATH, "            loose = i;\n", "",
    ),
    Mutation(
        "a bolted entry has another slot though it may not",
        MATH, "return pair->move_bolted &&", "return",
    ),
    Mutation(
        "a store is not mirrored",
        MIRROR, "    mirror_follow(mirror, ptex, &was);\n", "    (void)was;\n",
    ),
    Mutation(
        "a lack of room is forgotten",
        MIRROR, "    case HPT_FOLLOW_PLACED:\n",
        "    case HPT_FOLLOW_PLACED:\n        qatomic_set(&mirror->full, false);\n",
    ),
    Mutation(
        "the copier leaves out the last group of a chunk",
        MIRROR, "i < SPAPR_HPT_CHUNK_GROUPS;", "i < SPAPR_HPT_CHUNK_GROUPS - 1;",
    ),
    Mutation(
        "the copier says that a chunk is done before it is",
        MIRROR, "        for (int i = 0; i < SPAPR_HPT_CHUNK_GROUPS; i++) {\n",
        "        qatomic_set(&mirror->n_done, mirror->n_done + 1);\n"
        "        for (int i = 0; i < SPAPR_HPT_CHUNK_GROUPS; i++) {\n",
    ),
    Mutation(
        "the next table does not know what it has",
        MIRROR,
        "        spapr_hpt_note_entry(mirror->next, to_ptex,\n"
        "                             hpt_load(mirror->pair.to, to_ptex).v);\n", "",
    ),
    Mutation(
        "the copier is not waited for",
        MIRROR, "    qemu_thread_join(&mirror->copier);\n", "",
    ),
    Mutation(
        "an index does not know its words",
        TABLE, "        set_bit_atomic(n / BITS_PER_LONG, index->words);\n", "",
    ),
    Mutation(
        "a store is not noted",
        TABLE, "    spapr_hpt_note_entry(hpt, ptex, v);\n", "",
    ),
    Mutation(
        "bits are set in an entry that is another one by now",
        TABLE, "if ((was ^ r) & ~(HPTE64_R_R | HPTE64_R_C)) {", "if (false) {",
    ),
    Mutation(
        "a vCPU does not repeat its bits in the mirror",
        TABLE, "        spapr_hpt_mirror_repeat(mirror, ptex);\n", "",
    ),
    Mutation(
        "a table that is being freed does not count",
        TABLE, "        qatomic_inc(&n_retired);\n", "",
        also=(("    qatomic_dec(&n_retired);\n", ""),),
    ),
    Mutation(
        "PREPARE does not mind that a table is being freed",
        RESIZE, "if (resize->allocating || spapr_hpt_retiring()) {",
        "if (resize->allocating) {",
    ),
    Mutation(
        "two vCPUs allocate a table at the same time",
        RESIZE, "if (resize->allocating || spapr_hpt_retiring()) {",
        "if (spapr_hpt_retiring()) {",
    ),
    Mutation(
        "PREPARE does not mind that it was cancelled meanwhile",
        RESIZE, "    if (resize->state == HPT_RESIZE_STATE_IDLE) {\n        /* Another",
        "    if (false) {\n        /* Another",
    ),
    Mutation(
        "a COMMIT is not exclusive",
        RESIZE, "    if (kvm_enabled()) {\n        return timed_commit(",
        "    if (true) {\n        return timed_commit(",
    ),
    Mutation(
        "a COMMIT is done though the vCPU took an interrupt",
        RESIZE, "env->nip == nip.target_ptr &&", "",
    ),
    Mutation(
        "TLBs are not flushed",
        RESIZE, "    tlb_flush(CPU(cpu));\n", "",
    ),
    Mutation(
        "the TLBs of other vCPUs are not flushed",
        RESIZE, "async_run_on_cpu(cs, resize_flush_work, RUN_ON_CPU_NULL);", "(void)cs;",
    ),
    Mutation(
        "a cancelled preparation leaves its table behind",
        RESIZE, "    spapr_hpt_retire(resize->next);\n", "",
    ),
    Mutation(
        "COMMIT does not mind the size",
        RESIZE, "           resize->order == order && resize->flags == flags;",
        "           resize->flags == flags;",
    ),
]  # fmt: skip

#: found by the sequences under AddressSanitizer
BY_ADDRESSES = [
    Mutation(
        "a mirror is freed while a vCPU holds it",
        MIRROR, "spapr_hpt_run_unwalked(mirror_free_work, mirror);", "mirror_free(mirror);",
    ),
    Mutation(
        "a cancelled table is freed while a vCPU repeats a bit in it",
        RESIZE, "spapr_hpt_retire(resize->next);",
        "spapr_hpt_free(resize->next);\n        spapr_hpt_retire(g_new0(SpaprHpt, 1));",
    ),
]  # fmt: skip

#: found by what the threads check
BY_THREADS = [
    Mutation(
        "a vCPU looks for the mirror before it sets the bit",
        TABLE, "    SpaprHptMirror *mirror;\n",
        "    SpaprHptMirror *mirror, *first = qatomic_load_acquire(&hpt->mirror);\n",
        also=(("    if (mirror) {\n        spapr_hpt_mirror_repeat(mirror, ptex);",
               "    (void)mirror;\n"
               "    if (first) {\n        spapr_hpt_mirror_repeat(first, ptex);"),),
    ),
    Mutation(
        "a COMMIT meets vCPUs in the middle of a walk",
        RESIZE, "    if (kvm_enabled()) {\n        return timed_commit(",
        "    if (true) {\n        return timed_commit(",
    ),
    Mutation(
        "the copier starts before the mirror can be seen",
        MIRROR, "    trace_spapr_hpt_mirror_start(",
        "    qemu_thread_create(&mirror->copier, NULL, mirror_copy_thread, mirror, 0);\n"
        "    trace_spapr_hpt_mirror_start(",
        also=(("    qemu_thread_create(&mirror->copier, \"hpt-mirror\", mirror_copy_thread,\n"
               "                       mirror, QEMU_THREAD_JOINABLE);\n", ""),),
    ),
    Mutation(
        "a store takes no lock",
        MIRROR,
        "    QemuSpin *lock = mirror_lock(mirror, ptex / HPTES_PER_GROUP);\n"
        "    HptEntry was = hpt_load(mirror->pair.from, ptex);\n",
        "    static QemuSpin none, *lock = &none;\n"
        "    HptEntry was = hpt_load(mirror->pair.from, ptex);\n"
        "    qemu_spin_lock(lock);\n",
    ),
    Mutation(
        "the copier takes no lock",
        MIRROR, "    QemuSpin *lock = mirror_lock(mirror, group);\n",
        "    static QemuSpin none, *lock = &none;\n    qemu_spin_lock(lock);\n",
    ),
    Mutation(
        "a vCPU repeats its bits without the lock",
        MIRROR,
        "    QemuSpin *lock = mirror_lock(mirror, ptex / HPTES_PER_GROUP);\n"
        "    HptEntry e = hpt_load(mirror->pair.from, ptex);\n",
        "    QemuSpin none = { }, *lock = &none;\n"
        "    HptEntry e = hpt_load(mirror->pair.from, ptex);\n"
        "    sched_yield();\n    qemu_spin_lock(lock);\n",
    ),
    Mutation(
        "a store loses the bits that come between its reading and its writing",
        MATH, "    return be64_to_cpu(qatomic_xchg(&p[1], cpu_to_be64(e->r)));\n",
        "    uint64_t was = qatomic_read(&p[1]);\n    sched_yield();\n"
        "    qatomic_set(&p[1], cpu_to_be64(e->r));\n    return be64_to_cpu(was);\n",
    ),
    Mutation(
        "the bits of a vCPU are not set by a single operation",
        TABLE,
        "    while ((was = be64_to_cpu(qatomic_cmpxchg(p, cpu_to_be64(seen),\n"
        "                                              cpu_to_be64(seen | bits))))\n",
        "    while ((was = be64_to_cpu(qatomic_read(p))) == seen ?\n"
        "           (sched_yield(), qatomic_set(p, cpu_to_be64(seen | bits)), false) : was\n",
    ),
]  # fmt: skip

#: found by the threads under AddressSanitizer
BY_THREADS_ADDRESSES = [
    Mutation(
        "a table is freed while a vCPU walks it",
        TABLE, "        spapr_hpt_run_unwalked(spapr_hpt_retire_work, hpt);\n",
        "        spapr_hpt_retire_work(NULL, RUN_ON_CPU_HOST_PTR(hpt));\n",
    ),
]  # fmt: skip
