/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sequences from standard input through the driver, for builds with sanitizers
 * that a Python process cannot load. Each is four words (translations, order,
 * whether it mirrors, steps), the translations, and the steps.
 */
#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include "driver.h"

#define MAX_POOL        64
#define MAX_STEPS       65536

static Translation pool[MAX_POOL];
static uint32_t words[MAX_STEPS];

int main(void)
{
    uint32_t head[4];
    uint64_t sequences = 0, steps = 0;

    while (fread(head, sizeof(head), 1, stdin) == 1) {
        size_t read;
        int64_t wrong;
        uint64_t left;

        assert(head[0] <= MAX_POOL && head[3] <= MAX_STEPS);
        read = fread(pool, sizeof(pool[0]), head[0], stdin);
        read += fread(words, sizeof(words[0]), head[3], stdin);
        assert(read == head[0] + head[3]);
        driver_start(pool, head[0], head[1], head[2]);
        wrong = driver_run(words, head[3]);
        if (wrong >= 0) {
            printf("sequence %lu, step %ld: %s\n", sequences, wrong,
                   driver_failure());
            return 1;
        }
        left = driver_end();
        if (left) {
            printf("sequence %lu: %lu blocks are left\n", sequences, left);
            return 1;
        }
        sequences++;
        steps += head[3];
    }
    printf("%lu sequences, %lu steps\n", sequences, steps);
    return 0;
}
