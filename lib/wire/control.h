/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Control protocol between disc-spoa and disc-backend: messages in bytes, struct out. The schema is control.proto, the
 * narrative doc/protocol.md. A frame on the channel is a 4-byte big-endian length followed by one Envelope; channel.c
 * does the framing, this file only the Envelope. Unknown fields are skipped, unknown messages come out as
 * CONTROL_UNKNOWN, so that newer peers can talk to older ones.
 */
#ifndef DISC_CONTROL_H
#define DISC_CONTROL_H

#include <stddef.h>
#include <stdint.h>

#include "tcp_state.h"
#include "ticket.h"
#include "tx_state.h"

#define CONTROL_VERSION_MIN 3u /* since 3 the agent takes connections back by itself: Release, and no Prepared */
#define CONTROL_VERSION_MAX 3u
#define CONTROL_MESSAGE_MAX 65536u     /* bytes of one encoded Envelope */
#define CONTROL_LANES_MAX 256u         /* channels of one agent's process to one node beside the first */
#define CONTROL_TEXT_MAX 16384u        /* bytes of one text field */
#define CONTROL_ETAG_MAX 256u          /* bytes of an Offer's continuation_etag */
#define CONTROL_CLIENT_DATA_MAX 16384u /* bytes of one ClientData */

enum control_type {
	CONTROL_UNKNOWN = 0, /* a message that this version does not know: ignore it */
	CONTROL_HELLO,       /* both ways, first: versions spoken, who speaks */
	CONTROL_OFFER,       /* agent -> node: ticket, lease's TX state, request */
	CONTROL_RESULT,      /* node -> agent: how an offload ended */
	CONTROL_PING,        /* agent -> node, every 250 ms */
	CONTROL_PONG,        /* node -> agent: answer, with the node's load and whether it drains */
	/* The direct path; see doc/direct-path.md for their order. */
	CONTROL_HANDOFF,       /* agent -> node: the client's connection */
	CONTROL_HANDOFF_REPLY, /* node -> agent: why there is no clone */
	CONTROL_PROGRESS,      /* node -> agent: bytes that the client acknowledged */
	CONTROL_CLIENT_DATA,   /* node -> agent: what the client sent */
	CONTROL_DRAINED,       /* node -> agent: nothing more is written, recall the connection */
	CONTROL_RECALL,        /* agent -> node: come to an end, then: give it back; or drop it */
	CONTROL_HANDBACK,      /* node -> agent: the connection */
	CONTROL_GONE,          /* node -> agent: there is nothing to give back */
	CONTROL_RELEASE,       /* agent -> node: the connection is back, the clone has no part in it any more */
};

enum control_outcome {
	CONTROL_OUTCOME_SEALED = 1,   /* every record was sealed and handed to the kernel */
	CONTROL_OUTCOME_DECLINED = 2, /* nothing was and nothing will be sealed under this offer */
	CONTROL_OUTCOME_ABORTED = 3,  /* the fetch hop went away after sealing had begun */
	CONTROL_OUTCOME_EXPIRED = 4,  /* no fetch named the ticket in time */
	CONTROL_OUTCOME_FAILED = 5,   /* the node could not go on: object changed, read error */
};

/* A text inside a decoded message: not terminated, belongs to the message. */
struct control_text {
	const char *data;
	size_t len;
};

struct control_hello {
	uint32_t version_min, version_max;
	struct control_text name;     /* the peer's own name, for logs only: identity is the certificate */
	struct control_text software; /* e.g. "disc-spoa 0.1.0" */
	uint32_t direct;              /* from a node, non-zero: it can transmit on clients' connections */
	uint32_t lanes;  /* from a node: further channels that it wants for that, at most CONTROL_LANES_MAX */
	uint32_t lane;   /* from an agent: the number of such a channel, from 1; 0: its first one */
	uint32_t grants; /* from a node, non-zero: it takes Offers whose TX state is for grants */
};

struct control_offer {
	struct ticket ticket;
	struct tx_state state;
	/* As HAProxy saw the request; target is path and query. For a continuation: as the node must see it. */
	struct control_text method, host, target;
	struct control_text client;            /* numeric address of the client, as HAProxy was told */
	struct control_text peer;              /* of the other end of its TCP connection; empty: that of <client> */
	uint64_t lease_id;                     /* HAProxy's, for logs */
	uint64_t splice_min;                   /* bytes of plaintext from which a body is sealed at all */
	uint64_t direct_min;                   /* and from which "direct" may be announced; 0: never */
	struct control_text continuation_etag; /* entity tag of a continuation's object; empty: no continuation */
	uint64_t continuation_offset;          /* the byte of the object that it begins with */
	uint64_t continuation_length;          /* its bytes of plaintext; 0 without <continuation_etag> */
};

