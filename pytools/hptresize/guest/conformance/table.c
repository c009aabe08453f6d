// SPDX-License-Identifier: GPL-2.0-or-later
/* The model of the table: entries with known contents, entered, changed, compared. */
#include "table.h"

#define MEMORY		0x20000000UL	/* the pages that entries map */
#define MEMORY_SIZE	0x04000000UL
#define MAGIC		0x7061676500000000UL
#define WINDOW		0x0000100000000000UL
#define PREPARE_US	20000000

struct entry entries[MAX_ENTRIES];
int n_entries;
u64 order;
bool bits_may_go;

/* A place in the smallest table for each bolted entry: they can always shrink. */
static u8 claimed[1 << (LOW_ORDER - 4)];

static const struct {
	u8 base, actual;
	u64 large, lp, llp;
} kinds[] = {
	[K4] = { 12, 12, 0, 0, 0 },
	[K64] = { 16, 16, V_LARGE, 0x1, 0x110 },
	[K16M] = { 24, 24, V_LARGE, 0x0, 0x100 },
	[K64_IN_16M] = { 16, 24, V_LARGE, 0x8, 0x110 },
	[K4_IN_16M] = { 12, 24, V_LARGE, 0x38, 0 },
};

u64 groups_of(u64 of_order)
{
	return 1UL << (of_order - 7);
}

static u64 place_at(const struct entry *e, u64 of_order)
{
	u64 hash = e->secondary ? ~e->hash : e->hash;

	return (hash & (groups_of(of_order) - 1)) * 8 + e->slot;
}

u64 place(const struct entry *e)
{
	return place_at(e, order);
}

void read_entry(u64 ptex, u64 *v, u64 *r)
{
	struct hcall call = { H_READ, { 0, ptex } };

	hcall_raw(&call);
	CHECK(call.ret == H_SUCCESS, "H_READ of 0x%x of a table of order %u gave %s",
	      ptex, order, result_name(call.ret));
	*v = call.r[0] & ~V_SOFTWARE;
	*r = call.r[1];
}

bool is_entry(const struct entry *e, u64 v, u64 r)
{
	u64 differ = bits_may_go ? ~(R_R | R_C) : ~0UL;

	return v == e->v && !((r ^ e->r) & differ);
}

bool in_table(const struct entry *e)
{
	u64 v, r;

	read_entry(place(e), &v, &r);
	return is_entry(e, v, r);
}

long enter_at(u64 ptex, u64 v, u64 r)
{
	return hcall(H_ENTER, H_EXACT, ptex, v, r);
}

/* One VSID for each pair of segment size and base page size, and its window */
static u64 fixed_vsid(enum segment segment, int base)
{
	return 0x1235ab + 0x1000 * base + 0x777 * segment;
}

static u64 window(enum segment segment, int base)
{
	return WINDOW + ((u64)base << 42) + ((u64)segment << 40);
}

static void invent(struct entry *e, const struct recipe *recipe)
{
	int base = kinds[recipe->kind].base, actual = kinds[recipe->kind].actual;
	int segment_shift = recipe->segment == S1T ? 40 : 28;
	u64 vsid_bits = recipe->segment == S1T ? 24 : 36;
	u64 vsid = recipe->reachable ? fixed_vsid(recipe->segment, base) :
		   random_number() & ((1UL << vsid_bits) - 1);
	u64 page = random_number() & ((1UL << (segment_shift - base)) - 1);
	u64 offset;
	u64 avpn;
	u64 real = MEMORY + (random_number() % MEMORY_SIZE & ~((1UL << actual) - 1));

	/* The upper half of the large segments is for pages without an entry. */
	if (recipe->reachable && recipe->segment == S1T)
		page &= ~(1UL << (39 - base));
	if (recipe->crowded) {
		u64 target = recipe->secondary ? ~recipe->group : recipe->group;
		u64 mask = groups_of(CROWDED_ORDER) - 1;

		page = (page & ~mask) | ((vsid ^ target) & mask);
	}
	offset = page << base;
	avpn = vsid << (segment_shift - 23) | offset >> 23;
	e->hash = vsid ^ page;
	if (recipe->segment == S1T)
		e->hash ^= vsid << 25;
	e->ea = recipe->reachable ? window(recipe->segment, base) + offset : 0;
	e->kind = recipe->kind;
	e->secondary = recipe->secondary;
	e->bolted = recipe->bolted;
	e->slot = random_number() % 8;
	e->v = (u64)recipe->segment << 62 | avpn << 7 | kinds[recipe->kind].large | V_VALID |
	       (recipe->secondary ? V_SECONDARY : 0) | (recipe->bolted ? V_BOLTED : 0);
	e->r = real | kinds[recipe->kind].lp << 12 | R_M | PP_READ_WRITE;
}

