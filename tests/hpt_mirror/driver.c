/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Applies sequences of operations to the table, mirror and resize code, and
 * checks after each what must hold. What an entry's place has to be it takes
 * from the hash that the Python model worked out, never from the code under
 * test; what the current table has to hold it keeps in a list of its own.
 */
#include "machine_shim.h"
#include "hw/ppc/spapr_hpt_mirror.h"
#include <stdio.h>
#include "driver.h"

#define SLOTS           8
#define ORDERS          3           /* 18 to 20 */
#define PTEX_MAX        (1 << (HPT_ORDER_MIN + ORDERS - 1 - 4))
#define MAX_LIVE        1024
#define RC              (HPTE64_R_R | HPTE64_R_C)
#define V_DIRTY         0x40ULL     /* as hypercalls set it */
#define N_VCPUS         2

/* An entry that the current table has */
typedef struct Live {
    uint64_t ptex, v, r;
    uint64_t hash;
    uint64_t stamp;                 /* of the store that put it there */
    bool stray;                     /* in a group that its hash does not name */
} Live;

typedef struct Vcpu {
    bool walks;                     /* it is in the middle of one */
    bool marks;                     /* it is setting bits */
    uint64_t ptex, r;
} Vcpu;

typedef struct Entry {
    uint64_t ptex, v, r;
} Entry;

/* What happens while PREPARE has let go of the BQL */
enum { NOTHING, FORGET, PREPARE_OTHER, PREPARE_SAME, MEANWHILES };

enum Op {
    OP_NOP, OP_ENTER, OP_REMOVE, OP_PROTECT, OP_OVERWRITE, OP_STRAY, OP_WALK,
    OP_MARK, OP_STEP, OP_FINISH, OP_PREPARE, OP_POLL, OP_COMMIT, OP_CANCEL,
    OP_NO_MEMORY
};

/* What a word of a sequence means: uniformly random ones make sense */
typedef struct Step {
    uint32_t op;
    uint32_t t;                     /* index of a translation */
    uint32_t slot;
    uint32_t x, y, z;               /* 3, 6 and 4 bits, whatever op makes of them */
} Step;

/* Bits that are in the current table, and may be missing in the next one */
typedef struct Pending {
    uint64_t r, bits;
} Pending;

static struct {
    const Translation *pool;
    uint32_t n_pool;
    bool mirror;
    uint64_t blocks_idle;           /* of memory, with one table */

    Live live[MAX_LIVE];
    unsigned n_live;
    uint16_t at[PTEX_MAX];          /* 1 + index in live */
    Vcpu vcpus[N_VCPUS];
    uint64_t stamp;

    /* What the guest asked for */
    unsigned order, flags;          /* 0: nothing */
    uint64_t dropped;               /* at the last switch */
    bool full;                      /* a bolted entry found no place */
    unsigned meanwhile;             /* while PREPARE allocates the table */

    /* The sequence, and the window that a mark leaves to what follows it */
    const uint32_t *words;
    uint32_t n, next;
    unsigned depth;
    int window;
    unsigned window_steps;
    Pending pending[2];

    bool failed;
    char failure[256];
} d;

#define CHECK(condition, ...) do {                                      \
    if (!(condition) && !d.failed) {                                    \
        d.failed = true;                                                \
        snprintf(d.failure, sizeof(d.failure), __VA_ARGS__);            \
    }                                                                   \
} while (0)

static void do_step(uint32_t i);

/* Tables, read past the code under test */

static uint64_t mask_of(unsigned order)
{
    return (1ULL << (order - 7)) - 1;
}

static Entry read_entry(const SpaprHpt *hpt, uint64_t ptex)
{
    return (Entry) {
        .ptex = ptex,
        .v = be64toh(hpt->hptes[ptex].pte0),
        .r = be64toh(hpt->hptes[ptex].pte1),
    };
}

static uint64_t home_of(const Live *live, unsigned order)
{
    return live->hash & mask_of(order);
}

static SpaprHpt *current(void)
{
    return shim_machine.hpt;
}

static SpaprHpt *next(void)
{
    return shim_machine.hpt_resize.next;
}

static bool mirroring(void)
{
    return d.mirror && d.order;
}

static bool shrinking(void)
{
    return next()->order < current()->order;
}

static bool complete(void)
{
    return mirroring() && spapr_hpt_mirror_progress(current()->mirror) == 100;
}

