/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The locking of the mirrored preparation of a hash page table, as a model
 *
 * What is modelled, and the C it stands for (hw/ppc/spapr_hpt*.c of the series):
 *
 *   Guest()     the holder of the BQL: spapr_hpt_store(), spapr_hpt_mirror_store(),
 *               spapr_hpt_mirror_start() and _stop(), resize_commit(),
 *               resize_cancel(), spapr_set_hpt()
 *   Copier()    mirror_copy_thread(): mirror_copy_group()
 *   Vcpu()      ppc_hash64_xlate(): walk, spapr_hpt_set_rc(), again on false
 *   Rcu()       call_rcu(): frees retired tables and mirrors
 *
 * Tables have one slot for each of ENTRIES entries, and keep two things of an
 * entry: its generation (0: not valid; each store makes a new one) and whether
 * its reference bit is set. Places do not change: that is arithmetic, which the
 * property tests check. Both entries are of one group, and so share a lock,
 * unless -DTWO_LOCKS.
 *
 * Doublewords 0 and 1 are one thing here, as the model has no use for an entry
 * half written: spapr_hpt_set_rc() compares doubleword 1 before it sets a bit,
 * and in the model a generation stands for both.
 *
 * Every statement is atomic, and all threads see them in one order: spin knows
 * sequential consistency only. What weaker machines could reorder is argued
 * where the barriers are, in the C. Their pairs are the comments "mb" here.
 *
 * What must hold:
 *   - invariants 1 and 2, at a commit and after each store from the end of the
 *     copy on: both tables agree in each entry
 *   - a bit whose spapr_hpt_set_rc() came back true is in the table that is
 *     current then, unless the entry was stored anew: so it is in the new table
 *     after a commit, and in the old one after a cancelled preparation
 *   - nobody touches a mirror or table that is given back: invariant 7
 *   - no deadlock: each run ends, with all processes at their end
 *
 * Errors on purpose, of which each has to be found:
 *   -DLOOK_FIRST         a vCPU looks for the mirror before it sets the bit
 *   -DNO_REPEAT          a vCPU does not repeat its bit in the mirror
 *   -DNO_CHECK           a vCPU does not look, once it has the lock, whether the
 *                        mirror is still there
 *   -DSTOP_TAKES_NO_LOCK stop does not wait for those that hold a lock
 *   -DCOPY_TAKES_NO_LOCK the copier works without the lock
 *   -DSTORE_TAKES_NO_LOCK
 *   -DSTOP_LEAVES_COPIER stop does not wait for the copier
 *   -DFREEZE_LATE        the table is frozen after its mirror was taken away
 *   -DNEVER_FREEZE
 *   -DPUBLISH_LATE       the copier runs before the mirror can be seen
 *   -DREHASH_FREEZE_LATE with -DREHASH: frozen after the entries were carried
 *   -DTRUST_A_BIT        a vCPU goes on where another one has set the bit
 *   -DFREE_AT_ONCE       the mirror is freed without waiting for readers
 * -DREHASH models the other implementation, which copies in the commit.
 */

#ifndef VCPUS
#define VCPUS   1
#endif
#ifndef WALKS
#define WALKS   2       /* of each vCPU */
#endif
#ifndef RESIZES
#define RESIZES 2       /* preparations, each with a commit or a cancel */
#endif
#define ENTRIES 2
#define TABLES  3       /* RESIZES and the first one */
#define NONE    255

#ifdef TWO_LOCKS
#define LOCK_OF(e)      (e)
#else
#define LOCK_OF(e)      0
#endif
#define LOCKS   2

typedef Table {
    byte gen[ENTRIES];
    bit r[ENTRIES];
    bool frozen;
    bool in_copy;
    byte mirror;        /* of this table: the number of the table that follows */
    bool retired;       /* nobody can find it any more */
    bool freed;
};

Table table[TABLES];
byte current = 0;       /* spapr->hpt */
byte next = 0;          /* the table of the last preparation */
byte last_gen = ENTRIES;
byte truth[ENTRIES];    /* the generations that the guest stored last */

/* A mirror has the number of its table; its locks and what else it has */
typedef Mirror {
    bit lock[LOCKS];
    bool retired;
    bool freed;
};

Mirror mirror[TABLES];
bool stopping;
bool copying;           /* the copier's thread exists */
bool copied;            /* n_done == n_todo */
bool garbage;           /* something is retired, and not freed */
byte readers;           /* in an RCU read-side critical section */
chan start_copier = [0] of { byte, byte };

/* Of each entry: the generation whose bit a vCPU was told to be set */
byte claimed[ENTRIES];

