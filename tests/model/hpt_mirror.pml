/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The locking of the mirrored preparation of a hash page table, as a model
 *
 * What is modelled, and the C it stands for (hw/ppc/spapr_hpt*.c of the series):
 *
 *   Guest()     the holder of the BQL: spapr_hpt_store(), spapr_hpt_mirror_store(),
 *               spapr_hpt_mirror_start() and _stop(), commit_work(),
 *               resize_cancel(), spapr_set_hpt()
 *   Copier()    mirror_copy_thread(): mirror_copy_group()
 *   Vcpu()      ppc_hash64_xlate(): walk, spapr_hpt_set_rc(), again on false
 *   Work()      spapr_hpt_run_unwalked(): frees retired tables and mirrors
 *
 * A vCPU is in its execution loop from the beginning of a walk to its end, and
 * an exclusive section begins when no vCPU is, and lets none in.
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
 *   -DREPEAT_TAKES_NO_LOCK
 *   -DCOPY_TAKES_NO_LOCK the copier works without the lock
 *   -DSTORE_TAKES_NO_LOCK
 *   -DSTOP_LEAVES_COPIER stop does not wait for the copier
 *   -DPUBLISH_LATE       the copier runs before the mirror can be seen
 *   -DCOMMIT_MEETS_WALKS a commit is not an exclusive section
 *   -DWALKS_COME_IN      walks begin in an exclusive section
 *   -DFREE_AT_ONCE       a cancel frees without waiting for the end of walks
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
byte walkers;           /* vCPUs in their execution loop */
bool exclusive;         /* an exclusive section, or one that waits for walkers */
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
#define PROMISE(e, gen)                                                 \
    atomic {                                                            \
        claimed[e] = gen;                                               \
        assert(table[current].gen[e] != gen || table[current].r[e])     \
    }

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

/* All of one table is in the other, but for bits that a vCPU has on the way */
inline check_agree(from, to, walks, i)
{
    d_step {
        i = 0;
        do
        :: i < ENTRIES ->
            assert(table[from].gen[i] == table[to].gen[i]);
            assert(table[to].r[i] == table[from].r[i] ||
                   (walks && table[from].r[i]));
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

    do
    :: tries < WALKS ->
        if
        :: e = 0
        :: e = 1
        fi;
        /* cpu_exec_start() */
        atomic {
#ifndef WALKS_COME_IN
            !exclusive;
#endif
            walkers++
        };
        /* The walk; again until the bit is set, or there is no such entry */
        do
        :: true ->
            hpt = current;
            d_step {
                assert(!table[hpt].freed);
                gen = table[hpt].gen[e];
                had = table[hpt].r[e]
            };
            if
            :: gen == 0 -> break        /* a fault, for the guest to handle */
            :: gen && had -> PROMISE(e, gen); break
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
#ifndef REPEAT_TAKES_NO_LOCK
                LOCK(m, e);
#endif
                FOLLOW(hpt, m, e, tmp_gen, tmp_r);
#ifndef REPEAT_TAKES_NO_LOCK
                UNLOCK(m, e)
#endif
            :: else
            fi;
#endif
            PROMISE(e, gen);
            break;
again:      skip
        od;
        /* cpu_exec_end() */
        atomic {
            walkers--; tries++;
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
        :: copied -> check_agree(current, next, true, i)
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
    /* spapr_hpt_run_unwalked() */
    atomic { mirror[next].retired = true; garbage = true }
}

/* commit_work() */
inline commit()
{
#ifndef COMMIT_MEETS_WALKS
    /* start_exclusive() */
    exclusive = true;
    walkers == 0;
#endif
    mirror_stop();
    check_agree(current, next, false, i);
    /* spapr_set_hpt(), spapr_hpt_retire() */
    d_step { i = current; current = next };
    d_step { table[i].retired = true; garbage = true };
    check_current(i);
    exclusive = false
}

/* resize_cancel(): no vCPU finds the next table, but one may be writing to it */
inline cancel()
{
    mirror_stop();
#ifdef FREE_AT_ONCE
    atomic { mirror[next].freed = true; table[next].freed = true };
#else
    atomic { table[next].retired = true; garbage = true };
#endif
    check_current(i)
}

inline resize()
{
    !garbage;           /* spapr_hpt_retiring() */
    mirror_start();
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
    walkers == 0;
    check_current(i)
}

/* What was retired is freed where no vCPU is in its loop */
proctype Work()
{
    byte i;

end:
    do
    :: atomic {
        walkers == 0 && garbage ->
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
        run Work();
        i = 0;
        do
        :: i < VCPUS -> run Vcpu(); i++
        :: else -> break
        od
    }
}
