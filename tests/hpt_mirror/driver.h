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

void driver_start(const Translation *pool, uint32_t n_pool, uint32_t order,
                  bool mirror);

/*
 * Do the steps, all that must hold is checked after each. Returns the number of
 * the step that went wrong, or -1.
 */
int64_t driver_run(const uint32_t *words, uint32_t n);
const char *driver_failure(void);

/* Give everything back; returns the blocks of memory that remain */
uint64_t driver_end(void);
