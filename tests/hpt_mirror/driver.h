/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Read by cffi too: declarations only */

/* A translation as the guest thinks of it, worked out by the Python model */
typedef struct Translation {
    uint64_t v;             /* doubleword 0 */
    uint64_t r;             /* doubleword 1, real page 0, R and C clear */
    uint64_t hash;          /* complemented already, if it is secondary */
    uint32_t known_bits;    /* low bits of the group that any page may have */
    uint32_t actual_shift;
} Translation;

typedef struct Entry {
    uint64_t ptex, v, r;
} Entry;

enum Op {
    OP_NOP, OP_ENTER, OP_REMOVE, OP_PROTECT, OP_OVERWRITE, OP_STRAY, OP_WALK,
    OP_MARK, OP_STEP, OP_FINISH, OP_PREPARE, OP_POLL, OP_COMMIT, OP_CANCEL,
    OP_NO_MEMORY
};

/* What a word of a sequence means: uniformly random ones make sense */
typedef struct Step {
    uint32_t op;
    uint32_t t;             /* index of a translation */
    uint32_t slot;
    uint32_t x, y, z;       /* 3, 6 and 4 bits, whatever op makes of them */
} Step;

Step driver_decode(uint32_t word, uint32_t n_pool);

void driver_start(const Translation *pool, uint32_t n_pool, uint32_t order,
                  bool mirror);

/*
 * Do the steps, all that must hold is checked after each. outcomes[i] is what
 * step i came to: the result of a hypercall, with the bits that OP_MARK set and
 * COMMIT did not see in case of success, or for OP_MARK MARK_IN_WINDOW.
 * Returns the number of the step that went wrong, or -1.
 */
int64_t driver_run(const uint32_t *words, uint32_t n, int64_t *outcomes);
const char *driver_failure(void);

enum { MARK_IN_WINDOW = 1 };    /* of another mark */

/* All valid entries; the next table's only if it is complete: else -1 */
int64_t driver_dump(bool next, Entry *entries, int64_t max);

/* Give everything back; returns the blocks of memory that remain */
uint64_t driver_end(void);