struct control_result {
	struct ticket ticket;
	enum control_outcome outcome;
	uint64_t records, bytes;    /* sealed: records, and bytes of plaintext */
	struct control_text reason; /* empty for CONTROL_OUTCOME_SEALED */
	uint32_t changed;           /* non-zero: FAILED because the object was written while it was sent */
};

struct control_ping {
	uint64_t nonce;
};

struct control_pong {
	uint64_t nonce;    /* the ping's */
	uint32_t offloads; /* active on this node */
	uint32_t draining; /* non-zero: give no new ones */
};

/* Bytes inside a decoded message, as control_text. */
struct control_bytes {
	const uint8_t *data;
	size_t len;
};

struct control_handoff {
	struct ticket ticket;
	struct tcp_state state;
	struct control_bytes send_queue, receive_queue; /* at most TCP_SEND_TAIL_MAX and TCP_RECEIVE_TAIL_MAX bytes */
	uint64_t bytes;                                 /* of all records, as announced to HAProxy */
};

struct control_handoff_reply {
	struct ticket ticket;
	struct control_text reason; /* not empty */
	bool contradicts;           /* another body was announced to HAProxy */
};

struct control_progress {
	struct ticket ticket;
	uint64_t bytes; /* of records, acknowledged by the client */
};

struct control_client_data {
	struct ticket ticket;
	uint64_t offset; /* of the first byte, from receive_next of the Handoff */
	struct control_bytes data;
};

struct control_drained {
	struct ticket ticket;
};

struct control_recall {
	struct ticket ticket;
	uint32_t discard; /* non-zero: drop it and answer Gone */
};

struct control_handback {
	struct ticket ticket;
	struct tcp_state state;
	struct control_bytes send_queue, receive_queue;
	uint64_t bytes; /* of records, up to the end of the send queue */
};

enum control_gone_cause {
	CONTROL_GONE_CLIENT = 1,   /* the client reset the connection or acknowledged nothing for too long */
	CONTROL_GONE_NODE = 2,     /* the object changed or could not be read, or the clone could not be frozen */
	CONTROL_GONE_RECALLED = 3, /* discarded, or the Handoff did not come in time */
};

struct control_gone {
	struct ticket ticket;
	enum control_gone_cause cause;
	uint64_t bytes; /* of records, acknowledged by the client */
	struct control_text reason;
};

struct control_release {
	struct ticket ticket;
};

struct control_message {
	enum control_type type;
	union {
		struct control_hello hello;
		struct control_offer offer;
		struct control_result result;
		struct control_ping ping;
		struct control_pong pong;
		struct control_handoff handoff;
		struct control_handoff_reply handoff_reply;
		struct control_progress progress;
		struct control_client_data client_data;
		struct control_drained drained;
		struct control_recall recall;
		struct control_handback handback;
		struct control_gone gone;
		struct control_release release;
	} u;
	void *storage; /* private: what the texts point into */
};

enum control_error {
	CONTROL_OK = 0,
	CONTROL_MALFORMED,     /* not an Envelope */
	CONTROL_BAD_TICKET,    /* not TICKET_LEN bytes */
	CONTROL_BAD_TX_STATE,  /* tx_state_decode() refused it */
	CONTROL_BAD_TCP_STATE, /* tcp_state_decode() refused it */
	CONTROL_BAD_QUEUE,     /* send or receive queue longer than a handoff carries, or shorter than what is unsent */
	/* a text over its limit, an empty HandoffReply or ClientData, an unknown outcome or cause, version_min > version_max */
	CONTROL_BAD_FIELD,
	CONTROL_TOO_LONG, /* the encoded form is over CONTROL_MESSAGE_MAX, or over <cap> */
	CONTROL_NO_MEMORY,
};

/* Encodes <message> into <out> (<cap> bytes) and stores the size in bytes in <*len>. Returns CONTROL_OK,
 * CONTROL_TOO_LONG, CONTROL_BAD_QUEUE, CONTROL_BAD_FIELD or CONTROL_NO_MEMORY. Intermediate copies of key material are
 * wiped; <out> is the caller's to wipe. */
enum control_error control_encode(const struct control_message *message, uint8_t *out, size_t cap, size_t *len);

/* Decodes one Envelope of <len> bytes. On CONTROL_OK <*message> holds it and must be given to control_release();
 * otherwise it is empty and needs no release. */
enum control_error control_decode(struct control_message *message, const uint8_t *bytes, size_t len);

/* Wipes and frees what control_decode() filled in, key material included. */
void control_release(struct control_message *message);

/* Picks the highest version that both sides speak. Returns it, or 0 if there is none. */
uint32_t control_negotiate(const struct control_hello *peer);

const char *control_error_text(enum control_error error);
const char *control_type_text(enum control_type type);
const char *control_outcome_text(enum control_outcome outcome);
const char *control_gone_cause_text(enum control_gone_cause cause);

#endif
