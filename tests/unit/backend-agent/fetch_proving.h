/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What tests of the fetch hop share: proofs under the key of opening_state(), written apart from lib/wire (doc/protocol.md
 * section 4), so that a fault there does not hide itself. */
#ifndef FETCH_PROVING_H
#define FETCH_PROVING_H

#include <wolfssl/options.h>

#include <wolfssl/wolfcrypt/hmac.h>

#include <stdio.h>
#include <string.h>

#include "record_opening.h"

#define PROVING_DIGITS 32
#define PROVING_TEXT_MAX 2048
#define PROVING_HEADER_MAX 80 /* bytes of a value of Disc-Ticket, with a terminating zero */

/* The first 16 bytes of HMAC-SHA256 of <text> (RFC 2104), in digits. */
static inline void proving_mac(const char *text, char digits[static PROVING_DIGITS + 1])
{
	struct tx_state state = opening_state(0);
	uint8_t mac[WC_SHA256_DIGEST_SIZE];
	Hmac hmac;

	(void)wc_HmacInit(&hmac, NULL, INVALID_DEVID);
	(void)wc_HmacSetKey(&hmac, WC_SHA256, state.proof_key, sizeof(state.proof_key));
	(void)wc_HmacUpdate(&hmac, (const byte *)text, (word32)strlen(text));
	(void)wc_HmacFinal(&hmac, mac);
	wc_HmacFree(&hmac);
	for (int i = 0; i < 16; i++)
		(void)snprintf(digits + 2 * i, 3, "%02x", mac[i]);
}

/* Copies the value of the field <name> of the header <lines>, each with its CRLF; empty if there is none. */
static inline void proving_field(const char *lines, const char *name, char *value, size_t size)
{
	size_t len = strlen(name);

	value[0] = '\0';
	for (const char *end; (end = strstr(lines, "\r\n")); lines = end + 2)
		if (strncmp(lines, name, len) == 0 && strncmp(lines + len, ": ", 2) == 0)
			(void)snprintf(value, size, "%.*s", (int)(end - lines - (ptrdiff_t)len - 2), lines + len + 2);
}

/* Writes the value of Disc-Ticket for a request with these header <lines>. */
static inline void prove_request(char header[static PROVING_HEADER_MAX], const char *ticket, const char *method,
				 const char *target, const char *lines)
{
	char text[PROVING_TEXT_MAX], range[256], if_range[256], if_match[512], digits[PROVING_DIGITS + 1];

	proving_field(lines, "Range", range, sizeof(range));
	proving_field(lines, "If-Range", if_range, sizeof(if_range));
	proving_field(lines, "If-Match", if_match, sizeof(if_match));
	(void)snprintf(text, sizeof(text), "disc-request-2\n%s\n%s\n%s\n%s\n%s\n%s\n", ticket, method, target, range,
		       if_range, if_match);
	proving_mac(text, digits);
	(void)snprintf(header, PROVING_HEADER_MAX, "%s; proof=%s", ticket, digits);
}

/* Appends the proof to <value>, of <size> bytes, the beginning of an announcement. */
static inline void prove_announcement(char *value, size_t size)
{
	char text[PROVING_TEXT_MAX], digits[PROVING_DIGITS + 1];
	size_t len = strlen(value);

	(void)snprintf(text, sizeof(text), "disc-body-2\n%s", value);
	proving_mac(text, digits);
	(void)snprintf(value + len, size - len, "; proof=%s", digits);
}

#endif
