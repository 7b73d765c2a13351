/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tx_state.h"

#include <endian.h>
#include <string.h>

#include "secret.h"

#define WIRE_VERSION 2

/* Where each field lies in wire form 2. */
enum wire_offset {
	AT_VERSION = 0,
	AT_TLS_MINOR = 1,
	AT_SUITE = 2,
	AT_AEAD = 4,
	AT_KEY_LEN = 5,
	AT_USE = 6,
	AT_RESERVED = 7,
	AT_KEY = 8,
	AT_IV = AT_KEY + TX_STATE_KEY_MAX,
	AT_SEQ = AT_IV + TX_STATE_IV_LEN,
	AT_PROOF_KEY = AT_SEQ + sizeof(uint64_t),
};

_Static_assert(AT_PROOF_KEY + PROOF_KEY_LEN == TX_STATE_WIRE_LEN, "wire form 2 has 76 bytes");

/* Suites that may be leased or sealed, with what the record layer needs to know of them. */
static const struct suite {
	uint16_t number;
	uint8_t tls_minor;
	uint8_t aead;
	uint8_t key_len;
} suites[] = {
	{0x1301, 4, TX_AEAD_AES_GCM, 16},           /* TLS_AES_128_GCM_SHA256 */
	{0x1302, 4, TX_AEAD_AES_GCM, 32},           /* TLS_AES_256_GCM_SHA384 */
	{0x1303, 4, TX_AEAD_CHACHA20_POLY1305, 32}, /* TLS_CHACHA20_POLY1305_SHA256 */
	{0x009c, 3, TX_AEAD_AES_GCM, 16},           /* TLS_RSA_WITH_AES_128_GCM_SHA256 */
	{0x009d, 3, TX_AEAD_AES_GCM, 32},           /* TLS_RSA_WITH_AES_256_GCM_SHA384 */
	{0x009e, 3, TX_AEAD_AES_GCM, 16},           /* TLS_DHE_RSA_WITH_AES_128_GCM_SHA256 */
	{0x009f, 3, TX_AEAD_AES_GCM, 32},           /* TLS_DHE_RSA_WITH_AES_256_GCM_SHA384 */
	{0xc02b, 3, TX_AEAD_AES_GCM, 16},           /* TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 */
	{0xc02c, 3, TX_AEAD_AES_GCM, 32},           /* TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 */
	{0xc02f, 3, TX_AEAD_AES_GCM, 16},           /* TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 */
	{0xc030, 3, TX_AEAD_AES_GCM, 32},           /* TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 */
};

static const struct suite *find_suite(uint16_t number, uint8_t tls_minor)
{
	for (size_t i = 0; i < sizeof(suites) / sizeof(suites[0]); i++) {
		if (suites[i].number == number && suites[i].tls_minor == tls_minor)
			return &suites[i];
	}
	return NULL;
}

static uint16_t load_u16(const uint8_t *at)
{
	uint16_t value;

	memcpy(&value, at, sizeof(value));
	return be16toh(value);
}

static uint64_t load_u64(const uint8_t *at)
{
	uint64_t value;

	memcpy(&value, at, sizeof(value));
	return be64toh(value);
}

static bool all_zero(const uint8_t *bytes, size_t len)
{
	uint8_t seen = 0;

	for (size_t i = 0; i < len; i++)
		seen |= bytes[i];
	return seen == 0;
}

/* Grants come with the number of their first record, which TLS 1.2 would not suffice for: it has an explicit nonce too. */
static enum tx_state_error check_use(const uint8_t *wire)
{
	switch (wire[AT_USE]) {
	case TX_USE_RANGE:
		return TX_STATE_OK;
	case TX_USE_GRANTS:
		return wire[AT_TLS_MINOR] == 4 && load_u64(wire + AT_SEQ) == 0 ? TX_STATE_OK : TX_STATE_BAD_USE;
	default:
		return TX_STATE_BAD_USE;
	}
}

static enum tx_state_error check(const uint8_t *wire, size_t len)
{
	const struct suite *suite;

