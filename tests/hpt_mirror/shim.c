/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See qemu_shim.h */
#include "machine_shim.h"
#include <sched.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

SpaprMachineState shim_machine;
unsigned shim_flushes;
unsigned shim_exits;
uint64_t shim_live;
int shim_fail_alloc = -1;

static spapr_hcall_fn shim_prepare, shim_commit;

void *shim_alloc(size_t size, bool may_fail)
{
    void *p;

    if (may_fail && shim_fail_alloc >= 0 && shim_fail_alloc-- == 0) {
        return NULL;
    }
    p = calloc(1, size);
    assert(p);
    __atomic_fetch_add(&shim_live, 1, __ATOMIC_RELAXED);
    return p;
}

void shim_free(void *p)
{
    if (p) {
        __atomic_fetch_sub(&shim_live, 1, __ATOMIC_RELAXED);
        free(p);
    }
}

void spapr_register_hypercall(target_ulong opcode, spapr_hcall_fn fn)
{
    *(opcode == H_RESIZE_HPT_PREPARE ? &shim_prepare : &shim_commit) = fn;
}

target_ulong shim_hcall(target_ulong opcode, target_ulong flags,
                        target_ulong shift)
{
    PowerPCCPU cpu = { };
    target_ulong args[2] = { flags, shift };

    return (opcode == H_RESIZE_HPT_PREPARE ? shim_prepare : shim_commit)
           (&cpu, &shim_machine, opcode, args);
}

void check_tlb_flush(CPUPPCState *env, bool global)
{
    assert(global && (env->tlb_need_flush & TLB_NEED_GLOBAL_FLUSH));
    shim_flushes++;
}

void cpu_exit(CPUState *cs)
{
    shim_exits++;
}

/* The code under test has one timer */
struct QEMUTimer {
    void (*cb)(void *);
    void *opaque;
};

bool shim_timer_armed;
static QEMUTimer timer;

QEMUTimer *timer_new_ms(int clock, void (*cb)(void *), void *opaque)
{
    assert(!timer.cb);
    timer = (QEMUTimer) { .cb = cb, .opaque = opaque };
    return &timer;
}

void timer_mod(QEMUTimer *t, int64_t when)
{
    shim_timer_armed = true;
}

bool timer_pending(QEMUTimer *t)
{
    return shim_timer_armed;
}

void shim_timer_fire(void)
{
    assert(shim_timer_armed);
    shim_timer_armed = false;
    timer.cb(timer.opaque);
}

int spapr_hpt_shift_for_ramsize(uint64_t ramsize)
{
    return MAX(63 - __builtin_clzll(ramsize) - 7, 18);
}

void spapr_set_hpt(SpaprMachineState *spapr, SpaprHpt *hpt)
{
    SpaprHpt *old = spapr->hpt;

    assert(bql_locked());
    if (old && hpt) {
        shim_switched(old, hpt);
    }
    qatomic_rcu_set(&spapr->hpt, hpt);
    spapr->htab_resized = true;
    spapr->htab_shift = hpt ? hpt->order : 0;
    spapr_hpt_retire(old);
}

#ifdef SHIM_STEPPED

#include <ucontext.h>

static struct {
    ucontext_t self, caller;
    void *(*start)(void *);
    void *opaque;
    unsigned budget;        /* groups until it yields */
    bool exists, running, ended;
} copier;

static char copier_stack[256 * 1024];
static unsigned spins_held, readers;
static struct rcu_head *rcu_queue;

static void copier_main(void)
{
    copier.start(copier.opaque);
    copier.ended = true;
}

static void copier_resume(unsigned budget)
{
    if (!copier.ended) {
        copier.budget = budget;
        copier.running = true;
        swapcontext(&copier.caller, &copier.self);
        copier.running = false;
    }
}

bool shim_copier_step(unsigned groups)
{
    if (copier.exists) {
        copier_resume(groups);
    }
    return copier.exists;
}

void qemu_thread_create(QemuThread *thread, const char *name,
                        void *(*start)(void *), void *opaque, int mode)
{
    /* Only the copier is of interest step by step */
    if (mode == QEMU_THREAD_DETACHED || strcmp(name, "hpt-mirror")) {
        start(opaque);
        thread->ended = true;
        return;
    }
    thread->ended = false;
    assert(!copier.exists);
    copier.start = start;
    copier.opaque = opaque;
    copier.exists = true;
    copier.ended = false;
    getcontext(&copier.self);
    copier.self.uc_stack.ss_sp = copier_stack;
    copier.self.uc_stack.ss_size = sizeof(copier_stack);
    copier.self.uc_link = &copier.caller;
    makecontext(&copier.self, copier_main, 0);
}

void *qemu_thread_join(QemuThread *thread)
{
    if (thread->ended) {
        return NULL;
    }
    assert(copier.exists && !copier.running);
    copier_resume(UINT_MAX);
    assert(copier.ended);
    copier.exists = false;
    return NULL;
}