static bool mirror_fits(void)
{
    return spapr_hpt_mirror_fits(current()->mirror);
}

/* The list of what the current table has */

static Live *live_at(uint64_t ptex)
{
    return d.at[ptex] ? &d.live[d.at[ptex] - 1] : NULL;
}

static void live_remove(uint64_t ptex)
{
    unsigned i = d.at[ptex];

    if (i) {
        d.at[ptex] = 0;
        d.live[i - 1] = d.live[--d.n_live];
        if (i - 1 < d.n_live) {
            d.at[d.live[i - 1].ptex] = i;
        }
    }
}

static void live_set(const Live *live)
{
    live_remove(live->ptex);
    assert(d.n_live < MAX_LIVE);
    d.live[d.n_live++] = *live;
    d.at[live->ptex] = d.n_live;
}

static bool same_words(const Live *live, const Entry *e, bool tolerant)
{
    uint64_t differ = e->r ^ live->r;

    for (int i = 0; tolerant && i < 2; i++) {
        if (!((d.pending[i].r ^ live->r) & ~RC)) {
            differ &= ~d.pending[i].bits;
        }
    }
    return e->v == live->v && !differ;
}

/* The checks */

/* The entry of the current table that this one of the next comes from */
static const Live *source_of(const Entry *e, uint64_t group)
{
    uint64_t small = MIN(mask_of(current()->order), mask_of(next()->order));

    for (uint64_t from = group & small; from <= mask_of(current()->order);
         from += small + 1) {
        for (int slot = 0; slot < SLOTS; slot++) {
            const Live *live = live_at(from * SLOTS + slot);

            if (live && same_words(live, e, true)) {
                return live;
            }
        }
    }
    return NULL;
}

/* Invariant 1, for one entry of the next table */
static void check_next_entry(uint64_t ptex)
{
    Entry e = read_entry(next(), ptex);
    const Live *live;

    if (!(e.v & HPTE64_V_VALID)) {
        CHECK(!e.v && !e.r, "next %#lx is not valid, but not empty", ptex);
        return;
    }
    live = source_of(&e, ptex / SLOTS);
    CHECK(live, "next %#lx has no source: %016lx %016lx", ptex, e.v, e.r);
    if (!live) {
        return;
    }
    CHECK(!live->stray, "next %#lx: from a stray entry", ptex);
    CHECK(home_of(live, next()->order) == ptex / SLOTS,
          "next %#lx: should be in group %#lx", ptex,
          home_of(live, next()->order));
    CHECK(live->ptex % SLOTS == ptex % SLOTS ||
          (shrinking() && (d.flags & 1) && (live->v & HPTE64_V_BOLTED)),
          "next %#lx: was in slot %lu", ptex, live->ptex % SLOTS);
}

/*
 * Invariant 2, for one entry of the current table. One that is not bolted and
 * loses its slot in a shrink stays out, so that is checked when it is stored.
 */
static void check_carried_over(const Live *live, bool stored)
{
    uint64_t group = home_of(live, next()->order) * SLOTS;
    uint64_t slot = live->ptex % SLOTS;
    unsigned found = 0;

    if (live->stray) {
        return;
    }
    for (int i = 0; i < SLOTS; i++) {
        Entry e = read_entry(next(), group + i);

        found += same_words(live, &e, true);
    }
    CHECK(found <= 1, "current %#lx is in the next table twice", live->ptex);
    if (found || !shrinking()) {
        CHECK(found, "current %#lx is not in the next table", live->ptex);
    } else if (live->v & HPTE64_V_BOLTED) {
        CHECK(!mirror_fits(), "bolted %#lx was dropped, and all is well",
              live->ptex);
    } else if (stored) {
        CHECK(read_entry(next(), group + slot).v & HPTE64_V_VALID,
              "current %#lx was dropped for no reason", live->ptex);
    }
}

static void check_current_entry(const Live *live)
{
    Entry e = read_entry(current(), live->ptex);

    CHECK(same_words(live, &e, false), "current %#lx: %016lx %016lx", e.ptex,
          e.v, e.r);
}

