// SPDX-License-Identifier: GPL-2.0-or-later
/* Each row of the table of results, in each state: idle, preparing, ready. */
#include "table.h"

#define LARGEST	(start_order + 1)

static void ready(u64 of_order)
{
	CHECK_RESULT(prepare_wait(0, of_order), H_SUCCESS, "PREPARE to its end");
}

void results_disabled(void)
{
	static const u64 orders[] = { 0, 18, 24, 47, ~0UL };

	for (u32 i = 0; i < ARRAY_SIZE(orders); i++) {
		CHECK_RESULT(prepare(0, orders[i]), H_AUTHORITY, "disabled");
		CHECK_RESULT(commit(0, orders[i]), H_AUTHORITY, "disabled");
	}
	CHECK_RESULT(prepare(~0UL, 18), H_AUTHORITY, "disabled, whatever the flags are");
}

void results_radix(void)
{
	u64 modify_register_radix_gtse = 0x10 | 0x08 | 0x04 | 0x01;
	long ret = hcall(H_REGISTER_PROC_TBL, modify_register_radix_gtse, 0x18000000, 0, 0);

	CHECK(ret == H_SUCCESS, "H_REGISTER_PROC_TBL gave %s", result_name(ret));
	CHECK_RESULT(prepare(0, 18), H_NOT_AVAILABLE, "radix");
	CHECK_RESULT(commit(0, 18), H_NOT_AVAILABLE, "radix");
	CHECK_RESULT(prepare(0, 0), H_NOT_AVAILABLE, "radix");
}

void results_undefined_flags(void)
{
	fresh();
	for (int with_ready = 0; with_ready < 2; with_ready++) {
		if (with_ready)
			ready(20);
		for (int bit = 1; bit < 64; bit++) {
			u64 flag = 1UL << bit;
			long first = prepare(flag, 20), second = commit(flag, 20);

			CHECK(first == H_PARAMETER, "PREPARE with flag 0x%x gave %s", flag,
			      result_name(first));
			CHECK(second == H_PARAMETER, "COMMIT with flag 0x%x gave %s", flag,
			      result_name(second));
		}
		CHECK_RESULT(prepare(~0UL, 20), H_PARAMETER, "all flags");
	}
	CHECK_RESULT(commit(0, 20), H_SUCCESS, "calls with undefined flags came between");
	now_has_order(20);
}

void results_orders_that_are_none(void)
{
	fresh();
	for (u64 bad = 1; bad < 300; bad++) {
		if (bad >= 18 && bad <= 46)
			continue;
		CHECK(prepare(0, bad) == H_PARAMETER, "PREPARE of %u is not H_PARAMETER", bad);
		CHECK(commit(0, bad) == H_CLOSED, "COMMIT of %u is not H_CLOSED", bad);
	}
}

/* Each bit of the upper half, over orders that would be good and over 0 */
void results_order_is_64_bits(void)
{
	static const u64 low[] = { 0, 18, 19, 23, 46 };

	fresh();
	ready(20);
	for (int bit = 32; bit < 64; bit++)
		for (u32 i = 0; i < ARRAY_SIZE(low); i++) {
			u64 bad = 1UL << bit | low[i];
			long ret = prepare(0, bad);

			CHECK(ret == H_PARAMETER, "PREPARE of 0x%x gave %s", bad, result_name(ret));
		}
	CHECK_RESULT(commit(0, 20), H_SUCCESS, "refused calls came between");
	now_has_order(20);
}

void results_commit_is_64_bits(void)
{
	fresh();
	ready(20);
	for (int bit = 32; bit < 64; bit++) {
		long ret = commit(0, 1UL << bit | 20);

		if (ret == H_SUCCESS)
			now_has_order(20);
		CHECK(ret == H_CLOSED, "COMMIT of 0x%x gave %s", 1UL << bit | 20, result_name(ret));
	}
}

void results_too_large(void)
{
	fresh();
	for (u64 large = LARGEST + 1; large <= 46; large++)
		CHECK(prepare(0, large) == H_RESOURCE, "PREPARE of %u is not H_RESOURCE", large);
	ready(LARGEST);
}

