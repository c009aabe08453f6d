// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * H_RESIZE_HPT_MOVE_BOLTED: an extension, offered by hcall-hpt-move-bolted in
 * ibm,hypertas-functions.  Bolted entries may change slot within their group.
 */
#include "table.h"

#define LOW_GROUP	77UL
#define HIGH_GROUP	(LOW_GROUP | 1UL << (LOW_ORDER - 7))

void merge_bolted(int in_low, int in_high, int first)
{
	for (int i = 0; i < in_low + in_high; i++) {
		struct entry *e = &entries[n_entries++];
		/* VSIDs that differ above what the table's size looks at */
		u64 hash = (i < in_low ? LOW_GROUP : HIGH_GROUP) | (u64)(i + 1) << 20;

		*e = (struct entry){
			.hash = hash, .slot = first + (i < in_low ? i : i - in_low),
			.v = (hash << 5) << 7 | V_BOLTED | V_VALID,
			.r = 0x20000000UL + 4096 * i + R_M + PP_READ_WRITE,
			.alive = true, .bolted = true,
		};
		CHECK(enter_at(place(e), e->v, e->r) == H_SUCCESS, "H_ENTER failed");
	}
}

static void begin(int in_low, int in_high, int first)
{
	need_move_bolted();
	fresh();
	resize_and_check(20);
	merge_bolted(in_low, in_high, first);
}

void move_bolted_not_offered(void)
{
	if (offers("hcall-hpt-move-bolted"))
		skip("the host offers hcall-hpt-move-bolted");
	fresh();
	CHECK_RESULT(prepare(MOVE_BOLTED, 20), H_PARAMETER, "not offered");
	CHECK_RESULT(commit(MOVE_BOLTED, 20), H_CLOSED, "none pending");
	CHECK_RESULT(prepare_wait(0, 20), H_SUCCESS, "PREPARE without flags");
	CHECK_RESULT(prepare(MOVE_BOLTED, 20), H_PARAMETER, "not offered");
	CHECK_RESULT(commit(0, 20), H_CLOSED, "discarded by a call that did not match");
}

void move_bolted_another_slot(void)
{
	begin(4, 4, 2);
	CHECK_RESULT(resize(MOVE_BOLTED, LOW_ORDER), H_SUCCESS, "there is room for all 8");
	check_moved_table();
}

/* Entries that are not bolted fill the other slots of both groups. */
void move_bolted_before_others(void)
{
	begin(4, 4, 0);
	for (int i = 0; i < 8; i++) {
		const struct entry *e = &entries[i];
		u64 v = (e->v & ~V_BOLTED) + (1UL << 40);

		CHECK(enter_at(place(e) + 4, v, e->r) == H_SUCCESS, "H_ENTER failed");
	}
	CHECK_RESULT(resize(MOVE_BOLTED, LOW_ORDER), H_SUCCESS, "bolted go before others");
	check_moved_table();
}

/* Nine in a group: the preparation is terminated, and stays so with eight. */
void move_bolted_nine(void)
{
	long ret;

	begin(5, 4, 0);
	ret = prepare_wait(MOVE_BOLTED, LOW_ORDER);
	CHECK(ret == H_PTEG_FULL || ret == H_SUCCESS, "PREPARE gave %s", result_name(ret));
	if (ret == H_PTEG_FULL) {
		remove_entry(&entries[0]);
		CHECK_RESULT(prepare(MOVE_BOLTED, LOW_ORDER), H_PTEG_FULL, "terminated");
	}
	CHECK_RESULT(commit(MOVE_BOLTED, LOW_ORDER), H_PTEG_FULL, "nine wanted a place");
	CHECK_RESULT(commit(MOVE_BOLTED, LOW_ORDER), H_CLOSED, "after H_PTEG_FULL");
	check_table(true);
	if (entries[0].alive)
		remove_entry(&entries[0]);
	CHECK_RESULT(resize(MOVE_BOLTED, LOW_ORDER), H_SUCCESS, "eight have a place");
	check_moved_table();
}

/* Flags belong to the pending HPT: with and without are two. */
void move_bolted_is_another(void)
{
	need_move_bolted();
	fresh();
	for (u64 flags = 0; flags < 2; flags++) {
		CHECK_RESULT(prepare_wait(flags, 20), H_SUCCESS, "PREPARE");
		CHECK_RESULT(commit(!flags, 20), H_CLOSED, "other flags");
		CHECK_RESULT(prepare_wait(!flags, 20), H_SUCCESS, "PREPARE with other flags");
		CHECK_RESULT(commit(flags, 20), H_CLOSED, "discarded by other flags");
		CHECK_RESULT(commit(!flags, 20), H_SUCCESS, "COMMIT");
		now_has_order(20);
		CHECK_RESULT(resize(0, LOW_ORDER), H_SUCCESS, "resize");
	}
}
