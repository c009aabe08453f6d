// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * readpass --mb N: a working set that is read once for each SIGUSR1.
 *
 * One word of every page is read, so a pass takes as long as the translations
 * do: what is in the hash table costs next to nothing, what is not a fault.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "guest.h"

static uint64_t pattern(size_t page)
{
	return page * 0x9e3779b97f4a7c15ull + 1;
}

static void pass(const char *base, size_t pages, size_t page_size)
{
	uint64_t start = now_us(), wrong = 0;

	for (size_t i = 0; i < pages; i++)
		wrong += *(const volatile uint64_t *)(base + i * page_size) != pattern(i);
	printf("pass us=%llu pages=%zu wrong=%llu\n",
	       (unsigned long long)(now_us() - start), pages,
	       (unsigned long long)wrong);
	fflush(stdout);
}

int readpass_main(int argc, char **argv)
{
	size_t page_size = sysconf(_SC_PAGESIZE), pages;
	sigset_t set;
	char *base;
	long mb;
	int sig;

	if (argc != 3 || strcmp(argv[1], "--mb") ||
	    parse_number(argv[2], 1, 1 << 24, &mb)) {
		fprintf(stderr, "usage: readpass --mb N\n");
		return EINVAL;
	}
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);

	pages = (size_t)mb * 1024 * 1024 / page_size;
	base = mmap(NULL, pages * page_size, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (base == MAP_FAILED) {
		fprintf(stderr, "readpass: mmap: %m\n");
		return errno;
	}
	for (size_t i = 0; i < pages; i++)
		*(uint64_t *)(base + i * page_size) = pattern(i);
	for (;;) {
		pass(base, pages, page_size);
		sigwait(&set, &sig);
	}
}