static bool same_page(const struct entry *a, const struct entry *b)
{
	return a->hash == b->hash && !((a->v ^ b->v) & ~(V_BOLTED | V_SECONDARY));
}

/* Two entries for one page would make the MMU choose. */
static bool is_new(const struct entry *e)
{
	for (int i = 0; e->ea && i < n_entries; i++)
		if (&entries[i] != e && entries[i].alive && same_page(&entries[i], e))
			return false;
	return true;
}

static bool claim(struct entry *e)
{
	if (!e->bolted)
		return true;
	e->claim = place_at(e, LOW_ORDER);
	return !__atomic_exchange_n(&claimed[e->claim], 1, __ATOMIC_SEQ_CST);
}

void release(struct entry *e)
{
	e->alive = false;
	if (e->bolted)
		__atomic_store_n(&claimed[e->claim], 0, __ATOMIC_SEQ_CST);
}

bool try_enter(struct entry *e, const struct recipe *recipe)
{
	long ret;

	invent(e, recipe);
	if (!is_new(e) || (!recipe->crowded && !claim(e)))
		return false;
	ret = enter_at(place(e), e->v, e->r);
	e->alive = ret == H_SUCCESS;
	if (e->alive)
		return true;
	release(e);
	if (ret == H_PARAMETER && kinds[e->kind].actual > 16)
		skip("no pages of 16M: wants cap-hpt-max-page-size=16777216");
	CHECK(ret == H_PTEG_FULL, "H_ENTER gave %s", result_name(ret));
	return false;
}

void enter_into(struct entry *e, const struct recipe *recipe)
{
	for (int tries = 0; tries < 1000; tries++)
		if (try_enter(e, recipe))
			return;
	fail("no place for an entry in 1000 tries");
}

void fill(const struct recipe *recipe, int count)
{
	while (count--) {
		CHECK(n_entries < MAX_ENTRIES, "the model is full");
		enter_into(&entries[n_entries], recipe);
		n_entries++;
	}
}

void remove_entry(struct entry *e)
{
	struct hcall call = { H_REMOVE, { H_AVPN, place(e), e->v & ~0x7fUL } };

	hcall_raw(&call);
	CHECK(call.ret == H_SUCCESS, "H_REMOVE of an entry that is in the table gave %s",
	      result_name(call.ret));
	CHECK(is_entry(e, call.r[0] & ~V_SOFTWARE, call.r[1]),
	      "H_REMOVE gave back 0x%x 0x%x, entered was 0x%x 0x%x",
	      call.r[0], call.r[1], e->v, e->r);
	release(e);
}

void bulk_remove(struct entry **e, int count)
{
	struct hcall call = { H_BULK_REMOVE, { } };

	for (int i = 0; i < 4; i++)
		call.r[2 * i] = 3UL << 62;
	for (int i = 0; i < count; i++) {
		call.r[2 * i] = 1UL << 62 | 2UL << 56 | place(e[i]);
		call.r[2 * i + 1] = e[i]->v & ~0x7fUL;
	}
	hcall_raw(&call);
	CHECK(call.ret == H_SUCCESS, "H_BULK_REMOVE gave %s", result_name(call.ret));
	for (int i = 0; i < count; i++) {
		CHECK(call.r[2 * i] >> 60 == 8, "H_BULK_REMOVE did not find an entry");
		release(e[i]);
	}
}

