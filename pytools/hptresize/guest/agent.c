// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The agent: one poll loop that starts commands, passes on what they print and
 * says how they ended.  It is PID 1, so it reaps everything.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "frame.h"
#include "guest.h"

#define MAX_JOBS	32
#define MAX_WORDS	512
#define OUT_SIZE	65536
/* Above this much unsent output the jobs' pipes are left to fill up. */
#define OUT_HIGH	(OUT_SIZE - 16 * FRAME_WIRE(FRAME_CHUNK))

struct job {
	pid_t pid;		/* 0: the slot is free */
	uint16_t id;
	int fd[2];		/* stdout and stderr of the job, or -1 */
	uint64_t start_us;
	uint64_t wall_us;
	int status;
	bool dead;
};

static struct job jobs[MAX_JOBS];
static struct frame_reader reader;
static int channel;
static uint8_t out[OUT_SIZE];
static size_t out_len;

static void channel_flush(void)
{
	ssize_t done;

	while (out_len) {
		done = write(channel, out, out_len);
		if (done <= 0)
			break;
		out_len -= done;
		memmove(out, out + done, out_len);
	}
}

static void channel_drain(void)
{
	struct pollfd p = { .fd = channel, .events = POLLOUT };

	while (out_len) {
		channel_flush();
		if (out_len)
			poll(&p, 1, -1);
	}
}

static void send_frame(enum frame_type type, uint16_t job,
		       const void *data, size_t len)
{
	struct frame f = { .type = type, .job = job, .data = data, .len = len };

	/* OUT_HIGH keeps room for what jobs print; this is for a burst of exits. */
	if (out_len + FRAME_WIRE(len) > OUT_SIZE)
		channel_drain();
	out_len += frame_write(out + out_len, &f);
}

static void send_refused(uint16_t job, int err)
{
	uint8_t data[4];

	put_be32(data, err);
	send_frame(FRAME_REFUSED, job, data, sizeof(data));
}

static void send_hello(void)
{
	struct utsname uts;
	uint8_t data[256];
	int len;

	uname(&uts);
	data[0] = FRAME_VERSION;
	len = snprintf((char *)data + 1, sizeof(data) - 1, "%s %s",
		       uts.release, uts.machine);
	send_frame(FRAME_HELLO, 0, data, 1 + len);
}

static struct job *job_find(uint16_t id)
{
	struct job *j;

	for (j = jobs; j < jobs + MAX_JOBS; j++)
		if (j->pid && j->id == id)
			return j;
	return NULL;
}

static struct job *job_free_slot(void)
{
	struct job *j;

	for (j = jobs; j < jobs + MAX_JOBS; j++)
		if (!j->pid)
			return j;
	return NULL;
}

/* Split the payload of START into argv and environment; false: it is damaged. */
static bool words_split(const struct frame *f, char **argv, char **envp)
{
	const char *p = (const char *)f->data + 1;
	const char *end = (const char *)f->data + f->len;
	size_t n = 0, nargs = f->len ? f->data[0] : 0, nenv = 0;

	if (!nargs || f->len < 2 || end[-1])
		return false;
	for (; p < end; p += strlen(p) + 1, n++) {
		if (n == MAX_WORDS)
			return false;
		if (n < nargs)
			argv[n] = (char *)p;
		else
			envp[nenv++] = (char *)p;
	}
	argv[nargs] = NULL;
	envp[nenv] = NULL;
	return n >= nargs;
}

static void job_child(char **argv, char **envp, int o, int e, int failed)
{
	sigset_t none;
	int null, err;

	setsid();
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	null = open("/dev/null", O_RDONLY);
	dup2(null, 0);
	dup2(o, 1);
	dup2(e, 2);
	close(null);
	while (*envp)
		putenv(*envp++);
	execvp(argv[0], argv);
	err = errno;
	if (write(failed, &err, sizeof(err)) < 0)
		_exit(126);
	_exit(127);
}

/* Fork and exec; returns 0, or the errno of what failed (exec included). */
static int job_spawn(struct job *j, char **argv, char **envp)
{
	int o[2], e[2], x[2], err = 0;

	if (pipe2(o, O_CLOEXEC) || pipe2(e, O_CLOEXEC) || pipe2(x, O_CLOEXEC))
		return errno;
	j->start_us = now_us();
	j->pid = fork();
	if (!j->pid)
		job_child(argv, envp, o[1], e[1], x[1]);
	if (j->pid < 0)
		err = errno;
	close(o[1]);
	close(e[1]);
	close(x[1]);
	/* The end of this pipe closes at exec: nothing to read is success. */
	if (!err && read(x[0], &err, sizeof(err)) == sizeof(err))
		waitpid(j->pid, NULL, 0);
	close(x[0]);
	if (err) {
		close(o[0]);
		close(e[0]);
		j->pid = 0;
		return err;
	}
	fcntl(o[0], F_SETFL, O_NONBLOCK);
	fcntl(e[0], F_SETFL, O_NONBLOCK);
	j->fd[0] = o[0];
	j->fd[1] = e[0];
	return 0;
}

