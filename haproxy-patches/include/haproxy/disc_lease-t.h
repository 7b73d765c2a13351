/*
 * include/haproxy/disc_lease-t.h
 * Lease of a client connection's TLS write state, for DiSC: types.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef _HAPROXY_DISC_LEASE_T_H
#define _HAPROXY_DISC_LEASE_T_H

#include <haproxy/disc_wolfssl.h>

/* A lease never shares a (key, nonce) pair with this process, so it may be given
 * up at any moment at no cost.
 *
 *   TLS 1.3: what is leased is a write key generation which was not entered yet,
 *   from sequence number 1 on. Nothing is sent. To pass records through, the
 *   generation is entered with a KeyUpdate and the response headers become its
 *   record 0. Generations are numbered here from 0 at the end of the handshake.
 *   All those which were ever leased are "closed" to our own data. They always
 *   form a single interval [closed_first, closed_last], since a new lease takes
 *   the one which follows the last closed one, or the current one if this is
 *   further. Entered while closed, a generation only seals the one record which
 *   leaves it.
 *
 *   TLS 1.2 AES-GCM: the explicit nonce is free to choose. Its upper 24 bits
 *   number 2^24 regions: we count in the one where wolfSSL started (and the one
 *   after it if it carries), every lease gets another one. Sequence numbers go
 *   on from the headers' one.
 */
#define DISC_KU_MAX      4      /* KeyUpdates ... */
#define DISC_KU_WINDOW   1500   /* ... in this many milliseconds: GnuTLS closes above 8 per second */
#define DISC_TAINTED_MAX 2      /* generations leased in vain and still ahead of us */
#define DISC_RECORDS_MAX (1ULL << 24) /* records of a lease: AES-GCM usage limit (RFC 8446 5.5) */
#define DISC_TICKET_BYTES 16
#define DISC_OWN_SEQ_MAX (1ULL << 23) /* own records before leaving a generation which has closed ones behind it */

struct disc_handoff;

/*            take                     begin                        last byte
 *   NONE ----------> LEASED ----------------------> PASSING ---------------------> NONE
 *    ^                 |                               |
 *    +-----------------+ give up, return               +---- anything else ----> POISONED
 */
enum disc_lease_state {
	DISC_LS_NONE = 0,
	DISC_LS_LEASED,         /* the TX state is out; we go on as usual under our own keys */
	DISC_LS_PASSING,        /* headers then records are going out; everything else is mute */
	DISC_LS_POISONED,       /* nothing may ever be sealed again: close without a word */
};

struct disc_lease {
	void *ssl;
	enum disc_lease_state state;
	uint8_t tls_minor;              /* 3 or 4 */
	uint8_t overhead;               /* bytes that a record adds to its plaintext */
	uint8_t has_wire;               /* <wire> is set */
	uint8_t write_blocked;          /* an application write has to be retried */
	uint64_t id;                    /* of the current or last lease */
	uint64_t seq;                   /* first sequence number leased */
	uint8_t wire[DISC_TX_WIRE_LEN]; /* TX state leased, until it was exported */

	/* TLS 1.3 */
	uint32_t gen;                   /* generation in use */
	uint32_t lease_gen;             /* generation leased */
	uint32_t closed_first;          /* closed generations; none if first > last */
	uint32_t closed_last;
	uint32_t passed_gen;            /* last generation whose records all passed through; 0 if none */
	uint8_t secret[DISC_SECRET_MAX];/* identifies the keys of <gen> */
	uint8_t ku_next;                /* next slot of <ku_date> to reuse */
	uint32_t ku_count;              /* KeyUpdates ever sent */
	uint32_t ku_date[DISC_KU_MAX];  /* dates of the last ones, in milliseconds */

	/* TLS 1.2 */
	uint32_t region_base;           /* region where wolfSSL counts */
	uint32_t regions;               /* number of regions leased */

	/* response accepted for this lease, if <records> is not zero */
	uint64_t length;                /* bytes of plaintext */
	uint64_t records;
	uint64_t ciphertext;            /* bytes of these records */

	/* PASSING: what still has to go out */
	uint64_t clear_left;            /* bytes of headers, to be sealed by ourselves as one record */
	uint64_t cipher_left;           /* bytes of records */

	/* direct path: somebody else writes the records, on the connection handed off */
	uint8_t direct;                 /* the response accepted takes it */
	uint8_t chunked;                /* it was announced for it, so the server's body is chunked */
	uint8_t ticket[DISC_TICKET_BYTES];
	uint64_t acked;                 /* bytes of records known to have reached the client */
	struct disc_handoff *handoff;         /* NULL unless the connection is handed off */
};

#endif /* _HAPROXY_DISC_LEASE_T_H */
