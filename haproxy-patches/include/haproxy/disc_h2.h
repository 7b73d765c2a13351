/*
 * include/haproxy/disc_h2.h
 * Bodies of an HTTP/2 client's streams that nodes seal, by grants.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef _HAPROXY_DISC_H2_H
#define _HAPROXY_DISC_H2_H

#include <haproxy/buf-t.h>
#include <haproxy/disc_gate.h>
#include <haproxy/disc_grant.h>
#include <haproxy/disc_hop.h>
#include <haproxy/disc_mux_h2.h>
#include <haproxy/disc_slots.h>
#include <haproxy/list-t.h>
#include <haproxy/task-t.h>

#define DISC_GROUP_LEN  63           /* bytes of the name of a trust group */
#define DISC_H2_FIRST   65536        /* bytes of a stream's first grant */
#define DISC_H2_OWN     65536        /* bytes of our own frames between two grants, if they are many */
#define DISC_H2_WAIT    20           /* milliseconds that own frames wait for an open grant */
#define DISC_H2_STALL   1000         /* milliseconds that other streams wait for an answer */
#define DISC_H2_QUICK   5            /* milliseconds in which an answer comes from a node that may get larger grants */
#define DISC_H2_CLEAR   128          /* bytes of a grant that we seal */
#define DISC_H2_WINDOW  DISC_RECORD_MAX /* initial windows below this are not worth grants */

struct disc_txn;
struct stream;

/* of a client connection, from the first time that its keys were given away */
struct disc_h2 {
	struct connection *conn;
	struct disc_slots slots;
	struct disc_gate *gate;     /* from the first grant on */
	struct disc_h2_mux mux;     /* from the first stream on */
	struct list bodies;         /* that wait for grants, the next one first */
	struct disc_h2s *open;     /* whose grant is open, or NULL */
	int gathered;               /* all of its answer is there */
	int held;                   /* streams wait for a grant to end */
	int deferred;               /* others were let go first */
	int ended;                  /* records have gone out, which the mux was not told yet */
	struct task *task;          /* ends a grant for which own frames wait for long */
	unsigned int waiting;       /* since when they do, TICK_ETERNITY if not */
	unsigned int since;         /* since when the node of the open grant could be answering */
	uint32_t own;               /* bytes of own frames since the last grant */
	char group[DISC_GROUP_LEN + 1]; /* nodes that may have the keys; empty at first */
};

/* of a stream whose body comes by grants */
struct disc_h2s {
	struct list list;           /* in disc_h2.bodies */
	struct list listed;         /* in the list of all, */
	uint64_t serial;            /*   where it has this number */
	struct disc_h2 *h2;         /* NULL when the client's stream is gone, or goes on in clear */
	struct disc_txn *txn;       /* NULL when the stream is gone */
	struct stream *s;
	struct disc_hop *hop;       /* NULL when it is gone */
	void *h2s;                  /* the client's stream, NULL when it is gone */
	struct disc_h2s **place;   /*   which knows this body there */
	int32_t *window;            /*   and what its window is beyond the initial one */
	uint32_t id;                /*   and its number */
	uint32_t gen;               /* generation of the keys that its node has */
	uint32_t size;              /* bytes of the next grant */
	uint64_t length;            /* bytes of the body, */
	uint64_t ready;             /*   that the node has at hand, */
	uint64_t done;              /*   that were committed or forwarded */
	uint64_t asked;             /* clear: up to where it was asked for */
	uint64_t answered;          /* number of the last grant that was */
	uint64_t void_number;       /* number of the last grant that was void */
	unsigned int date;          /* of the last grant */
	struct disc_grant grant;    /* the last one */
	uint8_t clear;              /* it goes on in clear */
	uint8_t key[DISC_PROOF_BYTES];
	char ticket[DISC_TICKET_DIGITS + 1];
};

struct disc_h2 *disc_h2_new(struct connection *conn, struct disc_lease *lease);
void disc_h2_free(struct disc_h2 *h2);
int disc_h2_blocks(struct disc_h2 *h2);
int disc_h2_shut(struct disc_h2 *h2);

struct disc_h2s *disc_h2s_new(struct stream *s, struct disc_txn *txn, struct connection *srv_conn, uint64_t length,
                                uint64_t ready, int may_splice);
void disc_h2s_release(struct disc_h2s *body);

int disc_h2_show_next(struct buffer *out, uint64_t *next);

/* Notes that <bytes> of own frames were sent. */
static inline void disc_h2_sent(struct disc_h2 *h2, size_t bytes)
{
	h2->own = MIN(h2->own + bytes, DISC_H2_OWN);
}

#endif /* _HAPROXY_DISC_H2_H */
