/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See qemu_shim.h */
#define _GNU_SOURCE                     /* an rwlock that writers get */
#include "machine_shim.h"
#include <sched.h>
#include <setjmp.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

SpaprMachineState shim_machine;
PowerPCCPU shim_cpus[SHIM_CPUS] = { [0 ... SHIM_CPUS - 1].vhyp = &shim_machine };
__thread CPUState *current_cpu;
uint64_t shim_live, shim_tables;
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

void *shim_table_alloc(size_t size)
{
    void *p = shim_alloc(size, true);

    __atomic_fetch_add(&shim_tables, !!p, __ATOMIC_RELAXED);
    return p;
}

void shim_table_free(void *p)
{
    __atomic_fetch_sub(&shim_tables, 1, __ATOMIC_RELAXED);
    shim_free(p);
}

void spapr_register_hypercall(target_ulong opcode, spapr_hcall_fn fn)
{
    *(opcode == H_RESIZE_HPT_PREPARE ? &shim_prepare : &shim_commit) = fn;
}

static jmp_buf cpu_loop;

void cpu_loop_exit(CPUState *cs)
{
    assert(cs->exception_index == EXCP_INTERRUPT);
    longjmp(cpu_loop, 1);
}

/* As emulate_spapr_hypercall() and its caller: nip is behind the sc */
target_ulong shim_hcall(target_ulong opcode, target_ulong flags,
                        target_ulong shift)
{
    PowerPCCPU *cpu = &shim_cpus[0];
    CPUPPCState *env = &cpu->env;
    const target_ulong sc = 0x1000, vector = 0x500;

    env->nip = sc;
    env->gpr[3] = opcode;
    env->gpr[4] = flags;
    env->gpr[5] = shift;
    current_cpu = CPU(cpu);
    for (int again = 0; env->nip == sc; again++) {
        env->nip += 4;
        if (opcode == H_RESIZE_HPT_PREPARE) {
            env->gpr[3] = shim_prepare(cpu, &shim_machine, opcode,
                                       &env->gpr[4]);
        } else if (!setjmp(cpu_loop)) {
            env->gpr[3] = shim_commit(cpu, &shim_machine, opcode,
                                      &env->gpr[4]);
        }
        if (env->nip == sc) {
            /* The first time there is an interrupt in between */
            uint64_t calls = shim_machine.hpt_resize.commit_calls;

            env->nip = again ? sc : vector;
            shim_work();
            assert(again || shim_machine.hpt_resize.commit_calls == calls);
            env->nip = again ? env->nip : sc;
        }
    }
#ifndef SHIM_STEPPED
    shim_work();
#endif
    current_cpu = NULL;
    return env->gpr[3];
}

static struct {
    CPUState *cs;
    run_on_cpu_func func;
    run_on_cpu_data data;
} work[16];
static unsigned n_work;

void async_safe_run_on_cpu(CPUState *cs, run_on_cpu_func func,
                           run_on_cpu_data data)
{
    assert(bql_locked() && n_work < ARRAY_SIZE(work));
    work[n_work].cs = cs;
    work[n_work].func = func;
    work[n_work++].data = data;
}

static void start_exclusive(void);
static void end_exclusive(void);

void shim_work(void)
{
    if (!n_work) {
        return;
    }
    bql_unlock();
    start_exclusive();
    for (unsigned i = 0; i < n_work; i++) {
        current_cpu = work[i].cs;
        current_cpu->exclusive_context_count = 1;
        work[i].func(work[i].cs, work[i].data);
        current_cpu->exclusive_context_count = 0;
    }
    current_cpu = NULL;
    n_work = 0;
    end_exclusive();
    bql_lock();
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
    qatomic_store_release(&spapr->hpt, hpt);
    spapr->htab_replaced = true;
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
static unsigned spins_held;
static bool bql_held = true;

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
    if (!spins_held && !copier.running) {
        driver_window(which);
    }
}

static void start_exclusive(void)
{
    driver_end_walks();
}

static void end_exclusive(void)
{
}

void bql_lock(void)
{
    assert(!bql_held && !copier.running);
    bql_held = true;
}

void bql_unlock(void)
{
    assert(bql_locked());
    bql_held = false;
    driver_bql_unlocked();
}

bool bql_locked(void)
{
    return bql_held && !copier.running;
}

int64_t qemu_clock_get_us(int clock)
{
    static int64_t now;

    return now += 1000;
}

#else

static pthread_mutex_t bql = PTHREAD_MUTEX_INITIALIZER;
/* For writing: an exclusive section, which comes before further readers */
static pthread_rwlock_t exclusive =
    PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP;
static __thread bool bql_is_ours, walks;

/* Not the holder of the BQL: it has to be the one that gets on meanwhile */
void shim_rest(void)
{
    static __thread unsigned calls;

    if (walks && ++calls % 127 == 0) {
        usleep(calls % 4 * 400);
    }
}

void shim_thread_init(void)
{
    walks = true;
}

void shim_walk_begin(void)
{
    pthread_rwlock_rdlock(&exclusive);
}

void shim_walk_end(void)
{
    pthread_rwlock_unlock(&exclusive);
}

static void start_exclusive(void)
{
    pthread_rwlock_wrlock(&exclusive);
}

static void end_exclusive(void)
{
    pthread_rwlock_unlock(&exclusive);
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

void bql_lock(void)
{
    pthread_mutex_lock(&bql);
    bql_is_ours = true;
}

void bql_unlock(void)
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

#endif
