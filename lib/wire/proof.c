/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "proof.h"

#include <wolfssl/options.h>

#include <wolfssl/wolfcrypt/hmac.h>

#include <string.h>

#include "secret.h"
#include "ticket.h"

/* Both are 16 bytes, written alike. */
_Static_assert(PROOF_LEN == TICKET_LEN && PROOF_TEXT_LEN == TICKET_TEXT_LEN, "a proof is written as a ticket is");

static bool update(Hmac *hmac, const char *bytes, size_t len)
{
	return len <= UINT32_MAX && wc_HmacUpdate(hmac, (const byte *)bytes, (word32)len) == 0;
}

bool proof_compute(struct proof *proof, const uint8_t key[static PROOF_KEY_LEN], const char *kind, const char *text,
		   size_t len)
{
	uint8_t digest[WC_SHA256_DIGEST_SIZE];
	Hmac hmac;
	bool done;

	memset(proof, 0, sizeof(*proof));
	if (wc_HmacInit(&hmac, NULL, INVALID_DEVID) != 0)
		return false;
	done = wc_HmacSetKey(&hmac, WC_SHA256, key, PROOF_KEY_LEN) == 0 && update(&hmac, kind, strlen(kind)) &&
	       update(&hmac, "\n", 1) && update(&hmac, text, len) && wc_HmacFinal(&hmac, digest) == 0;
	if (done)
		memcpy(proof->bytes, digest, PROOF_LEN);
	wc_HmacFree(&hmac);
	secret_wipe(&hmac, sizeof(hmac));
	secret_wipe(digest, sizeof(digest));
	return done;
}

bool proof_equal(const struct proof *a, const struct proof *b)
{
	return secret_equal(a->bytes, b->bytes, PROOF_LEN);
}

void proof_format(char text[static PROOF_TEXT_LEN + 1], const struct proof *proof)
{
	struct ticket same;

	memcpy(same.bytes, proof->bytes, PROOF_LEN);
	ticket_format(text, &same);
}

bool proof_parse(struct proof *proof, const char *text, size_t len)
{
	struct ticket same;

	if (!ticket_parse(&same, text, len))
		return false;
	memcpy(proof->bytes, same.bytes, PROOF_LEN);
	return true;
}
