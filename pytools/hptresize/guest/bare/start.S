/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Entry of the bare guest: wherever the firmware left us, become 64-bit C. */
	.section .text.start, "ax"
	.globl	_start
_start:
	mfmsr	%r3
	li	%r4, 1
	sldi	%r4, %r4, 63	/* MSR_SF */
	or	%r3, %r3, %r4
	mtmsrd	%r3
	isync
	lis	%r1, stack_top@h
	ori	%r1, %r1, stack_top@l
	li	%r0, 0
	stdu	%r0, -112(%r1)
	lis	%r2, .TOC.@h
	ori	%r2, %r2, .TOC.@l
	bl	bare_main
1:	b	1b

	.bss
	.balign	16
	.space	16384
stack_top:
