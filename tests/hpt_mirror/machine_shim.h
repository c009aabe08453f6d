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
    int htab_lock;
    bool htab_replaced;
};

int spapr_hpt_shift_for_ramsize(uint64_t ramsize);
void spapr_set_hpt(SpaprMachineState *spapr, SpaprHpt *hpt);
#define push_sregs_to_kvm_pr(spapr)     ((void)(spapr))

/* What shim.c gives to the programs that drive the code under test */
extern SpaprMachineState shim_machine;
extern uint64_t shim_live;              /* blocks of memory that are in use */
extern uint64_t shim_tables;            /* of these: tables */
extern int shim_fail_alloc;             /* this many more succeed; < 0: all do */

/* Called by spapr_set_hpt() while both tables are there, BQL held */
void shim_switched(SpaprHpt *from, SpaprHpt *to);

/*
 * A hypercall of vCPU 0. If SHIM_STEPPED it does its safe work before it goes on
 * only if that is what makes the answer; call shim_work() for the rest.
 */
target_ulong shim_hcall(target_ulong opcode, target_ulong flags,
                        target_ulong shift);
void shim_work(void);                   /* what was queued, BQL held */

#ifdef SHIM_STEPPED
bool shim_copier_step(unsigned groups); /* false if there is no copier */
/* What the program has to give: others may run; no vCPU may be in a walk */
void driver_window(int which);
void driver_bql_unlocked(void);
void driver_end_walks(void);
#else
void shim_thread_init(void);            /* of those that walk the table */
void shim_walk_begin(void);
void shim_walk_end(void);
#endif

#endif
