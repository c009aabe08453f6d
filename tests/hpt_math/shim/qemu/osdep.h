/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What hw/ppc/spapr_hpt_math.c takes from QEMU, for a build without QEMU */
#ifndef QEMU_OSDEP_H
#define QEMU_OSDEP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ARRAY_SIZE(x) (sizeof(x) / sizeof((x)[0]))

#endif
