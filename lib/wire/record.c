/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "record.h"

#include <endian.h>
#include <stdbool.h>
#include <string.h>

#include "aead_choice.h"
#include "secret.h"

#define HEADER_LEN 5u
#define EXPLICIT_NONCE_LEN 8u
#define SALT_LEN 4u
#define NONCE_LEN AEAD_NONCE_LEN
#define ADDITIONAL_MAX 13u /* TLS 1.2: seq(8) | type | version(2) | length(2) */
#define APPLICATION_DATA 0x17

_Static_assert(NONCE_LEN == TX_STATE_IV_LEN, "the IV is the nonce, but for the sequence number");

struct record_sealer {
	struct record_layout layout;
	struct tx_state state;
	struct aead_key key; /* expanded once */
	bool dead;           /* a fault happened: no sequence number is used again */
	uint64_t next;       /* index of the next record */
};

static bool has_explicit_nonce(const struct tx_state *state)
{
	return state->tls_minor == 3;
}

static uint64_t first_explicit_nonce(const struct tx_state *state)
{
	uint64_t value;

	memcpy(&value, state->iv + SALT_LEN, sizeof(value));
	return be64toh(value);
}

static void store_u16(uint8_t *at, size_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static void store_u64(uint8_t *at, uint64_t value)
{
	value = htobe64(value);
	memcpy(at, &value, sizeof(value));
}

static enum aead_cipher cipher_of(const struct tx_state *state)
{
	if (state->aead == TX_AEAD_CHACHA20_POLY1305)
		return AEAD_CHACHA20_POLY1305;
	return state->key_len == 16 ? AEAD_AES_128_GCM : AEAD_AES_256_GCM;
}

enum record_error record_sealer_new(struct record_sealer **sealer, const struct tx_state *state, uint64_t length,
				    uint64_t first)
{
	struct record_layout layout;
	enum aead_cipher cipher = cipher_of(state);
	struct record_sealer *made;
	enum record_error error;

	*sealer = NULL;
	error = record_layout_init(&layout, state, length);
	if (error != RECORD_OK)
		return error;
	if (first >= layout.records)
		return RECORD_OUT_OF_ORDER;
	made = secret_alloc(sizeof(*made));
	if (!made)
		return RECORD_NO_MEMORY;
	made->layout = layout;
	made->state = *state;
	made->next = first;
	if (!aead_key_init(&made->key, aead_chosen(cipher), cipher, state->key)) {
		secret_free(made, sizeof(*made));
		return RECORD_CRYPTO_FAILED;
	}
	*sealer = made;
	return RECORD_OK;
}

void record_sealer_free(struct record_sealer *sealer)
{
	if (!sealer)
		return;
	aead_key_release(&sealer->key);
	secret_free(sealer, sizeof(*sealer));
}

const struct record_layout *record_sealer_layout(const struct record_sealer *sealer)
{
	return &sealer->layout;
}

uint64_t record_sealer_next(const struct record_sealer *sealer)
{
	return sealer->next;
}

size_t record_plain_offset(const struct record_sealer *sealer)
{
	return HEADER_LEN + (has_explicit_nonce(&sealer->state) ? EXPLICIT_NONCE_LEN : 0);
}

/* Nonce of the next record. RFC 5288 3: salt and explicit nonce side by side; RFC 8446 5.3: IV XOR the sequence
 * number, padded to the left. */
static void make_nonce(uint8_t nonce[static NONCE_LEN], const struct record_sealer *sealer)
{
	uint8_t seq[sizeof(uint64_t)];

	memcpy(nonce, sealer->state.iv, NONCE_LEN);
	if (has_explicit_nonce(&sealer->state)) {
		store_u64(nonce + SALT_LEN, first_explicit_nonce(&sealer->state) + sealer->next);
		return;
	}
	store_u64(seq, sealer->state.seq + sealer->next);
	for (size_t i = 0; i < sizeof(seq); i++)
		nonce[NONCE_LEN - sizeof(seq) + i] ^= seq[i];
}

/* Additional data of a record with <len> bytes of plaintext, whose header is at <header>. RFC 8446 5.2: the header;
 * RFC 5246 6.2.3.3: sequence number, type, version and the plaintext's length. Returns its length. */
static size_t make_additional(uint8_t additional[static ADDITIONAL_MAX], const struct record_sealer *sealer,
			      const uint8_t *header, size_t len)
{
	if (sealer->state.tls_minor == 4) {
		memcpy(additional, header, HEADER_LEN);
		return HEADER_LEN;
	}
	store_u64(additional, sealer->state.seq + sealer->next);
	memcpy(additional + 8, header, 3);
	store_u16(additional + 11, len);
	return ADDITIONAL_MAX;
}

enum record_error record_seal_next(struct record_sealer *sealer, const uint8_t *plain, size_t len, uint8_t *out,
				   size_t *out_len)
{
	uint8_t nonce[NONCE_LEN], additional[ADDITIONAL_MAX];
	uint8_t trailer = sealer->state.tls_minor == 4 ? APPLICATION_DATA : 0;
	size_t total;

	*out_len = 0;
	if (sealer->dead || !len || len != record_plain_length(&sealer->layout, sealer->next)) {
		sealer->dead = true;
		return RECORD_OUT_OF_ORDER;
	}
	total = len + sealer->layout.overhead;
	out[0] = APPLICATION_DATA;
	out[1] = 3;
	out[2] = 3;
	store_u16(out + 3, total - HEADER_LEN);
	make_nonce(nonce, sealer);
	if (has_explicit_nonce(&sealer->state))
		memcpy(out + HEADER_LEN, nonce + SALT_LEN, EXPLICIT_NONCE_LEN);
	if (!aead_seal(&sealer->key, nonce, additional, make_additional(additional, sealer, out, len), plain, len,
		       trailer, out + record_plain_offset(sealer))) {
		sealer->dead = true;
		/* What a failed encryption left here may be plaintext, or a first part under a nonce that is now
		 * spent. */
		secret_wipe(out, total);
		return RECORD_CRYPTO_FAILED;
	}
	sealer->next++;
	*out_len = total;
	return RECORD_OK;
}
