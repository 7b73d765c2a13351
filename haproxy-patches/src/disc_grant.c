/*
 * src/disc_grant.c
 * Grants and their answers on the fetch hop: bytes. See DiSC's doc/protocol.md.
 *
 * It knows no connection and nothing of HAProxy, so that it can be tested alone.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include <haproxy/disc_grant.h>
#include <haproxy/disc_wolfssl.h>

#define GRANT_VERSION   1
#define GRANT_LAST      0x1
#define FRAME_END       0x1 /* END_STREAM (RFC 9113 6.1) */

static void disc_put(uint8_t *out, uint64_t value, int bytes)
{
	while (bytes--) {
		out[bytes] = value;
		value >>= 8;
	}
}

static uint64_t disc_get(const uint8_t *in, int bytes)
{
	uint64_t value = 0;

	while (bytes--)
		value = value << 8 | *in++;
	return value;
}

/* Returns the number of records, thus of slots, of <grant>. */
uint32_t disc_grant_records(const struct disc_grant *grant)
{
	return (grant->bytes - grant->clear + DISC_GRANT_PAYLOAD - 1) / DISC_GRANT_PAYLOAD;
}

/* Returns the size of these records in bytes. */
uint32_t disc_grant_ciphertext(const struct disc_grant *grant)
{
	return grant->bytes - grant->clear + disc_grant_records(grant) * DISC_GRANT_OVERHEAD;
}

/* Computes the proof of <len> bytes at <bytes> under <key>, which are of kind <kind> and belong
 * to <ticket>. Returns 1, or 0 on failure.
 */
static int disc_grant_prove(const char *kind, const uint8_t key[DISC_PROOF_BYTES], const char ticket[DISC_TICKET_DIGITS],
                            const uint8_t *bytes, size_t len, uint8_t proof[DISC_PROOF_BYTES])
{
	char text[16 + DISC_TICKET_DIGITS + 1 + DISC_GRANT_LEN];
	size_t at = strlen(kind);

	memcpy(text, kind, at);
	text[at++] = '\n';
	memcpy(text + at, ticket, DISC_TICKET_DIGITS);
	at += DISC_TICKET_DIGITS;
	text[at++] = '\n';
	memcpy(text + at, bytes, len);
	return disc_wolf_proof(key, text, at + len, proof);
}

/* Writes <grant> for <ticket>, proven under <key>, to <wire>. Returns 1, or 0 on failure. */
int disc_grant_encode(const struct disc_grant *grant, const uint8_t key[DISC_PROOF_BYTES], const char ticket[DISC_TICKET_DIGITS],
                      uint8_t wire[DISC_GRANT_LEN])
{
	const size_t proven = DISC_GRANT_LEN - DISC_PROOF_BYTES;

	memset(wire, 0, DISC_GRANT_LEN);
	wire[0] = GRANT_VERSION;
	wire[1] = grant->last ? GRANT_LAST : 0;
	disc_put(wire + 4, grant->stream, 4);
	disc_put(wire + 8, grant->number, 8);
	disc_put(wire + 16, grant->slot, 8);
	disc_put(wire + 24, grant->first, 8);
	disc_put(wire + 32, grant->bytes, 4);
	disc_put(wire + 36, grant->clear, 4);
	return disc_grant_prove("disc-grant-2", key, ticket, wire, proven, wire + proven);
}

/* Reads the head of a node's message at <wire> into <msg>. Returns 1 if it is one that belongs
 * to <ticket> and is proven under <key>, otherwise 0. How long it takes does not depend on
 * where the proof differs.
 */
int disc_message_decode(struct disc_message *msg, const uint8_t wire[DISC_MESSAGE_LEN], const uint8_t key[DISC_PROOF_BYTES],
                        const char ticket[DISC_TICKET_DIGITS])
{
	const size_t proven = DISC_MESSAGE_LEN - DISC_PROOF_BYTES;
	uint8_t proof[DISC_PROOF_BYTES], differs = 0;
	int i;

	if (!disc_grant_prove("disc-ready-2", key, ticket, wire, proven, proof))
		return 0;
	for (i = 0; i < DISC_PROOF_BYTES; i++)
		differs |= proof[i] ^ wire[proven + i];
	if (differs || wire[1] || wire[2] || wire[3])
		return 0;
	msg->type = wire[0];
	msg->payload = disc_get(wire + 4, 4);
	msg->number = disc_get(wire + 8, 8);
	msg->ready = disc_get(wire + 16, 8);
	return msg->type == DISC_MSG_ANSWER || (msg->type == DISC_MSG_REPORT && !msg->payload);
}

/* Reads the line with a chunk's size (RFC 9112 7.1) at the beginning of the <len> bytes at
 * <text>, into <*size>. Returns the length of the line, 0 if its end is missing, or -1 if it
 * is none that a node sends.
 */
int disc_chunk_size(const char *text, size_t len, uint32_t *size)
{
	uint32_t value = 0;
	size_t i;

	for (i = 0; i < len && i < 9; i++) {
		const char c = text[i];

		if (c >= '0' && c <= '9')
			value = value << 4 | (uint32_t)(c - '0');
		else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
			value = value << 4 | (uint32_t)((c | 0x20) - 'a' + 10);
		else
			break;
	}
	if (i == 9 || (i == 0 && len > 0))
		return -1;
	if (len - i < 2)
		return (i < len && text[i] != '\r') ? -1 : 0;
	if (text[i] != '\r' || text[i + 1] != '\n')
		return -1;
	*size = value;
	return i + 2;
}

/* Writes the head of a DATA frame with <payload> bytes for <stream> to <head>. */
void disc_data_head(uint8_t head[DISC_FRAME_HEAD], uint32_t payload, uint32_t stream, int last)
{
	disc_put(head, payload, 3);
	head[3] = 0; /* DATA */
	head[4] = last ? FRAME_END : 0;
	disc_put(head + 5, stream, 4);
}
