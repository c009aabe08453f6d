// SPDX-License-Identifier: GPL-2.0-or-later
/* Both calls: what LoPAR leaves to the host, and calls in any order */
#include "table.h"

#define LARGEST	(start_order + 1)

void results_offered(void)
{
	CHECK(offers("hcall-hpt-resize"), "hcall-hpt-resize is not offered");
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
		CHECK_RESULT(prepare_wait(0, 19), H_SUCCESS, "PREPARE to its end");
		CHECK_RESULT(prepare(0, 0), H_SUCCESS, "cancel");
	}
	CHECK(now_us() - begin < 2000000, "5 preparations of 512K took %u us", now_us() - begin);
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
