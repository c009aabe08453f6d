// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The benchmark's guest: makes hypercalls, one or many, and times them.
 *
 * Lines in and out are those of bare.c.  A number that is a multiple of 4 is a
 * hypercall; r7 of its answer is replaced by the ticks of the timebase it took.
 * The odd numbers below are loops.  Entry number i is the one whose hash is i:
 * 4K pages of 256 MB segments, VSID i & ~0xffff, page i & 0xffff.
 */
#include "bare.h"

#define H_REMOVE		0x04
#define H_ENTER			0x08
#define H_READ			0x0c
#define H_RESIZE_HPT_PREPARE	0x36c
#define H_LONG_BUSY_FIRST	9900
#define H_LONG_BUSY_LAST	9905

#define HPTE_V_VALID		0x01
#define HPTE_V_BOLTED		0x10
#define HPTE_V_AVPN		0x3fffffffffffff80UL
#define HPTE_R_RWX_COHERENT	0x190	/* with R and C set */

enum op {
	/* first, count, mask, bolted; gives failures, 0, 0, 0, ticks */
	OP_FILL = 1,
	/* first, count, mask; gives how many are in slot 0 of their group */
	OP_PRESENT = 3,
	/* flags, order, poll, limit (ticks); gives result, calls, 0, 0, ticks */
	OP_PREPARE = 5,
	/* first, count, mask, ticks; gives pairs, failures, 0, 0, ticks */
	OP_CHURN = 7,
};

static u64 ticks(void)
{
	u64 now;

	asm volatile("mfspr %0, 268" : "=r"(now));
	return now;
}

static u64 entry_v(u64 hash)
{
	u64 vsid = hash & ~0xffffUL, page = hash & 0xffff;

	return vsid << 12 | page >> 11 << 7 | HPTE_V_VALID;
}

/* Put entry @hash into any free slot of its group; returns it, or -1. */
static u64 enter(u64 hash, u64 mask, u64 bolted)
{
	struct regs regs = { {
		H_ENTER, 0, (hash & mask) * 8,
		entry_v(hash) | (bolted ? HPTE_V_BOLTED : 0),
		(hash & 0xffff) << 12 | HPTE_R_RWX_COHERENT,
	} };

	hcall(&regs);
	return regs.r[0] ? -1UL : regs.r[1];
}

static void fill(struct regs *args)
{
	u64 first = args->r[1], end = first + args->r[2], failures = 0, i;

	for (i = first; i < end; i++)
		if (enter(i, args->r[3], args->r[4]) == -1UL)
			failures++;
	args->r[0] = failures;
}

static void present(struct regs *args)
{
	u64 first = args->r[1], end = first + args->r[2], found = 0, i;
	u64 compare = HPTE_V_AVPN | HPTE_V_VALID;

	for (i = first; i < end; i++) {
		struct regs regs = { { H_READ, 0, (i & args->r[3]) * 8 } };

		hcall(&regs);
		if (!regs.r[0] && !((regs.r[1] ^ entry_v(i)) & compare))
			found++;
	}
	args->r[0] = found;
}

static void prepare(struct regs *args)
{
	u64 begin = ticks(), calls = 0, asked;
	struct regs regs;

	for (;;) {
		asked = ticks();
		regs = (struct regs){ { H_RESIZE_HPT_PREPARE, args->r[1], args->r[2] } };
		hcall(&regs);
		calls++;
		if (regs.r[0] < H_LONG_BUSY_FIRST || regs.r[0] > H_LONG_BUSY_LAST ||
		    ticks() - begin > args->r[4])
			break;
		while (ticks() - asked < args->r[3])
			;
	}
	args->r[0] = regs.r[0];
	args->r[1] = calls;
}

static void churn(struct regs *args)
{
	u64 begin = ticks(), pairs = 0, failures = 0, i = 0;

	while (ticks() - begin < args->r[4]) {
		u64 where = enter(args->r[1] + i, args->r[3], 0);
		struct regs regs = { { H_REMOVE, 0, where, 0 } };

		if (where != -1UL)
			hcall(&regs);
		failures += where == -1UL || regs.r[0];
		pairs++;
		if (++i == args->r[2])
			i = 0;
	}
	args->r[0] = pairs;
	args->r[1] = failures;
}

static void run(struct regs *regs)
{
	u64 op = regs->r[0], begin = ticks();

	switch (op) {
	case OP_FILL:
		fill(regs);
		break;
	case OP_PRESENT:
		present(regs);
		break;
	case OP_PREPARE:
		prepare(regs);
		break;
	case OP_CHURN:
		churn(regs);
		break;
	default:
		hcall(regs);
	}
	regs->r[4] = ticks() - begin;
}

void bare_main(void)
{
	struct regs regs;

	put_text("ready\n");
	for (;;) {
		get_numbers(&regs);
		run(&regs);
		put_answer(&regs);
	}
}
