/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A model of what is in the hash page table.
 *
 * Each entry that was entered is remembered with its contents; what the table
 * holds after a resize is compared with that.  All orders are between
 * LOW_ORDER and start_order + 1.
 */
#ifndef TABLE_H
#define TABLE_H

#include "lib.h"

#define LOW_ORDER	18

#define V_BOLTED	0x10UL
#define V_LARGE		0x04UL
#define V_SECONDARY	0x02UL
#define V_VALID		0x01UL
#define V_SOFTWARE	0x60UL	/* QEMU keeps a bit of its own there */
#define R_R		0x100UL
#define R_C		0x80UL
#define R_M		0x10UL
#define R_RPN		0x0ffffffffffff000UL
#define PP_READ_WRITE	2UL
#define PP_READ_ONLY	3UL

/* Base page and page that is mapped */
enum kind { K4, K64, K16M, K64_IN_16M, K4_IN_16M };
enum segment { S256M, S1T };

/* A fixed set of segments that the processors can reach */
#define ANY_VSID	0

struct entry {
	u64 v, r;
	u64 hash;
	u64 ea;		/* if it is in one of the fixed segments */
	u64 claim;	/* bolted: place in the smallest table, which is its own */
	u8 slot;
	u8 kind;
	bool alive;
	bool secondary;
	bool bolted;
};

#define MAX_ENTRIES 4096
extern struct entry entries[MAX_ENTRIES];
extern int n_entries;
extern bool bits_may_go;	/* R and C that were set since a migration sent their entry */
extern u64 order;	/* the table's, as the model knows it */

struct recipe {
	enum kind kind;
	enum segment segment;
	bool secondary;
	bool bolted;
	bool reachable;		/* in a fixed segment, for accesses with the MMU on */
	bool crowded;		/* in this group of a table of CROWDED_ORDER, wherever it ends up */
	u64 group;
};

#define CROWDED_ORDER	20

/* From nothing: no entries, nothing prepared, the smallest table */
void fresh(void);
/* Remove whatever is in the table */
void sweep(void);

void fill(const struct recipe *recipe, int count);
bool try_enter(struct entry *e, const struct recipe *recipe);	/* false: no place */
void enter_into(struct entry *e, const struct recipe *recipe);
long enter_at(u64 ptex, u64 v, u64 r);
void remove_entry(struct entry *e);
void release(struct entry *e);		/* from the model: it is not in the table */
void protect_entry(struct entry *e);
void bulk_remove(struct entry **e, int count);
void read_entry(u64 ptex, u64 *v, u64 *r);

u64 groups_of(u64 of_order);
u64 place(const struct entry *e);
bool in_table(const struct entry *e);
bool is_entry(const struct entry *e, u64 v, u64 r);

void learn_bits(void);	/* R and C, from the table: others may have set them */
bool fits(u64 flags, u64 new_order);	/* all bolted entries */
/* Skip the test where the host does not offer H_RESIZE_HPT_MOVE_BOLTED */
void need_move_bolted(void);
/* Loop over PREPARE until it has an end */
long prepare_wait(u64 flags, u64 new_order);
/* prepare.c: a guest that does without a table */
void become_radix(void);
/* bolted.c: into two groups that become one, with slots of both from first on */
void merge_bolted(int in_low, int in_high, int first);
/* Both calls; the model follows if they succeed */
long resize(u64 flags, u64 new_order);
/* The size that the host gives the table */
u64 find_order(void);
/* Compare: bolted entries there, others there or gone, nothing else. */
void check_table(bool all_kept);
/* The same, but bolted entries may have changed their slot: the model learns it. */
void check_moved_table(void);
/* Both, and it has to work */
void resize_and_check(u64 new_order);
/* The model after a COMMIT that succeeded */
void now_has_order(u64 new_order);

/* Segments of this CPU; vectors, memory with known contents, segments */
extern bool has_16m;	/* segments of 16M pages as well; not every machine has them */
void mmu_on_this_cpu(void);
void mmu_prepare_memory(void);
/* Read through an entry: 0 and the right data, or DSISR */
u64 access(const struct entry *e);
u64 access_store(const struct entry *e);
/* Many loads through an entry of a 4K page in a 256M segment, no TLB in between */
u64 walk_for(const struct entry *e, u64 times);
/* A page of a fixed segment that has no entry */
u64 unmapped_ea(void);

#endif
