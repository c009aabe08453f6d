// SPDX-License-Identifier: GPL-2.0-or-later
/* Small files, numbers and time. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "guest.h"

uint64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

/* The number in a small file, or -1 with errno set. */
long file_number(const char *path)
{
	char text[32];
	ssize_t len;
	int fd;

	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	len = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (len <= 0) {
		errno = len ? errno : ENODATA;
		return -1;
	}
	text[len] = 0;
	return strtol(text, NULL, 0);
}

/* Write @text with one write(2); returns 0 or an errno. */
int file_write(const char *path, const char *text)
{
	size_t len = strlen(text);
	int fd, err = 0;
	ssize_t done;

	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return errno;
	done = write(fd, text, len);
	if (done < 0)
		err = errno;
	else if ((size_t)done != len)
		err = EIO;
	close(fd);
	return err;
}

/* Returns 0, or EINVAL if @text is not a number from @min to @max. */
int parse_number(const char *text, long min, long max, long *out)
{
	char *end;

	errno = 0;
	*out = strtol(text, &end, 0);
	if (errno || end == text || *end || *out < min || *out > max)
		return EINVAL;
	return 0;
}
