/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the tests of the conformance payload are written with.
 *
 * A test is a function without result.  It ends early by failing or skipping;
 * only the first failure counts.  The text of a CHECK says what should not be.
 */
#ifndef LIB_H
#define LIB_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

typedef unsigned long u64;
typedef unsigned int u32;
typedef unsigned char u8;

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))

/* Hypercalls and what they return */

#define H_REMOVE	0x04
#define H_ENTER		0x08
#define H_READ		0x0c
#define H_PROTECT	0x18
#define H_GET_TERM_CHAR	0x54
#define H_PUT_TERM_CHAR	0x58
#define H_BULK_REMOVE	0x124
#define H_PREPARE	0x36c
#define H_COMMIT	0x370
#define H_REGISTER_PROC_TBL 0x37c
#define H_RTAS		0xf000

#define H_SUCCESS	0
#define H_BUSY		1
#define H_CLOSED	2
#define H_NOT_AVAILABLE	3
#define H_FUNCTION	-2
#define H_PARAMETER	-4
#define H_PTEG_FULL	-6
#define H_NOT_FOUND	-7
#define H_NO_MEM	-9
#define H_AUTHORITY	-10
#define H_RESOURCE	-16
#define H_LONG_BUSY_1_MS	9900
#define H_LONG_BUSY_100_MS	9902
#define H_LONG_BUSY_LAST	9905

#define H_EXACT		(1UL << (63 - 24))
#define H_READ_4	(1UL << (63 - 26))
#define H_AVPN		(1UL << (63 - 32))

#define MOVE_BOLTED	1

struct hcall {
	long ret;
	u64 r[8];	/* arguments from r4 on, then results from r4 on */
};

void hcall_raw(struct hcall *call);
long hcall(u64 number, u64 r4, u64 r5, u64 r6, u64 r7);
long prepare(u64 flags, u64 order);
long commit(u64 flags, u64 order);
bool is_long_busy(long ret);
void *memset(void *to, int c, size_t n);
void *memcpy(void *to, const void *from, size_t n);
const char *result_name(long ret);	/* of the calling CPU, until its next call */

/* Console and the host behind the second vty */

void say(const char *format, ...);
bool host_is_there(void);
u64 ask_host(const char *command);
void tell_host(const char *command);	/* for one that has no answer */

/* Tests */

struct test {
	const char *name;
	void (*run)(void);
	int cpus;
};

void fail(const char *format, ...) __attribute__((noreturn));
void skip(const char *why) __attribute__((noreturn));
#define CHECK(condition, ...) do { if (!(condition)) fail(__VA_ARGS__); } while (0)
#define CHECK_RESULT(call, wanted, what) check_result(call, wanted, what, #call)
void check_result(long got, long wanted, const char *what, const char *call);
void leave_test(void) __attribute__((noreturn));	/* for what another CPU has found */

/* Survives a system reset, not a power cycle: how far a test got before it. */
extern int phase;
void ask_for_reset(int next_phase);	/* it comes a little later */
void reset_machine(int next_phase) __attribute__((noreturn));

extern u64 start_order;		/* of the table that the machine starts with */
extern bool mirror;		/* the host keeps all entries when growing */

/* Firmware */

u64 firmware_call(const char *service, int arguments, int results, ...);
bool offers(const char *function);	/* in ibm,hypertas-functions */
bool client_architecture_support(bool resizes);	/* what option vector 5 says of us */

/* Time and chance */

u64 now_us(void);
u64 random_number(void);
void seed_random(u64 seed);	/* of all processors */

/* Processors: number 0 is the one that runs the tests */

#define MAX_CPUS 8

int my_cpu(void);
int cpus_running(void);
void on_cpu(int cpu, void (*work)(void));
void wait_cpu(int cpu);
void on_others(void (*work)(void));
void wait_others(void);
bool asked_to_stop(void);
void ask_to_stop(void);		/* seen by asked_to_stop() until the next on_others() */
void start_cpus(int wanted);

/* hostile.c: instead of the tests, if the command line says hpt.hostile=SEED,CALLS,CPUS,MIGRATES */
void hostile(u64 seed, u64 wanted, u64 n_cpus, bool migrates);

/* Accesses with the MMU on: 0, or DSISR */

#define FAULT_NO_ENTRY	0x40000000
#define FAULT_PROTECTED	0x08000000

u64 load_translated(u64 ea, u64 *value);
u64 store_translated(u64 ea, u64 value);
u64 walk_translated(u64 ea, u64 value, u64 vsid_word, u64 esid_word, u64 count);
void install_vectors(void);	/* no call of the firmware after it */
void set_segment(int slot, u64 ea, u64 vsid_word);

#endif
