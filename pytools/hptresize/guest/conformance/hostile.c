// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A guest that calls at random, from all its processors, for as long as it is told to.
 *
 * Each processor has entries of its own, and knows what is in them.  It does
 * to them what a kernel does, and makes calls with any values in between: those
 * may enter what they like, but name only entries with WILD in their page
 * number, which is in none that has an owner.  Whoever commits keeps the others
 * from their own entries meanwhile, as a kernel has to, but not from the wild
 * calls.  Now and then all pause, and one compares the whole table with what its
 * owners know.
 */
#include "table.h"

#define PER_CPU		96
#define WILD		(1UL << 50)
#define BETWEEN_CHECKS	4000
#define BETWEEN_WORDS	200
#define POLLS		40
#define LIFE_ADDRESS	0x1fe00000
#define LIFE_MAGIC	0x6c6976652d687074UL
#define WAIT_US		60000000

/* Stays in RAM over a system reset, which may come at any moment. */
struct life {
	u64 magic;
	u64 number;
	u64 calls;	/* of the lives before */
	u64 recent;	/* of this one, as far as the host was told */
};

static struct life *const life = (struct life *)LIFE_ADDRESS;
static u64 calls[MAX_CPUS];
static bool reachable[MAX_ENTRIES];
static u64 good_flags;

/* COMMITs that succeeded: those that may have dropped something, or moved it */
static u64 drops, moves;
static u64 seen_drops[MAX_ENTRIES], seen_moves[MAX_ENTRIES];

static u64 committing, busy[MAX_CPUS], pausing, paused[MAX_CPUS], entering;

static u64 below(u64 n)
{
	return random_number() % n;
}

static bool one_in(u64 n)
{
	return !below(n);
}

/* Any value: all bits, few bits, small ones */
static u64 anything(void)
{
	u64 v = random_number() << 32 ^ random_number();

	switch (below(4)) {
	case 0:
		return v;
	case 1:
		return 1UL << (v & 63);
	case 2:
		return v >> (v & 63);
	default:
		return -(v & 255);
	}
}

/* Locks: readers are those that use their own entries, the writer commits. */

#define WAIT_WHILE(condition, what) do {						\
	u64 begin_ = now_us();							\
	while (condition) {							\
		if (asked_to_stop())						\
			leave_test();						\
		CHECK(now_us() - begin_ < WAIT_US, "CPU %d waits for %s for ever",	\
		      (long)my_cpu(), what);					\
	}									\
} while (0)

static u64 get(u64 *p)
{
	return __atomic_load_n(p, __ATOMIC_SEQ_CST);
}

static void set(u64 *p, u64 v)
{
	__atomic_store_n(p, v, __ATOMIC_SEQ_CST);
}

static void begin_own(void)
{
	for (;;) {
		set(&busy[my_cpu()], 1);
		if (!get(&committing))
			return;
		set(&busy[my_cpu()], 0);
		WAIT_WHILE(get(&committing), "a COMMIT");
	}
}

static void end_own(void)
{
	set(&busy[my_cpu()], 0);
}

static void begin_commit(void)
{
	WAIT_WHILE(__atomic_exchange_n(&committing, 1, __ATOMIC_SEQ_CST), "another's COMMIT");
	for (int i = 0; i < cpus_running(); i++)
		WAIT_WHILE(get(&busy[i]), "others before a COMMIT");
}

static void end_commit(void)
{
	set(&committing, 0);
}

/* PREPARE and COMMIT, with what is certain about their results */

static bool is_order(u64 order)
{
	return (int)order >= LOW_ORDER && (int)order <= 46;
}

static bool has_bad_flags(u64 flags)
{
	return flags & ~good_flags;
}

static long checked_prepare(u64 flags, u64 to)
{
	long ret = prepare(flags, to);

	if (has_bad_flags(flags) || ((int)to && !is_order(to)))
		CHECK(ret == H_PARAMETER, "PREPARE(0x%x, 0x%x) gave %s", flags, to,
		      result_name(ret));
	else if (!(int)to)
		CHECK(ret == H_SUCCESS, "PREPARE(0x%x, 0) gave %s", flags, result_name(ret));
	else if ((u32)to > start_order + 1)
		CHECK(ret == H_RESOURCE, "PREPARE(0x%x, 0x%x) gave %s", flags, to,
		      result_name(ret));
	else
		CHECK(ret == H_SUCCESS || is_long_busy(ret) || ret == H_RESOURCE ||
		      (ret == H_PTEG_FULL && flags == MOVE_BOLTED),
		      "PREPARE(0x%x, 0x%x) gave %s", flags, to, result_name(ret));
	return ret;
}

