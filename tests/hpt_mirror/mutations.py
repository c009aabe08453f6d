# SPDX-License-Identifier: GPL-2.0-or-later
"""Errors that are put into the source on purpose, and which test has to find each."""

from __future__ import annotations

from .library import Mutation

MATH, MIRROR, POPULATE, RESIZE = (
    f"hw/ppc/spapr_hpt_{unit}.c" for unit in ("math", "mirror", "populate", "resize")
)
TABLE = "hw/ppc/spapr_hpt.c"

#: found by the sequences of the driver
BY_SEQUENCES = [
    Mutation(
        "an entry that moved stays where it was",
        MATH, "hpt_store(pair->to, old_ptex, &none);", "(void)none;",
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
        "a bolted entry that finds no place is not reported",
        MATH, "                losers++;\n", "",
    ),
    Mutation(
        "a bolted entry that kept its slot is put into another one too",
        MATH, "g->origins[slot] == ptex ||", "",
    ),
    Mutation(
        "what is gone stays in the smaller table",
        MATH, "if (now.v != e->v || now.r != e->r) {",
        "if (hpt_group_has(&g, slot) && (now.v != e->v || now.r != e->r)) {",
    ),
    Mutation(
        "changed bits alone are not written to the smaller table",
        MATH, "if (now.v != e->v || now.r != e->r) {", "if (now.v != e->v) {",
    ),
    Mutation(
        "non-bolted entries come first",
        MATH, "if ((e.v & HPT_V_BOLTED) != kind ||", "if ((e.v & HPT_V_BOLTED) == kind ||",
    ),
    Mutation(
        "rehash puts bolted entries over each other",
        MATH, "    if (!move_bolted) {\n        return -1;",
        "    if (!move_bolted) {\n        return slot;",
    ),
    Mutation(
        "a store is not mirrored",
        MIRROR, "    mirror_follow(mirror, ptex, &was);\n", "    (void)was;\n",
    ),
    Mutation(
        "a vCPU does not look whether the mirror is still there",
        MIRROR, "if (qatomic_read(&current->mirror) == mirror) {", "if (true) {",
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
        "a group that has room again counts as full",
        MIRROR, "            qatomic_dec(&mirror->n_full);\n", "",
    ),
    Mutation(
        "the next table does not know what it has",
        MIRROR, "    spapr_hpt_note(mirror->next, group, merge.valid, merge.bolted);\n", "",
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
        TABLE, "        spapr_hpt_mirror_repeat(mirror, hpt, ptex);\n", "",
    ),
    Mutation(
        "the old table is not frozen",
        RESIZE, "    spapr_hpt_freeze(resize->current, true);\n", "",
    ),
    Mutation(
        "the old table is frozen too late",
        TABLE, "    qatomic_set(&hpt->frozen, frozen);\n",
        "    if (!frozen || !hpt->mirror) { qatomic_set(&hpt->frozen, frozen); }\n",
    ),
    Mutation(
        "vCPUs are told only once to leave the old table",
        TABLE, "    if (n_retired) {\n", "    if (!n_retired) {\n",
    ),
    Mutation(
        "TLBs are not flushed",
        RESIZE, "flush = resize->ops->drops(resize);", "flush = false;",
    ),
    Mutation(
        "a cancelled preparation leaves its table behind",
        RESIZE, "    resize->ops->stop(resize);\n    spapr_hpt_free(resize->next);\n",
        "    resize->ops->stop(resize);\n",
    ),
    Mutation(
        "COMMIT does not mind the size",
        RESIZE, "    if (!resize_is_for(resize, flags, order)) {\n        return H_CLOSED;",
        "    if (resize->state == SPAPR_HPT_RESIZE_IDLE) {\n        return H_CLOSED;",
    ),
]  # fmt: skip

#: found by the sequences under AddressSanitizer
BY_ADDRESSES = [
    Mutation(
        "a mirror is freed while a vCPU holds it",
        MIRROR, "call_rcu(mirror, mirror_free, rcu);", "mirror_free(mirror);",
    ),
    Mutation(
        "a table is freed while a vCPU walks it",
        TABLE, "call_rcu(hpt, spapr_hpt_free_rcu, rcu);", "spapr_hpt_free_rcu(hpt);",
    ),
    Mutation(
        "memory is got for more than the table",
        POPULATE, "(chunk + n) * CHUNK_BYTES", "(chunk + n + (1 << 14)) * CHUNK_BYTES",
    ),
]  # fmt: skip

#: found by what the threads check
BY_THREADS = [
    Mutation(
        "a vCPU looks for the mirror before it sets the bit",
        TABLE, "    SpaprHptMirror *mirror;\n",
        "    SpaprHptMirror *mirror, *first = qatomic_rcu_read(&hpt->mirror);\n",
        also=(("    if (mirror) {\n        spapr_hpt_mirror_repeat(mirror, hpt, ptex);",
               "    (void)mirror;\n"
               "    if (first) {\n        spapr_hpt_mirror_repeat(first, hpt, ptex);"),),
    ),
    Mutation(
        "a bit that another vCPU has not finished setting counts",
        MIRROR, "    qatomic_set(&current->mmu.in_copy, true);\n", "",
        also=(("qatomic_set(&current->mmu.in_copy, current->frozen);",
               "qatomic_set(&current->mmu.in_copy, false);"),),
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
        "stop does not wait for those that hold a lock",
        MIRROR, "        qemu_spin_lock(&mirror->locks[i]);\n"
        "        qemu_spin_unlock(&mirror->locks[i]);\n", "",
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
