/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef QEMU_ATOMIC_H
#define QEMU_ATOMIC_H

#define qatomic_read(p)     __atomic_load_n(p, __ATOMIC_RELAXED)
#define qatomic_set(p, v)   __atomic_store_n(p, v, __ATOMIC_RELAXED)
#define qatomic_xchg(p, v)  __atomic_exchange_n(p, v, __ATOMIC_SEQ_CST)
#define smp_rmb()           __atomic_thread_fence(__ATOMIC_ACQUIRE)
#define smp_wmb()           __atomic_thread_fence(__ATOMIC_RELEASE)

#endif
