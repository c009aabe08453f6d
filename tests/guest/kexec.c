// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * kexec load|crash KERNEL INITRD WORDS  Load a kernel, for "go" or for a crash.
 * kexec go                              Start the one that was loaded.
 * kexec dump                            Print the megabytes of memory in /proc/vmcore.
 *
 * The exit status is the errno.
 */
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kexec.h>
#include <linux/reboot.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int load(char **argv, unsigned long flags)
{
	int kernel = open(argv[0], O_RDONLY | O_CLOEXEC);
	int initrd = open(argv[1], O_RDONLY | O_CLOEXEC);

	if (kernel < 0 || initrd < 0)
		return errno;
	if (syscall(SYS_kexec_file_load, kernel, initrd, strlen(argv[2]) + 1,
		    argv[2], flags))
		return errno;
	return 0;
}

/* Reads a page of each part as well: the old kernel's memory has to be there. */
static int dump(void)
{
	int fd = open("/proc/vmcore", O_RDONLY | O_CLOEXEC);
	unsigned long bytes = 0;
	Elf64_Ehdr head;
	Elf64_Phdr part;
	char page[4096];

	if (fd < 0 || pread(fd, &head, sizeof(head), 0) != sizeof(head))
		return errno ? errno : EIO;
	for (int i = 0; i < head.e_phnum; i++) {
		if (pread(fd, &part, sizeof(part), head.e_phoff + i * sizeof(part)) !=
		    sizeof(part))
			return EIO;
		if (part.p_type != PT_LOAD)
			continue;
		if (pread(fd, page, sizeof(page), part.p_offset) != sizeof(page))
			return EIO;
		bytes += part.p_memsz;
	}
	printf("%lu\n", bytes >> 20);
	return 0;
}

int main(int argc, char **argv)
{
	int err = EINVAL;

	if (argc == 5 && !strcmp(argv[1], "load"))
		err = load(argv + 2, 0);
	else if (argc == 5 && !strcmp(argv[1], "crash"))
		err = load(argv + 2, KEXEC_FILE_ON_CRASH);
	else if (argc == 2 && !strcmp(argv[1], "dump"))
		err = dump();
	else if (argc == 2 && !strcmp(argv[1], "go"))
		err = syscall(SYS_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2,
			      LINUX_REBOOT_CMD_KEXEC, NULL) ? errno : 0;
	if (err)
		fprintf(stderr, "kexec: %s\n", strerror(err));
	return err;
}
