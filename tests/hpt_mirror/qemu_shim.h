/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the hash page table code of the host series takes from QEMU, for a
 * build without QEMU. Each header that the code includes and that is not of
 * the series itself becomes one line that includes this file: see library.py.
 *
 * Two builds differ in shim.c:
 *  - SHIM_STEPPED: one thread. The copier is a coroutine that the driver
 *    resumes, and SHIM_WINDOW() lets the driver run other operations at the
 *    points where another CPU could. Safe work waits until the driver lets it.
 *  - otherwise: real threads and mutexes. The exclusive section is the writing
 *    half of an rwlock that vCPUs hold for reading while they walk the table. A
 *    vCPU sometimes takes a rest before and after it sets bits.
 */
#ifndef HPT_MIRROR_QEMU_SHIM_H
#define HPT_MIRROR_QEMU_SHIM_H

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* osdep.h, units.h, cutils.h, glib */
#define ARRAY_SIZE(x)           (sizeof(x) / sizeof((x)[0]))
#define DIV_ROUND_UP(n, d)      (((n) + (d) - 1) / (d))
#define MIN(a, b)               ((a) < (b) ? (a) : (b))
#define MAX(a, b)               ((a) > (b) ? (a) : (b))
#define MiB                     (INT64_C(1) << 20)
#define ROUND_DOWN(n, d)        ((n) / (d) * (d))
#define ROUND_UP(n, d)          ROUND_DOWN((n) + (d) - 1, d)
#define g_assert(x)             assert(x)
#define type_init(f)                                                    \
    __attribute__((constructor)) static void shim_init_##f(void) { f(); }

void *shim_alloc(size_t size, bool may_fail);
void shim_free(void *p);
void *shim_table_alloc(size_t size);
void shim_table_free(void *p);

#define g_new0(t, n)            ((t *)shim_alloc(sizeof(t) * (n), false))
#define g_try_new0(t, n)        ((t *)shim_alloc(sizeof(t) * (n), true))
#define g_free(p)               shim_free(p)

/* memalign.h, and what allocates guest RAM */
#define qemu_anon_ram_alloc(size, align, shared, noreserve)             \
    shim_table_alloc(size)
#define qemu_anon_ram_free(p, size)     shim_table_free(p)
#define qemu_try_memalign(align, size)  shim_alloc(size, true)
#define qemu_vfree(p)                   shim_free(p)

/* compiler.h: QEMU's own build asks this */
#define QEMU_BUILD_BUG_ON(x)            struct qemu_build_bug_on

/* lockable.h: nobody migrates here */
#define WITH_QEMU_LOCK_GUARD(lock)      if ((void)(lock), true)

/* bswap.h, atomic.h */
#define be64_to_cpu(x)          be64toh(x)
#define cpu_to_be64(x)          htobe64(x)

#define qatomic_read(p)         __atomic_load_n(p, __ATOMIC_RELAXED)
#define qatomic_set(p, v)       __atomic_store_n(p, v, __ATOMIC_RELAXED)
#define qatomic_load_acquire(p) __atomic_load_n(p, __ATOMIC_ACQUIRE)
#define qatomic_store_release(p, v) __atomic_store_n(p, v, __ATOMIC_RELEASE)
#define qatomic_xchg(p, v)      __atomic_exchange_n(p, v, __ATOMIC_SEQ_CST)
#define qatomic_inc(p)          ((void)__atomic_fetch_add(p, 1, __ATOMIC_SEQ_CST))
#define qatomic_dec(p)          ((void)__atomic_fetch_sub(p, 1, __ATOMIC_SEQ_CST))
#define qatomic_or(p, v)        ((void)__atomic_fetch_or(p, v, __ATOMIC_SEQ_CST))
/* Where another CPU may do something */
enum { WINDOW_MARKED, WINDOW_LOCK, WINDOWS };
#ifdef SHIM_STEPPED
void shim_window(int which);
#define SHIM_WINDOW(which)      shim_window(which)
#define SHIM_REST()             ((void)0)
#else
void shim_rest(void);
#define SHIM_WINDOW(which)      ((which) == WINDOW_MARKED ? shim_rest() : (void)0)
#define SHIM_REST()             shim_rest()
#endif

