/*
 * include/haproxy/http_disc-t.h
 * DiSC in an HTTP transaction: types.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef _HAPROXY_HTTP_DISC_T_H
#define _HAPROXY_HTTP_DISC_T_H

#include <inttypes.h>
#include <import/ist.h>
#include <haproxy/buf-t.h>
#include <haproxy/disc_lease-t.h>

#define DISC_TICKET_LEN  32     /* hexadecimal digits */
#define DISC_REASON_LEN  31
#define DISC_ETAG_LEN    256    /* bytes of an entity tag, with its quotes */
#define DISC_ASK_MAX     15360  /* bytes of target and Host that an SPOP frame of 16380 carries beside a lease */

/* flags of struct disc_txn */
#define DISC_TF_ANNOUNCED 0x00000001 /* the server announced records and they may follow */
#define DISC_TF_PASSED    0x00000002 /* the response was handed to the mux as such */
#define DISC_TF_DIRECT    0x00000008 /* the body announced takes the direct path */
#define DISC_TF_H2        0x00000010 /* an HTTP/2 client: a TX state for grants in place of a lease */
#define DISC_TF_REPLAY    0x00000004 /* if DiSC fails, the request may be sent again without ticket */

/* what the header Disc-Body tells: is the body made of records, and which */
enum disc_body {
	DISC_BODY_NONE,         /* ordinary body; nothing was nor will be sealed */
	DISC_BODY_SPLICE,       /* records of the client's session */
	DISC_BODY_DIRECT,       /* chunked: one byte, and the server sends the records to the client;
	                         * or records, if no agent has moved the connection there */
	DISC_BODY_GRANTS,       /* chunked: answers to grants, records of an HTTP/2 session among them */
};

struct disc_announcement {
	enum disc_body body;
	struct ist ticket;
	uint64_t seq;           /* sequence number of the first record; this and what follows not for DISC_BODY_NONE */
	uint64_t records;
	uint64_t length;        /* bytes of plaintext */
	uint64_t status;
	uint64_t first;         /* byte of the object with which the body begins */
	uint64_t ready;         /* DISC_BODY_GRANTS: bytes of plaintext that the node has at hand */
	struct ist etag;        /* of the object, empty if nobody else may go on with this body */
	struct ist text;        /* what is proven, */
	struct ist proof;       /*   and by what; empty without proof */
};

struct disc_h2s;

/* of a stream for which "disc-lease" was evaluated */
struct disc_txn {
	uint64_t lease_id;                  /* 0 if no lease is held */
	enum disc_lease_fate fate;          /* of the one that was */
	uint32_t flags;                     /* DISC_TF_* */
	char ticket[DISC_TICKET_LEN + 1];   /* forwarded to the server; empty if none is outstanding */
	char reason[DISC_REASON_LEN + 1];   /* why records are not passed */
	uint64_t length;                    /* announced: bytes of plaintext, */
	uint64_t records;                   /*   number of records, */
	uint64_t ciphertext;                /*   and their size */
	unsigned int overhead;              /* bytes that a record adds */
	uint64_t body_at;                   /* what the response channel had received before the body */
	int64_t hidden;                     /* what it has received but does not count, see http_disc_count() */
	uint64_t ready;                     /* DISC_TF_H2: announced, bytes that the node has at hand */
	uint64_t bypassed;                  /* DISC_TF_H2: bytes of plaintext that the response channel did not see */
	struct disc_h2s *body;             /* DISC_TF_H2: the body accepted, or NULL */
	char *etag;                         /* DISC_TF_H2: announced, the object's; NULL if nobody else may go on with the body */
	uint64_t first;                     /* DISC_TF_H2: announced, byte of the object with which the body begins */
	uint32_t gen;                       /* DISC_TF_H2: generation of the keys given away */
	uint8_t wire[DISC_TX_WIRE_LEN];     /*   the TX state, until the request left */
	uint8_t proof_key[DISC_PROOF_BYTES];
	struct buffer request;              /* HTX message: the request, in case that announced records are refused */
	char *claim;                        /* of a direct body, NULL if unknown: the announcement as proven, then the target asked for */
	uint16_t claim_announcement;        /* bytes of the former, */
	uint16_t claim_target;              /*   and of the latter */
};

/* one per process and one per frontend */
struct disc_counters {
	long long leases;       /* taken */
	long long refused;      /* "disc-lease" evaluated without getting one */
	long long accepted;     /* responses whose records follow */
	long long direct;       /* of these, on the direct path */
	long long returned;     /* leases that nobody used: not given away, not offered, or declined with proof */
	long long unknown;      /* leases that ended otherwise */
	long long rejected;     /* announcements which were wrong */
	long long records;      /* records of the responses passed through */
	long long bytes;        /* plaintext bytes of these responses */
	long long h2_streams;   /* HTTP/2: responses accepted, */
	long long h2_bytes;     /*   plaintext bytes committed, */
	long long h2_grants;    /*   grants opened, */
	long long h2_void;      /*   and of these, void */
};

#endif /* _HAPROXY_HTTP_DISC_T_H */
