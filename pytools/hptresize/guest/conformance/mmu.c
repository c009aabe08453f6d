// SPDX-License-Identifier: GPL-2.0-or-later
/* Accesses with the MMU on: what is entered translates, what is gone faults. */
#include "table.h"

static void with_all_kinds(bool bolted, int count)
{
	static const enum kind kinds[] = { K4, K64 };

	for (u32 k = 0; k < ARRAY_SIZE(kinds); k++)
		for (int segment = S256M; segment <= S1T; segment++)
			fill(&(struct recipe){ kinds[k], segment, .bolted = bolted,
					       .reachable = true }, count);
}

static void begin(void)
{
	fresh();
	mmu_prepare_memory();
	on_others(mmu_on_this_cpu);
	wait_others();
}

/* Each entry, read: what the table says must be so, and R is set by it. */
static void touch_all(void)
{
	for (int i = 0; i < n_entries; i++) {
		struct entry *e = &entries[i];
		u64 dsisr = access(e);

		CHECK(!dsisr, "an entry at 0x%x of order %u does not translate: DSISR 0x%x",
		      place(e), order, dsisr);
	}
}

static void all_were_read(void)
{
	for (int i = 0; i < n_entries; i++)
		entries[i].r |= R_R;
}

void mmu_translate(void)
{
	begin();
	for (int secondary = 0; secondary < 2; secondary++)
		for (int kind = K4; kind <= K64; kind++)
			for (int segment = S256M; segment <= S1T; segment++)
				fill(&(struct recipe){ kind, segment, secondary, .reachable = true },
				     20);
	touch_all();
	all_were_read();
	check_table(true);
	for (int i = 0; i < 100; i++) {
		u64 value, dsisr = load_translated(unmapped_ea(), &value);

		CHECK(dsisr == FAULT_NO_ENTRY, "no entry, but DSISR is 0x%x", dsisr);
	}
}

static void translate_large(enum kind kind)
{
	has_16m = true;
	begin();
	for (int segment = S256M; segment <= S1T; segment++)
		fill(&(struct recipe){ kind, segment, .bolted = true, .reachable = true }, 8);
	touch_all();
	all_were_read();
	for (u64 to = 19; to <= 20; to++) {
		resize_and_check(to);
		touch_all();
	}
	resize_and_check(18);
	touch_all();
}

void mmu_translate_16m(void)
{
	translate_large(K16M);
}

void mmu_translate_64k_in_16m(void)
{
	translate_large(K64_IN_16M);
}

void mmu_bolted_translates_after(void)
{
	static const u8 path[] = { 19, 21, 18, 20, 18 };

	begin();
	with_all_kinds(true, 40);
	for (u32 i = 0; i < ARRAY_SIZE(path); i++) {
		CHECK_RESULT(resize(0, path[i]), H_SUCCESS, "resize");
		touch_all();
		all_were_read();
		check_table(false);
	}
}

/* Loads from a third, stores to a third, with the given step in between */
static void touch_thirds(void)
{
	for (int i = my_cpu(); i < n_entries; i += cpus_running()) {
		struct entry *e = &entries[i];
		u64 dsisr = 0;

		if (i % 3 == 1)
			dsisr = access(e);
		if (i % 3 == 2)
			dsisr = access_store(e);
		CHECK(!dsisr, "a bolted entry does not translate: DSISR 0x%x", dsisr);
	}
}

static void bits_of_thirds(void)
{
	for (int i = 0; i < n_entries; i++)
		if (i % 3)
			entries[i].r |= i % 3 == 1 ? R_R : R_R | R_C;
}

static void reference_and_change(u64 from, u64 to, bool before)
{
	begin();
	if (from != order)
		resize_and_check(from);
	with_all_kinds(true, 60);
	if (before) {
		on_others(touch_thirds);
		touch_thirds();
		wait_others();
	}
	CHECK_RESULT(prepare_wait(0, to), H_SUCCESS, "PREPARE");
	if (!before) {
		on_others(touch_thirds);
		touch_thirds();
		wait_others();
	}
	bits_of_thirds();
	CHECK_RESULT(commit(0, to), H_SUCCESS, "COMMIT");
	now_has_order(to);
	check_table(false);
}

static void reference_and_change_all(void)
{
	for (int before = 0; before < 2; before++) {
		reference_and_change(18, 20, before);
		reference_and_change(20, 18, before);
	}
}

void mmu_reference_and_change(void)
{
	reference_and_change_all();
}

void mmu_reference_and_change_smp(void)
{
	reference_and_change_all();
}

/* R and C set by one CPU all the time while another resizes: none may be lost. */
void mmu_reference_and_change_while_resizing(void)
{
	for (int i = 0; i < 10; i++) {
		u64 to = i % 2 ? 18 : 20;

		begin();
		if (to == 18)
			resize_and_check(20);
		with_all_kinds(true, 100);
		on_cpu(1, touch_thirds);
		touch_thirds();
		CHECK_RESULT(prepare_wait(0, to), H_SUCCESS, "PREPARE");
		wait_cpu(1);
		bits_of_thirds();
		CHECK_RESULT(commit(0, to), H_SUCCESS, "COMMIT");
		now_has_order(to);
		check_table(false);
	}
}

void mmu_slow_reference_and_change(void)
{
	mmu_reference_and_change_while_resizing();
}