/* Whether all bolted entries have a place in the next table */
static bool should_fit(unsigned order, bool move_bolted)
{
    for (unsigned i = 0; i < d.n_live; i++) {
        const Live *a = &d.live[i];
        unsigned rivals = 0;

        if (a->stray || !(a->v & HPTE64_V_BOLTED)) {
            continue;
        }
        for (unsigned j = 0; j < d.n_live; j++) {
            const Live *b = &d.live[j];

            rivals += !b->stray && (b->v & HPTE64_V_BOLTED) &&
                      home_of(a, order) == home_of(b, order) &&
                      (move_bolted || a->ptex % SLOTS == b->ptex % SLOTS);
        }
        if (rivals > (move_bolted ? SLOTS : 1)) {
            return false;
        }
    }
    return true;
}

/* All groups of both tables that have to do with one of the smaller table */
static void check_family(uint64_t group, bool carried_over)
{
    uint64_t small;

    if (!mirroring()) {
        return;
    }
    small = MIN(mask_of(current()->order), mask_of(next()->order));
    for (uint64_t to = group & small; to <= mask_of(next()->order);
         to += small + 1) {
        for (int slot = 0; slot < SLOTS; slot++) {
            check_next_entry(to * SLOTS + slot);
        }
    }
    for (uint64_t from = group & small; from <= mask_of(current()->order);
         from += small + 1) {
        for (int slot = 0; slot < SLOTS; slot++) {
            const Live *live = live_at(from * SLOTS + slot);

            if (live && carried_over) {
                check_carried_over(live, false);
            }
        }
    }
}

/* Only where there is no room is there none, and then for good */
static void check_full(void)
{
    if (mirroring() && !mirror_fits() && !d.full) {
        CHECK(!should_fit(d.order, d.flags & 1), "full, but all fit");
        d.full = true;
    }
    CHECK(!d.full || (mirroring() && !mirror_fits()), "not full any more");
}

static void check_families(void)
{
    for (uint32_t i = 0; i < d.n_pool; i++) {
        check_family(d.pool[i].hash, complete());
    }
    for (unsigned i = 0; i < d.n_live; i++) {
        check_family(d.live[i].ptex / SLOTS, complete());
    }
}

/* After a store, whatever the copier has done */
static void check_entry(uint64_t ptex)
{
    const Live *live = live_at(ptex);

    if (live) {
        check_current_entry(live);
    } else {
        CHECK(!(read_entry(current(), ptex).v & HPTE64_V_VALID),
              "current %#lx is still there", ptex);
    }
    if (!mirroring()) {
        return;
    }
    if (live) {
        check_carried_over(live, true);
    }
    check_family(ptex / SLOTS, complete());
    check_full();
}

static uint64_t count_valid(const SpaprHpt *hpt)
{
    uint64_t valid = 0;

    for (uint64_t ptex = 0; ptex < 1ULL << (hpt->order - 4); ptex++) {
        valid += !!(hpt->hptes[ptex].pte0 & htobe64(HPTE64_V_VALID));
    }
    return valid;
}

static bool anyone_walks(void)
{
    return d.vcpus[0].walks || d.vcpus[1].walks;
}

static void check_idle(void)
{
    SpaprHptResize *resize = &shim_machine.hpt_resize;

    CHECK(resize->state == HPT_RESIZE_STATE_IDLE && !resize->next &&
          !current()->mirror, "idle, but not quite: state %d, %p, %p",
          resize->state, resize->next, current()->mirror);
    if (!anyone_walks()) {
        shim_work();
        CHECK(shim_live == d.blocks_idle, "%lu blocks of memory, not %lu",
              shim_live, d.blocks_idle);
        CHECK(!shim_copier_step(0), "a copier is left behind");
    }
}

/* The list that the new table makes, taken from the old list */
static void follow_switch(const SpaprHpt *to)
{
    static Live old[MAX_LIVE];
    unsigned n_old = d.n_live;
    uint64_t strays = 0;

    memcpy(old, d.live, n_old * sizeof(old[0]));
    while (d.n_live) {
        live_remove(d.live[0].ptex);
    }
    for (unsigned i = 0; i < n_old; i++) {
        strays += old[i].stray;
        for (int slot = 0; slot < SLOTS && !old[i].stray; slot++) {
            uint64_t ptex = home_of(&old[i], to->order) * SLOTS + slot;
            Entry e = read_entry(to, ptex);

            if (same_words(&old[i], &e, false)) {
                Live live = old[i];

                live.ptex = ptex;
                live_set(&live);
            }
        }
    }
    d.dropped = n_old - strays - d.n_live;
}

