// SPDX-License-Identifier: GPL-2.0-or-later
/* What a guest may cost the host: memory, address space, threads, time. */
#include "table.h"

#define LARGEST	(start_order + 1)
#define CHURN_US	2000000

struct usage {
	u64 threads, memory, space;	/* in KB */
};

static struct usage peak(void)
{
	return (struct usage){ ask_host("threads"), ask_host("peak-memory"),
			       ask_host("peak-space") };
}

/*
 * A processor that makes one call after the other, and is never interrupted: QEMU's
 * answer on the terminal would be an interrupt, so the host is asked only at the end.
 */
static void churn(bool commits)
{
	u64 table = 1UL << LARGEST >> 10, begin;
	struct usage before, after;

	fresh();
	CHECK_RESULT(resize(0, LARGEST), H_SUCCESS, "resize");
	ask_host("forget-peak");
	before = peak();
	begin = now_us();
	for (u64 to = LARGEST - 1; now_us() - begin < CHURN_US; to ^= (LARGEST - 1) ^ (LARGEST - 2)) {
		long ret = prepare(0, to);

		CHECK(ret == H_SUCCESS || is_long_busy(ret), "PREPARE gave %s", result_name(ret));
		if (!commits) {
			CHECK_RESULT(prepare(0, 0), H_SUCCESS, "discard");
			continue;
		}
		while (is_long_busy(ret) && now_us() - begin < CHURN_US)
			ret = prepare(0, to);
		if (ret == H_SUCCESS)
			CHECK_RESULT(commit(0, to), H_SUCCESS, "COMMIT");
	}
	after = peak();
	now_has_order(find_order());
	CHECK(after.threads <= before.threads + 4, "%u threads became %u",
	      before.threads, after.threads);
	CHECK(after.memory <= before.memory + 4 * table, "%u KB became %u KB",
	      before.memory, after.memory);
	/* A thread has a stack and an arena of its own. */
	CHECK(after.space <= before.space + 4 * table + (1UL << 19),
	      "%u KB of address space became %u KB", before.space, after.space);
}

void limits_prepare_and_discard(void)
{
	churn(false);
}

void limits_prepare_and_commit(void)
{
	churn(true);
}

#define GROUPS_OF_PAGE	32UL
#define PAIRS	16

static long enter_slot(u64 group, u64 slot)
{
	/* A 256M segment's first page: the hash is the VSID */
	return enter_at(group * 8 + slot, group << 12 | V_VALID, 0x20000000 | R_M | PP_READ_WRITE);
}

/* Microseconds for H_ENTER and H_REMOVE in groups that are to become one: the best of six */
static u64 time_of_stores(void)
{
	u64 best = ~0UL;

	for (int i = 0; i < 6; i++) {
		u64 begin = now_us(), took;

		for (int n = 0; n < PAIRS; n++) {
			u64 origin = random_number() % groups_of(order) & -groups_of(LOW_ORDER);
			u64 group = origin + random_number() % GROUPS_OF_PAGE;

			CHECK_RESULT(enter_slot(group, 7), H_SUCCESS, "H_ENTER");
			CHECK_RESULT(hcall(H_REMOVE, 0, group * 8 + 7, 0, 0), H_SUCCESS, "H_REMOVE");
		}
		took = now_us() - begin;
		best = took < best ? took : best;
	}
	return best;
}

/* 4096 groups of the old table, each in a page of its own, are one of the new one. */
void limits_large_shrink(void)
{
	u64 alone, ready;

	order = start_order;
	for (u64 origin = 0; origin < groups_of(order); origin += groups_of(LOW_ORDER))
		CHECK_RESULT(enter_slot(origin, origin / groups_of(LOW_ORDER) % 7), H_SUCCESS,
			     "H_ENTER");
	alone = time_of_stores();
	CHECK_RESULT(prepare_wait(0, LOW_ORDER), H_SUCCESS, "PREPARE");
	ready = time_of_stores();
	CHECK_RESULT(prepare(0, 0), H_SUCCESS, "discard");
	CHECK(ready <= 50 * alone, "%u H_ENTER and H_REMOVE take %u us, %u us when ready",
	      PAIRS * 2UL, alone, ready);
}
