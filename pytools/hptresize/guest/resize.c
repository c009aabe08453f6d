// SPDX-License-Identifier: GPL-2.0-or-later
/* resize ORDER: change the table through whichever hook this kernel has. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "guest.h"

static void on_signal(int sig)
{
	(void)sig;	/* only there so that write(2) ends with EINTR */
}

/* SIGTERM keeps its default: a test can choose between EINTR and a fatal end. */
static void catch_interrupt(void)
{
	struct sigaction sa = { .sa_handler = on_signal };

	sigaction(SIGINT, &sa, NULL);
}

/*
 * Prints one line of key=value; times are in microseconds, -1 where the kernel
 * does not say.  The exit status is the errno of the write.  ORDER is passed
 * on as it is, so that a test can send nonsense.
 */
int resize_main(int argc, char **argv)
{
	const char *hook = HOOK_DIR "order";
	long before, after;
	uint64_t start, wall;
	int err;

	if (argc != 2) {
		fprintf(stderr, "usage: resize ORDER\n");
		return EINVAL;
	}
	if (access(hook, F_OK))
		hook = HOOK_DEBUGFS;
	catch_interrupt();
	before = file_number(hook);
	start = now_us();
	err = file_write(hook, argv[1]);
	wall = now_us() - start;
	after = file_number(hook);
	printf("before=%ld after=%ld errno=%s wall_us=%llu last_prepare_us=%ld last_commit_us=%ld hook=%s\n",
	       before, after, err ? strerrorname_np(err) : "0",
	       (unsigned long long)wall,
	       file_number(HOOK_DIR "last_prepare_us"),
	       file_number(HOOK_DIR "last_commit_us"), hook);
	return err;
}
