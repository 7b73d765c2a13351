/*
 * include/haproxy/disc_h1.h
 * What the HTTP/1 mux does otherwise for a response whose payload is made of TLS records.
 *
 * Most functions get the response's <lease>, which is NULL for all other responses: these
 * are not concerned. Those which are called before the response is known get its stream
 * connector.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef _HAPROXY_DISC_H1_H
#define _HAPROXY_DISC_H1_H

#include <haproxy/disc_lease-t.h>
#include <haproxy/flt_disc.h>
#include <haproxy/h1.h>
#include <haproxy/mux_h1-t.h>
#include <haproxy/stconn.h>
#include <haproxy/xprt_disc.h>

#define DISC_H1_FIRST_RECV 2048 /* bytes: most heads fit, and what it reads of the body costs little to copy */

/* Called when Content-Length was parsed to <h1m>: the client counts plaintext, the mux has
 * to count records. Returns non-zero, or 0 if it is not the length that was announced.
 */
static inline int disc_h1_count_records(const struct disc_lease *lease, struct h1m *h1m)
{
	if (likely(!lease))
		return 1;
	if (!lease->records || h1m->body_len != lease->length)
		return 0;
	h1m->curr_len = h1m->body_len = lease->ciphertext;
	return 1;
}

/* Returns the stream whose server is behind <sc>, which may be NULL, or NULL. */
static inline const struct stream *disc_h1_server_stream(const struct stconn *sc)
{
	return (sc && (sc->flags & SC_FL_ISBACK)) ? sc_strm(sc) : NULL;
}

/* Returns how much of the <max> bytes that there is room for may be received first of a
 * response for <sc>. If records may follow, the headers and little else: the records are
 * spliced then instead of being copied to buffers.
 */
static inline size_t disc_h1_first_recv(const struct stconn *sc, size_t max)
{
	const struct stream *s = disc_h1_server_stream(sc);

	return (s && flt_disc(s) && flt_disc_awaits_response(s)) ? MIN(max, DISC_H1_FIRST_RECV) : max;
}

/* Returns non-zero if more may be received of the response <h1m> for <sc>. Its payload may
 * not while its headers, all of which are there, were not looked at: they tell whether it
 * is made of records. The stream has been woken up for that, and resumes the mux
 * afterwards.
 */
static inline int disc_h1_may_recv(const struct stconn *sc, const struct h1m *h1m)
{
	const struct stream *s = unlikely(h1m->state > H1_MSG_LAST_LF) ? disc_h1_server_stream(sc) : NULL;

	return !s || !flt_disc(s) || !flt_disc_awaits_response(s);
}

/* Called before payload is sent. The client of a handed-off connection gets its body from
 * elsewhere, so that the payload only tells that it is complete, and has to wait until the
 * connection is back. Unless nobody took the connection: then the payload is the body.
 * Updates the stream's <flags> for this. Returns non-zero if the payload has to wait, in
 * which case the mux is woken up once it does not any more.
 */
static inline int disc_h1_holds_body(const struct disc_lease *lease, uint32_t *flags)
{
	if (likely(!lease))
		return 0;
	if (lease->direct && lease->records)
		*flags |= H1S_F_BODYLESS_RESP;
	else if (!lease->direct && lease->state == DISC_LS_PASSING)
		*flags &= ~H1S_F_BODYLESS_RESP;
	return lease->direct && lease->state >= DISC_LS_PASSING;
}

/* Called when all of the headers of <h1m>, the last of the <clear> bytes to be sent on
 * <conn>, were produced: what follows them is not to be sealed by us any more. Returns
 * non-zero, or 0 if this is impossible, in which case nothing may be sent.
 */
static inline int disc_h1_pass_records(const struct disc_lease *lease, struct connection *conn,
                                       const struct h1m *h1m, uint32_t *flags, size_t clear)
{
	if (likely(!lease))
		return 1;
	if (h1m->state != H1_MSG_DATA || !(*flags & H1S_F_HAVE_CLEN) || !disc_conn_pass_records(conn, clear))
		return 0;
	disc_h1_holds_body(lease, flags);
	return 1;
}

/* Returns non-zero if the server is about to send more than the records still missing of
 * <h1m>. It says <count> bytes at most of its message without knowing that these are all,
 * if it announced a chunk larger than what can be forwarded at a time.
 */
static inline int disc_h1_is_exceeded(const struct disc_lease *lease, const struct h1m *h1m, size_t count)
{
	return lease && count > h1m->curr_len;
}

/* what the mux of a server's connection has received of a body beyond what the stream got */
struct disc_h1_received {
	enum h1m_state state;   /* of the parser: in a chunk's size, its data, or behind it */
	uint64_t left;          /* bytes of this chunk's data to come */
	struct buffer raw;      /* bytes that were not parsed */
};

/* Hands over to <received> what the mux knows of the body of response <h1m>, some of which is in
 * <ibuf>, because it comes by another way from now on. The mux gets the last chunk only.
 * Returns 0, or -1 if the body is not chunked.
 */
static inline int disc_h1_hand_over(struct h1m *h1m, struct buffer *ibuf, struct disc_h1_received *received)
{
	if (!(h1m->flags & H1_MF_CHNK) ||
	    (h1m->state != H1_MSG_CHUNK_SIZE && h1m->state != H1_MSG_DATA && h1m->state != H1_MSG_CHUNK_CRLF))
		return -1;
	received->state = h1m->state;
	received->left = h1m->state == H1_MSG_DATA ? h1m->curr_len : 0;
	received->raw = *ibuf;
	*ibuf = BUF_NULL;
	h1m->state = H1_MSG_CHUNK_SIZE;
	h1m->curr_len = 0;
	return 0;
}

/* Returns non-zero if the end of the message is told apart from the last of the records,
 * because these come in a chunk.
 */
static inline int disc_h1_end_follows(const struct disc_lease *lease)
{
	return lease && lease->chunked;
}

#endif /* _HAPROXY_DISC_H1_H */