/* Rehash: bolted ones and no others, each in its group */
static void check_rehashed(const SpaprHpt *from, const SpaprHpt *to)
{
    uint64_t bolted = 0;

    for (unsigned i = 0; i < d.n_live; i++) {
        if ((d.live[i].v & HPTE64_V_BOLTED) && !d.live[i].stray) {
            bolted++;
        }
        check_current_entry(&d.live[i]);
    }
    follow_switch(to);
    CHECK(d.n_live == bolted && count_valid(to) == bolted,
          "%lu bolted, %u found, %lu in the table", bolted, d.n_live,
          count_valid(to));
    for (unsigned i = 0; i < d.n_live; i++) {
        CHECK(d.live[i].v & HPTE64_V_BOLTED, "not bolted, but kept");
    }
}

void shim_switched(SpaprHpt *from, SpaprHpt *to)
{
    bool shrinks = to->order < from->order;
    uint64_t must = 0;

    CHECK(!anyone_walks() && !from->mirror, "a table is switched too early");
    if (!d.mirror) {
        check_rehashed(from, to);
        return;
    }
    for (unsigned i = 0; i < d.n_live; i++) {
        const Live *live = &d.live[i];

        check_current_entry(live);
        must += !live->stray && (!shrinks || (live->v & HPTE64_V_BOLTED));
    }
    for (uint64_t ptex = 0; ptex < 1ULL << (to->order - 4); ptex++) {
        check_next_entry(ptex);
    }
    follow_switch(to);
    CHECK(count_valid(to) == d.n_live, "entries in the new table twice");
    for (unsigned i = 0; i < d.n_live; i++) {
        must -= !shrinks || (d.live[i].v & HPTE64_V_BOLTED);
    }
    CHECK(!must, "%lu entries were lost", must);
}

/* Stores, as hypercalls make them */

static void store(Live *live)
{
    live->stamp = ++d.stamp;
    spapr_hpt_store(current(), live->ptex, live->v, live->r);
    live_set(live);
    check_entry(live->ptex);
}

static uint64_t place_of(const Translation *t, unsigned slot)
{
    return (t->hash & mask_of(current()->order)) * SLOTS + slot;
}

static Live make_entry(const Translation *t, const Step *s, uint32_t i)
{
    return (Live) {
        .ptex = place_of(t, s->slot),
        .v = t->v | V_DIRTY,
        .r = t->r | (i + 1ULL) << t->actual_shift | (s->x & 3ULL) << 7,
        .hash = t->hash,
    };
}

static void do_enter(const Step *s, uint32_t i)
{
    Live live = make_entry(&d.pool[s->t], s, i);

    if (!live_at(live.ptex)) {
        store(&live);
    }
}

static void do_remove(const Step *s)
{
    uint64_t ptex = place_of(&d.pool[s->t], s->slot);

    if (live_at(ptex)) {
        live_remove(ptex);
        spapr_hpt_store(current(), ptex, V_DIRTY, 0);
        check_entry(ptex);
    }
}

/* x: 1 the real page changes, 2 R and C are cleared */
static void do_protect(const Step *s, uint32_t i)
{
    uint64_t ptex = place_of(&d.pool[s->t], s->slot);
    const Translation *t = &d.pool[s->t];
    Live live;

    if (!live_at(ptex)) {
        return;
    }
    live = *live_at(ptex);
    live_remove(ptex);
    spapr_hpt_store(current(), ptex, live.v & ~HPTE64_V_VALID, 0);
    check_entry(ptex);
    if ((s->x & 1) && !((live.v ^ t->v) & ~V_DIRTY)) {
        live.r = t->r | (i + 1ULL) << t->actual_shift | (live.r & RC);
    }
    if (s->x & 2) {
        live.r &= ~RC;
    }
    store(&live);
}

/* One entry straight over another one, as loading a table may do */
static void do_overwrite(const Step *s, uint32_t i)
{
    Live live = make_entry(&d.pool[s->t], s, i);

    store(&live);
}

/* An entry in a group where no walk will look for it */
static void do_stray(const Step *s, uint32_t i)
{
    const Translation *t = &d.pool[s->t];
    unsigned bits = current()->order - 7;
    Live live = make_entry(t, s, i);

    if (t->known_bits >= bits) {
        return;
    }
    live.ptex ^= SLOTS << (t->known_bits + s->y % (bits - t->known_bits));
    live.stray = true;
    if (!live_at(live.ptex)) {
        store(&live);
    }
}

