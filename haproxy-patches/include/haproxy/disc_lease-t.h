/*
 * include/haproxy/disc_lease-t.h
 * Lease of a client connection's TLS write state, for DiSC: types.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef _HAPROXY_DISC_LEASE_T_H
#define _HAPROXY_DISC_LEASE_T_H

#include <haproxy/disc_wolfssl.h>

/* Every record of a TLS 1.3 session has its slot: the generation of its key, numbered
 * here from 0 at the end of the handshake, and its sequence number. A slot belongs to
 * one side for ever, to us or to the holder of one lease. We go on in the slots that
 * follow each other in wolfSSL, so a lease either takes some of these away, or those of
 * a generation that we have not entered yet:
 *
 *   DISC_KEYS_CONNECTION: leased are the slots behind the next one of the generation in
 *   use. That one, the pivot, stays ours: the response headers become its record, then
 *   our counter moves behind the leased slots. Nothing is sent beyond that. As long as
 *   the next slot is the pivot the lease is untouched, and may be accepted or returned.
 *
 *   DISC_KEYS_RESPONSE: leased is a generation of its own, ahead, from sequence number 1
 *   on. To pass records through it is entered by a KeyUpdate, and the headers become its
 *   record 0. We may send data of our own meanwhile, under the generation in use.
 *
 * A lease ends in one of three ways:
 *   accepted   the holder's records follow our headers
 *   returned   its holder sealed nothing and never will: its slots are ours again
 *   unknown    all else: its slots are the holder's for ever
 *
 * Generations with slots of others are "closed" to our own data. All but the one in use
 * lie ahead, and they form a single interval [closed_first, closed_last]. In a closed
 * generation that is in use, one slot is left to us, <exit_seq>, for the KeyUpdate which
 * leaves it: the pivot of an unknown lease, 0 in one that was entered after its lease,
 * the slot behind the last record in one whose records all passed.
 *
 * TLS 1.2 AES-GCM: the explicit nonce is free to choose. Its upper 24 bits number 2^24
 * regions: we count in the one where wolfSSL started (and the one after it if it
 * carries), every lease gets another one. Sequence numbers go on from the headers' one.
 */
#define DISC_KU_MAX      4      /* KeyUpdates ... */
#define DISC_KU_WINDOW   1500   /* ... in this many milliseconds: GnuTLS closes above 8 per second */
#define DISC_TAINTED_MAX 2      /* generations leased in vain and still ahead of us */
#define DISC_RECORDS_MAX (1ULL << 24) /* records of a lease, or under a key: AES-GCM usage limit (RFC 8446 5.5) */
#define DISC_TICKET_BYTES 16
#define DISC_OWN_SEQ_MAX (1ULL << 23) /* own records before leaving a generation in which leases are taken, or closed ones wait */
#define DISC_BACKOFF     1000   /* milliseconds without leases after the first unknown fate, twice as long after each further one */
#define DISC_BACKOFF_MAX 10     /* times that this is doubled */

struct disc_handoff;

enum disc_keys {
	DISC_KEYS_CONNECTION = 0,
	DISC_KEYS_RESPONSE,
};

/*            take             accept               begin               last byte
 *   NONE ----------> LEASED ----------> ACCEPTED ----------> PASSING ------------> NONE
 *    ^                 |                   |                    |
 *    +-----------------+-------------------+                    +-- anything else --> POISONED
 *         give up, return; own data
 */
enum disc_lease_state {
	DISC_LS_NONE = 0,
	DISC_LS_LEASED,         /* the TX state may be out */
	DISC_LS_ACCEPTED,       /* headers then records are about to go out; nothing is read from the client */
	DISC_LS_PASSING,        /* they are going out; everything else is mute */
	DISC_LS_POISONED,       /* nothing may ever be sealed again: close without a word */
};

/* what became of a lease */
enum disc_lease_fate {
	DISC_LF_OPEN = 0,
	DISC_LF_ACCEPTED,
	DISC_LF_RETURNED,
	DISC_LF_UNKNOWN,
};

struct disc_lease {
	void *ssl;
	enum disc_lease_state state;
	enum disc_lease_fate fate;      /* of lease <id> */
	enum disc_keys keys;            /* of the current or last lease */
	uint8_t tls_minor;              /* 3 or 4 */
	uint8_t overhead;               /* bytes that a record adds to its plaintext */
	uint8_t exported;               /* the TX state was given away */
	uint8_t write_blocked;          /* an application write has to be retried */
	uint64_t id;                    /* of the current or last lease */
	uint64_t seq;                   /* first sequence number leased */
	uint8_t wire[DISC_TX_WIRE_LEN]; /* TX state leased, until the request left */
	uint8_t proof_key[DISC_PROOF_BYTES]; /* of the current lease */

	/* TLS 1.3 */
	uint32_t gen;                   /* generation in use */
	uint32_t lease_gen;             /* generation leased */
	uint32_t closed_first;          /* closed generations; none if first > last */
	uint32_t closed_last;
	uint32_t passed_gen;            /* last closed generation whose records all passed through; UINT32_MAX if none */
	uint64_t exit_seq;              /* in a closed generation in use: what is left to us */
	uint8_t secret[DISC_SECRET_MAX];/* identifies the keys of <gen> */
	uint8_t ku_next;                /* next slot of <ku_date> to reuse */
	uint32_t ku_count;              /* KeyUpdates ever sent */
	uint32_t ku_date[DISC_KU_MAX];  /* dates of the last ones, in milliseconds */
	uint32_t unknowns;              /* leases of the connection's generation with an unknown fate */
	uint32_t unknown_date;          /* when the last one became so */

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
	struct disc_handoff *handoff;   /* NULL unless the connection is handed off */
};

#endif /* _HAPROXY_DISC_LEASE_T_H */
