/*
 * include/haproxy/disc_hop.h
 * Transport layer of a fetch hop over which a body comes by grants.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef _HAPROXY_DISC_HOP_H
#define _HAPROXY_DISC_HOP_H

#include <haproxy/buf-t.h>
#include <haproxy/connection-t.h>
#include <haproxy/disc_grant.h>
#include <haproxy/disc_run.h>

/* what becomes of the payload of a message */
enum disc_payload {
	DISC_PL_WRONG = 0,      /* the message is none that may come now: the hop ends */
	DISC_PL_DISCARD,        /* nothing: also if there is none */
	DISC_PL_GATHER,         /* its <clear> bytes and its records are kept until all are there */
	DISC_PL_FORWARD,        /* the mux gets it as a piece of the body */
};

/* what the hop tells its owner */
struct disc_hop_ops {
	enum disc_payload (*message)(void *owner, const uint8_t head[DISC_MESSAGE_LEN], uint32_t payload, uint32_t *clear);
	void (*gathered)(void *owner);          /* all of the payload is there */
	int (*ended)(void *owner);              /* the last chunk came: is that right? */
	/* it fails because of <why>, with <unsent> bytes of a piece which the mux did not get: returns what has them and the rest of the body, or NULL */
	struct disc_rest *(*replace)(void *owner, uint32_t unsent, const char *why);
	void (*rest_came)(void *owner);         /* some of that is there */
	void (*closed)(void *owner, const char *why); /* the hop is no more; <why> is set if it failed */
};

enum disc_hop_state {
	DISC_HOP_SIZE = 0,      /* a chunk's size */
	DISC_HOP_HEAD,          /* head of a message */
	DISC_HOP_CLEAR,         /* payload: what comes in clear, */
	DISC_HOP_GATHER,        /*   records until all are there, */
	DISC_HOP_RUN,           /*   records that go out by a gate, */
	DISC_HOP_DISCARD,       /*   what nobody wants, */
	DISC_HOP_FORWARD,       /*   what the mux gets */
	DISC_HOP_CRLF,          /* end of a chunk */
	DISC_HOP_REST,          /* the node is gone: the mux gets the rest of the body, from elsewhere */
	DISC_HOP_FAILED,        /* nothing of it is used any more */
};

struct disc_hop {
	struct connection *conn;
	const struct xprt_ops *raw;     /* the layer below, */
	void *raw_ctx;                  /*   its context */
	const struct disc_hop_ops *ops;
	void *owner;
	struct wait_event *subs;        /* what the mux waits for */
	struct wait_event wait_event;
	enum disc_hop_state state;
	const char *broken;             /* why the body ends here, or NULL */
	int may_splice;
	int mark;                       /* SO_RCVLOWAT */
	uint32_t left;                  /* bytes of payload still to come in states CLEAR, DISCARD, FORWARD, and of a piece in REST */
	struct disc_rest *rest;         /* state REST: where it comes from, */
	uint8_t end_due;                /*   bytes of the end of a chunk that are due, */
	uint8_t ended;                  /*   the last chunk was made */
	uint32_t fill;                  /* bytes of <head>, or of <clear> */
	uint32_t clear_len;             /* bytes of <clear> when it is complete */
	size_t line_at, line_len;       /* state FORWARD: what the mux gets of <line>, */
	uint32_t kept_at, kept_len;     /*   then of <clear> */
	struct disc_run run;            /* the records gathered */
	struct disc_run *taken;         /* those of a gate that wants the bytes in the socket, or NULL */
	struct buffer early;            /* what the mux had received; comes first */
	uint8_t head[DISC_MESSAGE_LEN];
	char line[16];
	char clear[DISC_GRANT_CLEAR];
};

struct disc_hop *disc_hop_start(struct connection *conn, const struct disc_hop_ops *ops, void *owner, int may_splice);
int disc_hop_early_payload(struct disc_hop *hop, const char *payload, size_t len);
int disc_hop_early(struct disc_hop *hop, int state, uint64_t left, struct buffer *raw);
void disc_hop_go(struct disc_hop *hop);
int disc_hop_send(struct disc_hop *hop, const void *bytes, size_t len);
void disc_hop_expect(struct disc_hop *hop, uint32_t payload);
void disc_hop_discard(struct disc_hop *hop);
int disc_hop_forward(struct disc_hop *hop);
void disc_hop_take(struct disc_hop *hop, struct disc_run *run);
void disc_hop_pulled(struct disc_hop *hop);
void disc_hop_abandon(struct disc_hop *hop);
void disc_hop_break(struct disc_hop *hop, const char *why);
void disc_hop_rest_came(struct disc_hop *hop);

/* Returns the descriptor of the hop's socket. */
static inline int disc_hop_fd(const struct disc_hop *hop)
{
	return hop->conn->handle.fd;
}

#endif /* _HAPROXY_DISC_HOP_H */