static long checked_commit(u64 flags, u64 to)
{
	bool nonsense = has_bad_flags(flags) || !is_order(to);
	long ret;

	if (!nonsense)
		begin_commit();
	ret = commit(flags, to);
	if (nonsense)
		CHECK(ret == H_CLOSED, "COMMIT(0x%x, 0x%x) gave %s", flags, to,
		      result_name(ret));
	else
		CHECK(ret == H_SUCCESS || ret == H_BUSY || ret == H_CLOSED || ret == H_PTEG_FULL,
		      "COMMIT(0x%x, 0x%x) gave %s", flags, to, result_name(ret));
	if (ret == H_SUCCESS) {
		to = (u32)to;
		drops += to < order || !mirror;
		moves += flags == MOVE_BOLTED;
		now_has_order(to);
	}
	if (!nonsense)
		end_commit();
	return ret;
}

/* Small ones are soon compared. */
static u64 some_order(void)
{
	static const u8 orders[] = { 18, 18, 18, 18, 19, 19, 19, 20, 20, 20, 21, 21, 22 };

	return one_in(40) ? start_order + below(2) : orders[below(sizeof(orders))];
}

static void resize_somewhere(void)
{
	u64 flags = below(2), to = some_order();
	long ret;

	for (int i = 0; i < POLLS; i++) {
		ret = checked_prepare(flags, to);
		if (!is_long_busy(ret))
			break;
	}
	if (ret == H_SUCCESS || one_in(4))
		checked_commit(flags, to);
}

static void wild_resize(void)
{
	u64 flags = one_in(3) ? anything() : below(3);
	u64 to = one_in(3) ? anything() : 16 + below(12);

	if (one_in(3))
		to = 0;
	if (one_in(2))
		checked_prepare(flags, to);
	else
		checked_commit(flags, to);
}

/* Calls that may do anything, but not to an entry that has an owner */

static u64 some_ptex(void)
{
	return one_in(4) ? anything() : below(groups_of(order) * 8);
}

static void wild_enter(void)
{
	struct hcall call = { H_ENTER, { one_in(2) ? H_EXACT : anything(), some_ptex() } };

	call.r[2] = anything() | WILD;
	if (!one_in(8))
		call.r[2] |= V_VALID;
	if (!one_in(8))
		call.r[2] &= ~V_BOLTED;
	call.r[3] = anything();
	if (!one_in(4))
		call.r[3] = (call.r[3] & 0x3ffff1ffUL) | R_M;
	hcall_raw(&call);
}

static void wild_change(void)
{
	struct hcall call = { one_in(2) ? H_REMOVE : H_PROTECT,
			      { anything() | H_AVPN, some_ptex(), anything() | WILD, anything() } };

	hcall_raw(&call);
}

static void wild_bulk_remove(void)
{
	struct hcall call = { H_BULK_REMOVE };

	for (int i = 0; i < 4; i++) {
		call.r[2 * i] = (anything() & ~0x00ffffffffffffffUL) | 2UL << 56 |
				(some_ptex() & 0x00ffffffffffffffUL);
		call.r[2 * i + 1] = anything() | WILD;
	}
	hcall_raw(&call);
}

static void wild_read(void)
{
	struct hcall call = { H_READ, { anything(), some_ptex(), anything(), anything() } };

	hcall_raw(&call);
}

/* Entries of one's own */

