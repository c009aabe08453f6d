// SPDX-License-Identifier: GPL-2.0-or-later
/* Several processors at once: walks, stores and calls while the table changes. */
#include "table.h"

#define RUN_US	700000
#define IN_256M	64

static void begin(void)
{
	fresh();
	mmu_prepare_memory();
	on_others(mmu_on_this_cpu);
	wait_others();
	fill(&(struct recipe){ K4, S256M, .bolted = true, .reachable = true }, IN_256M);
	fill(&(struct recipe){ K64, S1T, .bolted = true, .reachable = true }, 64);
}

/*
 * Faults and changes of the MSR go through QEMU's big lock, and wait for the end
 * of a COMMIT there: mostly walk without either.
 */
static void walk(void)
{
	while (!asked_to_stop()) {
		u64 value, dsisr;

		CHECK(!walk_for(&entries[random_number() % IN_256M], 3000),
		      "a bolted entry does not translate for a moment");
		dsisr = load_translated(unmapped_ea(), &value);
		CHECK(dsisr == FAULT_NO_ENTRY, "no entry, but DSISR is 0x%x", dsisr);
	}
}

static void resize_for(u64 microseconds)
{
	u64 end = now_us() + microseconds;

	for (u64 i = 0; now_us() < end && !asked_to_stop(); i++) {
		/* A table that is unmapped when freed is noticed by who still reads it. */
		long ret = resize(0, i % 4 == 3 ? LOW_ORDER : start_order + i % 2);

		CHECK(ret == H_SUCCESS, "resize gave %s", result_name(ret));
	}
	ask_to_stop();
}

static void walk_while_resizing(void)
{
	begin();
	on_others(walk);
	resize_for(RUN_US);
	wait_others();
	for (int i = 0; i < n_entries; i++)
		if (entries[i].alive)
			entries[i].r |= R_R;
	/* R may or may not be set by now: set it in the table. */
	for (int i = 0; i < n_entries; i++)
		access(&entries[i]);
	if (order > 21)
		CHECK_RESULT(resize(0, 20), H_SUCCESS, "resize");
	check_table(false);
}

void smp_walk_while_resizing(void)
{
	walk_while_resizing();
}

void smp_walk_while_resizing_four(void)
{
	walk_while_resizing();
}

/* The others do not know the size of the table: any place, any answer. */
static void store_anywhere(void)
{
	while (!asked_to_stop()) {
		u64 ptex = random_number() & (groups_of(start_order + 2) * 8 - 1);
		u64 v = random_number() << 20 | V_VALID;
		long ret = enter_at(ptex, v & ~V_BOLTED & ~V_LARGE, 0x20000000 | R_M);

		CHECK(ret == H_SUCCESS || ret == H_PARAMETER || ret == H_PTEG_FULL,
		      "H_ENTER gave %s", result_name(ret));
		hcall(H_REMOVE, 0, ptex, 0, 0);
		hcall(H_PROTECT, 0, random_number() & (groups_of(start_order) * 8 - 1), 0, 0);
		hcall(H_READ, H_READ_4, ptex, 0, 0);
	}
}

void smp_stores_while_resizing(void)
{
	begin();
	on_others(store_anywhere);
	resize_for(RUN_US / 4);
	wait_others();
	sweep();
}

/* All prepare and cancel; nobody commits: the table stays as it is. */
static void prepare_and_cancel(void)
{
	for (int i = 0; i < 200 && !asked_to_stop(); i++) {
		long ret = prepare(0, random_number() % 3 ? 18 + random_number() % 6 : 0);

		CHECK(ret == H_SUCCESS || is_long_busy(ret), "PREPARE gave %s", result_name(ret));
	}
}

void smp_all_prepare(void)
{
	begin();
	on_others(prepare_and_cancel);
	prepare_and_cancel();
	wait_others();
	CHECK_RESULT(prepare(0, 0), H_SUCCESS, "cancel");
	check_table(true);
	resize_and_check(20);
}

/* All commit one preparation: one of them does it. */
static u64 winners;

static void try_commit(void)
{
	long ret = commit(0, 20);

	CHECK(ret == H_SUCCESS || ret == H_CLOSED, "COMMIT gave %s", result_name(ret));
	if (ret == H_SUCCESS)
		__atomic_fetch_add(&winners, 1, __ATOMIC_SEQ_CST);
}

void smp_one_commit_wins(void)
{
	for (int i = 0; i < 20; i++) {
		begin();
		winners = 0;
		CHECK_RESULT(prepare_wait(0, 20), H_SUCCESS, "PREPARE");
		on_others(try_commit);
		try_commit();
		wait_others();
		CHECK(winners == 1, "%u CPUs committed the same preparation", winners);
		now_has_order(20);
		check_table(mirror);
	}
}

/* One commits what is ready while the others poll it, or replace it by a larger one. */
static void poll_and_replace(void)
{
	while (!asked_to_stop())
		prepare(0, random_number() % 2 ? 20 : start_order);
}

void smp_commit_while_another_prepares(void)
{
	struct recipe recipe = { K4, S256M, .bolted = true };
	u64 begin;

	fresh();
	fill(&recipe, 100);
	on_others(poll_and_replace);
	for (begin = now_us(); now_us() - begin < RUN_US; ) {
		long ret = prepare(0, 20);

		if (ret != H_SUCCESS)
			continue;
		ret = commit(0, 20);
		CHECK(ret == H_SUCCESS || ret == H_CLOSED || ret == H_BUSY, "COMMIT gave %s",
		      result_name(ret));
		if (ret == H_SUCCESS)
			now_has_order(20);
		CHECK(find_order() == order, "the order is %u, not %u", find_order(), order);
	}
	ask_to_stop();
	wait_others();
	check_table(false);
	resize_and_check(LOW_ORDER);
}

/* Look for pages that no entry maps: a walk of both groups each time */
static void walk_in_vain(void)
{
	while (!asked_to_stop()) {
		u64 value;

		load_translated(entries[0].ea + 0x100000, &value);
	}
}

void smp_radix_and_back(void)
{
	u64 modify_register_hash = 0x10 | 0x08, begun = now_us();

	begin();
	on_others(walk_in_vain);
	while (now_us() - begun < 2 * RUN_US) {
		become_radix();
		CHECK_RESULT(hcall(H_REGISTER_PROC_TBL, modify_register_hash, 0, 0, 0), H_SUCCESS,
			     "back to hash");
	}
	ask_to_stop();
	wait_others();
}
