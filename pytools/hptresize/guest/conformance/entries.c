// SPDX-License-Identifier: GPL-2.0-or-later
/* Entries of all kinds: where they are after the table has grown and shrunk. */
#include "table.h"

static void there_and_back(enum kind kind, enum segment segment, bool secondary)
{
	static const u8 path[] = { 19, 18, 21, 19, 20, 18 };
	struct recipe bolted = { kind, segment, secondary, .bolted = true };
	struct recipe other = { kind, segment, secondary };

	fresh();
	fill(&bolted, 150);
	for (u32 i = 0; i < ARRAY_SIZE(path); i++) {
		fill(&other, 150);
		resize_and_check(path[i]);
	}
}

#define BOTH(name, kind, segment)						\
	void entries_##name(void) { there_and_back(kind, segment, false); }	\
	void entries_##name##_secondary(void) { there_and_back(kind, segment, true); }

BOTH(4k_256m, K4, S256M)
BOTH(4k_1t, K4, S1T)
BOTH(64k_256m, K64, S256M)
BOTH(64k_1t, K64, S1T)
BOTH(16m_256m, K16M, S256M)
BOTH(16m_1t, K16M, S1T)
BOTH(64k_in_16m_256m, K64_IN_16M, S256M)
BOTH(64k_in_16m_1t, K64_IN_16M, S1T)
BOTH(4k_in_16m_256m, K4_IN_16M, S256M)
BOTH(4k_in_16m_1t, K4_IN_16M, S1T)

/* Few bolted entries in tables of each order up to the largest */
void entries_all_orders(void)
{
	struct recipe recipe = { K4, S1T, .bolted = true };

	fresh();
	fill(&recipe, 500);
	for (u64 to = 18; to <= start_order + 1; to++)
		CHECK_RESULT(resize(0, to), H_SUCCESS, "growing by one");
	for (u64 to = start_order; to >= 20; to--)
		CHECK_RESULT(resize(0, to), H_SUCCESS, "shrinking by one");
	check_table(false);
	CHECK_RESULT(resize(0, start_order + 1), H_SUCCESS, "20 to the largest");
	resize_and_check(LOW_ORDER);
}

/* Every slot of every group taken by a bolted entry: it can grow and come back. */
void entries_full_table(void)
{
	u64 count = 0;

	fresh();
	for (u64 group = 0; group < groups_of(LOW_ORDER); group++)
		for (u64 slot = 0; slot < 8; slot++) {
			u64 vsid = slot << 20, page = group;
			u64 v = (vsid << 5 | page >> 11) << 7 | V_BOLTED | V_VALID;
			long ret = enter_at(group * 8 + slot, v, 0x20000000 | R_M | PP_READ_WRITE);

			CHECK(ret == H_SUCCESS, "H_ENTER gave %s", result_name(ret));
			count++;
		}
	for (u64 to = 19; to <= 20; to++)
		CHECK_RESULT(resize(0, to), H_SUCCESS, "a full table grows");
	CHECK_RESULT(resize(0, LOW_ORDER), H_SUCCESS, "and comes back");
	for (u64 ptex = 0; ptex < count; ptex++) {
		u64 v, r;

		read_entry(ptex, &v, &r);
		CHECK(v == (((ptex % 8 << 20) << 5 | ptex / 8 >> 11) << 7 | V_BOLTED | V_VALID),
		      "entry 0x%x is 0x%x now", ptex, v);
		CHECK_RESULT(hcall(H_REMOVE, 0, ptex, 0, 0), H_SUCCESS, "removing all");
	}
}

/* In a group that the hash does not name: no walk finds it. */
void entries_bolted_foreign_group(void)
{
	/* A bit above those that the AVPN lacks: in the group, then in the AVPN only */
	static const u64 vs[] = { V_BOLTED | V_VALID, 1UL << 7 | V_BOLTED | V_VALID };
	static const u64 groups[] = { 77 | 1 << 11, 77 };

	fresh();
	resize_and_check(20);
	for (int i = 0; i < 2; i++)
		CHECK(enter_at(groups[i] * 8, vs[i], 0x20000000 | R_M | PP_READ_WRITE) == H_SUCCESS,
		      "H_ENTER failed");
	resize_and_check(21);
	resize_and_check(18);
}

/*
 * The same page twice: in its group, and in a foreign one from which a host that
 * does not look comes to the same hash.  Growing, both want one slot.
 */
void entries_bolted_twice(void)
{
	struct entry *e = &entries[0];

	fresh();
	resize_and_check(19);
	*e = (struct entry){
		.hash = 0x800, .v = 1UL << 7 | V_BOLTED | V_VALID,
		.r = 0x20000000 | R_M | PP_READ_WRITE, .alive = true, .bolted = true,
	};
	n_entries = 1;
	CHECK(enter_at(place(e), e->v, e->r) == H_SUCCESS, "H_ENTER failed");
	CHECK(enter_at(0, e->v, e->r) == H_SUCCESS, "H_ENTER failed");
	resize_and_check(20);
}

/* Segment sizes and page sizes that no processor has, all bits set and the like */
void entries_bolted_garbage(void)
{
	static const u64 vs[] = {
		~0UL, 3UL << 62 | V_BOLTED | V_VALID, 2UL << 62 | V_BOLTED | V_VALID,
		~V_LARGE, ~V_SECONDARY, 0x3fffffffffffff80UL | V_BOLTED | V_VALID,
		V_LARGE | V_BOLTED | V_VALID,
	};

	fresh();
	for (u32 i = 0; i < ARRAY_SIZE(vs); i++)
		for (u64 lp = 0; lp < 64; lp++)
			enter_at(random_number() & (groups_of(order) * 8 - 1), vs[i],
				 0x20000000 | lp << 12 | R_M);
	for (u64 to = 19; to <= 21; to++)
		resize(0, to);
	/* It may refuse to shrink: bolted ones, if they are in their group, may collide. */
	resize(0, 18);
	sweep();
	CHECK_RESULT(resize(0, 18), H_SUCCESS, "after all were removed");
	check_table(true);
}