/* Where it is by now; false: it is gone, which it may be. */
static bool locate(struct entry *e)
{
	int n = e - entries;
	u64 v, r, base;

	if (in_table(e)) {
		seen_drops[n] = drops;
		seen_moves[n] = moves;
		return true;
	}
	base = place(e) & ~7UL;
	for (int slot = 0; seen_moves[n] != moves && slot < 8; slot++) {
		read_entry(base + slot, &v, &r);
		if (is_entry(e, v, r)) {
			e->slot = slot;
			return locate(e);
		}
	}
	read_entry(place(e), &v, &r);
	CHECK(!e->bolted && seen_drops[n] != drops,
	      "%s entry 0x%x 0x%x is not at 0x%x of order %u: 0x%x 0x%x is",
	      e->bolted ? "bolted" : "other", e->v, e->r, place(e), order, v, r);
	release(e);
	return false;
}

static struct entry *own(void)
{
	return &entries[my_cpu() * PER_CPU + below(PER_CPU)];
}

static void enter_own(struct entry *e)
{
	bool reach = one_in(3);
	struct recipe recipe = {
		.kind = below(2), .segment = below(2), .secondary = one_in(3),
		.bolted = !one_in(3), .reachable = reach,
	};
	int n = e - entries;

	/* No two for one page: one at a time looks whether there is one. */
	WAIT_WHILE(__atomic_exchange_n(&entering, 1, __ATOMIC_SEQ_CST), "H_ENTER of another");
	if (try_enter(e, &recipe)) {
		reachable[n] = reach;
		seen_drops[n] = drops;
		seen_moves[n] = moves;
	}
	set(&entering, 0);
}

static void remove_own(struct entry *e)
{
	remove_entry(e);
	if (!reachable[e - entries])
		return;
	CHECK(access(e) == FAULT_NO_ENTRY, "what was removed translates: 0x%x 0x%x", e->v, e->r);
}

static void bulk_remove_own(struct entry *e)
{
	struct entry *list[4] = { e };
	int n = 1;

	for (int i = 0; i < 8 && n < 4; i++) {
		struct entry *other = own();
		bool twice = !other->alive;

		for (int j = 0; j < n; j++)
			twice |= list[j] == other;
		if (!twice && locate(other))
			list[n++] = other;
	}
	bulk_remove(list, n);
}

/* The MMU is to find it, or to fault as it should; R and C are to be kept. */
static void access_own(struct entry *e)
{
	bool stores = one_in(2), allowed = !stores || (e->r & 3) != PP_READ_ONLY;
	u64 dsisr = stores ? access_store(e) : access(e);

	if (!allowed) {
		CHECK(dsisr & FAULT_PROTECTED, "a store to 0x%x is not allowed, DSISR is 0x%x",
		      e->ea, dsisr);
		return;
	}
	CHECK(!dsisr, "%s entry 0x%x 0x%x does not translate: DSISR is 0x%x",
	      e->bolted ? "bolted" : "other", e->v, e->r, dsisr);
	e->r |= R_R | (stores ? R_C : 0);
}

static void change_own(void)
{
	struct entry *e = own();

	if (e->alive && e->bolted && reachable[e - entries] && one_in(2)) {
		/* Whatever others commit meanwhile */
		access_own(e);
		return;
	}
	begin_own();
	if (!e->alive) {
		enter_own(e);
	} else if (locate(e)) {
		switch (below(4)) {
		case 0:
			remove_own(e);
			break;
		case 1:
			bulk_remove_own(e);
			break;
		case 2:
			protect_entry(e);
			break;
		default:
			if (reachable[e - entries])
				access_own(e);
		}
	}
	end_own();
}

/* All pause: is the table what its owners know it to be? Wild entries go. */

static struct entry *find(u64 v, u64 r, u64 ptex)
{
	for (int i = 0; i < n_entries; i++) {
		struct entry *e = &entries[i];

		if (e->alive && is_entry(e, v, r) && place(e) == ptex)
			return e;
	}
	return NULL;
}

static u64 compare_table(void)
{
	u64 found = 0, end = groups_of(order) * 8;

	for (u64 ptex = 0; ptex < end; ptex += 4) {
		struct hcall call = { H_READ, { H_READ_4, ptex } };

		hcall_raw(&call);
		CHECK(call.ret == H_SUCCESS, "H_READ of 0x%x of order %u gave %s", ptex, order,
		      result_name(call.ret));
		for (int i = 0; i < 4; i++) {
			u64 v = call.r[2 * i] & ~V_SOFTWARE, r = call.r[2 * i + 1];

			if (!(v & V_VALID))
				continue;
			if (v & WILD) {
				CHECK_RESULT(hcall(H_REMOVE, 0, ptex + i, 0, 0), H_SUCCESS,
					     "a wild entry");
				continue;
			}
			CHECK(find(v, r, ptex + i), "nobody entered 0x%x 0x%x at 0x%x of order %u",
			      v, r, ptex + i, order);
			found++;
		}
	}
	return found;
}