#define qatomic_cmpxchg(p, old, new) ({                                 \
    __typeof__(*(p)) shim_old = (old);                                  \
    SHIM_REST();                                                        \
    __atomic_compare_exchange_n(p, &shim_old, new, false,               \
                                __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);    \
    shim_old;                                                           \
})

#define smp_mb()                __atomic_thread_fence(__ATOMIC_SEQ_CST)
#define smp_wmb()               __atomic_thread_fence(__ATOMIC_RELEASE)
#define smp_mb__after_rmw()     ({ smp_mb(); SHIM_WINDOW(WINDOW_MARKED); })
#define smp_rmb()               __atomic_thread_fence(__ATOMIC_ACQUIRE)

/* bitmap.h, bitops.h: plain reads where QEMU has plain reads */
#define BITS_PER_LONG           (sizeof(unsigned long) * CHAR_BIT)
#define BIT_WORD(n)             ((n) / BITS_PER_LONG)
#define BIT_MASK(n)             (1UL << ((n) % BITS_PER_LONG))
#define ctzl(x)                 __builtin_ctzl(x)

static inline unsigned long *bitmap_try_new(long n)
{
    return g_try_new0(unsigned long, DIV_ROUND_UP(n, BITS_PER_LONG));
}

static inline int test_bit(long n, const unsigned long *bits)
{
    return 1UL & (bits[n / BITS_PER_LONG] >> (n % BITS_PER_LONG));
}

static inline void set_bit_atomic(long n, unsigned long *bits)
{
    qatomic_or(&bits[n / BITS_PER_LONG], 1UL << (n % BITS_PER_LONG));
}

static inline unsigned long find_next_bit(const unsigned long *bits,
                                          unsigned long size,
                                          unsigned long n)
{
    while (n < size && !test_bit(n, bits)) {
        n++;
    }
    return MIN(n, size);
}

/* thread.h */
#define QEMU_THREAD_JOINABLE    0
#define QEMU_THREAD_DETACHED    1

typedef struct QemuThread {
    pthread_t thread;
    bool ended;
} QemuThread;

typedef struct QemuSpin {
    pthread_mutex_t mutex;
    bool held;
} QemuSpin;

void qemu_thread_create(QemuThread *thread, const char *name,
                        void *(*start)(void *), void *opaque, int mode);
void *qemu_thread_join(QemuThread *thread);
void qemu_spin_init(QemuSpin *spin);
void qemu_spin_lock(QemuSpin *spin);
void qemu_spin_unlock(QemuSpin *spin);

/* main-loop.h, timer.h, kvm.h, tcg.h, kvm_ppc.h, error.h */
#define QEMU_CLOCK_REALTIME     0
#define kvm_enabled()           false
#define tcg_enabled()           true

typedef struct Error Error;

void bql_lock(void);
void bql_unlock(void);
bool bql_locked(void);
static inline void shim_bql_unlock(int *unused) { bql_unlock(); }
#define BQL_LOCK_GUARD()                                                \
    __attribute__((cleanup(shim_bql_unlock))) int shim_guard = (bql_lock(), 0)

int64_t qemu_clock_get_us(int clock);
#define error_propagate(to, err)                ((void)(to), (void)(err))
#define kvmppc_check_papr_resize_hpt(errp)      ((void)(errp))
static inline int shim_no_kvm(void) { return -1; }
#define kvmppc_resize_hpt_prepare(cpu, flags, order) shim_no_kvm()
#define kvmppc_resize_hpt_commit(cpu, flags, order) shim_no_kvm()

/* target/ppc */
typedef uint64_t hwaddr;
typedef uint64_t target_ulong;

typedef struct ppc_hash_pte64 {
    uint64_t pte0, pte1;
} ppc_hash_pte64_t;

typedef struct CPUState {
    int exclusive_context_count;
    int exception_index;
    bool flushed;                   /* its TLB */
} CPUState;

typedef struct CPUPPCState {
    target_ulong gpr[32], nip;
} CPUPPCState;

typedef struct PowerPCCPU {
    CPUState parent_obj;            /* the first member */
    CPUPPCState env;
    void *vhyp;
} PowerPCCPU;

#define CPU(cpu)                ((CPUState *)(cpu))
#define POWERPC_CPU(cs)         ((PowerPCCPU *)(cs))