/* vCPUs */

void driver_end_walks(void)
{
    assert(!d.depth);
    d.vcpus[0].walks = d.vcpus[1].walks = false;
}

static void do_walk(const Step *s, Vcpu *vcpu)
{
    const Live *live = live_at(place_of(&d.pool[s->t], s->slot));

    if (live && !live->stray) {
        *vcpu = (Vcpu) { .walks = true, .ptex = live->ptex, .r = live->r };
    }
}

/* Another CPU's steps at the point of spapr_hpt_set_rc() that was chosen */
void driver_window(int which)
{
    if (d.depth || d.window != which || !d.window_steps) {
        return;
    }
    d.depth = 1;
    while (d.window_steps && d.next < d.n && !d.failed) {
        d.window_steps--;
        do_step(d.next++);
    }
    d.depth = 0;
    d.window_steps = 0;
}

static void finish_mark(const Live *was, uint64_t bits)
{
    for (unsigned i = 0; i < d.n_live; i++) {
        const Live *live = &d.live[i];

        if (live->stamp == was->stamp) {
            CHECK((live->r & bits) == bits,
                  "%#lx: a bit that was set is lost", live->ptex);
            check_current_entry(live);
            check_family(live->ptex / SLOTS, complete());
        }
    }
    check_full();
}

/* x: bits; y: how many steps others do meanwhile; z: where */
static void do_mark(const Step *s, Vcpu *vcpu)
{
    uint64_t bits = (s->x & 3 ? s->x & 3ULL : 2ULL) << 7;
    Live *live = live_at(vcpu->ptex);
    bool lands, ret;
    Live was = { };

    if (!vcpu->walks) {
        return;
    }
    lands = live && !((live->r ^ vcpu->r) & ~RC);
    if (lands) {
        live->r |= bits;
        was = *live;
        d.pending[d.depth] = (Pending) { .r = live->r, .bits = bits };
    }
    if (!d.depth) {
        d.window = s->z % WINDOWS;
        d.window_steps = s->y % 16;
    }
    vcpu->marks = true;
    ret = spapr_hpt_set_rc(current(), vcpu->ptex, vcpu->r, bits);
    vcpu->marks = false;
    if (!d.depth) {
        d.window_steps = 0;
    }
    d.pending[d.depth] = (Pending) { };
    vcpu->walks = false;
    CHECK(ret == lands, "set_rc says %d", ret);
    if (lands) {
        finish_mark(&was, bits);
    }
}

/* The guest's hypercalls */

static void check_pending(void)
{
    CHECK(shim_machine.hpt_resize.state != HPT_RESIZE_STATE_IDLE && next() &&
          !!current()->mirror == d.mirror, "the preparation is gone");
    check_families();
}

static unsigned other_than(unsigned order)
{
    return order < HPT_ORDER_MIN + ORDERS - 1 ? order + 1 : HPT_ORDER_MIN;
}

/* Once: what another vCPU does may let go of the BQL too */
void driver_bql_unlocked(void)
{
    const SpaprHptResize *resize = &shim_machine.hpt_resize;
    unsigned meanwhile = d.meanwhile, order = resize->order;
    int64_t ret;

    d.meanwhile = NOTHING;
    if (meanwhile == NOTHING) {
        return;
    }
    bql_lock();
    if (meanwhile == FORGET) {
        spapr_hpt_resize_forget(&shim_machine);
    } else if (meanwhile == PREPARE_OTHER) {
        ret = shim_hcall(H_RESIZE_HPT_PREPARE, resize->flags, other_than(order));
        CHECK(ret == H_LONG_BUSY_ORDER_1_MSEC, "PREPARE of another: %ld", ret);
    } else {
        ret = shim_hcall(H_RESIZE_HPT_PREPARE, resize->flags, order);
        CHECK(ret >= H_LONG_BUSY_ORDER_1_MSEC, "PREPARE of the same: %ld", ret);
    }
    bql_unlock();
}

