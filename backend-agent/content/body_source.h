/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Body source: where the plaintext of one body comes from, in order and once - a pinned file or an origin's answer.
 * What seals or relays a body knows no more of it than this. */
#ifndef DISC_BODY_SOURCE_H
#define DISC_BODY_SOURCE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

enum body_source_status {
	BODY_SOURCE_READY,   /* there is something to read, or it was read */
	BODY_SOURCE_WAITING, /* nothing now; the opener's callback is called when there is */
	BODY_SOURCE_END,     /* all of it was read */
	BODY_SOURCE_CHANGED, /* the object is not what it was: the body must break off */
	BODY_SOURCE_FAILED,  /* no more can be had: the body must break off */
};

struct body_source;

struct body_source_type {
	/* Never waits. With READY, <*bytes> (at least 1) can be read at once. The last byte of a body becomes ready
	 * only when its source knows that the body is whole. */
	enum body_source_status (*look)(struct body_source *source, uint64_t *bytes);
	/* Fills all <count> pieces, together no more than look() had ready. READY, or CHANGED or FAILED: what the
	 * pieces hold is then not to be used. */
	enum body_source_status (*read)(struct body_source *source, const struct iovec *pieces, unsigned count);
	/* The next <len> bytes, no more than look() had ready, without a copy: READY, with <*bytes> where they lie until
	 * viewed() is called, or NULL if they must be read. CHANGED or FAILED as read(). NULL: this source never can. */
	enum body_source_status (*view)(struct body_source *source, size_t len, const uint8_t **bytes);
	/* After view(), when the bytes are used: READY, and the source is at the byte behind them, or CHANGED or FAILED:
	 * what was made of them is not to be used. */
	enum body_source_status (*viewed)(struct body_source *source, size_t len);
	/* Goes back by <len> bytes, which were read: the next read gives them again. NULL: this source cannot. */
	void (*back)(struct body_source *source, uint64_t len);
	void (*free)(struct body_source *source);
};

struct body_source {
	const struct body_source_type *type;
	const char *fault; /* after CHANGED or FAILED: why, a static text */
};

static inline enum body_source_status body_source_look(struct body_source *source, uint64_t *bytes)
{
	return source->type->look(source, bytes);
}

static inline enum body_source_status body_source_read(struct body_source *source, const struct iovec *pieces,
						       unsigned count)
{
	return source->type->read(source, pieces, count);
}

/* Frees <source>, which may be NULL. */
static inline void body_source_free(struct body_source *source)
{
	if (source)
		source->type->free(source);
}

#endif