void results_prepare_until_ready(void)
{
	fresh();
	for (u64 to = 18; to <= LARGEST; to++) {
		long ret = prepare(0, to);

		CHECK(ret == H_SUCCESS || is_long_busy(ret), "PREPARE of %u gave %s", to,
		      result_name(ret));
		ready(to);
		CHECK_RESULT(prepare(0, to), H_SUCCESS, "PREPARE once more when ready");
		CHECK_RESULT(prepare(0, to), H_SUCCESS, "PREPARE once more when ready");
	}
	CHECK_RESULT(prepare(0, 0), H_SUCCESS, "cancel");
}

/* An empty table of 256K is no work: a guest that sleeps by the hint must not wait long. */
void results_hint_fits(void)
{
	u64 begin;

	fresh();
	begin = now_us();
	for (int i = 0; i < 5; i++) {
		long ret = prepare(0, 19);

		CHECK(ret < H_LONG_BUSY_100_MS, "for a table of 512K the hint is %s",
		      result_name(ret));
		ready(19);
		CHECK_RESULT(prepare(0, 0), H_SUCCESS, "cancel");
	}
	CHECK(now_us() - begin < 2000000, "5 preparations of 512K took %u us", now_us() - begin);
}

void results_commit_idle(void)
{
	fresh();
	for (u64 to = 0; to < 64; to++)
		CHECK(commit(0, to) == H_CLOSED, "COMMIT of %u, nothing prepared, is not H_CLOSED",
		      to);
	CHECK_RESULT(commit(0, ~0UL), H_CLOSED, "nothing prepared");
}

void results_commit_other_size(void)
{
	fresh();
	ready(20);
	for (u64 to = 0; to < 64; to++)
		CHECK(to == 20 || commit(0, to) == H_CLOSED,
		      "COMMIT of %u, another one prepared, is not H_CLOSED", to);
	CHECK_RESULT(commit(0, 20), H_SUCCESS, "COMMITs of other sizes came between");
	now_has_order(20);
	CHECK_RESULT(commit(0, 20), H_CLOSED, "COMMIT a second time");
}

void results_commit_while_preparing(void)
{
	struct recipe recipe = { K4, S256M, .bolted = true };
	bool seen = false;

	fresh();
	fill(&recipe, 100);
	for (int i = 0; i < 20; i++) {
		u64 to = i % 2 ? LOW_ORDER : LARGEST;
		long ret = prepare(0, to);

		if (is_long_busy(ret))
			ret = commit(0, to);
		else
			continue;
		CHECK(ret == H_BUSY || ret == H_SUCCESS, "COMMIT while preparing gave %s",
		      result_name(ret));
		if (ret == H_BUSY) {
			seen = true;
			ready(to);
			ret = commit(0, to);
		}
		CHECK(ret == H_SUCCESS, "COMMIT after the preparation gave %s", result_name(ret));
		now_has_order(to);
	}
	if (order > 20)
		resize(0, 20);
	check_table(false);
	if (!seen)
		skip("each PREPARE was done at once");
}

void results_slow_commit_is_busy(void)
{
	fresh();
	for (int i = 0; i < 5; i++) {
		if (prepare(0, 20) == H_SUCCESS)
			skip("this host is never slow");
		CHECK_RESULT(commit(0, 20), H_BUSY, "COMMIT right after PREPARE");
		CHECK_RESULT(commit(0, 19), H_CLOSED, "COMMIT of another size while preparing");
		ready(20);
		CHECK_RESULT(prepare(0, 0), H_SUCCESS, "cancel");
	}
	check_table(true);
}

void results_cancel(void)
{
	fresh();
	CHECK_RESULT(prepare(0, 0), H_SUCCESS, "cancel when nothing runs");
	for (int i = 0; i < 20; i++) {
		prepare(0, LARGEST);
		CHECK_RESULT(prepare(0, 0), H_SUCCESS, "cancel while preparing");
		CHECK_RESULT(commit(0, LARGEST), H_CLOSED, "cancelled while preparing");
	}
	ready(LARGEST);
	CHECK_RESULT(prepare(0, 0), H_SUCCESS, "cancel when ready");
	CHECK_RESULT(commit(0, LARGEST), H_CLOSED, "cancelled when ready");
	check_table(true);
}

