// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A guest without an operating system that makes the hypercalls it is told to.
 *
 * It runs in real mode on one processor and talks over the second vty.  One
 * line of hexadecimal numbers comes in: hcall number and up to five arguments;
 * one goes out: what the hcall left in r3 to r7.  The first line that goes
 * out is "ready".
 */
#include "bare.h"

void bare_main(void)
{
	struct regs regs;

	put_text("ready\n");
	for (;;) {
		get_numbers(&regs);
		hcall(&regs);
		put_answer(&regs);
	}
}
