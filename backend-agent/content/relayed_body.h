/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Relayed body: a body source's bytes as they are, chunked (RFC 9112 7.1) if their number is not known before. Holds
 * one block at a time. */
#ifndef DISC_RELAYED_BODY_H
#define DISC_RELAYED_BODY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "body_source.h"

struct relayed_body;

enum relayed_body_status {
	RELAYED_BODY_BLOCK,   /* there is a block to send */
	RELAYED_BODY_WAITING, /* the source has nothing now */
	RELAYED_BODY_END,     /* all of it was handed out */
	RELAYED_BODY_FAILED,  /* the transfer must break here */
};

/* Returns the body of all bytes of <source>, which it then owns, or NULL when memory is exhausted. */
struct relayed_body *relayed_body_new(struct body_source *source, bool chunked);

/* Frees <body>, which may be NULL. */
void relayed_body_free(struct relayed_body *body);

/* Gives what is to be sent next: with RELAYED_BODY_BLOCK, <*len> bytes at <*bytes>, which belong to <body> until
 * relayed_body_sent(). */
enum relayed_body_status relayed_body_next(struct relayed_body *body, const uint8_t **bytes, size_t *len);

/* <len> bytes of the block left for the kernel. */
void relayed_body_sent(struct relayed_body *body, size_t len);

/* Why a body failed: a static text. */
const char *relayed_body_fault(const struct relayed_body *body);

#endif