static void prepare(unsigned order, unsigned flags, unsigned meanwhile)
{
    bool no_memory = shim_fail_alloc >= 0;
    bool same = order == d.order && flags == d.flags && order;
    bool starts = order && !same;
    bool retiring = spapr_hpt_retiring() || (starts && d.order);
    int64_t ret;
    bool ran_out;

    if (!same) {
        d.order = 0;
        d.full = false;
    }
    d.meanwhile = starts && !retiring ? meanwhile : NOTHING;
    ret = shim_hcall(H_RESIZE_HPT_PREPARE, flags, order);
    ran_out = no_memory && shim_fail_alloc < 0;
    if (shim_machine.hpt_resize.state != HPT_RESIZE_STATE_IDLE) {
        d.order = order;
        d.flags = flags;
        check_full();
    }
    if (!order) {
        CHECK(ret == H_SUCCESS, "PREPARE 0: %ld", ret);
    } else if (starts && retiring) {
        CHECK(ret == H_LONG_BUSY_ORDER_1_MSEC && !d.order,
              "PREPARE while a table is being freed: %ld", ret);
    } else if (starts &&
               (meanwhile == FORGET || meanwhile == PREPARE_OTHER)) {
        CHECK(ret == H_LONG_BUSY_ORDER_1_MSEC && !d.order,
              "PREPARE, cancelled meanwhile: %ld", ret);
    } else if (ran_out && starts) {
        CHECK(ret == H_RESOURCE, "PREPARE without memory: %ld", ret);
    } else if (ret == H_PTEG_FULL) {
        CHECK(same && d.full && flags && complete(), "H_PTEG_FULL for nothing");
    } else if (ret == H_SUCCESS) {
        CHECK(!d.mirror || complete(), "PREPARE: H_SUCCESS too early");
        CHECK(!d.full || !flags, "PREPARE: H_SUCCESS, and no room");
    } else {
        CHECK(ret >= H_LONG_BUSY_ORDER_1_MSEC && !complete() && d.mirror,
              "PREPARE: %ld", ret);
    }
    if (d.order) {
        check_pending();
    } else {
        check_idle();
    }
}

static void do_prepare(const Step *s)
{
    prepare(HPT_ORDER_MIN + s->y % ORDERS, s->x & 1,
            s->z < MEANWHILES ? s->z : NOTHING);
}

static void do_poll(void)
{
    if (d.order) {
        prepare(d.order, d.flags, NOTHING);
    }
}

static void commit_pending(void)
{
    bool ready = !d.mirror || complete();
    bool fits = d.mirror ? !d.full : should_fit(d.order, d.flags & 1);
    unsigned order = d.order;
    bool flushed = true;
    int64_t ret;

    d.dropped = 0;
    for (int i = 0; i < SHIM_CPUS; i++) {
        shim_cpus[i].parent_obj.flushed = false;
    }
    ret = shim_hcall(H_RESIZE_HPT_COMMIT, d.flags, order);
    if (!ready) {
        CHECK(ret == H_BUSY, "COMMIT of what is not ready: %ld", ret);
        check_pending();
        return;
    }
    d.order = 0;
    d.full = false;
    CHECK(ret == (fits ? H_SUCCESS : H_PTEG_FULL), "COMMIT: %ld", ret);
    CHECK(ret != H_SUCCESS || current()->order == order, "another order");
    for (int i = 0; i < SHIM_CPUS; i++) {
        flushed &= shim_cpus[i].parent_obj.flushed;
    }
    CHECK(!d.dropped || flushed, "dropped entries, and TLBs keep them");
    check_idle();
}

/* x: 0 with another size, which must do nothing */
static void do_commit(const Step *s)
{
    int64_t ret;

    if (d.depth) {
        /* It would have to wait for the vCPU that is in a walk */
        return;
    }
    if (d.order && s->x) {
        commit_pending();
        return;
    }
    ret = shim_hcall(H_RESIZE_HPT_COMMIT, 0, HPT_ORDER_MIN + ORDERS);
    CHECK(ret == H_CLOSED, "COMMIT of what was not prepared: %ld", ret);
    if (d.order) {
        check_pending();
    } else {
        check_idle();
    }
}

/* x: by the guest, or by a reset */
static void do_cancel(const Step *s)
{
    if (s->x & 1) {
        prepare(0, d.flags, NOTHING);
    } else {
        spapr_hpt_resize_forget(&shim_machine);
        d.order = 0;
        d.full = false;
        check_idle();
    }
}

