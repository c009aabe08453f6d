// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * PID 1.  With a command channel it is the agent; without one it runs a shell
 * on the console, for a person.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "guest.h"

static const struct {
	const char *type;
	const char *where;
} mounts[] = {
	{ "devtmpfs", "/dev" },
	{ "proc", "/proc" },
	{ "sysfs", "/sys" },
	{ "tmpfs", "/run" },
	{ "tmpfs", "/tmp" },
	{ "debugfs", "/sys/kernel/debug" },
};

static void mount_all(void)
{
	size_t i;

	for (i = 0; i < sizeof(mounts) / sizeof(mounts[0]); i++) {
		mkdir(mounts[i].where, 0755);
		/* The kernel may have mounted /dev, and may have no debugfs. */
		if (mount(mounts[i].type, mounts[i].where, mounts[i].type, 0, NULL) &&
		    errno != EBUSY && errno != ENODEV && errno != ENOENT)
			fprintf(stderr, "init: %s: %m\n", mounts[i].where);
	}
}

static void console_setup(void)
{
	int fd = open("/dev/console", O_RDWR | O_NOCTTY);

	if (fd < 0)
		return;
	dup2(fd, 0);
	dup2(fd, 1);
	dup2(fd, 2);
	if (fd > 2)
		close(fd);
}

void power_off(void)
{
	sync();
	reboot(RB_POWER_OFF);
	/* Not reached: if PID 1 ends, the kernel panics and says so. */
	_exit(1);
}

static int open_raw(const char *path)
{
	struct termios tio;
	int fd;

	fd = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return -1;
	if (tcgetattr(fd, &tio)) {
		close(fd);
		return -1;
	}
	cfmakeraw(&tio);
	tio.c_cflag |= CLOCAL | CREAD;
	tcsetattr(fd, TCSAFLUSH, &tio);
	return fd;
}

/*
 * The channel is the first vty that is not a console.  The driver makes all
 * of hvc0 to hvc7; one with nothing behind it cannot be opened.
 */
static int channel_open(void)
{
	char active[128] = "", name[16], path[32];
	int fd, i;

	fd = open("/sys/class/tty/console/active", O_RDONLY);
	if (fd >= 0) {
		if (read(fd, active, sizeof(active) - 1) < 0)
			active[0] = 0;
		close(fd);
	}
	for (i = 0; i < 8; i++) {
		snprintf(name, sizeof(name), "hvc%d", i);
		if (strstr(active, name) || (!active[0] && !i))
			continue;
		snprintf(path, sizeof(path), "/dev/%s", name);
		fd = open_raw(path);
		if (fd >= 0)
			return fd;
	}
	return -1;
}

/*
 * A port of virtio-serial.  Its driver announces it before it can be opened, so
 * there is no event that could be awaited.
 */
static int port_open(const char *path)
{
	int fd;

	while ((fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC)) < 0 &&
	       (errno == ENOENT || errno == ENXIO))
		usleep(1000);
	return fd;
}

/* A shell for a guest without busybox: words, and nothing else. */
static int tiny_shell(void)
{
	char line[1024], *argv[64];
	int argc;

	while (printf("hpt# "), fflush(stdout), fgets(line, sizeof(line), stdin)) {
		argc = 0;
		for (char *w = strtok(line, " \t\n"); w && argc < 63;
		     w = strtok(NULL, " \t\n"))
			argv[argc++] = w;
		argv[argc] = NULL;
		if (!argc)
			continue;
		if (!strcmp(argv[0], "exit"))
			break;
		if (!fork()) {
			execvp(argv[0], argv);
			fprintf(stderr, "%s: %m\n", argv[0]);
			_exit(127);
		}
		wait(NULL);
	}
	return 0;
}

static void shell_child(void)
{
	char console[] = "/dev/hvc0";
	int fd;

	/* /dev/console can be nobody's controlling terminal; the tty below can. */
	setsid();
	fd = open(console, O_RDWR);
	if (fd >= 0) {
		ioctl(fd, TIOCSCTTY, 0);
		dup2(fd, 0);
		dup2(fd, 1);
		dup2(fd, 2);
		if (fd > 2)
			close(fd);
	}
	if (chdir("/"))
		fprintf(stderr, "init: /: %m\n");
	execl("/bin/sh", "-sh", NULL);
	_exit(tiny_shell());
}

static void interactive(void)
{
	pid_t shell = fork(), pid;

	if (!shell)
		shell_child();
	do {
		pid = wait(NULL);
	} while (pid != shell && (pid > 0 || errno == EINTR));
}

int init_main(void)
{
	const char *port = getenv("CHANNEL");
	int channel;

	mount_all();
	console_setup();
	putenv(GUEST_PATH);
	putenv("HOME=/");
	putenv("TERM=linux");
	channel = port ? port_open(port) : channel_open();
	if (channel >= 0)
		agent_run(channel);
	interactive();
	power_off();
}
