/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the parts of the guest's program share. */
#ifndef HPT_GUEST_H
#define HPT_GUEST_H

#include <stddef.h>
#include <stdint.h>

/* Our tools go before busybox's: it has a cat and a resize of its own. */
#define GUEST_PATH	"PATH=/tools:/bin:/sbin"

#define HOOK_DIR	"/sys/kernel/mm/hpt/"
#define HOOK_DEBUGFS	"/sys/kernel/debug/powerpc/hpt_order"

int init_main(void);
void agent_run(int channel) __attribute__((noreturn));
void power_off(void) __attribute__((noreturn));

int child_main(int argc, char **argv);
int cat_main(int argc, char **argv);
int write_main(int argc, char **argv);
int pollfile_main(int argc, char **argv);
int cpuload_main(int argc, char **argv);
int memload_main(int argc, char **argv);
int readpass_main(int argc, char **argv);
int resize_main(int argc, char **argv);

uint64_t now_us(void);
long file_number(const char *path);
int file_write(const char *path, const char *text);
int parse_number(const char *text, long min, long max, long *out);

#endif
