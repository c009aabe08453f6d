/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The command channel between the agent in the guest and the tests outside.
 *
 * The channel is a vty of its own: a tty below, sixteen bytes a hypercall, and
 * whatever the line discipline does to bytes before it is in raw mode.  So:
 *
 *   frame    = FLAG content FLAG          (a FLAG may end one and start the next)
 *   content  = type:u8 job:u16 payload crc:u16     numbers are big-endian
 *   crc      = CRC-16/CCITT (polynomial 0x1021, start 0xffff) of all before it
 *   stuffing = ESC (byte ^ 0x20) for FLAG and ESC; what goes to the guest
 *              stuffs every control character too
 *
 * FLAG occurs nowhere inside a frame, so a reader that starts in the middle, or
 * after an echo or a lost byte, is in step again at the next FLAG.
 *
 * To the guest:
 *   PING     payload is sent back in PONG
 *   START    job, payload = nargs:u8 { string NUL }*  the first nargs strings
 *            are the arguments, the rest are NAME=value for the environment
 *   SIGNAL   job, payload = number:u8; goes to the job's process group
 *   POWEROFF no payload, no answer
 * To the host:
 *   HELLO    payload = version:u8 text; sent when the agent starts
 *   PONG
 *   STDOUT, STDERR  job, payload = bytes, at most FRAME_CHUNK
 *   EXIT     job, payload = status:i32 microseconds:u64; status is the exit
 *            status or minus the signal that ended it; the last one of a job
 *   REFUSED  job, payload = errno:i32; the job did not start
 *   DAMAGED  a frame came that cannot be used
 *
 * The Python mirror is hptresize/machine/agent.py.
 */
#ifndef HPT_FRAME_H
#define HPT_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FRAME_VERSION	1
#define FRAME_FLAG	0x7e
#define FRAME_ESC	0x7d
#define FRAME_FLIP	0x20
#define FRAME_CHUNK	1024	/* payload to the host */
#define FRAME_MAX	16384	/* content to the guest */

enum frame_type {
	FRAME_PING	= 'P',
	FRAME_START	= 'S',
	FRAME_SIGNAL	= 'K',
	FRAME_POWEROFF	= 'O',

	FRAME_HELLO	= 'H',
	FRAME_PONG	= 'p',
	FRAME_STDOUT	= 'o',
	FRAME_STDERR	= 'e',
	FRAME_EXIT	= 'x',
	FRAME_REFUSED	= 'r',
	FRAME_DAMAGED	= 'd',
};

struct frame {
	uint8_t type;
	uint16_t job;
	const uint8_t *data;
	size_t len;
};

/* Bytes as they come in, until a frame is whole. */
struct frame_reader {
	uint8_t buf[FRAME_MAX];
	size_t len;
	bool escaped;
	bool overrun;
};

enum frame_state { FRAME_MORE, FRAME_WHOLE, FRAME_BAD };

enum frame_state frame_feed(struct frame_reader *r, uint8_t byte,
			    struct frame *out);

/* Largest wire size of a frame with @len bytes of payload. */
#define FRAME_WIRE(len)	(2 * ((len) + 5) + 2)

size_t frame_write(uint8_t *wire, const struct frame *f);

void put_be16(uint8_t *p, uint16_t v);
void put_be32(uint8_t *p, uint32_t v);
void put_be64(uint8_t *p, uint64_t v);

#endif
