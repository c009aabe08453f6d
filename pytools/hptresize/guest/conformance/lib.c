// SPDX-License-Identifier: GPL-2.0-or-later
/* Console, firmware, processors, exceptions: what a program without a kernel needs. */
#include "lib.h"

#define CONSOLE		0	/* the first vty */
#define CHANNEL		0x30001000
#define RESUME_ADDRESS	0x1ff00000
#define RESUME_MAGIC	0x6870742d72657375UL
#define TIMEBASE_MHZ	512
#define START_US	5000000

/* Stays in RAM over a system reset; the program is loaded anew. */
struct resume {
	u64 magic;
	u64 test;
	u64 phase;
};

struct cpu {
	void (*work)(void);
	void *escape[5];
	u64 random;
	bool online;
	char name[24];
};

enum outcome { PASSED, FAILED, SKIPPED };

static struct cpu cpus[MAX_CPUS] = { [0] = { .online = true } };
static volatile bool stop_now;
static char why[320];
static u64 why_taken;
static enum outcome outcome;
static u64 prom;
static char bootargs[8192];
static char hypertas[2048];	/* strings, each with its end */
static u64 hypertas_size;
static u64 start_cpu_token;
static u64 current_test;

int phase;
u64 start_order;
bool mirror;

/* Strings */

void *memset(void *to, int c, size_t n)
{
	char *p = to;

	while (n--)
		*p++ = c;
	return to;
}

void *memcpy(void *to, const void *from, size_t n)
{
	char *p = to;
	const char *q = from;

	while (n--)
		*p++ = *q++;
	return to;
}

static size_t length(const char *s)
{
	size_t n = 0;

	while (s[n])
		n++;
	return n;
}

static bool starts_with(const char *s, const char *with)
{
	while (*with)
		if (*s++ != *with++)
			return false;
	return true;
}

static char *put_number(char *p, char *end, u64 v, unsigned base)
{
	char digits[24];
	int n = 0;

	do {
		digits[n++] = "0123456789abcdef"[v % base];
		v /= base;
	} while (v);
	while (n && p < end)
		*p++ = digits[--n];
	return p;
}

/* %s, %d, %u, %x of 64 bits each */
static void format(char *out, size_t size, const char *f, va_list args)
{
	char *p = out, *end = out + size - 1;

	for (; *f && p < end; f++) {
		const char *s;
		long v;

		if (*f != '%') {
			*p++ = *f;
			continue;
		}
		switch (*++f) {
		case 's':
			for (s = va_arg(args, const char *); *s && p < end; )
				*p++ = *s++;
			break;
		case 'd':
			v = va_arg(args, long);
			if (v < 0)
				*p++ = '-';
			p = put_number(p, end, v < 0 ? -(u64)v : (u64)v, 10);
			break;
		case 'u':
			p = put_number(p, end, va_arg(args, u64), 10);
			break;
		case 'x':
			p = put_number(p, end, va_arg(args, u64), 16);
			break;
		}
	}
	*p = 0;
}

/* Hypercalls */

void hcall_raw(struct hcall *call)
{
	register u64 r3 asm("r3") = call->ret;
	register u64 r4 asm("r4") = call->r[0];
	register u64 r5 asm("r5") = call->r[1];
	register u64 r6 asm("r6") = call->r[2];
	register u64 r7 asm("r7") = call->r[3];
	register u64 r8 asm("r8") = call->r[4];
	register u64 r9 asm("r9") = call->r[5];
	register u64 r10 asm("r10") = call->r[6];
	register u64 r11 asm("r11") = call->r[7];

	asm volatile("sc 1"
		     : "+r"(r3), "+r"(r4), "+r"(r5), "+r"(r6), "+r"(r7),
		       "+r"(r8), "+r"(r9), "+r"(r10), "+r"(r11)
		     :
		     : "r0", "r12", "cr0", "ctr", "xer", "memory");
	*call = (struct hcall){ r3, { r4, r5, r6, r7, r8, r9, r10, r11 } };
}

long hcall(u64 number, u64 r4, u64 r5, u64 r6, u64 r7)
{
	struct hcall call = { number, { r4, r5, r6, r7 } };

	hcall_raw(&call);
	return call.ret;
}