/* After a COMMIT: set in the new table */
void mmu_reference_and_change_after(void)
{
	begin();
	with_all_kinds(true, 60);
	touch_all();
	all_were_read();
	resize_and_check(20);
	for (int i = 0; i < n_entries; i++)
		CHECK(!access_store(&entries[i]), "a bolted entry does not translate");
	for (int i = 0; i < n_entries; i++)
		entries[i].r |= R_C;
	check_table(true);
}

/* An entry that is gone must not translate, whoever used it before */

static void must_fault(void)
{
	for (int i = 0; i < n_entries; i++) {
		struct entry *e = &entries[i];
		u64 dsisr;

		if (e->alive)
			continue;
		dsisr = access(e);
		CHECK(dsisr, "CPU %d still reads through an entry that is not in the table",
		      (long)my_cpu());
		CHECK(dsisr == FAULT_NO_ENTRY, "DSISR is 0x%x, not 0x%x", dsisr,
		      (u64)FAULT_NO_ENTRY);
	}
}

static void gone_faults(void)
{
	on_others(must_fault);
	must_fault();
	wait_others();
}

void mmu_removed_faults(void)
{
	begin();
	with_all_kinds(false, 20);
	on_others(touch_all);
	touch_all();
	wait_others();
	all_were_read();
	for (int i = 0; i < n_entries; i += 2)
		remove_entry(&entries[i]);
	gone_faults();
	check_table(true);
}

static void drop(u64 from, u64 to, bool remove)
{
	begin();
	if (from != order)
		resize_and_check(from);
	with_all_kinds(false, 60);
	/* The smallest table has 16384 slots: make some collide. */
	for (int i = 0; from > to && i < 4; i++)
		fill(&(struct recipe){ K4, S1T, .reachable = true }, 700);
	on_others(touch_all);
	touch_all();
	wait_others();
	all_were_read();
	CHECK_RESULT(resize(0, to), H_SUCCESS, "resize");
	check_table(mirror && to >= from);
	for (int i = 0; remove && i < n_entries; i++) {
		struct entry *e = &entries[i];
		long ret = hcall(H_REMOVE, H_AVPN, place(e), e->v & ~0x7fUL, 0);

		CHECK(ret == (e->alive ? H_SUCCESS : H_NOT_FOUND), "H_REMOVE of an entry that %s "
		      "gave %s", e->alive ? "was kept" : "was dropped", result_name(ret));
		e->alive = false;
	}
	gone_faults();
}

void mmu_dropped_faults(void)
{
	drop(18, 20, false);
}

void mmu_dropped_by_shrinking_faults(void)
{
	drop(20, 18, false);
}

void mmu_dropped_then_removed_faults(void)
{
	drop(18, 20, true);
	drop(20, 18, true);
}

void mmu_dropped_faults_on_other_cpus(void)
{
	drop(18, 20, false);
	drop(20, 18, false);
}

void mmu_dropped_then_removed_faults_on_other_cpus(void)
{
	drop(18, 20, true);
	drop(20, 18, true);
}

/* Bolted ones removed after a resize are removed from the table that is walked. */
void mmu_removed_after_resize_faults(void)
{
	begin();
	with_all_kinds(true, 30);
	touch_all();
	all_were_read();
	resize_and_check(20);
	touch_all();
	for (int i = 0; i < n_entries; i += 2)
		remove_entry(&entries[i]);
	gone_faults();
	check_table(true);
}

/* Removed while preparing: it must not come back with the COMMIT. */
void mmu_removed_while_preparing_faults(void)
{
	begin();
	with_all_kinds(true, 30);
	with_all_kinds(false, 30);
	on_others(touch_all);
	touch_all();
	wait_others();
	all_were_read();
	CHECK_RESULT(prepare_wait(0, 20), H_SUCCESS, "PREPARE");
	for (int i = 0; i < n_entries; i += 2)
		remove_entry(&entries[i]);
	gone_faults();
	CHECK_RESULT(commit(0, 20), H_SUCCESS, "COMMIT");
	now_has_order(20);
	check_table(mirror);
	gone_faults();
}

/* Made read-only while preparing: stores fault after the COMMIT. */
void mmu_protected_while_preparing_faults(void)
{
	begin();
	with_all_kinds(true, 30);
	for (int i = 0; i < n_entries; i++)
		CHECK(!access_store(&entries[i]), "a bolted entry does not translate");
	for (int i = 0; i < n_entries; i++)
		entries[i].r |= R_R | R_C;
	CHECK_RESULT(prepare_wait(0, 20), H_SUCCESS, "PREPARE");
	for (int i = 0; i < n_entries; i++) {
		struct entry *e = &entries[i];

		CHECK_RESULT(hcall(H_PROTECT, PP_READ_ONLY, place(e), 0, 0), H_SUCCESS, "protect");
		e->r |= PP_READ_ONLY;
	}
	CHECK_RESULT(commit(0, 20), H_SUCCESS, "COMMIT");
	now_has_order(20);
	check_table(true);
	for (int i = 0; i < n_entries; i++) {
		u64 dsisr = access_store(&entries[i]);

		CHECK(dsisr & FAULT_PROTECTED, "a store to a read-only page: DSISR 0x%x", dsisr);
	}
}
