/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The table, mirror and resize code with all its threads: one that holds the
 * BQL, stores entries, resizes, and now and then begins anew with another table
 * as CAS does; vCPUs that walk the table and mark what they find, as
 * ppc_hash64_xlate() does; and the copier.
 *
 * Whenever the table is switched, and before each store, an entry has to have
 * all bits that a vCPU was told to be set in it. For that each store makes an
 * entry with a real page of its own, and nothing clears a bit.
 *
 * A walk reads doubleword 0 again after doubleword 1, so that both are of one
 * entry. -DWALK_ONCE leaves that out, as ppc_hash64_pteg_search() of QEMU 10.0
 * does: a walk then finds an entry that never was, with one's address and
 * another's real page.
 *
 * Arguments: seconds, mode of resizing, seed, most commits (0: any number).
 */
#include "machine_shim.h"
#include "hw/ppc/spapr_hpt_mirror.h"
#include <sched.h>
#include <stdio.h>
#include <time.h>

#define VCPUS           2
#define POOL            256
#define HOT             24      /* of the pool: in few groups, used by all */
#define SLOTS           8
#define RC              (HPTE64_R_R | HPTE64_R_C)
#define NOWHERE         UINT64_MAX

typedef struct Page {
    uint64_t v, hash;
    uint64_t ptex;              /* where it is in the current table */
    uint64_t r;                 /* as it was stored */
} Page;

static Page pages[POOL];

/* By vCPU: doubleword 1 of the entry, with the bits it was told to be set */
static uint64_t claims[VCPUS][POOL];
static bool stop;
static bool anew;               /* the next table is an empty one */

static uint64_t n_stores, n_commits, n_cancels, n_full, n_dropped, n_anew;
static uint64_t n_marks[VCPUS], n_again[VCPUS];

static __thread uint64_t rng;

/* xorshift: all that matters is that it is quick, and a thread's own */
static uint64_t any(uint64_t below)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return rng % below;
}

static void fail(const char *what, const Page *page, uint64_t r)
{
    printf("%s: page %td at %#lx: doubleword 1 is %#lx\n", what, page - pages,
           page->ptex, r);
    fflush(stdout);
    abort();
}

/* A part of the real page that is the same in all entries of the page */
static uint64_t number_of(const Page *page)
{
    return page - pages + 1;
}

static uint64_t group_of(const Page *page, const SpaprHpt *hpt)
{
    return page->hash & hpt->mask;
}

static uint64_t read_v(const SpaprHpt *hpt, uint64_t ptex)
{
    return be64toh(qatomic_read(&hpt->hptes[ptex].pte0));
}

static uint64_t read_r(const SpaprHpt *hpt, uint64_t ptex)
{
    return be64toh(qatomic_read(&hpt->hptes[ptex].pte1));
}

/* vCPUs */

/* The slot of the page's entry, as ppc_hash64_pteg_search() finds it, or -1 */
static int search(const Page *page, const SpaprHpt *hpt, uint64_t *r)
{
    uint64_t ptex = group_of(page, hpt) * SLOTS;

    for (int slot = 0; slot < SLOTS; slot++) {
        if (read_v(hpt, ptex + slot) == page->v) {
            __atomic_thread_fence(__ATOMIC_ACQUIRE);
            *r = read_r(hpt, ptex + slot);
#ifndef WALK_ONCE
            __atomic_thread_fence(__ATOMIC_ACQUIRE);
            if (read_v(hpt, ptex + slot) != page->v) {
                continue;
            }
#endif
            return slot;
        }
    }
    return -1;
}

/* spapr_hpte_set_r(), with the table of this moment */
static bool set_rc(uint64_t ptex, uint64_t r, uint64_t bits)
{
    SpaprHpt *hpt = qatomic_load_acquire(&shim_machine.hpt);

    return ptex / SLOTS <= hpt->mask && spapr_hpt_set_rc(hpt, ptex, r, bits);
}

static void access_page(int vcpu, unsigned i, uint64_t bits)
{
    const Page *page = &pages[i];
    uint64_t *claim = &claims[vcpu][i];
    uint64_t r, had;
    SpaprHpt *hpt;
    int slot;

    shim_walk_begin();
    for (;;) {
        hpt = qatomic_load_acquire(&shim_machine.hpt);
        slot = search(page, hpt, &r);
        if (slot < 0) {
            break;
        }
        if (!any(8)) {
            sched_yield();
        }
        if (!(bits & ~r) ||
            set_rc(group_of(page, hpt) * SLOTS + slot, r, bits)) {
            had = qatomic_read(claim);
            had = (had ^ r) & ~RC ? 0 : had & RC;
            qatomic_store_release(claim, (r & ~RC) | bits | had);
            n_marks[vcpu]++;
            if ((r >> 12 & 0x3ff) != number_of(page)) {
                fail("another page's doubleword 1", page, r);
            }
            break;
        }
        n_again[vcpu]++;
    }
    shim_walk_end();
}