long prepare(u64 flags, u64 order)
{
	return hcall(H_PREPARE, flags, order, 0, 0);
}

long commit(u64 flags, u64 order)
{
	return hcall(H_COMMIT, flags, order, 0, 0);
}

bool is_long_busy(long ret)
{
	return ret >= H_LONG_BUSY_1_MS && ret <= H_LONG_BUSY_LAST;
}

static void print_into(char *out, size_t size, const char *f, ...)
{
	va_list args;

	va_start(args, f);
	format(out, size, f, args);
	va_end(args);
}

const char *result_name(long ret)
{
	static const struct {
		long ret;
		const char *name;
	} names[] = {
		{ H_SUCCESS, "H_SUCCESS" }, { H_BUSY, "H_BUSY" },
		{ H_CLOSED, "H_CLOSED" }, { H_NOT_AVAILABLE, "H_NOT_AVAILABLE" },
		{ -1, "H_HARDWARE" }, { H_FUNCTION, "H_FUNCTION" },
		{ H_PARAMETER, "H_PARAMETER" }, { H_PTEG_FULL, "H_PTEG_FULL" },
		{ H_NOT_FOUND, "H_NOT_FOUND" }, { H_NO_MEM, "H_NO_MEM" },
		{ H_AUTHORITY, "H_AUTHORITY" }, { H_RESOURCE, "H_RESOURCE" },
		{ 9900, "H_LONG_BUSY_ORDER_1_MSEC" }, { 9901, "H_LONG_BUSY_ORDER_10_MSEC" },
		{ 9902, "H_LONG_BUSY_ORDER_100_MSEC" }, { 9903, "H_LONG_BUSY_ORDER_1_SEC" },
		{ 9904, "H_LONG_BUSY_ORDER_10_SEC" }, { 9905, "H_LONG_BUSY_ORDER_100_SEC" },
	};
	char *own = cpus[my_cpu()].name;

	for (u32 i = 0; i < ARRAY_SIZE(names); i++)
		if (names[i].ret == ret)
			return names[i].name;
	print_into(own, sizeof(cpus[0].name), "%d", ret);
	return own;
}

/* Terminals */

static void write_vty(u64 vty, const char *s, size_t n)
{
	while (n) {
		size_t now = n < 16 ? n : 16;
		struct hcall call;

		do {
			call = (struct hcall){ H_PUT_TERM_CHAR, { vty, now } };
			memcpy(&call.r[2], s, now);
			hcall_raw(&call);
		} while (call.ret == H_BUSY);
		s += now;
		n -= now;
	}
}

void say(const char *f, ...)
{
	char line[400];
	va_list args;

	va_start(args, f);
	format(line, sizeof(line), f, args);
	va_end(args);
	write_vty(CONSOLE, line, length(line));
}

bool host_is_there(void)
{
	for (const char *p = bootargs; *p; p++)
		if (starts_with(p, "hpt.host"))
			return true;
	return false;
}

void tell_host(const char *command)
{
	if (!host_is_there())
		skip("nobody at the other end to look at QEMU from outside");
	write_vty(CHANNEL, command, length(command));
	write_vty(CHANNEL, "\n", 1);
}

u64 ask_host(const char *command)
{
	u64 value = 0;

	tell_host(command);
	for (;;) {
		struct hcall call = { H_GET_TERM_CHAR, { CHANNEL } };

		hcall_raw(&call);
		for (u64 i = 0; i < call.r[0]; i++) {
			char c = ((char *)&call.r[1])[i];

			if (c == '\n')
				return value;
			value = value * 10 + (c - '0');
		}
	}
}

/* Outcome of a test: the first word counts, whichever CPU says it */

static void leave(enum outcome how)
{
	outcome = how;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	__builtin_longjmp(cpus[my_cpu()].escape, 1);
}

static void conclude(enum outcome how, const char *f, va_list args)
{
	if (!__atomic_exchange_n(&why_taken, 1, __ATOMIC_SEQ_CST))
		format(why, sizeof(why), f, args);
	stop_now = true;
	leave(how);
}

