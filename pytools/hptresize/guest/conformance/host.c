// SPDX-License-Identifier: GPL-2.0-or-later
/* What only shows from outside (threads, memory), needs the host, or the firmware. */
#include "table.h"

#define LARGEST	(start_order + 1)

/* 100 preparations that replace each other */
void host_threads_and_memory(void)
{
	u64 threads, kilobytes, most_threads = 0, most_kilobytes = 0;

	fresh();
	CHECK_RESULT(prepare_wait(0, LARGEST), H_SUCCESS, "PREPARE");
	CHECK_RESULT(prepare(0, 0), H_SUCCESS, "cancel");
	threads = ask_host("threads");
	kilobytes = ask_host("memory");
	for (int i = 0; i < 100; i++) {
		prepare(0, LARGEST - i % 2);
		if (i % 10 == 9) {
			u64 now = ask_host("threads");

			most_threads = now > most_threads ? now : most_threads;
			now = ask_host("memory");
			most_kilobytes = now > most_kilobytes ? now : most_kilobytes;
		}
	}
	CHECK_RESULT(prepare(0, 0), H_SUCCESS, "cancel");
	CHECK(most_threads <= threads + 2, "%u threads became %u", threads, most_threads);
	CHECK(most_kilobytes <= kilobytes + (2UL << LARGEST >> 10),
	      "%u KB became %u KB, a table has %u KB", kilobytes, most_kilobytes,
	      1UL << LARGEST >> 10);
}

/* 300 resizes leave nothing behind. */
void host_nothing_leaks(void)
{
	u64 kilobytes, threads;

	fresh();
	for (int i = 0; i < 20; i++)
		CHECK_RESULT(resize(0, i % 2 ? 18 : 21), H_SUCCESS, "resize");
	kilobytes = ask_host("memory");
	threads = ask_host("threads");
	for (int i = 0; i < 300; i++)
		CHECK_RESULT(resize(0, i % 2 ? 18 : 21), H_SUCCESS, "resize");
	CHECK(ask_host("memory") < kilobytes + 40 * (1UL << 21 >> 10),
	      "%u KB became %u KB", kilobytes, ask_host("memory"));
	CHECK(ask_host("threads") <= threads + 2, "%u threads became %u", threads,
	      ask_host("threads"));
}

/* The host has no memory for the table, then has some again. */
static void no_memory(void)
{
	long ret;

	fresh();
	ask_host("limit");
	ret = prepare_wait(0, LARGEST);
	if (ret == H_SUCCESS) {
		ask_host("nolimit");
		skip("the limit of QEMU's memory was none");
	}
}

void host_no_memory_once(void)
{
	long ret;

	no_memory();
	ask_host("nolimit");
	ret = prepare_wait(0, LARGEST);
	if (ret == H_RESOURCE || ret == H_NO_MEM)	/* asked with the limit on, told now */
		ret = prepare_wait(0, LARGEST);
	CHECK(ret == H_SUCCESS, "there is memory again, but PREPARE gives %s", result_name(ret));
	CHECK_RESULT(commit(0, LARGEST), H_SUCCESS, "COMMIT");
	now_has_order(LARGEST);
	CHECK_RESULT(resize(0, LOW_ORDER), H_SUCCESS, "resize");
}

void host_no_memory_is_told(void)
{
	fresh();
	ask_host("limit");
	CHECK_RESULT(prepare_wait(0, LARGEST), H_RESOURCE, "there is none");
	ask_host("nolimit");
	check_table(true);
}

void host_commit_after_no_memory(void)
{
	no_memory();
	CHECK_RESULT(commit(0, LARGEST), H_CLOSED, "PREPARE failed");
	ask_host("nolimit");
	check_table(true);
	resize_and_check(19);
}

/* Two starts: what was prepared in the first is forgotten in the second. */
void host_reset_forgets(void)
{
	if (!phase) {
		fresh();
		CHECK_RESULT(prepare_wait(0, 20), H_SUCCESS, "PREPARE");
		reset_machine(1);
	}
	CHECK_RESULT(commit(0, 20), H_CLOSED, "prepared before the reset");
}

