// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * memload --mb N --threads T: memory under check.
 *
 * Every thread owns a region.  A pass verifies each word of it against a value
 * that depends on the word's address and on the pass, and writes the next one;
 * then it takes a part through mprotect, munmap and mmap, so that hash entries
 * are removed and inserted all the time.  One line a pass for all threads;
 * SIGTERM ends it with a summary, status 1 if any word was wrong.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "guest.h"

#define MAX_THREADS	64
#define PARTS		8	/* of a region; one is remapped in each pass */
#define MAX_REPORTS	16

struct region {
	pthread_t thread;
	uint64_t *base;
	size_t words;
	uint64_t wrong;
	uint64_t pages;
};

static struct region regions[MAX_THREADS];
static long threads = 1, megabytes = 16;
static size_t page_words;
static pthread_barrier_t barrier;
static volatile sig_atomic_t stop;
static bool done;
static uint64_t passes;

static void on_term(int sig)
{
	(void)sig;
	stop = 1;
}

static uint64_t pattern(const uint64_t *word, uint64_t pass)
{
	return ((uintptr_t)word ^ pass << 48) * 0x9e3779b97f4a7c15ull + pass;
}

static void complain(struct region *r, const uint64_t *word, uint64_t want,
		     uint64_t got)
{
	if (r->wrong++ < MAX_REPORTS)
		fprintf(stderr, "memload: %p holds %016llx, not %016llx\n",
			(void *)word, (unsigned long long)got,
			(unsigned long long)want);
}

static void page_fill(uint64_t *page, uint64_t pass)
{
	for (size_t i = 0; i < page_words; i++)
		page[i] = pattern(page + i, pass);
}

static void page_check(struct region *r, const uint64_t *page, uint64_t pass)
{
	for (size_t i = 0; i < page_words; i++)
		if (page[i] != pattern(page + i, pass))
			complain(r, page + i, pattern(page + i, pass), page[i]);
}

/* A page that was just mapped is all zeroes, whatever was there before. */
static void page_check_zero(struct region *r, const uint64_t *page)
{
	for (size_t i = 0; i < page_words; i++)
		if (page[i])
			complain(r, page + i, 0, page[i]);
}

static void must(bool ok, const char *what)
{
	if (!ok) {
		fprintf(stderr, "memload: %s: %m\n", what);
		_exit(2);
	}
}

static void remap_part(struct region *r, uint64_t pass)
{
	size_t words = r->words / PARTS / page_words * page_words;
	uint64_t *part = r->base + pass % PARTS * words, *p;
	size_t bytes = words * sizeof(*part);

	must(!mprotect(part, bytes, PROT_READ), "mprotect");
	for (p = part; p < part + words; p += page_words)
		page_check(r, p, pass);
	must(!munmap(part, bytes), "munmap");
	must(mmap(part, bytes, PROT_READ | PROT_WRITE,
		  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == part,
	     "mmap");
	for (p = part; p < part + words; p += page_words) {
		page_check_zero(r, p);
		page_fill(p, pass);
	}
}

/* Verify pass - 1 and write @pass. */
static void one_pass(struct region *r, uint64_t pass)
{
	uint64_t *p;

	for (p = r->base; p < r->base + r->words; p += page_words) {
		page_check(r, p, pass - 1);
		page_fill(p, pass);
		r->pages++;
	}
	remap_part(r, pass);
}

static uint64_t total_wrong(uint64_t *pages)
{
	uint64_t wrong = 0;

	*pages = 0;
	for (int i = 0; i < threads; i++) {
		wrong += regions[i].wrong;
		*pages += regions[i].pages;
	}
	return wrong;
}

static void report(void)
{
	uint64_t pages, wrong = total_wrong(&pages);

	printf("pass %llu wrong %llu pages %llu\n", (unsigned long long)passes,
	       (unsigned long long)wrong, (unsigned long long)pages);
	fflush(stdout);
}

static void *worker(void *arg)
{
	struct region *r = arg;
	uint64_t *p, pass;

	for (p = r->base; p < r->base + r->words; p += page_words)
		page_fill(p, 0);
	for (pass = 1; !done; pass++) {
		one_pass(r, pass);
		/* One thread, while all others wait, reports and decides. */
		if (pthread_barrier_wait(&barrier) == PTHREAD_BARRIER_SERIAL_THREAD) {
			passes = pass;
			done = stop;
			report();
		}
		pthread_barrier_wait(&barrier);
	}
	return NULL;
}

static void start_worker(struct region *r)
{
	size_t bytes = (size_t)megabytes * 1024 * 1024 / threads;

	bytes -= bytes % (PARTS * page_words * sizeof(*r->base));
	must(bytes, "less than a page for each part");
	r->words = bytes / sizeof(*r->base);
	r->base = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	must(r->base != MAP_FAILED, "mmap");
	errno = pthread_create(&r->thread, NULL, worker, r);
	must(!errno, "pthread_create");
}

static int usage(void)
{
	fprintf(stderr, "usage: memload --mb N --threads T\n");
	return EINVAL;
}

static int parse_options(int argc, char **argv)
{
	int err = argc % 2 ? 0 : EINVAL;

	for (int i = 1; !err && i < argc; i += 2) {
		if (!strcmp(argv[i], "--mb"))
			err = parse_number(argv[i + 1], 1, 1 << 24, &megabytes);
		else if (!strcmp(argv[i], "--threads"))
			err = parse_number(argv[i + 1], 1, MAX_THREADS, &threads);
		else
			err = EINVAL;
	}
	return err;
}

int memload_main(int argc, char **argv)
{
	struct sigaction sa = { .sa_handler = on_term };
	uint64_t pages, wrong;

	if (parse_options(argc, argv))
		return usage();
	sigaction(SIGTERM, &sa, NULL);
	page_words = sysconf(_SC_PAGESIZE) / sizeof(uint64_t);
	pthread_barrier_init(&barrier, NULL, threads);
	for (int i = 0; i < threads; i++)
		start_worker(&regions[i]);
	for (int i = 0; i < threads; i++)
		pthread_join(regions[i].thread, NULL);

	wrong = total_wrong(&pages);
	printf("done passes %llu wrong %llu pages %llu megabytes %ld threads %ld\n",
	       (unsigned long long)passes, (unsigned long long)wrong,
	       (unsigned long long)pages, megabytes, threads);
	return wrong ? 1 : 0;
}