void results_replace(void)
{
	fresh();
	ready(LARGEST);
	ready(20);
	CHECK_RESULT(commit(0, LARGEST), H_CLOSED, "replaced by 20 when ready");
	CHECK_RESULT(commit(0, 20), H_SUCCESS, "it replaced another one");
	now_has_order(20);
	prepare(0, LARGEST);
	ready(19);
	CHECK_RESULT(commit(0, LARGEST), H_CLOSED, "replaced by 19 while preparing");
	CHECK_RESULT(commit(0, 19), H_SUCCESS, "it replaced another one");
	now_has_order(19);
}

void results_refused_prepare_changes_nothing(void)
{
	fresh();
	ready(20);
	CHECK_RESULT(prepare(0, 17), H_PARAMETER, "no order");
	CHECK_RESULT(prepare(0, 47), H_PARAMETER, "no order");
	CHECK_RESULT(prepare(8, 19), H_PARAMETER, "no flag");
	CHECK_RESULT(prepare(0, 46), H_RESOURCE, "too large");
	CHECK_RESULT(commit(0, 20), H_SUCCESS, "refused calls came between");
	now_has_order(20);
}

void results_same_order(void)
{
	struct recipe recipe = { K64, S256M, .bolted = true };

	fresh();
	fill(&recipe, 50);
	recipe.bolted = false;
	fill(&recipe, 50);
	for (int i = 0; i < 3; i++)
		resize_and_check(LOW_ORDER);
}

/* Bolted entries of two groups that become one; slots of both from first on */
static void merging(int in_low, int in_high, int first)
{
	u64 low = 77, high = 77 | 1 << (LOW_ORDER - 7);

	for (int i = 0; i < in_low + in_high; i++) {
		struct entry *e = &entries[n_entries++];
		u64 hash = i < in_low ? low : high;
		int slot = first + (i < in_low ? i : i - in_low);

		/* VSIDs that differ above what the table's size looks at */
		*e = (struct entry){
			.hash = hash | (u64)(i + 1) << 20, .slot = slot,
			.v = ((hash | (u64)(i + 1) << 20) << 5) << 7 | V_BOLTED | V_VALID,
			.r = 0x20000000UL + 4096 * i + R_M + PP_READ_WRITE,
			.alive = true, .bolted = true,
		};
		CHECK(enter_at(place(e), e->v, e->r) == H_SUCCESS, "H_ENTER failed");
	}
}

static void expect_full(u64 flags)
{
	long ret = prepare_wait(flags, LOW_ORDER);

	/* It may be known before the guest stops. */
	CHECK(ret == H_SUCCESS || ret == H_PTEG_FULL, "PREPARE gave %s", result_name(ret));
	if (ret == H_SUCCESS)
		CHECK_RESULT(commit(flags, LOW_ORDER), H_PTEG_FULL, "more bolted entries than places");
	else
		CHECK_RESULT(commit(flags, LOW_ORDER), H_CLOSED, "PREPARE gave H_PTEG_FULL");
	check_table(true);
	resize_and_check(order + 1);
}

void results_pteg_full(void)
{
	fresh();
	resize_and_check(20);
	merging(1, 1, 0);
	expect_full(0);
}

static bool is_in_group(const struct entry *e)
{
	u64 v, r, ptex = place(e) & ~7UL;

	for (int slot = 0; slot < 8; slot++) {
		read_entry(ptex + slot, &v, &r);
		if (v == e->v && r == e->r)
			return true;
	}
	return false;
}

static void knows_move_bolted(void)
{
	long ret = prepare_wait(MOVE_BOLTED, 20);

	CHECK(ret == H_SUCCESS, "PREPARE with H_RESIZE_HPT_MOVE_BOLTED gave %s",
	      result_name(ret));
	CHECK_RESULT(prepare(0, 0), H_SUCCESS, "cancel");
}

