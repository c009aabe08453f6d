// SPDX-License-Identifier: GPL-2.0-or-later
/* Entries that are entered, changed and removed between PREPARE and COMMIT. */
#include "table.h"

#define SHARE	160	/* entries of a CPU */

static const struct recipe recipes[] = {
	{ K4, S256M, .bolted = true }, { K4, S1T }, { K64, S256M }, { K64, S1T, .bolted = true },
	{ K4, S256M, .secondary = true }, { K64, S1T, .secondary = true },
	{ K64, S256M, .bolted = true }, { K4, S1T, .bolted = true },
};

/* One change to one of this CPU's own entries */
static void change_one(void)
{
	struct entry *e = &entries[my_cpu() * SHARE + random_number() % SHARE];

	if (!e->alive) {
		enter_into(e, &recipes[random_number() % ARRAY_SIZE(recipes)]);
		return;
	}
	switch (random_number() % 4) {
	case 0:
		remove_entry(e);
		break;
	case 1:
		bulk_remove(&e, 1);
		break;
	default:
		protect_entry(e);
	}
}

static void change_until_asked(void)
{
	while (!asked_to_stop())
		change_one();
}

static void begin(void)
{
	fresh();
	n_entries = cpus_running() * SHARE;
	for (int i = 0; i < n_entries; i++)
		enter_into(&entries[i], &recipes[i % ARRAY_SIZE(recipes)]);
}

static void round_trip(u64 to)
{
	u64 from = order;
	long ret;

	on_others(change_until_asked);
	do {
		change_one();
		ret = prepare(0, to);
	} while (is_long_busy(ret));
	CHECK(ret == H_SUCCESS, "PREPARE gave %s", result_name(ret));
	for (int i = 0; i < 50; i++)
		change_one();
	ask_to_stop();
	wait_others();
	for (int i = 0; i < 10; i++)
		change_one();
	ret = commit(0, to);
	CHECK(ret == H_SUCCESS, "resize from %u to %u gave %s", from, to, result_name(ret));
	now_has_order(to);
	check_table(to >= from && mirror);
}

static void many(int rounds)
{
	static const u8 path[] = { 19, 20, 18, 21, 20, 18 };

	begin();
	for (int i = 0; i < rounds; i++)
		round_trip(path[i % ARRAY_SIZE(path)]);
}

void changes_one_cpu(void)
{
	many(18);
}

void changes_two_cpus(void)
{
	many(18);
}

void changes_slow_two_cpus(void)
{
	many(12);
}

void changes_four_cpus(void)
{
	many(12);
}

/* Single changes, one of a kind, when the preparation is ready */
static void prepared(bool bolted, u64 from, u64 to)
{
	struct recipe recipe = { K4, S256M, .bolted = bolted };

	fresh();
	if (from != order)
		resize_and_check(from);
	fill(&recipe, 100);
	CHECK_RESULT(prepare_wait(0, to), H_SUCCESS, "PREPARE");
}

static void finish(u64 to)
{
	bool grows = to >= order;

	CHECK_RESULT(commit(0, to), H_SUCCESS, "COMMIT after changes");
	now_has_order(to);
	check_table(grows && mirror);
}

static void each_way(void (*change)(void))
{
	for (int bolted = 0; bolted < 2; bolted++)
		for (int shrink = 0; shrink < 2; shrink++) {
			prepared(bolted, shrink ? 20 : 18, shrink ? 18 : 20);
			change();
			finish(shrink ? 18 : 20);
		}
}

static void enter_some(void)
{
	struct recipe bolted = { K64, S1T, .bolted = true }, other = { K4, S256M };

	fill(&bolted, 50);
	fill(&other, 50);
}

static void remove_some(void)
{
	for (int i = 0; i < n_entries; i += 2)
		remove_entry(&entries[i]);
}

static void bulk_remove_some(void)
{
	for (int i = 0; i + 8 < n_entries; i += 8)
		bulk_remove((struct entry *[]){ &entries[i], &entries[i + 2], &entries[i + 3],
						&entries[i + 7] }, 4);
}

static void protect_some(void)
{
	for (int i = 0; i < n_entries; i += 2)
		protect_entry(&entries[i]);
}

static void replace_some(void)
{
	for (int i = 0; i < n_entries; i += 2) {
		struct entry *e = &entries[i];
		u64 v = e->v, r = e->r, ptex = place(e);

		remove_entry(e);
		e->alive = true;
		e->r = r ^ 0x40000;
		CHECK(enter_at(ptex, v, e->r) == H_SUCCESS, "H_ENTER into the same slot failed");
	}
}

void changes_enter_when_ready(void)
{
	each_way(enter_some);
}

void changes_remove_when_ready(void)
{
	each_way(remove_some);
}

void changes_bulk_remove_when_ready(void)
{
	each_way(bulk_remove_some);
}

void changes_protect_when_ready(void)
{
	each_way(protect_some);
}

void changes_replace_when_ready(void)
{
	each_way(replace_some);
}

/* A preparation that is cancelled leaves nothing of itself in the table. */
void changes_cancel(void)
{
	begin();
	for (int i = 0; i < 20; i++) {
		u64 to = i % 2 ? 19 : 22;

		on_others(change_until_asked);
		prepare(0, to);
		for (int n = 0; n < 20; n++)
			change_one();
		CHECK_RESULT(prepare(0, 0), H_SUCCESS, "cancel");
		ask_to_stop();
		wait_others();
		check_table(true);
	}
}
