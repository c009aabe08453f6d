/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Hypercalls and a line of numbers in and out, for guests without a kernel. */
#ifndef HPT_BARE_H
#define HPT_BARE_H

typedef unsigned long u64;

#define H_GET_TERM_CHAR	0x54
#define H_PUT_TERM_CHAR	0x58
#define CHANNEL		0x30001000

struct regs {
	u64 r[6];	/* r3 to r8 */
};

static inline void hcall(struct regs *regs)
{
	register u64 r3 asm("r3") = regs->r[0];
	register u64 r4 asm("r4") = regs->r[1];
	register u64 r5 asm("r5") = regs->r[2];
	register u64 r6 asm("r6") = regs->r[3];
	register u64 r7 asm("r7") = regs->r[4];
	register u64 r8 asm("r8") = regs->r[5];

	asm volatile("sc 1"
		     : "+r"(r3), "+r"(r4), "+r"(r5), "+r"(r6), "+r"(r7), "+r"(r8)
		     :
		     : "r0", "r9", "r10", "r11", "r12", "cr0", "ctr", "xer",
		       "memory");
	regs->r[0] = r3;
	regs->r[1] = r4;
	regs->r[2] = r5;
	regs->r[3] = r6;
	regs->r[4] = r7;
	regs->r[5] = r8;
}

static inline void put_char(u64 c)
{
	struct regs regs;

	do {
		regs = (struct regs){ { H_PUT_TERM_CHAR, CHANNEL, 1, c << 56 } };
		hcall(&regs);
	} while (regs.r[0]);
}

static inline int get_char(void)
{
	static struct regs got;
	static u64 next;
	u64 word;

	while (next == got.r[1]) {
		got = (struct regs){ { H_GET_TERM_CHAR, CHANNEL } };
		hcall(&got);
		next = 0;
	}
	word = got.r[2 + next / 8];
	return word >> (56 - next++ % 8 * 8) & 0xff;
}

static inline void put_number(u64 v)
{
	int shift = 60;

	while (shift && !(v >> shift))
		shift -= 4;
	for (; shift >= 0; shift -= 4)
		put_char("0123456789abcdef"[v >> shift & 15]);
}

static inline void get_numbers(struct regs *regs)
{
	int n = 0, c;

	*regs = (struct regs){ };
	while ((c = get_char()) != '\n') {
		if (c == ' ' && n < 5)
			n++;
		else if (c >= '0' && c <= '9')
			regs->r[n] = regs->r[n] << 4 | (c - '0');
		else if (c >= 'a' && c <= 'f')
			regs->r[n] = regs->r[n] << 4 | (c - 'a' + 10);
	}
}

static inline void put_text(const char *text)
{
	for (; *text; text++)
		put_char(*text);
}

/* One line: five numbers. */
static inline void put_answer(const struct regs *regs)
{
	for (int i = 0; i < 5; i++) {
		put_number(regs->r[i]);
		put_char(i < 4 ? ' ' : '\n');
	}
}

#endif