void results_move_bolted(void)
{
	fresh();
	knows_move_bolted();
	resize_and_check(20);
	merging(4, 4, 2);
	CHECK_RESULT(resize(MOVE_BOLTED, LOW_ORDER), H_SUCCESS, "there is room for all 8");
	for (int i = 0; i < n_entries; i++)
		CHECK(is_in_group(&entries[i]), "bolted entry %u of 8 is not in its group", (u64)i);
	/* They go by hand, as the model believes in slots. */
	for (u64 slot = 0; slot < 8; slot++)
		hcall(H_REMOVE, 0, (place(&entries[0]) & ~7UL) + slot, 0, 0);
	n_entries = 0;
	check_table(true);
}

void results_move_bolted_takes_place_of_others(void)
{
	struct entry *e;
	u64 v, r;

	fresh();
	knows_move_bolted();
	resize_and_check(20);
	merging(4, 4, 0);
	/* Entries that are not bolted fill the other slots of both groups. */
	for (int i = 0; i < 8; i++) {
		e = &entries[i];
		v = (e->v & ~V_BOLTED) + (1UL << 40);
		CHECK(enter_at(place(e) + 4, v, e->r) == H_SUCCESS, "H_ENTER failed");
	}
	CHECK_RESULT(resize(MOVE_BOLTED, LOW_ORDER), H_SUCCESS, "bolted go before others");
	for (int i = 0; i < 8; i++)
		CHECK(is_in_group(&entries[i]), "bolted entry %u of 8 is not in its group", (u64)i);
	for (u64 slot = 0; slot < 8; slot++) {
		read_entry((place(&entries[0]) & ~7UL) + slot, &v, &r);
		hcall(H_REMOVE, 0, (place(&entries[0]) & ~7UL) + slot, 0, 0);
	}
	n_entries = 0;
	check_table(true);
}

void results_move_bolted_nine(void)
{
	fresh();
	knows_move_bolted();
	resize_and_check(20);
	merging(5, 4, 0);
	expect_full(MOVE_BOLTED);
}

/* Anything in any register: the running table stays as it is, or the resize works. */
static void send_anything(void)
{
	static const u64 orders[] = {
		0, 1, 17, 18, 19, 20, 21, 22, 24, 25, 46, 47, 1UL << 32, (1UL << 32) + 20, ~0UL
	};
	static const u64 flags[] = { 0, 0, 0, 0, 2, 1UL << 63 };

	for (int i = 0; i < 600 && !asked_to_stop(); i++) {
		struct hcall call = {
			random_number() % 3 ? H_PREPARE : H_COMMIT,
			{ flags[random_number() % ARRAY_SIZE(flags)],
			  orders[random_number() % ARRAY_SIZE(orders)],
			  random_number(), random_number(), random_number() },
		};
		long ret;

		hcall_raw(&call);
		ret = call.ret;
		CHECK((ret <= H_NOT_AVAILABLE && ret >= H_RESOURCE) || is_long_busy(ret),
		      "a call gave %s", result_name(ret));
		hcall(H_READ, H_READ_4, random_number(), 0, 0);
	}
}

static u64 find_order(void)
{
	struct hcall call;
	u64 found = 18;

	do {
		call = (struct hcall){ H_READ, { 0, groups_of(found) * 8 } };
		hcall_raw(&call);
	} while (call.ret == H_SUCCESS && ++found);
	return found;
}

static void all_send_anything(void)
{
	struct recipe recipe = { K4, S256M, .bolted = true };
	u64 at;

	fresh();
	fill(&recipe, 100);
	on_others(send_anything);
	send_anything();
	wait_others();
	at = find_order();
	CHECK(at >= 18 && at <= LARGEST, "the order is now %u", at);
	now_has_order(at);
	if (order > 21)
		CHECK_RESULT(resize(0, 21), H_SUCCESS, "a resize after all this");
	check_table(false);
}

void results_random(void)
{
	all_send_anything();
}

void results_random_smp(void)
{
	all_send_anything();
}
