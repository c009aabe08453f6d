// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Few groups that hold many entries.
 *
 * The table shrinks from CROWDED_ORDER to LOW_ORDER, so that four groups become
 * one and entries want the same slot.  They come and go, are protected and
 * accessed before, while and after the next table is prepared.  The model says
 * whether all bolted ones fit; the host has to agree.
 */
#include "table.h"

#define GROUPS		4
#define ENTRIES		(GROUPS * 22)
#define ROUNDS		40

static u64 crowd_flags;

static void invent_one(struct entry *e)
{
	struct recipe recipe = {
		.kind = random_number() % 4 ? K4 : K64,
		.segment = S1T,
		.secondary = random_number() % 4 == 0,
		.bolted = random_number() % 5 < 3,
		.reachable = true,
		.crowded = true,
		.group = random_number() % GROUPS * 0x155 |
			 random_number() % 4 << (LOW_ORDER - 7),
	};

	try_enter(e, &recipe);
}

static void load_or_store(struct entry *e)
{
	bool store = random_number() % 2, read_only = (e->r & 3) == PP_READ_ONLY;
	u64 dsisr = store ? access_store(e) : access(e);

	if (store && read_only) {
		CHECK(dsisr & FAULT_PROTECTED, "a store to a read-only page: DSISR 0x%x", dsisr);
		return;
	}
	CHECK(!dsisr, "an entry at 0x%x of order %u does not translate: DSISR 0x%x", place(e),
	      order, dsisr);
	e->r |= store ? R_R | R_C : R_R;
}

static void crowd_one(bool alone)
{
	struct entry *e = &entries[random_number() % ENTRIES];

	if (!e->alive) {
		invent_one(e);
		return;
	}
	switch (random_number() % 4) {
	case 0:
		/* Others may have set its bits since. */
		if (!alone)
			CHECK_RESULT(hcall(H_REMOVE, H_AVPN, place(e), e->v & ~0x7fUL, 0),
				     H_SUCCESS, "an entry that is in the table");
		else
			remove_entry(e);
		e->alive = false;
		break;
	case 1:
		protect_entry(e);
		break;
	default:
		if (alone)
			load_or_store(e);
	}
}

/* Returns whether all bolted entries would have fitted all the time. */
static bool crowd_some(int count, bool alone, u64 to)
{
	bool fitted = true;

	while (count--) {
		crowd_one(alone);
		fitted &= fits(crowd_flags, to);
	}
	return fitted;
}

/*
 * Grow: all fit.  Shrink: the host has to say what the model says.  If two met
 * while the next table was prepared, but do no longer, it may say either.
 */
static void crowd_round(bool alone, u64 *refused)
{
	u64 to = order == LOW_ORDER ? CROWDED_ORDER : LOW_ORDER;
	bool fitted;
	long ret;

	crowd_some(40, alone, to);
	fitted = fits(crowd_flags, to);
	do {
		ret = prepare(crowd_flags, to);
		if (is_long_busy(ret))
			fitted &= crowd_some(2, alone, to);
	} while (is_long_busy(ret));
	if (ret == H_SUCCESS)
		fitted &= crowd_some(random_number() % 16, alone, to);
	if (!alone) {
		ask_to_stop();
		wait_others();
		learn_bits();
	}
	if (ret == H_SUCCESS) {
		ret = commit(crowd_flags, to);
	} else {
		CHECK(crowd_flags && ret == H_PTEG_FULL, "PREPARE gave %s", result_name(ret));
		CHECK_RESULT(prepare(0, 0), H_SUCCESS, "discard");
	}
	if (ret == H_PTEG_FULL) {
		CHECK(!fitted, "all bolted entries fit, the answer is H_PTEG_FULL");
		(*refused)++;
		check_table(true);
		if (!fits(crowd_flags, to))
			return;
		ret = resize(crowd_flags, to);
	}
	CHECK(ret == H_SUCCESS, "all bolted entries fit, a resize gave %s", result_name(ret));
	CHECK(fits(crowd_flags, to), "COMMIT gave H_SUCCESS, not all bolted entries fit");
	now_has_order(to);
	if (crowd_flags & MOVE_BOLTED)
		check_moved_table();
	else
		check_table(mirror && to == CROWDED_ORDER);
}