void fail(const char *f, ...)
{
	va_list args;

	va_start(args, f);
	conclude(FAILED, f, args);
	va_end(args);
	__builtin_unreachable();
}

static void conclude_skip(const char *f, ...)
{
	va_list args;

	va_start(args, f);
	conclude(SKIPPED, f, args);
	va_end(args);
}

void skip(const char *reason)
{
	conclude_skip("%s", reason);
	__builtin_unreachable();
}

void leave_test(void)
{
	leave(outcome);
	__builtin_unreachable();
}

void check_result(long got, long wanted, const char *what, const char *call)
{
	char name[24];

	if (got == wanted)
		return;
	memcpy(name, result_name(got), sizeof(name) - 1);
	name[sizeof(name) - 1] = 0;
	fail("%s: %s gave %s, not %s", what, call, name, result_name(wanted));
}

void ask_for_reset(int next_phase)
{
	struct resume *resume = (struct resume *)RESUME_ADDRESS;

	*resume = (struct resume){ RESUME_MAGIC, current_test, next_phase };
	tell_host("reset");
}

void reset_machine(int next_phase)
{
	ask_for_reset(next_phase);
	for (;;)
		;
}

/* Firmware */

u64 call_firmware(void *arguments, u64 entry);

u64 firmware_call(const char *service, int arguments, int results, ...)
{
	static struct {
		u32 service, arguments, results, cell[12];
	} call;
	va_list args;

	call.service = (u64)service;
	call.arguments = arguments;
	call.results = results;
	va_start(args, results);
	for (int i = 0; i < arguments; i++)
		call.cell[i] = va_arg(args, u64);
	va_end(args);
	for (int i = 0; i < results; i++)
		call.cell[arguments + i] = -1;
	call_firmware(&call, prom);
	return call.cell[arguments];
}

static u32 get_cell(const char *path, const char *property, int index)
{
	static u32 cells[4];
	u64 node = firmware_call("finddevice", 1, 1, path);

	if (node == 0xffffffff)
		return 0;
	firmware_call("getprop", 4, 1, node, property, cells, sizeof(cells));
	return cells[index];
}

static void ask_firmware(void)
{
	u64 chosen = firmware_call("finddevice", 1, 1, "/chosen");
	u64 cpu = firmware_call("child", 1, 1, firmware_call("finddevice", 1, 1, "/cpus"));
	static u32 pft_size[2];

	firmware_call("getprop", 4, 1, chosen, "bootargs", bootargs, sizeof(bootargs) - 1);
	firmware_call("getprop", 4, 1, cpu, "ibm,pft-size", pft_size, sizeof(pft_size));
	start_order = pft_size[1];
	start_cpu_token = get_cell("/rtas", "start-cpu", 0);
	hypertas_size = firmware_call("getprop", 4, 1,
				      firmware_call("finddevice", 1, 1, "/rtas"),
				      "ibm,hypertas-functions", hypertas, sizeof(hypertas));
	for (const char *p = bootargs; *p; p++)
		if (starts_with(p, "hpt.mirror"))
			mirror = true;
}

bool offers(const char *function)
{
	CHECK(hypertas_size <= sizeof(hypertas), "ibm,hypertas-functions has 0x%x bytes",
	      hypertas_size);
	for (const char *p = hypertas; p < hypertas + hypertas_size; p += length(p) + 1)
		if (starts_with(p, function) && length(p) == length(function))
			return true;
	return false;
}

/* A guest that runs on this very processor, and may be able to resize its table */
bool client_architecture_support(bool resizes)
{
	static u8 vector[64];
	u64 root = firmware_call("open", 1, 1, "/");
	u32 pvr, n = 0;

	asm volatile("mfspr %0, 287" : "=r"(pvr));
	memcpy(&vector[n], (u32[]){ 0xffffffff, pvr, 0, 0xffffffff }, 16);
	n += 16;
	vector[n++] = 5 - 1;
	for (int i = 1; i <= 5; i++) {
		int bytes = i == 5 ? 24 : 4;

		vector[n] = bytes - 1;
		/* Byte 1 is the one after the length. */
		if (i == 5)
			vector[n + 6] = resizes;
		n += 1 + bytes;
	}
	/* Method, instance, then the method's own; two results: of the call, of the method */
	return !firmware_call("call-method", 3, 2, "ibm,client-architecture-support", root,
			      vector);
}