static void *vcpu_thread(void *opaque)
{
    int vcpu = (intptr_t)opaque;

    shim_thread_init();
    rng = 88172645463325252ULL + vcpu;
    while (!qatomic_read(&stop)) {
        static const uint64_t bits[] = { HPTE64_R_R, HPTE64_R_C, RC };

        access_page(vcpu, any(any(4) ? HOT : POOL), bits[any(3)]);
    }
    return NULL;
}

/* The holder of the BQL */

/* What vCPUs were told to be set in the page's entry, up to now */
static uint64_t claimed(const Page *page)
{
    uint64_t bits = 0;

    for (int vcpu = 0; vcpu < VCPUS; vcpu++) {
        uint64_t claim = qatomic_load_acquire(&claims[vcpu][page - pages]);

        if (!((claim ^ page->r) & ~RC)) {
            bits |= claim & RC;
        }
    }
    return bits;
}

static void check_claims(const Page *page, const SpaprHpt *hpt, uint64_t ptex,
                         const char *when)
{
    uint64_t bits = claimed(page), r = read_r(hpt, ptex);

    if (read_v(hpt, ptex) != page->v || ((r ^ page->r) & ~RC) || (bits & ~r)) {
        fail(when, page, r);
    }
}

static void check_all(const char *when)
{
    for (int i = 0; i < POOL; i++) {
        if (pages[i].ptex != NOWHERE) {
            check_claims(&pages[i], shim_machine.hpt, pages[i].ptex, when);
        }
    }
}

void shim_switched(SpaprHpt *from, SpaprHpt *to)
{
    bool shrinks = to->order < from->order;
    bool rehash = shim_machine.hpt_resize.mode == HPT_RESIZE_MODE_REHASH;
    uint64_t valid = 0;

    if (anew) {
        return;
    }
    for (int i = 0; i < POOL; i++) {
        Page *page = &pages[i];
        bool bolted = page->v & HPTE64_V_BOLTED;
        uint64_t r;
        int slot;

        if (page->ptex == NOWHERE) {
            continue;
        }
        slot = search(page, to, &r);
        if (slot >= 0) {
            page->ptex = group_of(page, to) * SLOTS + slot;
            check_claims(page, to, page->ptex, "at a commit");
            valid++;
        } else if (!bolted && (shrinks || rehash)) {
            page->ptex = NOWHERE;
            n_dropped++;
        } else {
            fail("lost at a commit", page, 0);
        }
    }
    for (uint64_t ptex = 0; ptex < (to->mask + 1) * SLOTS; ptex++) {
        valid -= read_v(to, ptex) & HPTE64_V_VALID;
    }
    if (valid) {
        fail("entries that nobody stored", pages, valid);
    }
}

static void store(Page *page, uint64_t ptex, uint64_t v)
{
    static uint64_t real_page;
    uint64_t r = v & HPTE64_V_VALID ?
                 ++real_page << 22 | number_of(page) << 12 | 2 : 0;
    uint64_t was = spapr_hpt_store(shim_machine.hpt, ptex, v, r);

    /* Bits that came while the entry was made invalid are not lost */
    if (page->ptex != NOWHERE && !(v & HPTE64_V_VALID) &&
        (((was ^ page->r) & ~RC) || (claimed(page) & ~was))) {
        fail("what a store found", page, was);
    }
    page->ptex = v & HPTE64_V_VALID ? ptex : NOWHERE;
    page->r = r;
    n_stores++;
}

static void enter(Page *page)
{
    const SpaprHpt *hpt = shim_machine.hpt;
    uint64_t ptex = group_of(page, hpt) * SLOTS + any(SLOTS);

    if (!(read_v(hpt, ptex) & HPTE64_V_VALID)) {
        store(page, ptex, page->v);
    }
}

static void change(Page *page)
{
    uint64_t ptex = page->ptex;

    if (ptex == NOWHERE) {
        enter(page);
        return;
    }
    check_claims(page, shim_machine.hpt, ptex, "before a store");
    switch (any(3)) {
    case 0:
        store(page, ptex, 0);
        break;
    case 1:
        store(page, ptex, page->v & ~HPTE64_V_VALID);
        /* fall through */
    default:
        store(page, ptex, page->v);
    }
}

