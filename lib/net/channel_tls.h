/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The TLS half of a channel: credentials, sessions on non-blocking sockets, who the peer is, and faults in words.
 * Private to channel.c; programs see only the credentials, through channel.h. */
#ifndef DISC_CHANNEL_TLS_H
#define DISC_CHANNEL_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "channel.h"

#define CHANNEL_TLS_PIECE_MAX 16384u /* bytes that one call of channel_tls_write() takes: one record */
#define CHANNEL_REASON_MAX 400u

enum channel_tls_side { CHANNEL_TLS_CLIENT, CHANNEL_TLS_SERVER };

enum channel_tls_status {
	CHANNEL_TLS_DONE,       /* the call did what it was for */
	CHANNEL_TLS_WANT_READ,  /* again when the socket is readable */
	CHANNEL_TLS_WANT_WRITE, /* again when the socket is writable, with the same arguments */
	CHANNEL_TLS_FAILED,     /* the session is of no more use: channel_tls_reason() */
};

struct channel_tls_session;

/* Makes a session on the connected or connecting socket <fd>, which stays the caller's. Returns NULL without memory. */
struct channel_tls_session *channel_tls_session_new(struct channel_tls *tls, enum channel_tls_side side, int fd);

/* Sends close_notify if <orderly>, as far as the socket takes it at once, and frees. <session> may be NULL. */
void channel_tls_session_free(struct channel_tls_session *session, bool orderly);

/* Goes on with the handshake. The peer's chain is verified when it is DONE; its name is not yet. */
enum channel_tls_status channel_tls_handshake(struct channel_tls_session *session);

/* Returns the one of <names> (NULL-terminated) that the peer's certificate bears as a dNSName, or NULL. */
const char *channel_tls_peer_name(struct channel_tls_session *session, const char *const *names);

/* Reads at most <size> bytes to <bytes> and stores in <*len> how many they are. */
enum channel_tls_status channel_tls_read(struct channel_tls_session *session, uint8_t *bytes, size_t size, size_t *len);

/* True if channel_tls_read() has something to give that the poller knows nothing of. */
bool channel_tls_pending(struct channel_tls_session *session);

/* Writes <len> bytes, 1..CHANNEL_TLS_PIECE_MAX: all of them if DONE. */
enum channel_tls_status channel_tls_write(struct channel_tls_session *session, const uint8_t *bytes, size_t len);

/* Writes to <text> (CHANNEL_REASON_MAX bytes) why the last call FAILED, for a peer called <peer>. */
void channel_tls_reason(struct channel_tls_session *session, const char *peer, char *text);

#endif
