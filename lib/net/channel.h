/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Channel: mutually authenticated TLS 1.3 (RFC 8446) connection on a libev loop that carries frames, each a 4-byte
 * big-endian length and that many bytes (1..CHANNEL_FRAME_MAX). Both sides present a certificate of the configured CA;
 * the peer's must bear one of the names expected (dNSName of subjectAltName, exact, case-insensitive).
 *
 *            channel_connect()                channel_accept()
 *                   |                                |
 *               CONNECTING --(connected)--> HANDSHAKING --(peer verified)--> OPEN
 *                   |                                |                         |
 *                   +-----------(any fault, channel_close())---------> CLOSED (freed)
 */
#ifndef DISC_CHANNEL_H
#define DISC_CHANNEL_H

#include <ev.h>
#include <stddef.h>
#include <stdint.h>

#include "address.h"

#define CHANNEL_FRAME_MAX 65536u     /* bytes of one frame */
#define CHANNEL_QUEUE_MAX (4u << 20) /* bytes waiting to be sent before channel_send() refuses */
#define CHANNEL_HANDSHAKE_S 2.0      /* a peer that is not OPEN by then is closed */

/* Credentials: CA, own certificate and key, shared by all channels of a process and by all its threads. */
struct channel_tls;

/* Loads PEM files. Returns the credentials, or NULL with a text in <error> (<error_size> bytes) naming the file. */
struct channel_tls *channel_tls_new(const char *ca_file, const char *certificate_file, const char *key_file,
				    char *error, size_t error_size);
void channel_tls_free(struct channel_tls *tls);

/* When the first one of the own certificate and the CA's ends, in seconds since the epoch; 0: not known. */
int64_t channel_tls_not_after(const struct channel_tls *tls);

struct channel;

struct channel_handlers {
	/* The handshake is done and the peer's certificate bears <peer_name>, one of the names expected. */
	void (*opened)(struct channel *channel, void *context, const char *peer_name);
	/* One whole frame; <frame> is wiped when this returns. May call channel_send() and channel_close(). */
	void (*received)(struct channel *channel, void *context, const uint8_t *frame, size_t len);
	/* The channel is closed and will be freed when this returns; called exactly once for every channel, also after
	 * channel_close(). <reason> is a sentence for the log. */
	void (*closed)(struct channel *channel, void *context, const char *reason);
	/* See channel_depart(). NULL if that is never called. */
	void (*departed)(struct channel *channel, void *context);
};

/* Begins to connect to <address>, whose certificate must bear one of <names> (NULL-terminated, must outlive the
 * channel). Returns the channel, or NULL with errno set if not even a socket could be made (then no handler is called).
 * <handlers> must outlive the channel. */
struct channel *channel_connect(struct ev_loop *loop, struct channel_tls *tls, const struct address *address,
				const char *const *names, const struct channel_handlers *handlers, void *context);

/* Begins the server's side on the accepted socket <fd>, of which it takes ownership in every case. Otherwise as
 * channel_connect(). */
struct channel *channel_accept(struct ev_loop *loop, struct channel_tls *tls, int fd, const char *const *names,
			       const struct channel_handlers *handlers, void *context);

/* An OPEN channel leaves its loop: when the handlers under way have returned it is not watched any more, and departed() is called,
 * which may pass it to another thread. There channel_arrive() brings it to <loop>, whose thread calls; <handlers> get
 * <context> from then on, and frames that had come already are received there. In between it may only be closed, with
 * channel_close(), in a thread that has it. */
void channel_depart(struct channel *channel);
void channel_arrive(struct channel *channel, struct ev_loop *loop, const struct channel_handlers *handlers,
		    void *context);

/* Queues one frame, copied; what was sent is wiped from the queue. Never blocks. Returns 0, or -1 if the channel is not
 * OPEN, the frame too long or the queue full: nothing is queued then. */
int channel_send(struct channel *channel, const uint8_t *frame, size_t len);

/* Bytes that wait to be sent. */
size_t channel_queued(const struct channel *channel);

/* Closes <channel>; closed() is called before it returns, with <reason>. The channel must not be used afterwards. */
void channel_close(struct channel *channel, const char *reason);

/* The peer's address as text, for logs. */
const char *channel_peer(const struct channel *channel);

#endif
