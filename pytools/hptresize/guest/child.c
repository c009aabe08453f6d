// SPDX-License-Identifier: GPL-2.0-or-later
/* child VERB [NUMBER]: a process that behaves as a test of the agent wants. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "guest.h"

/* NUMBER bytes in which every value occurs and no two neighbours repeat soon. */
static int do_bytes(long count)
{
	for (long i = 0; i < count; i++)
		if (putchar((i ^ i >> 8 ^ i >> 16) & 0xff) == EOF)
			return errno;
	return 0;
}

static int do_both(long count)
{
	for (long i = 0; i < count; i++) {
		printf("out %ld\n", i);
		fprintf(stderr, "err %ld\n", i);
	}
	return 0;
}

static int do_sleep(long milliseconds)
{
	usleep(milliseconds * 1000);
	return 0;
}

/* Leave a process behind that holds our output open, and end. */
static int do_linger(long status)
{
	if (!fork()) {
		setsid();
		pause();
	}
	printf("lingering\n");
	return status;
}

static int do_hang(long unused)
{
	(void)unused;
	printf("hanging\n");
	fflush(stdout);
	for (;;)
		pause();
}

static int do_exit(long status)
{
	return status;
}

static int do_kill(long sig)
{
	return kill(getpid(), sig) ? errno : 0;
}

static int do_env(long unused)
{
	const char *value = getenv("HPT_TEST");

	(void)unused;
	printf("%s\n", value ? value : "unset");
	return 0;
}

static const struct {
	const char *name;
	int (*run)(long number);
} verbs[] = {
	{ "both", do_both },	{ "bytes", do_bytes },	 { "env", do_env },
	{ "exit", do_exit },	{ "hang", do_hang },	 { "kill", do_kill },
	{ "linger", do_linger },{ "sleep", do_sleep },
};

int child_main(int argc, char **argv)
{
	long number = 0;

	if (argc < 2 || (argc > 2 && parse_number(argv[2], 0, 1L << 30, &number))) {
		fprintf(stderr, "usage: child VERB [NUMBER]\n");
		return EINVAL;
	}
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (!strcmp(argv[1], verbs[i].name))
			return verbs[i].run(number);
	return EINVAL;
}
