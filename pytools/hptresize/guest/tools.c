// SPDX-License-Identifier: GPL-2.0-or-later
/* Small tools that the tests need and a guest without busybox has not. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "guest.h"

static int cat_fd(int fd)
{
	char data[4096];
	ssize_t len;

	while ((len = read(fd, data, sizeof(data))) > 0)
		if (fwrite(data, 1, len, stdout) != (size_t)len)
			return errno;
	return len ? errno : 0;
}

/* cat FILE...  The exit status is the errno of the last failure. */
int cat_main(int argc, char **argv)
{
	int fd, err, status = 0;

	for (int i = 1; i < argc; i++) {
		fd = open(argv[i], O_RDONLY);
		err = fd < 0 ? errno : cat_fd(fd);
		if (fd >= 0)
			close(fd);
		if (err) {
			fprintf(stderr, "cat: %s: %s\n", argv[i], strerror(err));
			status = err;
		}
	}
	return status;
}

/* write FILE TEXT  One write(2); prints the errno's name and exits with it. */
int write_main(int argc, char **argv)
{
	int err;

	if (argc != 3) {
		fprintf(stderr, "usage: write FILE TEXT\n");
		return EINVAL;
	}
	err = file_write(argv[1], argv[2]);
	printf("%s\n", err ? strerrorname_np(err) : "OK");
	return err;
}

/* pollfile FILE [N]  Print its value now and at each change that poll(2) sees, N in all. */
int pollfile_main(int argc, char **argv)
{
	struct pollfd p = { .events = POLLPRI };
	char text[256];
	ssize_t len;
	long left;

	if (argc != 2 && argc != 3) {
		fprintf(stderr, "usage: pollfile FILE [N]\n");
		return EINVAL;
	}
	left = argc == 3 ? atol(argv[2]) : LONG_MAX;
	p.fd = open(argv[1], O_RDONLY);
	if (p.fd < 0) {
		fprintf(stderr, "pollfile: %s: %m\n", argv[1]);
		return errno;
	}
	for (;;) {
		len = pread(p.fd, text, sizeof(text), 0);
		if (len < 0 || write(1, text, len) < 0)
			return errno;
		if (--left <= 0)
			return 0;
		if (poll(&p, 1, -1) < 0)
			return errno;
	}
}

/* cpuload  Keep one processor busy until a signal comes. */
int cpuload_main(int argc, char **argv)
{
	volatile unsigned long n = 0;

	(void)argc;
	(void)argv;
	for (;;)
		n++;
}