void protect_entry(struct entry *e)
{
	u64 pp = random_number() % 4;
	long ret = hcall(H_PROTECT, H_AVPN | pp, place(e), e->v & ~0x7fUL, 0);

	CHECK(ret == H_SUCCESS, "H_PROTECT of an entry that is in the table gave %s",
	      result_name(ret));
	e->r = (e->r & ~3UL) | pp;
}

void need_move_bolted(void)
{
	if (!offers("hcall-hpt-move-bolted"))
		skip("the host does not offer hcall-hpt-move-bolted");
}

long prepare_wait(u64 flags, u64 new_order)
{
	u64 begin = now_us();
	long ret;

	do {
		ret = prepare(flags, new_order);
		CHECK(now_us() - begin < PREPARE_US, "PREPARE of %u has no end", new_order);
	} while (is_long_busy(ret));
	return ret;
}

void now_has_order(u64 new_order)
{
	order = new_order;
}

long resize(u64 flags, u64 new_order)
{
	long ret = prepare_wait(flags, new_order);

	if (ret == H_SUCCESS)
		ret = commit(flags, new_order);
	if (ret == H_SUCCESS)
		now_has_order(new_order);
	return ret;
}

u64 find_order(void)
{
	struct hcall call;
	u64 found = LOW_ORDER;

	do {
		call = (struct hcall){ H_READ, { 0, groups_of(found) * 8 } };
		hcall_raw(&call);
	} while (call.ret == H_SUCCESS && ++found);
	return found;
}

static u64 count_valid(u64 *last)
{
	u64 found = 0, end = groups_of(order) * 8;

	for (u64 ptex = 0; ptex < end; ptex += 4) {
		struct hcall call = { H_READ, { H_READ_4, ptex } };

		hcall_raw(&call);
		CHECK(call.ret == H_SUCCESS, "H_READ of 0x%x gave %s", ptex,
		      result_name(call.ret));
		for (int i = 0; i < 4; i++) {
			if (!(call.r[2 * i] & V_VALID))
				continue;
			found++;
			*last = ptex + i;
		}
	}
	return found;
}

void check_table(bool all_kept)
{
	u64 kept = 0, found, last = 0;

	for (int i = 0; i < n_entries; i++) {
		struct entry *e = &entries[i];

		if (!e->alive)
			continue;
		if (in_table(e)) {
			kept++;
			continue;
		}
		if (e->bolted || all_kept) {
			u64 v, r;

			read_entry(place(e), &v, &r);
			fail("%s entry 0x%x 0x%x is not at 0x%x of order %u: 0x%x 0x%x is",
			     e->bolted ? "bolted" : "other", e->v, e->r, place(e), order, v, r);
		}
		release(e);
	}
	found = count_valid(&last);
	CHECK(found == kept, "%u valid entries in the table, %u of them where they may be; "
	      "last one 0x%x of order %u", found, kept, last, order);
}

static bool find_in_group(struct entry *e)
{
	u64 v, r, ptex = place(e) & ~7UL;

	for (int slot = 0; slot < 8; slot++) {
		read_entry(ptex + slot, &v, &r);
		if (v == e->v && r == e->r) {
			e->slot = slot;
			return true;
		}
	}
	return false;
}

void check_moved_table(void)
{
	for (int i = 0; i < n_entries; i++) {
		struct entry *e = &entries[i];

		if (e->alive && e->bolted)
			CHECK(find_in_group(e), "bolted entry 0x%x 0x%x is not in group 0x%x of "
			      "order %u", e->v, e->r, place(e) / 8, order);
	}
	check_table(false);
}

void learn_bits(void)
{
	for (int i = 0; i < n_entries; i++) {
		struct entry *e = &entries[i];
		u64 v, r;

		if (!e->alive)
			continue;
		read_entry(place(e), &v, &r);
		CHECK(v == e->v && !((r ^ e->r) & ~(R_R | R_C)),
		      "entry 0x%x 0x%x is 0x%x 0x%x in the table", e->v, e->r, v, r);
		e->r = r;
	}
}

