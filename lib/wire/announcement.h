/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Announcement: the value of the Disc-Body header, by which a node says on the fetch hop what follows.
 *
 *   Disc-Body: splice; ticket=<32 hex>; seq=<n>; records=<n>; length=<n>; status=<n>; first=<n>; etag=<E>; proof=<32 hex>
 *   Disc-Body: direct; (the same parameters)
 *   Disc-Body: grants; ticket=<32 hex>; length=<n>; status=<n>; first=<n>; etag=<E>; ready=<n>; proof=<32 hex>
 *   Disc-Body: none; ticket=<32 hex>; proof=<32 hex>
 *
 * Numbers are decimal. <E> is a strong entity tag with its quotes (RFC 9110 8.8.3), or nothing for a body that no other
 * node may go on with. The text of the proof (proof.h) is "disc-body-2", LF, and the value up to "; proof=".
 */
#ifndef DISC_ANNOUNCEMENT_H
#define DISC_ANNOUNCEMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proof.h"
#include "ticket.h"

#define ANNOUNCEMENT_ETAG_MAX 256 /* bytes of <etag> with its quotes */
#define ANNOUNCEMENT_TEXT_MAX 512 /* bytes of the longest value, with a terminating zero */

enum announcement_kind {
	ANNOUNCEMENT_NONE,   /* an ordinary response: nothing was and nothing will be sealed under this lease */
	ANNOUNCEMENT_SPLICE, /* the body is TLS records of the client's session */
	ANNOUNCEMENT_DIRECT, /* such records go to the client on its own connection; the body here has one byte */
	ANNOUNCEMENT_GRANTS, /* the body is messages that answer grants (grant.h) */
};

/* With NONE only <ticket> is said. */
struct announcement {
	enum announcement_kind kind;
	struct ticket ticket;
	uint64_t seq;     /* sequence number of the first record; not with GRANTS, */
	uint64_t records; /* nor their number */
	uint64_t length;  /* bytes of plaintext */
	unsigned status;  /* 200 or 206 */
	uint64_t first;   /* offset of the body's first byte in the object; 0 with 200 */
	const char *etag; /* NULL or empty: no other node may go on with this body */
	uint64_t ready;   /* with GRANTS: bytes of the body, from its beginning, that a grant may name now */
};

/* Writes the header's value, proven under <key>, to <text> with a terminating zero. Returns its length in bytes; or 0,
 * with <text> empty, if the entity tag is longer than ANNOUNCEMENT_ETAG_MAX or the proof cannot be computed. */
size_t announcement_format(char text[static ANNOUNCEMENT_TEXT_MAX], const struct announcement *announcement,
			   const uint8_t key[static PROOF_KEY_LEN]);

/* Reads the value <text> (<len> bytes, which need not be terminated) of the kind "direct", proven under <key>. Fills
 * <announcement>, whose entity tag is the text <etag>. Returns true; or false, with neither to be used, if the proof is
 * not right, or another kind or syntax was proven. */
bool announcement_read_direct(struct announcement *announcement, char etag[static ANNOUNCEMENT_ETAG_MAX + 1],
			      const char *text, size_t len, const uint8_t key[static PROOF_KEY_LEN]);

#endif
