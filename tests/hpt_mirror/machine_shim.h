/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The machine, in place of hw/ppc/spapr.h: as much of it as a resize knows */
#ifndef HPT_MIRROR_MACHINE_SHIM_H
#define HPT_MIRROR_MACHINE_SHIM_H

#include "qemu_shim.h"
#include "hw/ppc/spapr_hpt.h"
#include "hw/ppc/spapr_hpt_resize.h"

struct SpaprMachineState {
    uint64_t ram_size;
    SpaprHpt *hpt;
    SpaprResizeHpt resize_hpt;
    struct SpaprHptResize hpt_resize;
    uint32_t htab_shift;
    bool htab_resized;
};

int spapr_hpt_shift_for_ramsize(uint64_t ramsize);
void spapr_set_hpt(SpaprMachineState *spapr, SpaprHpt *hpt);

/* What shim.c gives to the programs that drive the code under test */
extern SpaprMachineState shim_machine;
extern unsigned shim_flushes;           /* of all TLBs, at a commit */
extern unsigned shim_exits;             /* of all vCPUs from their loops */
extern bool shim_timer_armed;
extern uint64_t shim_live;              /* blocks of memory that are in use */
extern int shim_fail_alloc;             /* this many more succeed; < 0: all do */

/* Called by spapr_set_hpt() while both tables are there, BQL held */
void shim_switched(SpaprHpt *from, SpaprHpt *to);

target_ulong shim_hcall(target_ulong opcode, target_ulong flags,
                        target_ulong shift);
void shim_timer_fire(void);             /* BQL held, whatever the time is */
void shim_rcu_read_lock(void);
void shim_rcu_read_unlock(void);

#ifdef SHIM_STEPPED
bool shim_copier_step(unsigned groups); /* false if there is no copier */
bool shim_rcu_pending(void);
void shim_rcu_run(void);
#else
void shim_thread_init(int number);      /* of those that lock RCU or the BQL */
void shim_bql_lock(void);
void shim_bql_unlock(void);
void shim_rcu_poll(void);               /* free what no reader can hold */
#endif

#endif