static void begin(u64 flags)
{
	if (flags)
		need_move_bolted();
	crowd_flags = flags;
	fresh();
	mmu_prepare_memory();
	on_others(mmu_on_this_cpu);
	wait_others();
	resize_and_check(CROWDED_ORDER);
	n_entries = ENTRIES;
}

/* Thin out until it fits, so that shrinking is not refused for ever. */
static void thin_out(void)
{
	for (int i = 0; i < ENTRIES && !fits(crowd_flags, LOW_ORDER); i++)
		if (entries[i].alive && entries[i].bolted) {
			learn_bits();
			remove_entry(&entries[i]);
		}
}

static void crowd(u64 flags, int rounds, void (*others)(void))
{
	u64 refused = 0;

	begin(flags);
	for (int i = 0; i < rounds; i++) {
		if (others)
			on_others(others);
		crowd_round(!others, &refused);
		ask_to_stop();
		wait_others();
		if (others)
			learn_bits();
		if (random_number() % 2)
			thin_out();
		for (int n = 0; n < ENTRIES; n++)
			if (!others && entries[n].alive && random_number() % 4 == 0)
				load_or_store(&entries[n]);
	}
	sweep();
	if (!refused || refused == (u64)rounds)	/* a test that tests little */
		say("# %u of %u shrinks refused\n", refused, (u64)rounds);
}

void crowd_same_slot(void)
{
	crowd(0, ROUNDS, NULL);
}

void crowd_move_bolted(void)
{
	crowd(MOVE_BOLTED, ROUNDS, NULL);
}

/* Another CPU sets R and C, and must not come to see what is gone. */
static void access_any(void)
{
	while (!asked_to_stop()) {
		u64 ea = __atomic_load_n(&entries[random_number() % ENTRIES].ea, __ATOMIC_RELAXED);
		u64 value;

		if (!ea)
			continue;
		if (random_number() % 2)
			load_translated(ea, &value);
		else
			store_translated(ea + 8, 0);
	}
}

void crowd_accesses(void)
{
	crowd(0, ROUNDS, access_any);
}

void crowd_accesses_move_bolted(void)
{
	crowd(MOVE_BOLTED, ROUNDS, access_any);
}

void crowd_slow_accesses(void)
{
	crowd(0, ROUNDS / 2, access_any);
}

void crowd_slow_accesses_move_bolted(void)
{
	crowd(MOVE_BOLTED, ROUNDS / 2, access_any);
}

/*
 * Two want one slot when the preparation is ready; one of them goes again.  A host
 * that has seen it has ended the preparation; one that looks in COMMIT has not.
 */
void crowd_relieved_when_ready(void)
{
	struct recipe recipe = { K4, S1T, .bolted = true, .crowded = true, .group = 77 };
	struct entry *first = &entries[0], *second = &entries[1];
	u64 high = 1UL << (LOW_ORDER - 7);

	for (int which = 0; which < 2; which++) {
		long ret;

		begin(0);
		enter_into(first, &recipe);
		CHECK_RESULT(prepare_wait(0, LOW_ORDER), H_SUCCESS, "PREPARE");
		recipe.group = 77 | high;
		do {
			if (second->alive)
				remove_entry(second);
			enter_into(second, &recipe);
		} while (second->slot != first->slot);
		remove_entry(which ? first : second);
		CHECK_RESULT(prepare(0, LOW_ORDER), H_SUCCESS, "only COMMIT tells");
		ret = commit(0, LOW_ORDER);
		CHECK(ret == H_PTEG_FULL || (ret == H_SUCCESS && !mirror), "COMMIT gave %s",
		      result_name(ret));
		if (ret == H_PTEG_FULL) {
			CHECK_RESULT(commit(0, LOW_ORDER), H_CLOSED, "after H_PTEG_FULL");
			check_table(true);
			CHECK_RESULT(resize(0, LOW_ORDER), H_SUCCESS, "what is left fits");
		}
		now_has_order(LOW_ORDER);
		check_table(false);
		recipe.group = 77;
	}
}
