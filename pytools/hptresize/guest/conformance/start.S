/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Entries of the first and the other processors, exceptions, accesses with the MMU on. */
#define STACK		16384
#define FRAME		112
#define MSR_DR		0x10

#define ADDRESS(reg, what)	\
	lis	reg, what@h;	\
	ori	reg, reg, what@l

	.section .text.start, "ax"
	/* The firmware starts us here: r5 is its client interface. */
	.globl	_start
_start:
	li	%r3, 0
	mr	%r14, %r5
	bl	environment
	mr	%r3, %r14
	bl	main
1:	b	1b

	/* RTAS starts a processor here: r3 is the number we gave it. */
	.globl	secondary_start
secondary_start:
	bl	environment
	bl	secondary_main
1:	b	1b

	/* r3: number of the processor. 64 bits, a stack, the TOC, its number in r13. */
environment:
	mflr	%r15
	mfmsr	%r4
	li	%r6, 1
	sldi	%r6, %r6, 63
	or	%r4, %r4, %r6
	mtmsrd	%r4
	isync
	mr	%r13, %r3
	addi	%r4, %r3, 1
	mulli	%r4, %r4, STACK
	ADDRESS(%r1, stacks)
	add	%r1, %r1, %r4
	li	%r0, 0
	stdu	%r0, -FRAME(%r1)
	ADDRESS(%r2, .TOC.)
	mtlr	%r15
	blr

	.text
	/*
	 * u64 call_firmware(void *arguments, u64 entry)
	 * The client interface is for 32-bit clients: all that is wider we keep.
	 */
	.globl	call_firmware
call_firmware:
	mflr	%r0
	std	%r0, 16(%r1)
	mfcr	%r0
	std	%r0, 8(%r1)
	stdu	%r1, -320(%r1)
	std	%r2, 112(%r1)
	.irp	n, 13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
	std	%r\n, 8*\n+16(%r1)
	.endr
	mfmsr	%r5
	std	%r5, 272(%r1)
	ADDRESS(%r6, saved_stack)
	std	%r1, 0(%r6)
	rldicl	%r5, %r5, 0, 1
	mtctr	%r4
	mtmsrd	%r5
	isync
	bctrl
	ADDRESS(%r6, saved_stack)
	ld	%r1, 0(%r6)
	ld	%r5, 272(%r1)
	mtmsrd	%r5
	isync
	ld	%r1, 0(%r6)
	.irp	n, 13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
	ld	%r\n, 8*\n+16(%r1)
	.endr
	ld	%r2, 112(%r1)
	addi	%r1, %r1, 320
	ld	%r0, 8(%r1)
	mtcr	%r0
	ld	%r0, 16(%r1)
	mtlr	%r0
	blr

	/*
	 * u64 load_translated(u64 ea, u64 *value), u64 store_translated(u64 ea, u64 value)
	 * Return 0, or why not: DSISR, or 0x380 if there is no segment.
	 * r10 tells the handler where to go on.
	 */
	.macro	translated name, access
	.globl	\name
\name:
	mfmsr	%r6
	ori	%r7, %r6, MSR_DR
	ADDRESS(%r10, 2f)
	mr	%r5, %r3
	li	%r3, 0
	mtmsrd	%r7
	isync
	\access
	mtmsrd	%r6
	isync
2:
	.endm

	translated load_translated, "ld %r8, 0(%r5)"
	std	%r8, 0(%r4)
	blr
	translated store_translated, "std %r4, 0(%r5)"
	blr

	/*
	 * u64 walk_translated(u64 ea, u64 value, u64 vsid_word, u64 esid_word, u64 count)
	 * Load count times, with the MMU on throughout, forgetting all translations
	 * before each load.  Returns 0, 1 for a wrong value, or why it faulted.
	 */
	.globl	walk_translated
walk_translated:
	mr	%r9, %r3
	mtctr	%r7
	mfmsr	%r8
	ori	%r7, %r8, MSR_DR
	ADDRESS(%r10, 2f)
	li	%r3, 0
	mtmsrd	%r7
	isync
1:	slbie	%r9
	slbmte	%r5, %r6
	isync
	ld	%r7, 0(%r9)
	cmpd	%r7, %r4
	bne	3f
	bdnz	1b
	b	4f
3:	li	%r3, 1
4:	mtmsrd	%r8
	isync
2:	blr

	/* Copied to 0x300 and 0x380: a fault of the functions above, or a bug. */
	.globl	data_vector, data_vector_end
data_vector:
	mfspr	%r11, 27	/* SRR1 */
	andi.	%r12, %r11, MSR_DR
	beq	1f
	mfspr	%r3, 18		/* DSISR */
	mtspr	26, %r10	/* SRR0 */
	xori	%r11, %r11, MSR_DR
	mtspr	27, %r11
	rfid
1:	li	%r3, 0x300
	ADDRESS(%r4, unexpected)
	mtctr	%r4
	bctr
data_vector_end:

	.globl	segment_vector, segment_vector_end
segment_vector:
	mfspr	%r11, 27
	andi.	%r12, %r11, MSR_DR
	beq	1f
	li	%r3, 0x380
	mtspr	26, %r10
	xori	%r11, %r11, MSR_DR
	mtspr	27, %r11
	rfid
1:	li	%r3, 0x380
	ADDRESS(%r4, unexpected)
	mtctr	%r4
	bctr
segment_vector_end:

	/* Copied to all others; the link register tells which one. */
	.globl	other_vector, other_vector_end
other_vector:
	bcl	20, 31, 1f
1:	mflr	%r3
	ADDRESS(%r4, unexpected)
	mtctr	%r4
	bctr
other_vector_end:

unexpected:
	ADDRESS(%r1, stack_of_panic)
	addi	%r1, %r1, 8192-FRAME
	ADDRESS(%r2, .TOC.)
	mfspr	%r4, 26
	mfspr	%r5, 27
	mfspr	%r6, 19		/* DAR */
	b	panic

	.bss
	.balign	16
saved_stack:
	.space	16
stack_of_panic:
	.space	8192
	.globl	stacks
stacks:
	.space	STACK*8