#define LOCK(m, e)                                                      \
    atomic {                                                            \
        mirror[m].lock[LOCK_OF(e)] == 0 ->                              \
        assert(!mirror[m].freed);                                       \
        mirror[m].lock[LOCK_OF(e)] = 1                                  \
    }
#define UNLOCK(m, e)                                                    \
    atomic {                                                            \
        assert(!mirror[m].freed);                                       \
        mirror[m].lock[LOCK_OF(e)] = 0                                  \
    }

/* hpt_load() of the current table, hpt_store() to the next: two steps */
#define FOLLOW(from, m, e, tmp_gen, tmp_r)                              \
    d_step { tmp_gen = table[from].gen[e]; tmp_r = table[from].r[e] };  \
    d_step {                                                            \
        assert(!table[m].freed);                                        \
        table[m].gen[e] = tmp_gen;                                      \
        table[m].r[e] = tmp_r                                           \
    }

/* The access goes on: from now on the bit has to be there */
#define PROMISE(ok, e, gen)                                             \
    if                                                                  \
    :: ok ->                                                            \
        claimed[e] = gen;                                               \
        assert(table[current].gen[e] != gen || table[current].r[e])     \
    :: else                                                             \
    fi

/* What the guest stored is in the current table, and bits that are promised */
inline check_current(i)
{
    d_step {
        i = 0;
        do
        :: i < ENTRIES ->
            assert(table[current].gen[i] == truth[i]);
            assert(!claimed[i] || claimed[i] != table[current].gen[i] ||
                   table[current].r[i]);
            i++
        :: else -> break
        od;
        i = 0
    }
}

/* All that is in one table is in the other, but for bits that are on the way */
inline check_agree(from, to, i)
{
    d_step {
        i = 0;
        do
        :: i < ENTRIES ->
            assert(table[from].gen[i] == table[to].gen[i]);
            assert(!table[to].r[i] || table[from].r[i]);
            i++
        :: else -> break
        od;
        i = 0
    }
}

/* mirror_copy_thread() */
proctype Copier()
{
    byte from, m, e, gen;
    bit r;

end:
    do
    :: start_copier ? from, m ->
        e = 0;
        do
        :: e < ENTRIES && !stopping ->
#ifndef COPY_TAKES_NO_LOCK
            LOCK(m, e);
#endif
            FOLLOW(from, m, e, gen, r);
#ifndef COPY_TAKES_NO_LOCK
            UNLOCK(m, e);
#endif
            e++
        :: e < ENTRIES && stopping -> break
        :: e == ENTRIES -> copied = true; break
        od;
        atomic { e = 0; gen = 0; r = 0; from = 0; m = 0; copying = false }
    od
}

/* ppc_hash64_xlate(): one access to each of two entries, or to one twice */
proctype Vcpu()
{
    byte hpt, e, gen, m, tmp_gen, tries;
    bit tmp_r, had;
    bool ok;

    do
    :: tries < WALKS ->
        if
        :: e = 0
        :: e = 1
        fi;
        atomic { readers++; ok = false };
        /* The walk; again until the bit is set, or there is no such entry */
        do
        :: !ok ->
            hpt = current;
            d_step {
                assert(!table[hpt].freed);
                gen = table[hpt].gen[e];
                had = table[hpt].r[e]
            };
            if
            :: gen == 0 -> break        /* a fault, for the guest to handle */
            :: else
            fi;
            /* ppc_hash64_must_set(); mb: the bit before the flag */
            if
            :: had ->
                atomic {
#ifdef TRUST_A_BIT
                    ok = true;
#else
                    ok = !table[hpt].in_copy;
#endif
                    PROMISE(ok, e, gen)
                };
                if
                :: ok -> goto again
                :: else
                fi
            :: else
            fi;
#ifdef LOOK_FIRST
            m = table[hpt].mirror;
#endif
            /* The cmpxchg of spapr_hpt_set_rc() */
            atomic {
                assert(!table[hpt].freed);
                if
                :: table[hpt].gen[e] == gen -> table[hpt].r[e] = 1
                :: else -> goto again
                fi
            };
            /* mb: the bit before the mirror; pairs with that of the start */
#ifndef LOOK_FIRST
            m = table[hpt].mirror;
#endif
#ifndef NO_REPEAT
            if
            :: m != NONE ->
                /* spapr_hpt_mirror_repeat() */
                LOCK(m, e);
                if
#ifdef NO_CHECK
                :: true ->
#else
                :: table[hpt].mirror == m ->
#endif
                    FOLLOW(hpt, m, e, tmp_gen, tmp_r)
                :: else
                fi;
                UNLOCK(m, e)
            :: else
            fi;
#endif
            /* rmb: the mirror before the frozen bit */
            atomic {
                ok = !table[hpt].frozen;
                PROMISE(ok, e, gen)
            };
again:      skip
        :: ok -> break
        od;
        atomic {
            readers--; tries++;
            hpt = 0; gen = 0; m = 0; tmp_gen = 0; tmp_r = 0; had = 0; e = 0
        }
    :: else -> break
    od
}

