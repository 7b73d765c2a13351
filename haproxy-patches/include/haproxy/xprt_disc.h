/*
 * include/haproxy/xprt_disc.h
 * Transport layer of a TLS client connection whose write state is leased.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef _HAPROXY_XPRT_DISC_H
#define _HAPROXY_XPRT_DISC_H

#include <inttypes.h>
#include <stddef.h>

#include <haproxy/connection-t.h>
#include <haproxy/disc_lease-t.h>

#ifdef USE_OPENSSL_WOLFSSL

extern unsigned int disc_poisoned;

struct disc_h2;

struct disc_lease *disc_conn_lease(const struct connection *conn);
struct disc_h2 *disc_conn_h2(const struct connection *conn);
const char *disc_conn_export(struct connection *conn, uint8_t wire[DISC_TX_WIRE_LEN], uint8_t proof_key[DISC_PROOF_BYTES],
                             uint32_t *gen);
int disc_conn_seal(struct connection *conn, const void *plain, size_t len);
const char *disc_conn_take_lease(struct connection *conn, enum disc_keys keys, uint64_t id);
void disc_conn_receive_from(struct connection *conn, const struct connection *srv_conn, uint64_t received);
int disc_conn_pass_records(struct connection *conn, size_t clear);
void disc_conn_returned(struct connection *conn);
void disc_conn_refused(struct connection *conn);
void disc_conn_lost(struct connection *conn);

#else /* DiSC needs wolfSSL */

static inline struct disc_lease *disc_conn_lease(const struct connection *conn)
{
	return NULL;
}

static inline int disc_conn_pass_records(struct connection *conn, size_t clear)
{
	return 0;
}

#endif /* USE_OPENSSL_WOLFSSL */

/* Returns non-zero if the response accepted on <conn> takes the direct path. */
static inline int disc_conn_is_direct(const struct connection *conn)
{
	const struct disc_lease *lease = disc_conn_lease(conn);

	return lease && lease->records && lease->direct;
}

/* Returns non-zero if <conn> is handed off, or about to be: nothing may be sent. */
static inline int disc_conn_is_parked(const struct connection *conn)
{
	const struct disc_lease *lease = disc_conn_lease(conn);

	return lease && lease->direct && lease->state >= DISC_LS_PASSING;
}

/* Returns non-zero if <conn>, handed off or about to be, failed. It is neither polled nor
 * read, so a mux that is woken up to send has to ask.
 */
static inline int disc_conn_is_lost(const struct connection *conn)
{
	return (conn->flags & CO_FL_ERROR) && disc_conn_is_parked(conn);
}

#endif /* _HAPROXY_XPRT_DISC_H */
