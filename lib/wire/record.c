/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "record.h"

#include <wolfssl/options.h>

#include <wolfssl/wolfcrypt/aes.h>
#include <wolfssl/wolfcrypt/chacha20_poly1305.h>

#include <endian.h>
#include <stdbool.h>
#include <string.h>

#include "secret.h"

#define HEADER_LEN 5u
#define EXPLICIT_NONCE_LEN 8u
#define SALT_LEN 4u
#define TAG_LEN 16u
#define CONTENT_TYPE_LEN 1u
#define NONCE_LEN TX_STATE_IV_LEN
#define ADDITIONAL_MAX 13u /* TLS 1.2: seq(8) | type | version(2) | length(2) */
#define APPLICATION_DATA 0x17

_Static_assert(RECORD_OVERHEAD_MAX == HEADER_LEN + EXPLICIT_NONCE_LEN + TAG_LEN, "TLS 1.2 AES-GCM adds most");

struct record_sealer {
	struct record_layout layout;
	struct tx_state state;
	Aes aes; /* scheduled once, with TX_AEAD_AES_GCM */
	bool aes_ready;
	bool dead;     /* a fault happened: no sequence number is used again */
	uint64_t next; /* index of the next record */
};

static bool has_explicit_nonce(const struct tx_state *state)
{
	return state->tls_minor == 3;
}

static unsigned overhead_of(const struct tx_state *state)
{
	if (state->tls_minor == 4)
		return HEADER_LEN + CONTENT_TYPE_LEN + TAG_LEN;
	return HEADER_LEN + EXPLICIT_NONCE_LEN + TAG_LEN;
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

enum record_error record_layout_init(struct record_layout *layout, const struct tx_state *state, uint64_t length)
{
	uint64_t records;

	memset(layout, 0, sizeof(*layout));
	if (!length)
		return RECORD_EMPTY;
	if (length > (uint64_t)RECORD_COUNT_MAX * RECORD_PLAIN_MAX)
		return RECORD_TOO_LONG;
	records = (length + RECORD_PLAIN_MAX - 1) / RECORD_PLAIN_MAX;
	/* The number behind the last one must exist too: the LB goes on with it. */
	if (state->seq > UINT64_MAX - records)
		return RECORD_SEQ_EXHAUSTED;
	if (has_explicit_nonce(state) && first_explicit_nonce(state) > UINT64_MAX - records)
		return RECORD_SEQ_EXHAUSTED;
	layout->length = length;
	layout->records = records;
	layout->overhead = overhead_of(state);
	layout->ciphertext = length + records * layout->overhead;
	return RECORD_OK;
}

size_t record_plain_length(const struct record_layout *layout, uint64_t index)
{
	if (index >= layout->records)
		return 0;
	if (index < layout->records - 1)
		return RECORD_PLAIN_MAX;
	return (size_t)(layout->length - index * RECORD_PLAIN_MAX);
}

enum record_error record_sealer_new(struct record_sealer **sealer, const struct tx_state *state, uint64_t length,
				    uint64_t first)
{
	struct record_layout layout;
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
	if (state->aead == TX_AEAD_AES_GCM) {
		made->aes_ready = wc_AesInit(&made->aes, NULL, INVALID_DEVID) == 0;
		if (!made->aes_ready || wc_AesGcmSetKey(&made->aes, state->key, state->key_len) != 0) {
			record_sealer_free(made);
			return RECORD_CRYPTO_FAILED;
		}
	}
	*sealer = made;
	return RECORD_OK;
}

void record_sealer_free(struct record_sealer *sealer)
{
	if (!sealer)
		return;
	if (sealer->aes_ready)
		wc_AesFree(&sealer->aes);
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

/* Encrypts <len> bytes from <in> to <out>, which may be the same place, and writes the tag behind them. */
static bool encrypt_record(struct record_sealer *sealer, const uint8_t nonce[static NONCE_LEN],
			   const uint8_t *additional, size_t additional_len, const uint8_t *in, size_t len,
			   uint8_t *out)
{
	if (sealer->state.aead == TX_AEAD_AES_GCM)
		return wc_AesGcmEncrypt(&sealer->aes, out, in, (word32)len, nonce, NONCE_LEN, out + len, TAG_LEN,
					additional, (word32)additional_len) == 0;
	return wc_ChaCha20Poly1305_Encrypt(sealer->state.key, nonce, additional, (word32)additional_len, in,
					   (word32)len, out, out + len) == 0;
}

/* Large copies of the C library use "rep movsb", which takes 15 times as long when source and destination lie the same
 * way in their pages but for a few bytes; with a header of 5 bytes before the body that is what page-aligned buffers
 * do. */
static void copy_in_pieces(uint8_t *to, const uint8_t *from, size_t len)
{
	const size_t piece = 2048;

	for (; len > piece; len -= piece, to += piece, from += piece)
		memcpy(to, from, piece);
	memcpy(to, from, len);
}

enum record_error record_seal_next(struct record_sealer *sealer, const uint8_t *plain, size_t len, uint8_t *out,
				   size_t *out_len)
{
	uint8_t nonce[NONCE_LEN], additional[ADDITIONAL_MAX];
	uint8_t *body = out + record_plain_offset(sealer);
	size_t sealed_len = len, total;

	*out_len = 0;
	if (sealer->dead || !len || len != record_plain_length(&sealer->layout, sealer->next)) {
		sealer->dead = true;
		return RECORD_OUT_OF_ORDER;
	}
	total = len + sealer->layout.overhead;
	if (sealer->state.tls_minor == 4) {
		/* wolfCrypt seals one piece of memory, and the content type follows the plaintext (RFC 8446
		 * 5.2). */
		if (plain != body)
			copy_in_pieces(body, plain, len);
		body[len] = APPLICATION_DATA;
		sealed_len += CONTENT_TYPE_LEN;
		plain = body;
	}
	out[0] = APPLICATION_DATA;
	out[1] = 3;
	out[2] = 3;
	store_u16(out + 3, total - HEADER_LEN);
	make_nonce(nonce, sealer);
	if (has_explicit_nonce(&sealer->state))
		memcpy(out + HEADER_LEN, nonce + SALT_LEN, EXPLICIT_NONCE_LEN);
	if (!encrypt_record(sealer, nonce, additional, make_additional(additional, sealer, out, len), plain, sealed_len,
			    body)) {
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

const char *record_error_text(enum record_error error)
{
	switch (error) {
	case RECORD_OK:
		return "no fault";
	case RECORD_EMPTY:
		return "a body of no bytes has no record";
	case RECORD_TOO_LONG:
		return "the body needs more records than one lease may seal";
	case RECORD_SEQ_EXHAUSTED:
		return "the sequence numbers or explicit nonces of the lease do not suffice";
	case RECORD_OUT_OF_ORDER:
		return "the record is not the next one of the layout";
	case RECORD_NO_MEMORY:
		return "out of memory";
	case RECORD_CRYPTO_FAILED:
		return "wolfCrypt refused to seal";
	}
	return "unknown fault of the record layer";
}
