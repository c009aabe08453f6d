/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef QEMU_BSWAP_H
#define QEMU_BSWAP_H

#include <endian.h>

#define be64_to_cpu(x)      be64toh(x)
#define cpu_to_be64(x)      htobe64(x)

#endif