static void changes(uint64_t n)
{
    while (n--) {
        change(&pages[any(any(4) ? HOT : POOL)]);
    }
}

/* An empty table, while vCPUs walk the one before */
static void begin_anew(void)
{
    const SpaprHpt *old = shim_machine.hpt;

    for (int i = 0; i < POOL; i++) {
        pages[i].ptex = NOWHERE;
    }
    anew = true;
    spapr_hpt_resize_forget(&shim_machine);
    spapr_set_hpt(&shim_machine, spapr_hpt_new(old->order));
    anew = false;
    shim_work();
    n_anew++;
}

static void resize(void)
{
    unsigned order = HPT_ORDER_MIN + any(3), flags = any(2);
    bool cancel = !any(4);
    int64_t ret;

    while ((ret = shim_hcall(H_RESIZE_HPT_PREPARE, flags, order)) >=
           H_LONG_BUSY_ORDER_1_MSEC) {
        /* Not too many: bits are to live until the commit, and be missed */
        changes(any(16) ? 0 : any(8));
        sched_yield();
        if (cancel && !any(16)) {
            break;
        }
    }
    changes(any(20));
    if (!any(8)) {
        begin_anew();
        return;
    }
    if (cancel) {
        ret = shim_hcall(H_RESIZE_HPT_PREPARE, flags, 0);
        assert(ret == H_SUCCESS);
        n_cancels++;
    } else if (ret == H_SUCCESS) {
        ret = shim_hcall(H_RESIZE_HPT_COMMIT, flags, order);
        assert(ret == H_SUCCESS || ret == H_PTEG_FULL);
        n_commits += ret == H_SUCCESS;
    }
    n_full += ret == H_PTEG_FULL;
    assert(ret == H_SUCCESS || ret == H_PTEG_FULL);
}

/* 4K pages: the hash is VSID ^ page, the AVPN lacks 11 bits of the page */
static void make_pages(void)
{
    for (int i = 0; i < POOL; i++) {
        Page *page = &pages[i];
        /* No two are the same; the hot ones share three groups at order 18 */
        uint64_t vsid = (uint64_t)i << 11;
        uint64_t index = i < HOT ? i % 3 : any(1 << 11);

        page->v = (vsid << 5 | index >> 11) << 7 | HPTE64_V_VALID | HPT_V_DIRTY;
        page->v |= any(4) ? 0 : HPTE64_V_BOLTED;
        page->hash = vsid ^ index;
        if (!any(4)) {
            page->v |= HPTE64_V_SECONDARY;
            page->hash = ~page->hash;
        }
        page->ptex = NOWHERE;
    }
}

int main(int argc, char **argv)
{
    pthread_t vcpus[VCPUS];
    uint64_t most;
    int64_t end;

    assert(argc == 5);
    end = qemu_clock_get_us(0) + atof(argv[1]) * 1e6;
    rng = 2463534242ULL * (1 + atoi(argv[3]));
    most = atoi(argv[4]);
    bql_lock();
    shim_machine.ram_size = 1ULL << 40;
    shim_machine.resize_hpt = SPAPR_RESIZE_HPT_ENABLED;
    shim_machine.hpt_resize.mode = strcmp(argv[2], "rehash") ?
                                   HPT_RESIZE_MODE_MIRROR :
                                   HPT_RESIZE_MODE_REHASH;
    make_pages();
    spapr_set_hpt(&shim_machine, spapr_hpt_new(HPT_ORDER_MIN));
    for (intptr_t i = 0; i < VCPUS; i++) {
        pthread_create(&vcpus[i], NULL, vcpu_thread, (void *)i);
    }

    while (qemu_clock_get_us(0) < end && !(most && n_commits >= most)) {
        changes(any(100));
        resize();
        check_all("after a resize");
    }

    qatomic_set(&stop, true);
    for (int i = 0; i < VCPUS; i++) {
        pthread_join(vcpus[i], NULL);
    }
    check_all("at the end");
    spapr_hpt_resize_forget(&shim_machine);
    spapr_set_hpt(&shim_machine, NULL);
    shim_work();
    while (spapr_hpt_retiring()) {
        sched_yield();
    }
    printf("%lu commits, %lu cancelled, %lu anew, %lu full, %lu stores, "
           "%lu dropped, %lu marks, %lu walks again, %lu blocks left\n",
           n_commits, n_cancels, n_anew, n_full, n_stores, n_dropped,
           n_marks[0] + n_marks[1], n_again[0] + n_again[1], qatomic_read(&shim_live));
    return qatomic_read(&shim_live) != 0;
}