	if (len != TX_STATE_WIRE_LEN)
		return TX_STATE_BAD_LENGTH;
	if (wire[AT_VERSION] != WIRE_VERSION)
		return TX_STATE_BAD_VERSION;
	if (wire[AT_TLS_MINOR] != 3 && wire[AT_TLS_MINOR] != 4)
		return TX_STATE_BAD_TLS_VERSION;
	suite = find_suite(load_u16(wire + AT_SUITE), wire[AT_TLS_MINOR]);
	if (!suite)
		return TX_STATE_BAD_SUITE;
	if (wire[AT_AEAD] != suite->aead)
		return TX_STATE_BAD_AEAD;
	if (wire[AT_KEY_LEN] != suite->key_len)
		return TX_STATE_BAD_KEY_LENGTH;
	if (!all_zero(wire + AT_RESERVED, AT_KEY - AT_RESERVED) ||
	    !all_zero(wire + AT_KEY + suite->key_len, TX_STATE_KEY_MAX - (size_t)suite->key_len))
		return TX_STATE_BAD_RESERVED;
	return check_use(wire);
}

enum tx_state_error tx_state_decode(struct tx_state *state, const uint8_t *wire, size_t len)
{
	enum tx_state_error error = check(wire, len);

	secret_wipe(state, sizeof(*state));
	if (error != TX_STATE_OK)
		return error;
	state->tls_minor = wire[AT_TLS_MINOR];
	state->suite = load_u16(wire + AT_SUITE);
	state->aead = (enum tx_aead)wire[AT_AEAD];
	state->key_len = wire[AT_KEY_LEN];
	state->use = (enum tx_use)wire[AT_USE];
	memcpy(state->key, wire + AT_KEY, TX_STATE_KEY_MAX);
	memcpy(state->iv, wire + AT_IV, TX_STATE_IV_LEN);
	state->seq = load_u64(wire + AT_SEQ);
	memcpy(state->proof_key, wire + AT_PROOF_KEY, PROOF_KEY_LEN);
	return TX_STATE_OK;
}

void tx_state_encode(uint8_t wire[static TX_STATE_WIRE_LEN], const struct tx_state *state)
{
	uint16_t suite = htobe16(state->suite);
	uint64_t seq = htobe64(state->seq);

	memset(wire, 0, TX_STATE_WIRE_LEN);
	wire[AT_VERSION] = WIRE_VERSION;
	wire[AT_TLS_MINOR] = state->tls_minor;
	memcpy(wire + AT_SUITE, &suite, sizeof(suite));
	wire[AT_AEAD] = (uint8_t)state->aead;
	wire[AT_KEY_LEN] = state->key_len;
	wire[AT_USE] = (uint8_t)state->use;
	memcpy(wire + AT_KEY, state->key, state->key_len < TX_STATE_KEY_MAX ? state->key_len : TX_STATE_KEY_MAX);
	memcpy(wire + AT_IV, state->iv, TX_STATE_IV_LEN);
	memcpy(wire + AT_SEQ, &seq, sizeof(seq));
	memcpy(wire + AT_PROOF_KEY, state->proof_key, PROOF_KEY_LEN);
}

bool tx_state_advance(struct tx_state *state, uint64_t records)
{
	bool explicit_nonce = state->tls_minor == 3;
	uint8_t *nonce = state->iv + TX_STATE_IV_LEN - sizeof(uint64_t);
	uint64_t number = load_u64(nonce);

	if (records > UINT64_MAX - state->seq || (explicit_nonce && records > UINT64_MAX - number))
		return false;
	state->seq += records;
	if (explicit_nonce) {
		number = htobe64(number + records);
		memcpy(nonce, &number, sizeof(number));
	}
	return true;
}

const char *tx_state_error_text(enum tx_state_error error)
{
	switch (error) {
	case TX_STATE_OK:
		return "the TX state is valid";
	case TX_STATE_BAD_LENGTH:
		return "the TX state has not 76 bytes";
	case TX_STATE_BAD_VERSION:
		return "version: the TX state has another wire form than 2";
	case TX_STATE_BAD_TLS_VERSION:
		return "tls_minor: neither TLS 1.2 nor TLS 1.3";
	case TX_STATE_BAD_AEAD:
		return "aead: not the one of the suite";
	case TX_STATE_BAD_SUITE:
		return "suite: not one that is leased with this TLS version";
	case TX_STATE_BAD_KEY_LENGTH:
		return "key_len: not the one of the suite";
	case TX_STATE_BAD_USE:
		return "use: neither 0 nor, with TLS 1.3 and seq 0, 1";
	case TX_STATE_BAD_RESERVED:
		return "reserved bytes of the TX state are not zero";
	}
	return "unknown fault of a TX state";
}