static void check_all(void)
{
	struct hcall behind = { H_READ, { 0, groups_of(order) * 8 } };
	u64 alive = 0, found;

	for (int i = 0; i < n_entries; i++)
		alive += entries[i].alive && locate(&entries[i]);
	found = compare_table();
	CHECK(found == alive, "%u entries in the table have an owner, %u should", found, alive);
	hcall_raw(&behind);
	CHECK(behind.ret == H_PARAMETER, "the table is larger than 2^%u", order);
}

static void pause_all(void)
{
	set(&pausing, 1);
	for (int i = 1; i < cpus_running(); i++)
		WAIT_WHILE(!get(&paused[i]), "others to pause");
}

static void go_on(void)
{
	set(&pausing, 0);
	for (int i = 1; i < cpus_running(); i++)
		WAIT_WHILE(get(&paused[i]), "others to go on");
}

static void pause_if_asked(void)
{
	if (!get(&pausing))
		return;
	set(&paused[my_cpu()], 1);
	WAIT_WHILE(get(&pausing), "the end of a pause");
	set(&paused[my_cpu()], 0);
}

static void some_call(void)
{
	u64 dice = below(100);

	calls[my_cpu()]++;
	if (dice < 60)
		change_own();
	else if (dice < 72)
		wild_enter();
	else if (dice < 80)
		wild_change();
	else if (dice < 84)
		wild_bulk_remove();
	else if (dice < 92)
		wild_read();
	else if (dice < 98)
		wild_resize();
	else
		resize_somewhere();
}

static void call_until_stopped(void)
{
	mmu_on_this_cpu();
	while (!asked_to_stop()) {
		pause_if_asked();
		some_call();
	}
}

static u64 all_calls(void)
{
	u64 all = 0;

	for (int i = 0; i < MAX_CPUS; i++)
		all += calls[i];
	return all;
}

/* A number of digits to the host: how far we are */
static void tell_calls(void)
{
	char text[24], *p = text + sizeof(text) - 1;
	u64 n;

	life->recent = all_calls();
	n = life->calls + life->recent;
	*p = 0;
	do {
		*--p = '0' + n % 10;
		n /= 10;
	} while (n);
	tell_host(p);
}

static void begin_life(u64 seed)
{
	if (life->magic != LIFE_MAGIC)
		*life = (struct life){ LIFE_MAGIC };
	life->number++;
	life->calls += life->recent;
	life->recent = 0;
	seed_random(seed * 1000 + life->number);
	n_entries = cpus_running() * PER_CPU;
	good_flags = offers("hcall-hpt-move-bolted") ? MOVE_BOLTED : 0;
	order = start_order;
	mmu_prepare_memory();
	check_all();
}

/* Makes that many calls, over any number of resets. */
void hostile(u64 seed, u64 wanted, u64 n_cpus, bool migrates)
{
	u64 next_check = BETWEEN_CHECKS, next_word = 0, checks = 0;

	bits_may_go = migrates;
	start_cpus(n_cpus);
	begin_life(seed);
	on_others(call_until_stopped);
	while (life->calls + all_calls() < wanted) {
		if (asked_to_stop())
			leave_test();
		some_call();
		if (calls[0] >= next_word) {
			tell_calls();
			next_word = calls[0] + BETWEEN_WORDS;
		}
		if (calls[0] < next_check)
			continue;
		next_check = calls[0] + BETWEEN_CHECKS;
		pause_all();
		check_all();
		checks++;
		if (one_in(2)) {
			resize_somewhere();
			check_all();
			checks++;
		}
		go_on();
	}
	pause_all();
	check_all();
	say("# calls %u, life %u, checks %u, commits that dropped %u, that moved %u\n",
	    life->calls + all_calls(), life->number, checks, drops, moves);
	go_on();
	ask_to_stop();
	wait_others();
}
