// SPDX-License-Identifier: GPL-2.0-or-later
/* H_RESIZE_HPT_COMMIT, each clause of its semantics in LoPAR, in their order */
#include "table.h"

#define LARGEST	(start_order + 1)

static void ready(u64 of_order)
{
	CHECK_RESULT(prepare_wait(0, of_order), H_SUCCESS, "PREPARE to its end");
}

/* Check that the partition is permitted to resize its HPT. */

void commit_not_permitted(void)
{
	static const u64 orders[] = { 0, 18, 24, 47, ~0UL };

	for (u32 i = 0; i < ARRAY_SIZE(orders); i++) {
		CHECK_RESULT(commit(0, orders[i]), H_AUTHORITY, "disabled");
		CHECK_RESULT(commit(~0UL, orders[i]), H_AUTHORITY, "disabled");
	}
}

void commit_radix(void)
{
	become_radix();
	CHECK_RESULT(commit(0, 18), H_NOT_AVAILABLE, "radix");
	CHECK_RESULT(commit(2, 99), H_NOT_AVAILABLE, "radix, whatever else is wrong");
}

/* Is there a pending HPT? */

void commit_none_pending(void)
{
	fresh();
	for (u64 to = 0; to < 300; to++)
		CHECK(commit(0, to) == H_CLOSED, "COMMIT of %u, none pending, is not H_CLOSED", to);
	CHECK_RESULT(commit(0, ~0UL), H_CLOSED, "none pending");
	CHECK_RESULT(commit(2, 20), H_CLOSED, "none pending, whatever else is wrong");
}

/* Do flags and shift match it?  The pending HPT stays, whatever is asked. */

void commit_other_size(void)
{
	fresh();
	ready(20);
	for (u64 to = 0; to < 64; to++)
		CHECK(to == 20 || commit(0, to) == H_CLOSED,
		      "COMMIT of %u, another one pending, is not H_CLOSED", to);
	CHECK_RESULT(commit(0, 20), H_SUCCESS, "COMMITs of other sizes came between");
	now_has_order(20);
}

void commit_other_flags(void)
{
	fresh();
	ready(20);
	for (int bit = 0; bit < 64; bit++) {
		long ret = commit(1UL << bit, 20);

		CHECK(ret == H_CLOSED, "COMMIT with flag 0x%x gave %s", 1UL << bit,
		      result_name(ret));
	}
	CHECK_RESULT(commit(~0UL, 20), H_CLOSED, "all flags");
	CHECK_RESULT(commit(0, 20), H_SUCCESS, "COMMITs with other flags came between");
	now_has_order(20);
}

void commit_shift_is_int32(void)
{
	static const u64 high[] = { 1UL << 32, 1UL << 63, 0xffffffffUL << 32 };

	fresh();
	for (u32 i = 0; i < ARRAY_SIZE(high); i++) {
		u64 to = 19 + i % 2;
		long ret;

		ready(to);
		CHECK_RESULT(commit(0, high[i]), H_CLOSED, "0 is another size");
		CHECK_RESULT(commit(0, high[i] | 1UL << 31 | to), H_CLOSED, "negative");
		ret = commit(0, high[i] | to);
		CHECK(ret == H_SUCCESS, "COMMIT of 0x%x gave %s", high[i] | to, result_name(ret));
		now_has_order(to);
	}
}

/* Is it ready?  Until it is, COMMIT changes nothing. */

/*
 * A host may make a guest wait before it begins: then nothing is pending yet.
 * Returns H_SUCCESS if the preparation has come to its end meanwhile.
 */
static long commit_at_once(u64 to)
{
	long ret, prepared;

	do {
		prepared = prepare(0, to);
		CHECK(prepared == H_SUCCESS || is_long_busy(prepared), "PREPARE gave %s",
		      result_name(prepared));
		ret = commit(0, to);
	} while (is_long_busy(prepared) && ret == H_CLOSED);
	CHECK(ret == H_BUSY || ret == H_SUCCESS, "COMMIT while preparing gave %s",
	      result_name(ret));
	return ret;
}

void commit_not_ready(void)
{
	struct recipe recipe = { K4, S256M, .bolted = true };
	bool seen = false;

	fresh();
	fill(&recipe, 100);
	for (int i = 0; i < 20; i++) {
		u64 to = i % 2 ? LOW_ORDER : LARGEST;
		long ret = commit_at_once(to);

		if (ret == H_BUSY) {
			seen = true;
			ready(to);
			ret = commit(0, to);
		}
		CHECK(ret == H_SUCCESS, "COMMIT after the preparation gave %s", result_name(ret));
		now_has_order(to);
	}
	if (order > 20)
		CHECK_RESULT(resize(0, 20), H_SUCCESS, "resize");
	check_table(false);
	if (!seen)
		skip("each PREPARE was done at once");
}

void commit_slow_not_ready(void)
{
	bool seen = false;

	fresh();
	for (int i = 0; i < 20; i++) {
		u64 to = order == 20 ? 21 : 20;

		if (commit_at_once(to) == H_SUCCESS) {
			now_has_order(to);
			continue;
		}
		seen = true;
		CHECK_RESULT(commit(0, 19), H_CLOSED, "another size while preparing");
		CHECK_RESULT(commit(2, to), H_CLOSED, "other flags while preparing");
		ready(to);
		CHECK_RESULT(prepare(0, 0), H_SUCCESS, "discard");
	}
	check_table(true);
	if (!seen)
		skip("each PREPARE was done at once");
}

/*
 * Two bolted entries for one slot: that is so when preparing, or it comes later.
 * The table stays as it is, the pending HPT is gone.
 */
void commit_collision(void)
{
	for (int later = 0; later < 2; later++) {
		fresh();
		resize_and_check(20);
		if (!later)
			merge_bolted(1, 1, 0);
		CHECK_RESULT(prepare_wait(0, LOW_ORDER), H_SUCCESS, "PREPARE without flags");
		if (later)
			merge_bolted(1, 1, 0);
		CHECK_RESULT(commit(0, LOW_ORDER), H_PTEG_FULL, "two want one slot");
		CHECK_RESULT(commit(0, LOW_ORDER), H_CLOSED, "after H_PTEG_FULL");
		check_table(true);
		resize_and_check(21);
	}
}

/* The existing HPT is discarded, the pending one takes its place, nothing is pending. */

void commit_nothing_is_pending_after(void)
{
	fresh();
	for (u64 to = 18; to <= 20; to++) {
		ready(to);
		CHECK_RESULT(commit(0, to), H_SUCCESS, "COMMIT");
		now_has_order(to);
		CHECK(find_order() == to, "the order is %u, not %u", find_order(), to);
		CHECK_RESULT(commit(0, to), H_CLOSED, "COMMIT a second time");
	}
}

void commit_same_order(void)
{
	struct recipe recipe = { K64, S256M, .bolted = true };

	fresh();
	fill(&recipe, 50);
	recipe.bolted = false;
	fill(&recipe, 50);
	for (int i = 0; i < 3; i++)
		resize_and_check(LOW_ORDER);
}
