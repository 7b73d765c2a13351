/*
 * include/haproxy/disc_grant.h
 * Grants and their answers on the fetch hop: bytes.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef _HAPROXY_DISC_GRANT_H
#define _HAPROXY_DISC_GRANT_H

#include <inttypes.h>
#include <stddef.h>

#include <haproxy/disc_wolfssl.h>

#define DISC_GRANT_LEN      64       /* bytes of a grant on the wire */
#define DISC_GRANT_MAX      262144   /* bytes of a body that a grant is about, at most */
#define DISC_GRANT_CLEAR    1024     /* of these, in clear, if others are sealed */
#define DISC_GRANT_PAYLOAD  (DISC_RECORD_MAX - DISC_FRAME_HEAD) /* of a DATA frame, which is one record */
#define DISC_FRAME_HEAD     9        /* bytes of the head of an HTTP/2 frame (RFC 9113 4.1) */
#define DISC_GRANT_OVERHEAD (DISC_FRAME_HEAD + 22) /* what a sealed DATA frame adds to its payload */
#define DISC_MESSAGE_LEN    40       /* bytes of the head of a node's message */
#define DISC_TICKET_DIGITS  32

/* what a node may send of a body */
struct disc_grant {
	uint64_t number;        /* 1, 2, 3... of its ticket */
	uint64_t slot;          /* sequence number of the first record sealed, 0 if none is */
	uint64_t first;         /* offset in the body */
	uint32_t bytes;         /* of the body */
	uint32_t clear;         /*   of which the first ones are not sealed */
	uint32_t stream;        /* HTTP/2 stream */
	int last;               /* the body ends there */
};

enum disc_message_type {
	DISC_MSG_ANSWER = 1,
	DISC_MSG_REPORT = 2,
};

/* head of what a node sends */
struct disc_message {
	enum disc_message_type type;
	uint32_t payload;       /* bytes that follow */
	uint64_t number;        /* of the grant answered, or of the last one that was */
	uint64_t ready;         /* offset in the body up to which bytes may be granted */
};

uint32_t disc_grant_records(const struct disc_grant *grant);
uint32_t disc_grant_ciphertext(const struct disc_grant *grant);
int disc_grant_encode(const struct disc_grant *grant, const uint8_t key[DISC_PROOF_BYTES], const char ticket[DISC_TICKET_DIGITS],
                      uint8_t wire[DISC_GRANT_LEN]);
int disc_message_decode(struct disc_message *msg, const uint8_t wire[DISC_MESSAGE_LEN], const uint8_t key[DISC_PROOF_BYTES],
                        const char ticket[DISC_TICKET_DIGITS]);
int disc_chunk_size(const char *text, size_t len, uint32_t *size);
void disc_data_head(uint8_t head[DISC_FRAME_HEAD], uint32_t payload, uint32_t stream, int last);

#endif /* _HAPROXY_DISC_GRANT_H */
