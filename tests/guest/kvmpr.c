// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * kvmpr ORDER  A guest of KVM PR that reads its memory, before and after the hash page table
 *              is resized and the memory is replaced. The exit status is 0 if it read what
 *              was there, 1 if not, else an errno.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

/* One page of each segment, so that they are all over the table */
#define PAGES 64
#define STEP (256ul << 20)
#define MEMORY (STEP * PAGES)
#define NOTHING (2 * MEMORY) /* not memory: a store there leaves the guest */
#define MSR_SF (1ul << 63)
#define MSR_LE 1ul

/* The guest: adds up a word of each of them but the first, which holds this. */
asm(".pushsection .rodata\n"
    "guest_code: li 3,0\n"
    "mtctr 6\n"
    "0: add 4,4,7\n"
    "ld 8,0(4)\n"
    "add 3,3,8\n"
    "bdnz 0b\n"
    "std 3,0(5)\n"
    "guest_code_end: b .\n"
    ".popsection\n");
extern const char guest_code[], guest_code_end[];

static char *fill(void *where, uint64_t word)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (where ? MAP_FIXED : 0);
	char *memory = mmap(where, MEMORY, PROT_READ | PROT_WRITE, flags, -1, 0);

	if (memory == MAP_FAILED)
		return NULL;
	for (unsigned long at = 0; at < MEMORY; at += STEP)
		*(uint64_t *)(memory + at) = word;
	memcpy(memory, guest_code, guest_code_end + 4 - guest_code);
	return memory;
}

/* Whether the guest sees the word in each of its pages; or an errno */
static int sees(int vcpu, struct kvm_run *run, uint64_t word)
{
	struct kvm_regs regs = { .pc = 0, .msr = MSR_SF | MSR_LE };
	uint64_t got;

	regs.gpr[5] = NOTHING;
	regs.gpr[6] = PAGES - 1;
	regs.gpr[7] = STEP;
	if (ioctl(vcpu, KVM_SET_REGS, &regs) || ioctl(vcpu, KVM_RUN, 0))
		return errno;
	if (run->exit_reason != KVM_EXIT_MMIO || !run->mmio.is_write) {
		fprintf(stderr, "kvmpr: exit %u\n", run->exit_reason);
		return EIO;
	}
	memcpy(&got, run->mmio.data, sizeof(got));
	if (got == word * (PAGES - 1))
		return 0;
	fprintf(stderr, "kvmpr: the guest read %#lx\n", (unsigned long)got);
	return 1;
}

static int resize(const char *order)
{
	int fd = open("/sys/kernel/mm/hpt/order", O_WRONLY);

	if (fd < 0)
		fd = open("/sys/kernel/debug/powerpc/hpt_order", O_WRONLY);
	return write(fd, order, strlen(order)) < 0 ? errno : 0;
}

int main(int argc, char **argv)
{
	struct kvm_userspace_memory_region region = { .memory_size = MEMORY };
	int kvm = open("/dev/kvm", O_RDWR), vm, vcpu, err;
	struct kvm_run *run;
	char *memory;

	if (argc != 2)
		return EINVAL;
	vm = ioctl(kvm, KVM_CREATE_VM, 2 /* PR */);
	vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
	memory = fill(NULL, 1);
	region.userspace_addr = (uintptr_t)memory;
	if (!memory || vcpu < 0 || ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region))
		return errno;
	run = mmap(NULL, ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), PROT_READ | PROT_WRITE,
		   MAP_SHARED, vcpu, 0);
	if (run == MAP_FAILED)
		return errno;

	err = sees(vcpu, run, 1);
	if (!err)
		err = resize(argv[1]);
	if (!err && !fill(memory, 2))
		err = errno;
	return err ? err : sees(vcpu, run, 2);
}