void host_reset_while_preparing(void)
{
	if (!phase) {
		fresh();
		prepare(0, LARGEST);
		reset_machine(1);
	}
	CHECK_RESULT(commit(0, LARGEST), H_CLOSED, "prepared before the reset");
	fresh();
}

/* The reset comes at any moment of a resize, ten times. */
void host_reset_while_resizing(void)
{
	if (phase) {
		CHECK_RESULT(commit(0, LARGEST), H_CLOSED, "prepared before the reset");
		CHECK(find_order() == start_order, "the order is %u after a reset", find_order());
	}
	fresh();
	if (phase == 10)
		return;
	ask_for_reset(phase + 1);
	for (;;)
		CHECK_RESULT(resize(0, order == LARGEST ? 20 : LARGEST), H_SUCCESS, "resize");
}

static void resize_until_asked(void)
{
	while (!asked_to_stop())
		CHECK_RESULT(resize(0, order == LARGEST ? 20 : LARGEST), H_SUCCESS, "resize");
}

/* The machine is stopped and goes on, again and again, while one CPU resizes. */
void host_stop_and_cont(void)
{
	fresh();
	on_others(resize_until_asked);
	ask_host("pause");
	ask_to_stop();
	wait_others();
	CHECK_RESULT(resize(0, 20), H_SUCCESS, "resize");
	check_table(true);
}

void host_reset_gives_default_size(void)
{
	struct hcall call;

	if (!phase) {
		fresh();
		fill(&(struct recipe){ K4, S256M, .bolted = true }, 10);
		reset_machine(1);
	}
	order = start_order;
	call = (struct hcall){ H_READ, { 0, groups_of(start_order) * 8 - 1 } };
	hcall_raw(&call);
	CHECK(call.ret == H_SUCCESS, "the table is smaller than 2^%u after a reset", start_order);
	call = (struct hcall){ H_READ, { 0, groups_of(start_order) * 8 } };
	hcall_raw(&call);
	CHECK(call.ret == H_PARAMETER, "the table is larger than 2^%u after a reset", start_order);
	CHECK_RESULT(resize(0, 20), H_SUCCESS, "resize");
	check_table(true);
}

/* A guest that cannot resize its table gets one for all memory it may ever have. */
static void cas_forgets(u64 prepared, bool resizes)
{
	u64 wanted = resizes ? LOW_ORDER : start_order;

	CHECK(client_architecture_support(resizes), "client-architecture-support failed");
	CHECK_RESULT(commit(0, prepared), H_CLOSED, "prepared before CAS");
	CHECK(find_order() == wanted, "the order is %u after CAS, not %u", find_order(), wanted);
	now_has_order(wanted);
	check_table(true);
	resize_and_check(19);
}

/* A machine that can have four times its memory */
void host_first_table(void)
{
	u64 largest = start_order + 2;

	order = start_order;
	CHECK(find_order() == start_order, "the order is %u, not %u", find_order(), start_order);
	CHECK(client_architecture_support(true), "client-architecture-support failed");
	CHECK(find_order() == start_order, "with the resize bit in CAS it is %u", find_order());
	CHECK(client_architecture_support(false), "client-architecture-support failed");
	CHECK(find_order() == largest, "without the resize bit in CAS it is %u, not %u",
	      find_order(), largest);
}

static void cas_when_ready(bool resizes)
{
	fresh();
	CHECK_RESULT(prepare_wait(0, 20), H_SUCCESS, "PREPARE");
	cas_forgets(20, resizes);
}

void host_cas_forgets(void)
{
	cas_when_ready(true);
}

void host_cas_without_resizing_forgets(void)
{
	cas_when_ready(false);
}

void host_cas_while_preparing(void)
{
	fresh();
	prepare(0, LARGEST);
	cas_forgets(LARGEST, true);
}

void host_cas_after_no_memory(void)
{
	no_memory();
	ask_host("nolimit");
	cas_forgets(LARGEST, true);
}
