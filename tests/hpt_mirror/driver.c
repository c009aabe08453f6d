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
    SpaprHpt *hpt;                  /* NULL: it is not in the middle of a walk */
    uint64_t ptex, r;
} Vcpu;

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
    uint64_t lost;                  /* bits that were set too late for it */

    /* The sequence, and the window that a mark leaves to what follows it */
    const uint32_t *words;
    int64_t *outcomes;
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
        .v = be64toh(hpt->mmu.hptes[ptex].pte0),
        .r = be64toh(hpt->mmu.hptes[ptex].pte1),
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

/* Invariant 2, for one entry of the current table */
static void check_carried_over(const Live *live, bool fits)
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
        CHECK(!fits, "bolted %#lx was dropped, and all is well", live->ptex);
    } else {
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
                check_carried_over(live, mirror_fits());
            }
        }
    }
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
    if (live && !shrinking()) {
        check_carried_over(live, true);
    }
    check_family(ptex / SLOTS, complete() || shrinking());
}

static uint64_t count_valid(const SpaprHpt *hpt)
{
    uint64_t valid = 0;

    for (uint64_t ptex = 0; ptex < 1ULL << (hpt->order - 4); ptex++) {
        valid += !!(hpt->mmu.hptes[ptex].pte0 & htobe64(HPTE64_V_VALID));
    }
    return valid;
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

static void check_idle(void)
{
    SpaprHptResize *resize = &shim_machine.hpt_resize;

    CHECK(resize->state == SPAPR_HPT_RESIZE_IDLE && !resize->next &&
          !current()->mirror && !current()->frozen, "idle, but not quite");
    shim_rcu_run();
    for (int i = 0; i < N_VCPUS; i++) {
        if (d.vcpus[i].hpt) {
            return;
        }
    }
    if (!d.depth) {
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

            if (same_words(&old[i], &e, true)) {
                Live live = old[i];

                live.ptex = ptex;
                live.r = e.r;
                d.lost |= old[i].r & ~e.r;
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
    CHECK(from->frozen && !to->frozen && !from->mirror, "state of the tables");
    if (!d.mirror) {
        check_rehashed(from, to);
        return;
    }
    for (unsigned i = 0; i < d.n_live; i++) {
        check_current_entry(&d.live[i]);
        check_carried_over(&d.live[i], true);
    }
    for (uint64_t ptex = 0; ptex < 1ULL << (to->order - 4); ptex++) {
        check_next_entry(ptex);
    }
    follow_switch(to);
    CHECK(count_valid(to) == d.n_live, "entries in the new table twice");
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

static void stop_walk(Vcpu *vcpu)
{
    if (vcpu->hpt) {
        vcpu->hpt = NULL;
        shim_rcu_read_unlock();
    }
}

static void do_walk(const Step *s, Vcpu *vcpu)
{
    const Live *live = live_at(place_of(&d.pool[s->t], s->slot));

    if (live && !live->stray) {
        stop_walk(vcpu);
        shim_rcu_read_lock();
        vcpu->hpt = current();
        vcpu->ptex = live->ptex;
        vcpu->r = live->r;
    }
}

/* Another CPU's steps at the point of spapr_hpt_set_rc() that was chosen */
void driver_window(int which);
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

static void finish_mark(const Live *was, uint64_t bits, bool ret)
{
    for (unsigned i = 0; i < d.n_live; i++) {
        const Live *live = &d.live[i];

        if (live->stamp == was->stamp) {
            CHECK(!ret || (live->r & bits) == bits,
                  "%#lx: a bit that was set is lost", live->ptex);
            check_current_entry(live);
            check_family(live->ptex / SLOTS, complete());
        }
    }
}

/* x: bits; y: how many steps others do meanwhile; z: where */
static int64_t do_mark(const Step *s, Vcpu *vcpu)
{
    SpaprHpt *hpt = vcpu->hpt;
    uint64_t bits = (s->x & 3 ? s->x & 3ULL : 2ULL) << 7;
    Live *live = hpt == current() ? live_at(vcpu->ptex) : NULL;
    bool lands, ret;
    Live was = { };

    if (!hpt) {
        return 0;
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
    vcpu->hpt = NULL;
    ret = spapr_hpt_set_rc(hpt, vcpu->ptex, vcpu->r, bits);
    if (!d.depth) {
        d.window_steps = 0;
    }
    d.pending[d.depth] = (Pending) { };
    shim_rcu_read_unlock();
    CHECK(ret == (lands && hpt == current()), "set_rc says %d", ret);
    if (lands) {
        finish_mark(&was, bits, ret);
    }
    return d.depth ? MARK_IN_WINDOW : 0;
}

/* The guest's hypercalls */

static void check_pending(void)
{
    CHECK(shim_machine.hpt_resize.state != SPAPR_HPT_RESIZE_IDLE && next() &&
          !!current()->mirror == d.mirror, "the preparation is gone");
    check_families();
}

static int64_t prepare(unsigned order, unsigned flags)
{
    bool no_memory = shim_fail_alloc >= 0;
    bool same = order == d.order && flags == d.flags && order;
    bool fits = !order || should_fit(order, flags & 1);
    int64_t ret = shim_hcall(H_RESIZE_HPT_PREPARE, flags, order);
    bool ran_out = no_memory && shim_fail_alloc < 0;

    d.order = ret == H_SUCCESS || ret >= H_LONG_BUSY_ORDER_1_MSEC ? order : 0;
    d.flags = flags;
    if (!order) {
        CHECK(ret == H_SUCCESS, "PREPARE 0: %ld", ret);
    } else if (ran_out && !same) {
        /* Rehash can do without what it gets memory in advance with */
        CHECK(ret == H_NO_MEM || (!d.mirror && ret == H_SUCCESS),
              "PREPARE without memory: %ld", ret);
    } else if (ret == H_PTEG_FULL) {
        CHECK(d.mirror && flags && !fits, "PREPARE: H_PTEG_FULL for nothing");
    } else if (ret == H_SUCCESS) {
        CHECK(!d.mirror || complete(), "PREPARE: H_SUCCESS too early");
        CHECK(!d.mirror || !flags || fits, "PREPARE: H_SUCCESS, and no room");
        CHECK(!d.mirror || mirror_fits() == fits,
              "what fits is %d", fits);
    } else {
        CHECK(ret >= H_LONG_BUSY_ORDER_1_MSEC && !complete() && d.mirror,
              "PREPARE: %ld", ret);
    }
    if (d.order) {
        check_pending();
    } else {
        check_idle();
    }
    return ret;
}

static int64_t do_prepare(const Step *s)
{
    return prepare(HPT_ORDER_MIN + s->y % ORDERS, s->x & 1);
}

static int64_t do_poll(void)
{
    return d.order ? prepare(d.order, d.flags) : 0;
}

/* A table was retired: vCPUs are told to leave it, until it is freed */
static void check_readers_leave(void)
{
    unsigned exits = shim_exits;

    CHECK(shim_timer_armed, "nobody will end the readers of the old table");
    shim_timer_fire();
    CHECK(shim_exits > exits, "no vCPU is told to leave the old table");
    CHECK(shim_timer_armed, "vCPUs are told once only");
    shim_rcu_run();
    shim_timer_fire();
    CHECK(shim_timer_armed == shim_rcu_pending(),
          "vCPUs are told to leave a table that is not there");
}

static int64_t commit_pending(void)
{
    bool ready = !d.mirror || complete();
    bool fits = should_fit(d.order, d.flags & 1);
    unsigned flushes = shim_flushes;
    int64_t ret;

    d.dropped = 0;
    d.lost = 0;
    ret = shim_hcall(H_RESIZE_HPT_COMMIT, d.flags, d.order);
    if (!ready) {
        CHECK(ret == H_BUSY, "COMMIT of what is not ready: %ld", ret);
        check_pending();
        return ret;
    }
    CHECK(ret == (fits ? H_SUCCESS : H_PTEG_FULL), "COMMIT: %ld", ret);
    CHECK(ret != H_SUCCESS || current()->order == d.order, "another order");
    CHECK(!d.dropped || shim_flushes > flushes,
          "dropped entries, and TLBs keep them");
    check_readers_leave();
    d.order = 0;
    check_idle();
    return ret == H_SUCCESS ? d.lost : ret;
}

/* x: 0 with another size, which must do nothing */
static int64_t do_commit(const Step *s)
{
    int64_t ret;

    if (d.order && s->x) {
        return commit_pending();
    }
    ret = shim_hcall(H_RESIZE_HPT_COMMIT, 0, HPT_ORDER_MIN + ORDERS);
    CHECK(ret == H_CLOSED, "COMMIT of what was not prepared: %ld", ret);
    if (d.order) {
        check_pending();
    } else {
        check_idle();
    }
    return ret;
}

/* x: by the guest, or by a reset */
static void do_cancel(const Step *s)
{
    if (s->x & 1) {
        prepare(0, d.flags);
    } else {
        spapr_hpt_resize_forget(&shim_machine);
        d.order = 0;
        check_idle();
    }
}

static void do_copy(unsigned groups)
{
    CHECK(shim_copier_step(groups) == mirroring(), "a copier, or none");
    check_families();
}

static int64_t do_vcpu_step(const Step *s)
{
    Vcpu *vcpu = &d.vcpus[(s->x >> 2) & 1];

    if (s->op == OP_WALK || !vcpu->hpt) {
        do_walk(s, vcpu);
    }
    return s->op == OP_MARK ? do_mark(s, vcpu) : 0;
}

static int64_t do_guest_step(const Step *s)
{
    switch (s->op) {
    case OP_PREPARE:
        return do_prepare(s);
    case OP_POLL:
        return do_poll();
    case OP_COMMIT:
        return do_commit(s);
    default:
        do_cancel(s);
        return 0;
    }
}

static int64_t do_decoded(const Step *s, uint32_t i)
{
    switch (s->op) {
    case OP_NOP:
        return 0;
    case OP_ENTER:
        do_enter(s, i);
        return 0;
    case OP_REMOVE:
        do_remove(s);
        return 0;
    case OP_PROTECT:
        do_protect(s, i);
        return 0;
    case OP_OVERWRITE:
        do_overwrite(s, i);
        return 0;
    case OP_STRAY:
        do_stray(s, i);
        return 0;
    case OP_WALK:
    case OP_MARK:
        return do_vcpu_step(s);
    case OP_STEP:
        do_copy(1 + s->y);
        return 0;
    case OP_FINISH:
        do_copy(UINT_MAX);
        return 0;
    case OP_NO_MEMORY:
        shim_fail_alloc = s->x ? -1 : s->y % 10;
        return 0;
    default:
        return do_guest_step(s);
    }
}

Step driver_decode(uint32_t word, uint32_t n_pool)
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
    Step s = driver_decode(d.words[i], d.n_pool);

    /* A vCPU does one thing at a time: the other one may */
    d.outcomes[i] = do_decoded(&s, i);
}

int64_t driver_run(const uint32_t *words, uint32_t n, int64_t *outcomes)
{
    d.words = words;
    d.outcomes = outcomes;
    d.n = n;
    d.next = 0;
    while (d.next < n) {
        uint32_t i = d.next++;

        do_step(i);
        if (d.failed) {
            return i;
        }
        shim_rcu_run();
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
    shim_machine.hpt_resize.ops =
        spapr_hpt_resize_mode(mirror ? "mirror" : "rehash");
    shim_fail_alloc = -1;
    spapr_set_hpt(&shim_machine, spapr_hpt_new(order));
    d.blocks_idle = shim_live;
}

int64_t driver_dump(bool of_next, Entry *entries, int64_t max)
{
    const SpaprHpt *hpt = of_next ? next() : current();
    int64_t n = 0;

    if (of_next && (!complete() || !mirror_fits())) {
        return -1;
    }
    for (uint64_t ptex = 0; ptex < 1ULL << (hpt->order - 4); ptex++) {
        Entry e = read_entry(hpt, ptex);

        if ((e.v & HPTE64_V_VALID) && n < max) {
            entries[n++] = e;
        }
    }
    return n;
}

uint64_t driver_end(void)
{
    for (int i = 0; i < N_VCPUS; i++) {
        stop_walk(&d.vcpus[i]);
    }
    spapr_hpt_resize_forget(&shim_machine);
    spapr_set_hpt(&shim_machine, NULL);
    shim_rcu_run();
    return shim_live;
}