static void job_start(const struct frame *f)
{
	static char *argv[MAX_WORDS + 1], *envp[MAX_WORDS + 1];
	struct job *j = job_free_slot();
	int err;

	if (!words_split(f, argv, envp) || job_find(f->job)) {
		send_refused(f->job, EINVAL);
		return;
	}
	if (!j) {
		send_refused(f->job, EAGAIN);
		return;
	}
	memset(j, 0, sizeof(*j));
	j->id = f->job;
	err = job_spawn(j, argv, envp);
	if (err)
		send_refused(f->job, err);
}

/* Pass on one chunk of stream @s; false: there is nothing more for now. */
static bool job_read(struct job *j, int s)
{
	uint8_t data[FRAME_CHUNK];
	ssize_t len;

	if (j->fd[s] < 0)
		return false;
	len = read(j->fd[s], data, sizeof(data));
	if (len > 0) {
		send_frame(s ? FRAME_STDERR : FRAME_STDOUT, j->id, data, len);
		return true;
	}
	if (!len || errno != EAGAIN) {
		close(j->fd[s]);
		j->fd[s] = -1;
	}
	return false;
}

/*
 * All that the job itself wrote is in the pipes when it is dead; a process it
 * left behind may hold them open for ever, so their end is not waited for.
 */
static void job_finish(struct job *j)
{
	uint8_t data[12];
	int s;

	for (s = 0; s < 2; s++)
		while (out_len < OUT_HIGH && job_read(j, s))
			;
	if (out_len >= OUT_HIGH)
		return;
	for (s = 0; s < 2; s++)
		if (j->fd[s] >= 0)
			close(j->fd[s]);
	put_be32(data, j->status);
	put_be64(data + 4, j->wall_us);
	send_frame(FRAME_EXIT, j->id, data, sizeof(data));
	j->pid = 0;
}

static void reap(int sigfd)
{
	struct signalfd_siginfo info;
	struct job *j;
	int status;
	pid_t pid;

	while (read(sigfd, &info, sizeof(info)) > 0)
		;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		for (j = jobs; j < jobs + MAX_JOBS; j++) {
			if (j->pid != pid || j->dead)
				continue;
			j->dead = true;
			j->wall_us = now_us() - j->start_us;
			j->status = WIFSIGNALED(status) ? -WTERMSIG(status) :
							  WEXITSTATUS(status);
		}
	}
}

static void handle(const struct frame *f)
{
	struct job *j;

	switch (f->type) {
	case FRAME_PING:
		send_frame(FRAME_PONG, f->job, f->data,
			   f->len < FRAME_CHUNK ? f->len : FRAME_CHUNK);
		break;
	case FRAME_START:
		job_start(f);
		break;
	case FRAME_SIGNAL:
		j = job_find(f->job);
		if (j && !j->dead && f->len == 1)
			kill(-j->pid, f->data[0]);
		break;
	case FRAME_POWEROFF:
		channel_drain();
		power_off();
	default:
		send_frame(FRAME_DAMAGED, 0, NULL, 0);
	}
}

static void channel_read(void)
{
	uint8_t data[256];
	struct frame f;
	ssize_t len, i;

	len = read(channel, data, sizeof(data));
	for (i = 0; i < len; i++) {
		switch (frame_feed(&reader, data[i], &f)) {
		case FRAME_WHOLE:
			handle(&f);
			break;
		case FRAME_BAD:
			send_frame(FRAME_DAMAGED, 0, NULL, 0);
			break;
		case FRAME_MORE:
			break;
		}
	}
}

static int sigchld_fd(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

/* Wait for the channel, a dead child, or output of jobs while there is room. */
static void wait_for_work(int sigfd)
{
	struct pollfd p[2 + 2 * MAX_JOBS];
	int n = 2, s;
	struct job *j;

	p[0] = (struct pollfd){ .fd = channel, .events = POLLIN };
	if (out_len)
		p[0].events |= POLLOUT;
	p[1] = (struct pollfd){ .fd = sigfd, .events = POLLIN };
	for (j = jobs; j < jobs + MAX_JOBS && out_len < OUT_HIGH; j++)
		for (s = 0; s < 2; s++)
			if (j->pid && j->fd[s] >= 0)
				p[n++] = (struct pollfd){ .fd = j->fd[s],
							  .events = POLLIN };
	poll(p, n, -1);
}

void agent_run(int fd)
{
	int sigfd = sigchld_fd();
	struct job *j;

	channel = fd;
	send_hello();
	for (;;) {
		channel_flush();
		wait_for_work(sigfd);
		channel_read();
		reap(sigfd);
		for (j = jobs; j < jobs + MAX_JOBS; j++) {
			if (!j->pid || out_len >= OUT_HIGH)
				continue;
			job_read(j, 0);
			job_read(j, 1);
			if (j->dead)
				job_finish(j);
		}
	}
}