/* The holder of the BQL */

/* spapr_hpt_store(): a new entry, or none in its place */
inline store(e, v)
{
    if
    :: table[current].mirror != NONE ->
#ifndef STORE_TAKES_NO_LOCK
        LOCK(next, e);
#endif
        d_step {
            table[current].gen[e] = v; table[current].r[e] = 0; truth[e] = v
        };
        FOLLOW(current, next, e, gen, r);
#ifndef STORE_TAKES_NO_LOCK
        UNLOCK(next, e);
#endif
        if
        :: copied -> check_agree(current, next, i)
        :: else
        fi
    :: else ->
        d_step {
            table[current].gen[e] = v; table[current].r[e] = 0; truth[e] = v
        }
    fi
}

/* spapr_hpt_mirror_start() */
inline mirror_start()
{
    atomic {
        next++;
        table[next].mirror = NONE;
        copied = false;
        stopping = false;
        copying = true
    };
#ifdef PUBLISH_LATE
    start_copier ! current, next;
    table[current].mirror = next
#else
    table[current].in_copy = true;
    table[current].mirror = next;
    /* mb: the mirror before what is read for it */
    start_copier ! current, next
#endif
}

/* spapr_hpt_mirror_stop() */
inline mirror_stop()
{
    stopping = true;
#ifndef STOP_LEAVES_COPIER
    !copying;           /* qemu_thread_join() */
#endif
    table[current].mirror = NONE;
    table[current].in_copy = table[current].frozen;
    /* mb: the pointer before the locks */
#ifndef STOP_TAKES_NO_LOCK
    i = 0;
    do
    :: i < LOCKS ->
        mirror[next].lock[i] == 0;
        i++
    :: else -> i = 0; break
    od;
#endif
#ifdef FREE_AT_ONCE
    mirror[next].freed = true
#else
    /* call_rcu() */
    atomic { mirror[next].retired = true; garbage = true }
#endif
}

/* resize_commit() */
inline commit()
{
#ifdef REHASH
#ifndef REHASH_FREEZE_LATE
    table[current].frozen = true;
    table[current].in_copy = true;
#endif
    /* mb: frozen before what is carried over */
    i = 0;
    do
    :: i < ENTRIES -> FOLLOW(current, next, i, gen, r); i++
    :: else -> i = 0; break
    od;
#ifdef REHASH_FREEZE_LATE
    table[current].frozen = true;
#endif
#else
#if !defined(FREEZE_LATE) && !defined(NEVER_FREEZE)
    table[current].frozen = true;
#endif
    mirror_stop();
#ifdef FREEZE_LATE
    table[current].frozen = true;
#endif
#endif
    check_agree(current, next, i);
    /* spapr_set_hpt(), spapr_hpt_retire() */
    d_step { i = current; current = next };
    d_step { table[i].retired = true; garbage = true };
    check_current(i)
}

/* resize_cancel(): the next table was never current, and is freed at once */
inline cancel()
{
#ifndef REHASH
    mirror_stop();
#endif
    table[next].freed = true;
    check_current(i)
}

inline resize()
{
#ifdef REHASH
    atomic { next++; table[next].mirror = NONE; copied = true };
#else
    mirror_start();
#endif
    store(0, fresh);
    if
    :: copied -> commit()
    :: cancel()
    fi
}

proctype Guest()
{
    byte i, gen, done, fresh;
    bit r;

    do
    :: done < RESIZES ->
        /* A new entry, or none any more */
        atomic {
            if
            :: last_gen++; fresh = last_gen
            :: fresh = 0
            fi
        };
        resize();
        done++
    :: else -> break
    od;
    readers == 0;
    check_current(i)
}

/* Grace periods: what was retired before a moment without readers is freed */
proctype Rcu()
{
    byte i;

end:
    do
    :: atomic {
        readers == 0 && garbage ->
        garbage = false;
        i = 0;
        do
        :: i < TABLES ->
            table[i].freed = table[i].freed || table[i].retired;
            mirror[i].freed = mirror[i].freed || mirror[i].retired;
            i++
        :: else -> break
        od;
        i = 0
       }
    od
}

init
{
    byte i;

    atomic {
        do
        :: i < ENTRIES -> table[0].gen[i] = i + 1; truth[i] = i + 1; i++
        :: else -> break
        od;
        table[0].mirror = NONE;
        run Copier();
        run Guest();
        run Rcu();
        i = 0;
        do
        :: i < VCPUS -> run Vcpu(); i++
        :: else -> break
        od
    }
}
