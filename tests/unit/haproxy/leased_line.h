/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A client connection as the patched HAProxy drives it: the lease code is called in the order of src/xprt_disc.c and
 * src/ssl_sock.c, the client is OpenSSL's, the transport blocks when a test wants it to, and records come from a node
 * that does its worst with every lease that it ever got. The client's plaintext is compared byte by byte with what was
 * sent. */
#ifndef LEASED_LINE_H
#define LEASED_LINE_H

#include <haproxy/disc_lease.h>

#include "openssl_client.h"
#include "tx_state.h"
#include "wolfssl_server.h"

struct line_suite {
	const char *name; /* OpenSSL's */
	int tls_minor;
	enum disc_keys keys; /* of its leases */
};

extern const struct line_suite leasable_suites[];
extern const size_t leasable_suite_count;
#define LINE_TLS13_RESPONSE (&leasable_suites[0])
#define LINE_TLS12 (&leasable_suites[3])
#define LINE_TLS13 (&leasable_suites[5])

enum holder { HOLDER_NONE, HOLDER_HAS_IT, HOLDER_SEALED_A_BODY, HOLDER_RETURNED_IT };

struct leased_line {
	struct server_certificate certificate;
	struct wolfssl_server server;
	struct openssl_client *client;
	struct disc_lease lease;
	int tls_minor;              /* 3 or 4 */
	enum disc_keys keys;        /* of the leases to be taken */
	uint32_t now;               /* milliseconds */
	bool dead;                  /* HAProxy would close now */
	struct byte_queue own;      /* plaintext of ours that waits; headers when they are being passed */
	struct byte_queue records;  /* of a body, that wait */
	struct byte_queue expected; /* plaintext that the client still has to get */
	uint32_t pattern;           /* next bytes to send */
	struct {
		struct tx_state state;
		enum holder holder;
	} * given; /* all leases */
	size_t given_count;
	struct {
		uint32_t date;
	} * updates; /* KeyUpdates that we started ourselves */
	size_t update_count;
};

/* Does the handshake, at date <now>, and prepares the lease. Fails the test if it does not work. */
void line_open(struct leased_line *line, const struct line_suite *suite, bool partial_writes, uint32_t now);

/* Lets the holders of leases that were neither used nor returned seal three records each, checks that no KeyUpdate was
 * over the budget and that no (key, nonce) was used twice, and frees everything. */
void line_close(struct leased_line *line);

/* Takes a lease and gives it to the node. Returns NULL or the reason why there is none. */
const char *line_take(struct leased_line *line);

/* The same, but nobody gets it. */
const char *line_take_for_nobody(struct leased_line *line);

/* The node promises that it sealed nothing. */
void line_return(struct leased_line *line);

/* Sends <len> bytes of our own. */
void line_write(struct leased_line *line, size_t len);

/* Sends <headers> bytes of headers of our own and a body of <length> bytes sealed by the node. Returns false if the
 * lease does not allow that. */
bool line_pass(struct leased_line *line, size_t headers, size_t length);

/* Sends what the transport takes, and lets the client read it. */
void line_progress(struct leased_line *line);
/* The same with a transport that takes everything; fails the test if anything is left. */
void line_drain(struct leased_line *line);

/* Lets the server read what the client sent, unless records are passing. */
void line_read(struct leased_line *line);

/* The same, also after line_shut(). */
void line_read_on(struct leased_line *line);

/* Flushes wolfSSL's output buffer behind the lease's back, as HAProxy's ssl_sock_handshake() would. */
void line_flush(struct leased_line *line);

/* Closes as HAProxy does. Returns whether a close_notify was sealed. */
bool line_shut(struct leased_line *line);

/* Send a whole response through a lease of its own, or of ours, and fail the test if it does not arrive at once. */
void line_expect_passed(struct leased_line *line, size_t headers, size_t length);
void line_expect_written(struct leased_line *line, size_t len);

#endif