static void do_copy(unsigned groups)
{
    CHECK(shim_copier_step(groups) == mirroring(), "a copier, or none");
    check_full();
    check_families();
}

static void do_vcpu_step(const Step *s)
{
    Vcpu *vcpu = &d.vcpus[(s->x >> 2) & 1];

    if (vcpu->marks) {
        /* A vCPU does one thing at a time: the other one may */
        return;
    }
    if (s->op == OP_WALK || !vcpu->walks) {
        do_walk(s, vcpu);
    }
    if (s->op == OP_MARK) {
        do_mark(s, vcpu);
    }
}

static void do_decoded(const Step *s, uint32_t i)
{
    switch (s->op) {
    case OP_ENTER:
        do_enter(s, i);
        break;
    case OP_REMOVE:
        do_remove(s);
        break;
    case OP_PROTECT:
        do_protect(s, i);
        break;
    case OP_OVERWRITE:
        do_overwrite(s, i);
        break;
    case OP_STRAY:
        do_stray(s, i);
        break;
    case OP_WALK:
    case OP_MARK:
        do_vcpu_step(s);
        break;
    case OP_STEP:
        do_copy(1 + s->y);
        break;
    case OP_FINISH:
        do_copy(UINT_MAX);
        break;
    case OP_PREPARE:
        do_prepare(s);
        break;
    case OP_POLL:
        do_poll();
        break;
    case OP_COMMIT:
        do_commit(s);
        break;
    case OP_CANCEL:
        do_cancel(s);
        break;
    case OP_NO_MEMORY:
        shim_fail_alloc = s->x ? -1 : s->y % 10;
        break;
    }
}

static Step decode(uint32_t word, uint32_t n_pool)
{
    static const uint8_t ops[32] = {
        OP_NOP, OP_ENTER, OP_ENTER, OP_ENTER, OP_ENTER, OP_ENTER, OP_ENTER,
        OP_ENTER, OP_REMOVE, OP_REMOVE, OP_REMOVE, OP_PROTECT, OP_PROTECT,
        OP_OVERWRITE, OP_STRAY, OP_WALK, OP_WALK, OP_MARK, OP_MARK, OP_MARK,
        OP_MARK, OP_STEP, OP_STEP, OP_STEP, OP_STEP, OP_FINISH, OP_PREPARE,
        OP_POLL, OP_COMMIT, OP_COMMIT, OP_CANCEL, OP_NO_MEMORY,
    };

    return (Step) {
        .op = ops[word & 31],
        .t = (word >> 5 & 0x3f) % n_pool,
        .slot = word >> 11 & 7,
        .x = word >> 14 & 7,
        .y = word >> 17 & 0x3f,
        .z = word >> 23 & 0xf,
    };
}

static void do_step(uint32_t i)
{
    Step s = decode(d.words[i], d.n_pool);

    do_decoded(&s, i);
    CHECK(shim_tables <= 2, "%lu tables", shim_tables);
}

int64_t driver_run(const uint32_t *words, uint32_t n)
{
    d.words = words;
    d.n = n;
    d.next = 0;
    while (d.next < n) {
        uint32_t i = d.next++;

        do_step(i);
        if (d.failed) {
            return i;
        }
        if (!anyone_walks()) {
            shim_work();
        }
    }
    return -1;
}

const char *driver_failure(void)
{
    return d.failure;
}

void driver_start(const Translation *pool, uint32_t n_pool, uint32_t order,
                  bool mirror)
{
    memset(&d, 0, sizeof(d));
    d.pool = pool;
    d.n_pool = n_pool;
    d.mirror = mirror;
    memset(&shim_machine, 0, sizeof(shim_machine));
    shim_machine.ram_size = 1ULL << 40;
    shim_machine.resize_hpt = SPAPR_RESIZE_HPT_ENABLED;
    shim_machine.hpt_resize.mode =
        mirror ? HPT_RESIZE_MODE_MIRROR : HPT_RESIZE_MODE_REHASH;
    shim_fail_alloc = -1;
    spapr_set_hpt(&shim_machine, spapr_hpt_new(order));
    d.blocks_idle = shim_live;
}

uint64_t driver_end(void)
{
    driver_end_walks();
    spapr_hpt_resize_forget(&shim_machine);
    spapr_set_hpt(&shim_machine, NULL);
    shim_work();
    return shim_live;
}
