/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What tests of grants share: the LB's side of them (doc/protocol.md section 6), written apart from lib/wire/grant.c, so
 * that a fault there does not hide itself. */
#ifndef GRANTING_H
#define GRANTING_H

#include <wolfssl/options.h>

#include <wolfssl/wolfcrypt/hmac.h>

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "grant.h"

#define GRANTING_HEAD_LEN 40

struct granting_message {
	unsigned type;
	uint32_t payload;
	uint64_t number, ready;
};

static inline void granting_put(uint8_t *at, uint64_t value, int bytes)
{
	for (int i = 0; i < bytes; i++)
		at[i] = (uint8_t)(value >> (8 * (bytes - 1 - i)));
}

static inline uint64_t granting_get(const uint8_t *at, int bytes)
{
	uint64_t value = 0;

	for (int i = 0; i < bytes; i++)
		value = value << 8 | at[i];
	return value;
}

/* <kind> has the LF behind it. */
static inline void granting_mac(uint8_t mac[static 16], const char *kind, const uint8_t *bytes, size_t len,
				const struct ticket *ticket, const uint8_t *key)
{
	uint8_t digest[WC_SHA256_DIGEST_SIZE];
	char hex[TICKET_TEXT_LEN + 1];
	Hmac hmac;

	ticket_format(hex, ticket);
	(void)wc_HmacInit(&hmac, NULL, INVALID_DEVID);
	(void)wc_HmacSetKey(&hmac, WC_SHA256, key, PROOF_KEY_LEN);
	(void)wc_HmacUpdate(&hmac, (const byte *)kind, (word32)strlen(kind));
	(void)wc_HmacUpdate(&hmac, (const byte *)hex, TICKET_TEXT_LEN);
	(void)wc_HmacUpdate(&hmac, (const byte *)"\n", 1);
	(void)wc_HmacUpdate(&hmac, bytes, (word32)len);
	(void)wc_HmacFinal(&hmac, digest);
	wc_HmacFree(&hmac);
	memcpy(mac, digest, 16);
}

/* The proof of what is in <wire> now. */
static inline void granting_prove(uint8_t wire[static GRANT_WIRE_LEN], const struct ticket *ticket, const uint8_t *key)
{
	granting_mac(wire + 48, "disc-grant-2\n", wire, 48, ticket, key);
}

static inline void granting_encode(uint8_t wire[static GRANT_WIRE_LEN], const struct grant *grant,
				   const struct ticket *ticket, const uint8_t *key)
{
	memset(wire, 0, GRANT_WIRE_LEN);
	wire[0] = 1;
	wire[1] = grant->last;
	granting_put(wire + 4, grant->stream, 4);
	granting_put(wire + 8, grant->number, 8);
	granting_put(wire + 16, grant->slot, 8);
	granting_put(wire + 24, grant->first, 8);
	granting_put(wire + 32, grant->bytes, 4);
	granting_put(wire + 36, grant->clear, 4);
	granting_prove(wire, ticket, key);
}

/* Returns false if the proof is wrong or reserved bytes are not 0. */
static inline bool granting_read(struct granting_message *message, const uint8_t head[static GRANTING_HEAD_LEN],
				 const struct ticket *ticket, const uint8_t *key)
{
	uint8_t mac[16];

	message->type = head[0];
	message->payload = (uint32_t)granting_get(head + 4, 4);
	message->number = granting_get(head + 8, 8);
	message->ready = granting_get(head + 16, 8);
	granting_mac(mac, "disc-ready-2\n", head, 24, ticket, key);
	return memcmp(mac, head + 24, 16) == 0 && !head[1] && !head[2] && !head[3];
}

#endif
