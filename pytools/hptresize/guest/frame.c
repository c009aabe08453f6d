// SPDX-License-Identifier: GPL-2.0-or-later
/* Frames of the command channel: see frame.h. */
#include "frame.h"

void put_be16(uint8_t *p, uint16_t v)
{
	p[0] = v >> 8;
	p[1] = v;
}

void put_be32(uint8_t *p, uint32_t v)
{
	put_be16(p, v >> 16);
	put_be16(p + 2, v);
}

void put_be64(uint8_t *p, uint64_t v)
{
	put_be32(p, v >> 32);
	put_be32(p + 4, v);
}

static uint16_t crc16(uint16_t crc, const uint8_t *p, size_t len)
{
	int bit;

	while (len--) {
		crc ^= *p++ << 8;
		for (bit = 0; bit < 8; bit++)
			crc = crc & 0x8000 ? crc << 1 ^ 0x1021 : crc << 1;
	}
	return crc;
}

static enum frame_state frame_parse(struct frame_reader *r, struct frame *out)
{
	size_t len = r->len;

	/* The CRC of a text followed by its CRC is 0. */
	if (r->overrun || len < 5 || crc16(0xffff, r->buf, len))
		return FRAME_BAD;
	out->type = r->buf[0];
	out->job = r->buf[1] << 8 | r->buf[2];
	out->data = r->buf + 3;
	out->len = len - 5;
	return FRAME_WHOLE;
}

/*
 * Take one byte.  FRAME_WHOLE: @out is set and stays valid until the next call.
 */
enum frame_state frame_feed(struct frame_reader *r, uint8_t byte,
			    struct frame *out)
{
	enum frame_state state = FRAME_MORE;

	if (byte == FRAME_FLAG) {
		if (r->len || r->overrun)
			state = frame_parse(r, out);
		r->len = 0;
		r->escaped = false;
		r->overrun = false;
	} else if (byte == FRAME_ESC) {
		r->escaped = true;
	} else if (r->len == sizeof(r->buf)) {
		r->overrun = true;
	} else {
		r->buf[r->len++] = r->escaped ? byte ^ FRAME_FLIP : byte;
		r->escaped = false;
	}
	return state;
}

static uint8_t *stuff(uint8_t *to, const uint8_t *from, size_t len)
{
	while (len--) {
		if (*from == FRAME_FLAG || *from == FRAME_ESC) {
			*to++ = FRAME_ESC;
			*to++ = *from++ ^ FRAME_FLIP;
		} else {
			*to++ = *from++;
		}
	}
	return to;
}

/* Put @f on @wire, which has room for FRAME_WIRE(f->len); returns the length. */
size_t frame_write(uint8_t *wire, const struct frame *f)
{
	uint8_t head[3], tail[2], *p = wire;
	uint16_t crc;

	head[0] = f->type;
	put_be16(head + 1, f->job);
	crc = crc16(0xffff, head, sizeof(head));
	crc = crc16(crc, f->data, f->len);
	put_be16(tail, crc);

	*p++ = FRAME_FLAG;
	p = stuff(p, head, sizeof(head));
	p = stuff(p, f->data, f->len);
	p = stuff(p, tail, sizeof(tail));
	*p++ = FRAME_FLAG;
	return p - wire;
}
