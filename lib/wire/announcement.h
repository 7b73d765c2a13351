/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Announcement: the value of the Disc-Body header, by which a node says on the fetch hop what follows.
 *
 *   Disc-Body: splice; ticket=<32 hex>; seq=<decimal>; records=<decimal>; length=<decimal>
 *   Disc-Body: direct; ticket=<32 hex>; seq=<decimal>; records=<decimal>; length=<decimal>
 *   Disc-Body: none; ticket=<32 hex>
 */
#ifndef DISC_ANNOUNCEMENT_H
#define DISC_ANNOUNCEMENT_H

#include <stddef.h>
#include <stdint.h>

#include "ticket.h"

#define ANNOUNCEMENT_TEXT_MAX 160 /* bytes of the longest value, with a terminating zero */

enum announcement_kind {
	ANNOUNCEMENT_NONE,   /* an ordinary response: nothing was and nothing will be sealed under this lease */
	ANNOUNCEMENT_SPLICE, /* the body is TLS records of the client's session */
	ANNOUNCEMENT_DIRECT, /* such records go to the client on its own connection; the body here has one byte */
};

struct announcement {
	enum announcement_kind kind;
	struct ticket ticket;
	uint64_t seq; /* sequence number of the first record; this and the following two not with NONE */
	uint64_t records;
	uint64_t length; /* bytes of plaintext */
};

/* Writes the header's value to <text> with a terminating zero. Returns its length in bytes. */
size_t announcement_format(char text[static ANNOUNCEMENT_TEXT_MAX], const struct announcement *announcement);

#endif
