/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Proof: the MAC that ends a request, an announcement or a grant on the fetch hop, which is plain HTTP. Who does not hold the
 * lease's proof key can neither write nor alter what bears one.
 *
 * A proof is the first 16 bytes of HMAC-SHA256 (RFC 2104 with the hash of FIPS 180-4; truncated as RFC 2104 5 allows)
 * under the proof key, over the kind of text, one LF, and the text. The kind keeps a proof of one from being taken for
 * one of another. It is written as 32 lower-case hexadecimal digits.
 */
#ifndef DISC_PROOF_H
#define DISC_PROOF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROOF_KEY_LEN 16
#define PROOF_LEN 16
#define PROOF_TEXT_LEN 32

#define PROOF_OF_REQUEST "disc-request-2"   /* ticket_header.h */
#define PROOF_OF_ANNOUNCEMENT "disc-body-2" /* announcement.h */
#define PROOF_OF_GRANT "disc-grant-2"       /* grant.h */
#define PROOF_OF_MESSAGE "disc-ready-2"     /* grant.h: what a node says of its body */

struct proof {
	uint8_t bytes[PROOF_LEN];
};

/* Computes the proof of the <len> bytes at <text>, which are of the given <kind>, under <key> (RFC 2104 2). Returns
 * true; or false, with <proof> zeroed, if wolfCrypt refuses or lacks memory. What was computed on the way is wiped. */
bool proof_compute(struct proof *proof, const uint8_t key[static PROOF_KEY_LEN], const char *kind, const char *text,
		   size_t len);

/* Returns true if <a> and <b> are equal, in time that does not depend on their bytes; else false. */
bool proof_equal(const struct proof *a, const struct proof *b);

/* Writes <proof> to <text> as PROOF_TEXT_LEN digits and a terminating zero. */
void proof_format(char text[static PROOF_TEXT_LEN + 1], const struct proof *proof);

/* Reads <len> characters of <text>, which need not be terminated. Returns true; or false, with <proof> undefined, if
 * they are not exactly PROOF_TEXT_LEN lower-case hexadecimal digits. */
bool proof_parse(struct proof *proof, const char *text, size_t len);

#endif