/* Time and chance */

static u64 timebase(void)
{
	u64 tb;

	asm volatile("mfspr %0, 268" : "=r"(tb));
	return tb;
}

u64 now_us(void)
{
	return timebase() / TIMEBASE_MHZ;
}

u64 random_number(void)
{
	u64 *x = &cpus[my_cpu()].random;

	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x * 0x2545f4914f6cdd1dUL >> 11;
}

void seed_random(u64 seed)
{
	for (int i = 0; i < MAX_CPUS; i++) {
		cpus[i].random = (seed + 1) * 0x9e3779b97f4a7c15UL * (i + 1);
		/* Its first numbers are not random enough. */
		cpus[i].random ^= cpus[i].random >> 29 ^ 1;
	}
}

/* Processors */

void secondary_start(void);

int my_cpu(void)
{
	int n;

	asm("mr %0, 13" : "=r"(n));
	return n;
}

void secondary_main(void)
{
	struct cpu *me = &cpus[my_cpu()];

	__atomic_store_n(&me->online, true, __ATOMIC_RELEASE);
	for (;;) {
		void (*work)(void) = __atomic_load_n(&me->work, __ATOMIC_ACQUIRE);

		if (!work) {
			asm volatile("or 27,27,27");	/* yield */
			continue;
		}
		if (!__builtin_setjmp(me->escape))
			work();
		__atomic_store_n(&me->work, NULL, __ATOMIC_RELEASE);
	}
}

int cpus_running(void)
{
	int n = 0;

	while (n < MAX_CPUS && cpus[n].online)
		n++;
	return n;
}

/* RTAS knows CPUs by numbers with gaps: try each. */
void start_cpus(int wanted)
{
	static u32 call[8];

	for (u32 id = 1; id < 64 && cpus_running() < wanted; id++) {
		int n = cpus_running();
		u64 begin = now_us();

		memcpy(call, (u32[]){ start_cpu_token, 3, 1, id, (u64)secondary_start, n, -1 }, 28);
		hcall(H_RTAS, (u64)call, 0, 0, 0);
		if (call[6])
			continue;
		while (!__atomic_load_n(&cpus[n].online, __ATOMIC_ACQUIRE))
			if (now_us() - begin > START_US)
				fail("CPU %u was started and does not come", (u64)id);
	}
	if (cpus_running() < wanted)
		skip("not enough CPUs");
}

void on_cpu(int cpu, void (*work)(void))
{
	stop_now = false;
	__atomic_store_n(&cpus[cpu].work, work, __ATOMIC_RELEASE);
}

void wait_cpu(int cpu)
{
	u64 begin = now_us();

	while (__atomic_load_n(&cpus[cpu].work, __ATOMIC_ACQUIRE))
		if (now_us() - begin > 4 * START_US)
			fail("CPU %d does not come back", (long)cpu);
	if (outcome != PASSED)
		leave(outcome);
}

void on_others(void (*work)(void))
{
	stop_now = false;
	for (int i = 1; i < cpus_running(); i++)
		__atomic_store_n(&cpus[i].work, work, __ATOMIC_RELEASE);
}

void wait_others(void)
{
	for (int i = 1; i < cpus_running(); i++)
		wait_cpu(i);
}

bool asked_to_stop(void)
{
	return stop_now;
}

void ask_to_stop(void)
{
	stop_now = true;
}

/* Exceptions and segments */

extern char data_vector[], data_vector_end[];
extern char segment_vector[], segment_vector_end[];
extern char other_vector[], other_vector_end[];

static void install(u64 address, const char *code, const char *end)
{
	memcpy((void *)address, code, end - code);
	for (u64 line = address & ~127UL; line < address + (end - code); line += 128)
		asm volatile("dcbst 0,%0; sync; icbi 0,%0; isync" :: "r"(line) : "memory");
}