#define HPTES_PER_GROUP         8
#define HASH_PTEG_SIZE_64       (16 * HPTES_PER_GROUP)
#define HPTE64_V_BOLTED         0x10ULL
#define HPTE64_V_SECONDARY      0x02ULL
#define HPTE64_V_VALID          0x01ULL
#define HPTE64_R_R              0x100ULL
#define HPTE64_R_C              0x080ULL

/* hw/core/cpu.h, cputlb.h */
typedef union run_on_cpu_data {
    void *host_ptr;
    uint64_t target_ptr;
} run_on_cpu_data;

typedef void (*run_on_cpu_func)(CPUState *cs, run_on_cpu_data data);

#define RUN_ON_CPU_HOST_PTR(p)  ((run_on_cpu_data) { .host_ptr = (p) })
#define RUN_ON_CPU_TARGET_PTR(v) ((run_on_cpu_data) { .target_ptr = (v) })
#define RUN_ON_CPU_NULL         RUN_ON_CPU_HOST_PTR(NULL)

#define SHIM_CPUS               2
extern PowerPCCPU shim_cpus[SHIM_CPUS];
extern __thread CPUState *current_cpu;
#define first_cpu               CPU(&shim_cpus[0])
#define CPU_FOREACH(cs)                                                 \
    for (PowerPCCPU *shim_cpu = shim_cpus;                              \
         shim_cpu < shim_cpus + SHIM_CPUS && (cs = CPU(shim_cpu));      \
         shim_cpu++)
#define EXCP_INTERRUPT          0x10000
__attribute__((noreturn)) void cpu_loop_exit(CPUState *cs);
#define cpu_is_stopped(cs)      false
#define cpu_in_exclusive_context(cs) ((cs)->exclusive_context_count)
#define async_run_on_cpu(cs, func, data) (func)(cs, data)
#define tlb_flush(cs)           ((void)((cs)->flushed = true))

void async_safe_run_on_cpu(CPUState *cs, run_on_cpu_func func,
                           run_on_cpu_data data);

/* hw/ppc/spapr.h, boards.h, memory-device.h, the object model */
#define H_SUCCESS                       0
#define H_BUSY                          1
#define H_CLOSED                        2
#define H_NOT_AVAILABLE                 3
#define H_LONG_BUSY_ORDER_1_MSEC        9900
#define H_LONG_BUSY_ORDER_10_MSEC       9901
#define H_LONG_BUSY_ORDER_100_MSEC      9902
#define H_LONG_BUSY_ORDER_1_SEC         9903
#define H_LONG_BUSY_ORDER_10_SEC        9904
#define H_LONG_BUSY_ORDER_100_SEC       9905
#define H_HARDWARE                      -1
#define H_PARAMETER                     -4
#define H_PTEG_FULL                     -6
#define H_AUTHORITY                     -10
#define H_RESOURCE                      -16
#define H_RESIZE_HPT_PREPARE            0x36C
#define H_RESIZE_HPT_COMMIT             0x370

/* What is made of qapi/misc-ppc.json */
typedef enum HptResizeState {
    HPT_RESIZE_STATE_IDLE,
    HPT_RESIZE_STATE_PREPARING,
    HPT_RESIZE_STATE_READY,
} HptResizeState;

typedef enum HptResizeMode {
    HPT_RESIZE_MODE_MIRROR,
    HPT_RESIZE_MODE_REHASH,
} HptResizeMode;

typedef struct Object Object;
typedef struct SpaprMachineState SpaprMachineState;
typedef target_ulong (*spapr_hcall_fn)(PowerPCCPU *, SpaprMachineState *,
                                       target_ulong, target_ulong *);

void spapr_register_hypercall(target_ulong opcode, spapr_hcall_fn fn);

#define OBJ_PROP_FLAG_READWRITE                 3
#define object_property_add_uint32_ptr(...)     ((void)0)
#define object_property_add_bool(obj, name, get, set)                   \
    ((void)(bool (*)(Object *, Error **))(get),                         \
     (void)(void (*)(Object *, bool, Error **))(set))
#define SPAPR_MACHINE(obj)      ((SpaprMachineState *)(obj))
#define MACHINE(spapr)          (spapr)
#define get_plugged_memory_size()       UINT64_C(0)

#endif
