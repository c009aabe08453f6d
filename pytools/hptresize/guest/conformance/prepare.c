// SPDX-License-Identifier: GPL-2.0-or-later
/* H_RESIZE_HPT_PREPARE, each clause of its semantics in LoPAR, in their order */
#include "table.h"

#define LARGEST	(start_order + 1)

static void ready(u64 of_order)
{
	CHECK_RESULT(prepare_wait(0, of_order), H_SUCCESS, "PREPARE to its end");
}

/* After a call that did not match: what was pending is gone. */
static void expect_discarded(u64 of_order, u64 flags, u64 shift)
{
	long ret = commit(0, of_order);

	CHECK(ret == H_CLOSED, "PREPARE(0x%x, 0x%x) left the pending HPT of %u: COMMIT gave %s",
	      flags, shift, of_order, result_name(ret));
	check_table(true);
}

/* Check that the partition is permitted to resize its HPT. */

void prepare_not_permitted(void)
{
	static const u64 orders[] = { 0, 18, 24, 47, ~0UL };

	CHECK(!offers("hcall-hpt-resize"), "hcall-hpt-resize is offered, but disabled");
	for (u32 i = 0; i < ARRAY_SIZE(orders); i++) {
		CHECK_RESULT(prepare(0, orders[i]), H_AUTHORITY, "disabled");
		CHECK_RESULT(prepare(~0UL, orders[i]), H_AUTHORITY, "disabled");
	}
}

void become_radix(void)
{
	u64 modify_register_radix_gtse = 0x10 | 0x08 | 0x04 | 0x01;
	long ret = hcall(H_REGISTER_PROC_TBL, modify_register_radix_gtse, 0x18000000, 0, 0);

	CHECK(ret == H_SUCCESS, "H_REGISTER_PROC_TBL gave %s", result_name(ret));
}

void prepare_radix(void)
{
	become_radix();
	CHECK_RESULT(prepare(0, 18), H_NOT_AVAILABLE, "radix");
	CHECK_RESULT(prepare(0, 0), H_NOT_AVAILABLE, "radix");
	CHECK_RESULT(prepare(2, 99), H_NOT_AVAILABLE, "radix, whatever else is wrong");
}

/* If the pending HPT matches: not ready, terminated (see bolted.c), ready */

void prepare_match_not_ready(void)
{
	fresh();
	for (int i = 0; i < 5; i++) {
		u64 polls = 0;

		while (is_long_busy(prepare(0, 20)))
			polls++;
		CHECK_RESULT(prepare(0, 20), H_SUCCESS, "after H_LONG_BUSY");
		if (!polls)
			skip("this host is never slow");
		CHECK_RESULT(prepare(0, 0), H_SUCCESS, "discard");
	}
	check_table(true);
}

void prepare_match_ready(void)
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
	CHECK_RESULT(prepare(0, 0), H_SUCCESS, "discard");
}

/* Else it is discarded, whatever else is wrong with the call. */

void prepare_other_size_discards(void)
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

/* A call that is refused with this result; the pending HPT may be ready or not. */
static void refused(u64 flags, u64 shift, long wanted)
{
	for (int i = 0; i < 2; i++) {
		u64 pending = i ? LARGEST : 20;
		long ret;

		if (i)
			prepare(0, pending);
		else
			ready(pending);
		ret = prepare(flags, shift);
		CHECK(ret == wanted, "PREPARE(0x%x, 0x%x) gave %s, not %s", flags, shift,
		      result_name(ret), wanted == H_PARAMETER ? "H_PARAMETER" : "H_RESOURCE");
		expect_discarded(pending, flags, shift);
	}
}

void prepare_flags_discard(void)
{
	fresh();
	refused(2, 20, H_PARAMETER);
	refused(1UL << 63, LARGEST, H_PARAMETER);
	refused(2, 0, H_PARAMETER);
}

void prepare_bad_shift_discards(void)
{
	fresh();
	refused(0, 17, H_PARAMETER);
	refused(0, 47, H_PARAMETER);
	refused(0, -1UL, H_PARAMETER);
}

void prepare_too_large_discards(void)
{
	fresh();
	refused(0, LARGEST + 1, H_RESOURCE);
	refused(0, 46, H_RESOURCE);
}

/* Flags, then 0, then the range, then the size that is permitted */

void prepare_flags(void)
{
	fresh();
	for (int bit = 1; bit < 64; bit++) {
		u64 flag = 1UL << bit;
		long ret = prepare(flag, 20);

		CHECK(ret == H_PARAMETER, "PREPARE with flag 0x%x gave %s", flag,
		      result_name(ret));
		CHECK_RESULT(prepare(flag, 0), H_PARAMETER, "flags come before 0");
		CHECK_RESULT(prepare(flag, 46), H_PARAMETER, "flags come before the size");
	}
	CHECK_RESULT(prepare(~0UL, 20), H_PARAMETER, "all flags");
}

void prepare_zero(void)
{
	fresh();
	CHECK_RESULT(prepare(0, 0), H_SUCCESS, "discard when nothing is pending");
	for (int i = 0; i < 20; i++) {
		prepare(0, LARGEST);
		CHECK_RESULT(prepare(0, 0), H_SUCCESS, "discard while preparing");
		expect_discarded(LARGEST, 0, 0);
	}
	ready(LARGEST);
	CHECK_RESULT(prepare(0, 0), H_SUCCESS, "discard when ready");
	expect_discarded(LARGEST, 0, 0);
}

void prepare_bad_shift(void)
{
	fresh();
	for (u64 bad = 1; bad < 300; bad++)
		if (bad < 18 || bad > 46)
			CHECK(prepare(0, bad) == H_PARAMETER, "PREPARE of %u is not H_PARAMETER",
			      bad);
}

void prepare_too_large(void)
{
	fresh();
	for (u64 large = LARGEST + 1; large <= 46; large++)
		CHECK(prepare(0, large) == H_RESOURCE, "PREPARE of %u is not H_RESOURCE", large);
	ready(LARGEST);
}

/* The shift is an int32: what is in the other half of the register does not count. */
void prepare_shift_is_int32(void)
{
	static const u64 high[] = { 1UL << 32, 1UL << 63, 0xffffffffUL << 32 };

	fresh();
	for (u32 i = 0; i < ARRAY_SIZE(high); i++) {
		long ret = prepare_wait(0, high[i] | 20);

		CHECK(ret == H_SUCCESS, "PREPARE of 0x%x gave %s", high[i] | 20, result_name(ret));
		CHECK_RESULT(prepare(0, 20), H_SUCCESS, "20 is ready");
		ret = prepare(0, high[i]);
		CHECK(ret == H_SUCCESS, "PREPARE of 0x%x gave %s", high[i], result_name(ret));
		CHECK_RESULT(commit(0, 20), H_CLOSED, "discarded");
		ret = prepare(0, high[i] | 1UL << 31 | 20);
		CHECK(ret == H_PARAMETER, "PREPARE of 0x%x gave %s", high[i] | 1UL << 31 | 20,
		      result_name(ret));
	}
	for (u64 shift = 1; shift < 50; shift++)
		CHECK(prepare(0, -shift) == H_PARAMETER, "PREPARE of -%u is not H_PARAMETER", shift);
}