bool fits(u64 flags, u64 new_order)
{
	static u8 taken[1 << (CROWDED_ORDER - 4)];
	bool all = true;

	for (int i = 0; i < n_entries; i++) {
		u64 at = place_at(&entries[i], new_order);

		taken[at] = 0;
		taken[at & ~7UL] = 0;
	}
	for (int i = 0; i < n_entries; i++) {
		const struct entry *e = &entries[i];
		u64 at = place_at(e, new_order);

		if (!e->alive || !e->bolted)
			continue;
		if (flags & MOVE_BOLTED)
			all &= ++taken[at & ~7UL] <= 8;
		else
			all &= ++taken[at] <= 1;
	}
	return all;
}

void resize_and_check(u64 new_order)
{
	bool grows = new_order >= order;
	u64 from = order;
	long ret = resize(0, new_order);

	CHECK(ret == H_SUCCESS, "resize from %u to %u gave %s", from, new_order, result_name(ret));
	check_table(grows && mirror);
}

void sweep(void)
{
	for (u64 ptex = 0; ptex < groups_of(order) * 8; ptex++)
		hcall(H_REMOVE, 0, ptex, 0, 0);
	n_entries = 0;
}

void fresh(void)
{
	long ret;

	if (!order)
		order = start_order;
	for (int i = 0; i < n_entries; i++)
		if (entries[i].alive && in_table(&entries[i]))
			remove_entry(&entries[i]);
	memset(entries, 0, sizeof(entries));
	memset(claimed, 0, sizeof(claimed));
	n_entries = 0;
	ret = resize(0, LOW_ORDER);
	CHECK(ret == H_SUCCESS, "resize of an empty table to 18 gave %s", result_name(ret));
	check_table(true);
}

/* Accesses */

bool has_16m;
static const u8 bases[] = { 12, 16, 24 };
static const u64 llps[] = { 0, 0x110, 0x100 };

void mmu_on_this_cpu(void)
{
	int slot = 1;

	for (int s = S256M; s <= S1T; s++)
		for (u32 i = 0; i < (has_16m ? 3 : 2); i++) {
			u64 vsid = fixed_vsid(s, bases[i]) << (s == S1T ? 24 : 12);
			u64 ea = window(s, bases[i]);

			set_segment(slot++, ea, (u64)s << 62 | vsid | llps[i]);
		}
}

void mmu_prepare_memory(void)
{
	static bool done;

	if (!done) {
		for (u64 at = MEMORY; at < MEMORY + MEMORY_SIZE; at += 4096)
			*(u64 *)at = MAGIC | at;
		install_vectors();
	}
	done = true;
	mmu_on_this_cpu();
}

static u64 real_address(const struct entry *e)
{
	u64 inside = (1UL << kinds[e->kind].actual) - 1;

	return (e->r & R_RPN & ~inside) | (e->ea & inside);
}

u64 access(const struct entry *e)
{
	u64 value = 0, dsisr = load_translated(e->ea, &value);

	CHECK(dsisr || value == (MAGIC | real_address(e)),
	      "a load from 0x%x read 0x%x, not memory of 0x%x", e->ea, value, real_address(e));
	return dsisr;
}

u64 walk_for(const struct entry *e, u64 times)
{
	u64 vsid = fixed_vsid(S256M, 12) << 12, esid = window(S256M, 12) | 1 << 27 | 1;
	u64 got = walk_translated(e->ea, MAGIC | real_address(e), vsid, esid, times);

	CHECK(got != 1, "a load from 0x%x read other memory", e->ea);
	return got;
}

u64 access_store(const struct entry *e)
{
	return store_translated(e->ea, MAGIC | real_address(e));
}

u64 unmapped_ea(void)
{
	return window(S1T, 16) + (1UL << 39) + (random_number() % (1UL << 22) << 16);
}
