/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What of the record layer needs no cipher: disc-spoa knows where records lie, and seals none. */
#include "record.h"

#include <endian.h>
#include <stdbool.h>
#include <string.h>

#define HEADER_LEN 5u
#define EXPLICIT_NONCE_LEN 8u
#define SALT_LEN 4u
#define TAG_LEN 16u
#define CONTENT_TYPE_LEN 1u

_Static_assert(RECORD_OVERHEAD_MAX == HEADER_LEN + EXPLICIT_NONCE_LEN + TAG_LEN, "TLS 1.2 AES-GCM adds most");

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

enum record_error record_layout_init(struct record_layout *layout, const struct tx_state *state, uint64_t length)
{
	uint64_t records;

	memset(layout, 0, sizeof(*layout));
	if (state->use != TX_USE_RANGE)
		return RECORD_WRONG_USE;
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
	case RECORD_WRONG_USE:
		return "the TX state is not for this use";
	case RECORD_OUT_OF_ORDER:
		return "the record is not the next one of the layout";
	case RECORD_NO_MEMORY:
		return "out of memory";
	case RECORD_CRYPTO_FAILED:
		return "the library refused to seal";
	}
	return "unknown fault of the record layer";
}