void qemu_spin_init(QemuSpin *spin)
{
    spin->held = false;
}

void qemu_spin_lock(QemuSpin *spin)
{
    SHIM_WINDOW(WINDOW_LOCK);
    assert(!spin->held);
    spin->held = true;
    spins_held++;
}

void qemu_spin_unlock(QemuSpin *spin)
{
    assert(spin->held);
    spin->held = false;
    spins_held--;
    if (copier.running && --copier.budget == 0) {
        swapcontext(&copier.self, &copier.caller);
    }
}

void shim_window(int which)
{
    void driver_window(int which);

    if (!spins_held && !copier.running) {
        driver_window(which);
    }
}

bool bql_locked(void)
{
    return !copier.running;
}

int64_t qemu_clock_get_us(int clock)
{
    static int64_t now;

    return now += 1000;
}

void shim_rcu_read_lock(void)
{
    readers++;
}

void shim_rcu_read_unlock(void)
{
    assert(readers);
    readers--;
}

void call_rcu1(struct rcu_head *head, void (*func)(struct rcu_head *))
{
    head->func = func;
    head->next = rcu_queue;
    rcu_queue = head;
}

bool shim_rcu_pending(void)
{
    return rcu_queue != NULL;
}

void shim_rcu_run(void)
{
    while (!readers && rcu_queue) {
        struct rcu_head *head = rcu_queue;

        rcu_queue = head->next;
        head->func(head);
    }
}

#else

#define THREADS 8

static pthread_mutex_t bql = PTHREAD_MUTEX_INITIALIZER;
static __thread bool bql_is_ours;
static __thread int number = -1;

/* Odd while the thread is in a critical section, another value each time */
static uint64_t sections[THREADS];

static struct rcu_batch {
    struct rcu_head *heads;
    uint64_t seen[THREADS];
} rcu_queued, rcu_waiting;

/* Not the holder of the BQL: it has to be the one that gets on meanwhile */
void shim_rest(void)
{
    static __thread unsigned calls;

    if (number >= 0 && ++calls % 127 == 0) {
        usleep(calls % 4 * 400);
    }
}

void shim_thread_init(int n)
{
    assert(n < THREADS);
    number = n;
}

void qemu_thread_create(QemuThread *thread, const char *name,
                        void *(*start)(void *), void *opaque, int mode)
{
    int ret = pthread_create(&thread->thread, NULL, start, opaque);

    assert(!ret);
    if (mode == QEMU_THREAD_DETACHED) {
        pthread_detach(thread->thread);
    }
}

void *qemu_thread_join(QemuThread *thread)
{
    void *value;
    int ret = pthread_join(thread->thread, &value);

    assert(!ret);
    return value;
}

void qemu_spin_init(QemuSpin *spin)
{
    pthread_mutex_init(&spin->mutex, NULL);
}

void qemu_spin_lock(QemuSpin *spin)
{
    pthread_mutex_lock(&spin->mutex);
}

void qemu_spin_unlock(QemuSpin *spin)
{
    pthread_mutex_unlock(&spin->mutex);
}

void shim_bql_lock(void)
{
    pthread_mutex_lock(&bql);
    bql_is_ours = true;
}

void shim_bql_unlock(void)
{
    bql_is_ours = false;
    pthread_mutex_unlock(&bql);
}

bool bql_locked(void)
{
    return bql_is_ours;
}

int64_t qemu_clock_get_us(int clock)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000000) + t.tv_nsec / 1000;
}

void shim_rcu_read_lock(void)
{
    __atomic_fetch_add(&sections[number], 1, __ATOMIC_SEQ_CST);
}

void shim_rcu_read_unlock(void)
{
    __atomic_fetch_add(&sections[number], 1, __ATOMIC_SEQ_CST);
}

/* With the BQL held, as all uses of the code under test have it */
void call_rcu1(struct rcu_head *head, void (*func)(struct rcu_head *))
{
    assert(bql_locked());
    head->func = func;
    head->next = rcu_queued.heads;
    rcu_queued.heads = head;
}

static bool rcu_batch_is_over(const struct rcu_batch *batch)
{
    for (int i = 0; i < THREADS; i++) {
        if ((batch->seen[i] & 1) && batch->seen[i] ==
            __atomic_load_n(&sections[i], __ATOMIC_SEQ_CST)) {
            return false;
        }
    }
    return true;
}

void shim_rcu_poll(void)
{
    if (!rcu_batch_is_over(&rcu_waiting)) {
        return;
    }
    while (rcu_waiting.heads) {
        struct rcu_head *head = rcu_waiting.heads;

        rcu_waiting.heads = head->next;
        head->func(head);
    }
    rcu_waiting = rcu_queued;
    rcu_queued.heads = NULL;
    for (int i = 0; i < THREADS; i++) {
        rcu_waiting.seen[i] = __atomic_load_n(&sections[i], __ATOMIC_SEQ_CST);
    }
}

#endif