/* The firmware lies here too: after this it cannot be called any more. */
void install_vectors(void)
{
	for (u64 vector = 0x100; vector < 0x1000; vector += 0x80)
		install(vector, other_vector, other_vector_end);
	install(0x300, data_vector, data_vector_end);
	install(0x380, segment_vector, segment_vector_end);
}

void panic(u64 vector, u64 srr0, u64 srr1, u64 dar)
{
	say("# exception at vector 0x%x: srr0 0x%x srr1 0x%x dar 0x%x\nBail out!\n",
	    vector & ~0x7fUL, srr0, srr1, dar);
	for (;;)
		;
}

void set_segment(int slot, u64 ea, u64 vsid_word)
{
	u64 esid_word = (ea & ~0xfffffffUL) | 1 << 27 | slot;

	asm volatile("slbmte %0, %1; isync" :: "r"(vsid_word), "r"(esid_word) : "memory");
}

/* Running */

#define TEST(group, name, cpus, memory, kind, text) void group##_##name(void);
#include "tests.def"
#undef TEST

static const struct test tests[] = {
#define TEST(group, name, cpus, memory, kind, text) { #group "." #name, group##_##name, cpus },
#include "tests.def"
#undef TEST
};

/* "hpt.tests=a,b,c": those; nothing of the kind: all */
static bool is_wanted(const char *name)
{
	size_t n = length(name);
	bool chosen = false;

	for (const char *p = bootargs; *p; p++) {
		chosen |= starts_with(p, "hpt.tests=");
		if (p > bootargs && (p[-1] == '=' || p[-1] == ',') && starts_with(p, name) &&
		    (p[n] == ',' || p[n] == ' ' || !p[n]))
			return true;
	}
	return !chosen;
}

static void run_one(const struct test *test)
{
	why_taken = 0;
	outcome = PASSED;
	if (!__builtin_setjmp(cpus[0].escape)) {
		start_cpus(test->cpus);
		test->run();
	}
	ask_to_stop();
}

static bool report(int number, const char *name)
{
	if (outcome == FAILED)
		say("# %s\nnot ok %d %s\n", why, (long)number, name);
	else if (outcome == SKIPPED)
		say("ok %d %s # SKIP %s\n", (long)number, name, why);
	else
		say("ok %d %s\n", (long)number, name);
	return outcome != FAILED;
}

static const char *find_argument(const char *name)
{
	for (const char *p = bootargs; *p; p++)
		if (starts_with(p, name))
			return p + length(name);
	return NULL;
}

static u64 next_number(const char **p)
{
	u64 n = 0;

	while (**p >= '0' && **p <= '9')
		n = n * 10 + (*(*p)++ - '0');
	*p += **p == ',';
	return n;
}

static void run_hostile(const char *argument)
{
	u64 seed = next_number(&argument), wanted = next_number(&argument);
	u64 n_cpus = next_number(&argument);

	outcome = PASSED;
	if (!__builtin_setjmp(cpus[0].escape))
		hostile(seed, wanted, n_cpus, next_number(&argument));
	ask_to_stop();
	report(1, "hostile");
}

void main(u64 client_interface)
{
	struct resume *resume = (struct resume *)RESUME_ADDRESS;
	bool resumed = resume->magic == RESUME_MAGIC;
	u64 planned = 0, number = 0;

	prom = client_interface;
	seed_random(0);
	ask_firmware();
	if (find_argument("hpt.hostile=")) {
		run_hostile(find_argument("hpt.hostile="));
		return;
	}
	phase = resumed ? resume->phase : 0;
	current_test = resumed ? resume->test : 0;
	resume->magic = 0;

	for (u64 i = 0; i < ARRAY_SIZE(tests); i++)
		planned += is_wanted(tests[i].name);
	if (!resumed)
		say("KTAP version 1\n1..%u\n", planned);
	for (u64 i = 0; i < ARRAY_SIZE(tests); i++) {
		if (!is_wanted(tests[i].name))
			continue;
		number++;
		if (i < current_test)
			continue;
		current_test = i;
		run_one(&tests[i]);
		/* What a failed test left behind would only make others fail. */
		if (!report(number, tests[i].name)) {
			say("Bail out!\n");
			for (;;)
				;
		}
		phase = 0;
	}
	say("# end\n");
	for (;;)
		;
}
