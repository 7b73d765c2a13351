/*
 * src/disc_h2.c
 * Bodies of an HTTP/2 client's streams that nodes seal, by grants.
 *
 * Beside the mux, which sends headers and everything else, this decides which stream's node
 * may seal the next DATA frames of the connection. One grant is open at a time:
 *
 *   next()      The mux has nothing to send: the stream whose turn it is gets a grant as large
 *               as what its node has ready and what both windows allow, which are debited.
 *   gathered()  The whole answer is there, and nothing was sealed meanwhile.
 *   commit()    The bytes which came in clear become our record before the node's ones, all of
 *               which belong to the connection from now on, whatever becomes of the stream.
 *   void        Anything else: the slots are lost, the windows credited.
 *
 * Meanwhile own frames wait in the mux's buffer, DISC_H2_WAIT milliseconds for an open grant.
 * A stream whose node has keys which are not in use any more goes on in clear: it still asks
 * its node for pieces, which take the way of any body.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include <haproxy/api.h>
#include <haproxy/buf.h>
#include <haproxy/chunk.h>
#include <haproxy/connection.h>
#include <haproxy/disc_h2.h>
#include <haproxy/disc_lease.h>
#include <haproxy/disc_rest.h>
#include <haproxy/global.h>
#include <haproxy/http_disc.h>
#include <haproxy/list.h>
#include <haproxy/log.h>
#include <haproxy/pool.h>
#include <haproxy/sc_strm.h>
#include <haproxy/server-t.h>
#include <haproxy/session-t.h>
#include <haproxy/stconn.h>
#include <haproxy/stream.h>
#include <haproxy/task.h>
#include <haproxy/thread.h>
#include <haproxy/ticks.h>
#include <haproxy/xprt_disc.h>

DECLARE_STATIC_POOL(pool_head_disc_h2, "disc_h2", sizeof(struct disc_h2));
DECLARE_STATIC_POOL(pool_head_disc_h2s, "disc_h2s", sizeof(struct disc_h2s));

/* all bodies of all threads, for "show disc" */
static struct list disc_bodies = LIST_HEAD_INIT(disc_bodies);
static uint64_t disc_bodies_count;
__decl_spinlock(disc_bodies_lock);

static void disc_h2_next(struct disc_h2 *h2);
static void disc_h2_commit(struct disc_h2 *h2);
static int disc_h2s_ask(struct disc_h2s *body);
static void disc_h2s_leave(struct disc_h2s *body);

/*
 * Grants
 */

/* Makes the mux send what waits. */
static void disc_h2_resume(struct disc_h2 *h2)
{
	h2->waiting = TICK_ETERNITY;
	if (h2->gate)
		disc_gate_wake(h2->gate);
	h2->held = 0;
	if (h2->mux.tasklet)
		tasklet_wakeup(h2->mux.tasklet);
}

/* Nothing may be sealed any more on the connection of <h2>. */
static void disc_h2_fail(struct disc_h2 *h2)
{
	disc_lease_poison(h2->slots.lease);
	h2->conn->flags |= CO_FL_ERROR;
	disc_h2_resume(h2);
}

/* Gives <bytes> back to <*window>, which counts beyond <initial>. The client may have opened the
 * window as far as it goes (RFC 9113 6.9.1) while they were missing.
 */
static void disc_h2_credit(int32_t *window, int32_t initial, uint32_t bytes)
{
	*window = MIN((int64_t)*window + bytes, (int64_t)INT32_MAX - initial);
}

/* Ends the open grant of <h2>, if any, whose bytes will not be sent. */
static void disc_h2_void(struct disc_h2 *h2)
{
	struct disc_h2s *body = h2->open;

	if (!body)
		return;
	h2->open = NULL;
	h2->gathered = 0;
	disc_gate_watch(h2->gate, 0);
	disc_slots_void(&h2->slots, now_ms);
	disc_h2_credit(h2->mux.window, 0, body->grant.bytes);
	if (body->window)
		disc_h2_credit(body->window, *h2->mux.initial, body->grant.bytes);
	body->size = DISC_H2_FIRST;
	if (body->hop)
		disc_hop_expect(body->hop, 0);
	if (body->grant.last) {
		/* its node sends nothing behind it, and all of it comes in clear */
		disc_h2s_leave(body);
		body->clear = 1;
		body->asked = body->length;
		if (body->hop && disc_hop_forward(body->hop))
			body->done = body->length;
	}
	else {
		body->void_number = body->grant.number;
		if (body->hop)
			disc_hop_discard(body->hop);
	}
	if (body->s && body->grant.bytes > body->grant.clear)
		http_disc_count_void(body->s);
	if (h2->slots.lease->state == DISC_LS_POISONED)
		disc_h2_fail(h2);
	else
		disc_h2_resume(h2);
}

/* The session sealed something while a grant was open. It may not end here, in the middle of a
 * write, so that this is noticed later.
 */
static void disc_h2_sealed(void *owner)
{
	struct disc_h2 *h2 = owner;

	h2->waiting = tick_add(now_ms, -DISC_H2_WAIT);
	task_wakeup(h2->task, TASK_WOKEN_OTHER);
}

/* Own frames wait for the open grant from now on, at the latest. */
static void disc_h2_start_waiting(struct disc_h2 *h2)
{
	if (tick_isset(h2->waiting))
		return;
	h2->waiting = now_ms;
	task_schedule(h2->task, tick_add(now_ms, DISC_H2_WAIT));
}

/* All records of a grant are out. */
static void disc_h2_opened(void *owner)
{
	struct disc_h2 *h2 = owner;

	h2->ended = 1;
	if (h2->gathered) {
		disc_h2_commit(h2);
		return;
	}
	if (h2->open) {
		disc_gate_watch(h2->gate, 1);
		h2->since = now_ms;
		task_schedule(h2->task, tick_add(now_ms, DISC_H2_STALL));
		if (br_data(h2->mux.mbuf))
			disc_h2_start_waiting(h2);
	}
	tasklet_wakeup(h2->mux.tasklet);
}

/* Records are lost which had been committed. */
static void disc_h2_failed(void *owner)
{
	struct disc_h2 *h2 = owner;

	disc_lease_poison(h2->slots.lease);
	tasklet_wakeup(h2->mux.tasklet);
}

static const struct disc_gate_ops disc_h2_gate_ops = {
	.sealed = disc_h2_sealed,
	.opened = disc_h2_opened,
	.failed = disc_h2_failed,
};

/* Ends a grant for which own frames or other streams have waited for too long, or that was
 * spoilt.
 */
static struct task *disc_h2_expire(struct task *t, void *context, unsigned int state)
{
	struct disc_h2 *h2 = context;

	t->expire = TICK_ETERNITY;
	if (!h2->open || h2->gathered || disc_gate_holds(h2->gate))
		return t; /* in the last case the answer may wait behind records that the client does not take */
	t->expire = tick_add(h2->since, DISC_H2_STALL);
	if (tick_isset(h2->waiting))
		t->expire = tick_first(t->expire, tick_add(h2->waiting, DISC_H2_WAIT));
	if (tick_is_expired(t->expire, now_ms)) {
		t->expire = TICK_ETERNITY;
		disc_h2_void(h2);
	}
	return t;
}

/* Returns the number of bytes of <body> that may be granted now, or 0. */
static uint32_t disc_h2s_grantable(const struct disc_h2s *body)
{
	const struct disc_h2 *h2 = body->h2;
	int64_t window = MIN((int64_t)*body->window + *h2->mux.initial, (int64_t)*h2->mux.window);
	uint64_t ready = body->ready - body->done;

	if (!body->hop || window <= 0)
		return 0;
	/* little is not worth it while more is about to come */
	if (ready < DISC_RECORD_MAX && body->ready < body->length)
		return 0;
	return MIN(MIN(ready, body->size), (uint64_t)window);
}

/* Returns non-zero if nodes may be given slots of the keys that the node of <body> has. */
static int disc_h2s_is_usable(const struct disc_h2s *body)
{
	return disc_slots_usable(&body->h2->slots, body->gen, now_ms) && *body->h2->mux.initial >= DISC_H2_WINDOW;
}

/* Notes who is waited for, so that the stream's timeouts tell: the client, or the node. */
static void disc_h2s_waits(struct disc_h2s *body, int for_client)
{
	if (!body->s)
		return;
	if (for_client) {
		body->s->scb->sedesc->lra = TICK_ETERNITY;
		sc_ep_report_blocked_send(body->s->scf, 0);
	}
	else
		sc_ep_report_read_activity(body->s->scb);
}

/* Takes <body> off the connection's streams: its client's stream is an ordinary one, or gone. */
static void disc_h2s_leave(struct disc_h2s *body)
{
	LIST_DEL_INIT(&body->list);
	if (body->place)
		*body->place = NULL;
	body->place = NULL;
	body->window = NULL;
	body->h2s = NULL;
	body->h2 = NULL;
}

/* Lets <body>, which has no open grant, go on in clear. */
static void disc_h2s_go_clear(struct disc_h2s *body)
{
	disc_h2s_leave(body);
	body->clear = 1;
	body->asked = body->done;
	if (body->hop)
		disc_hop_expect(body->hop, 0);
	if (body->hop && !disc_h2s_ask(body))
		disc_hop_break(body->hop, "full");
}

/* Sends the grant of <body> to its node. Returns 1, or 0 if this failed. */
static int disc_h2s_send_grant(struct disc_h2s *body)
{
	uint8_t wire[DISC_GRANT_LEN];

	body->date = now_ms;
	return disc_grant_encode(&body->grant, body->key, body->ticket, wire) && disc_hop_send(body->hop, wire, sizeof(wire));
}

/* Asks the node of <body>, which goes on in clear, for the next piece if there is one and none
 * is awaited. Returns 1, or 0 on failure.
 */
static int disc_h2s_ask(struct disc_h2s *body)
{
	struct disc_grant *grant = &body->grant;

	if (body->asked > body->done || body->done == body->length || body->ready == body->done) {
		if (body->done < body->length)
			disc_h2s_waits(body, 0);
		return 1;
	}
	grant->number++;
	grant->slot = 0;
	grant->stream = body->id;
	grant->first = body->done;
	grant->bytes = grant->clear = MIN(body->ready - body->done, DISC_H2_FIRST);
	grant->last = body->done + grant->bytes == body->length;
	body->asked = body->done + grant->bytes;
	disc_h2s_waits(body, 0);
	return disc_h2s_send_grant(body);
}

/* Opens a grant of <bytes> for <body>, or of a little less: the last one of a body has no slots, since
 * its node sends nothing any more should it be void. Returns 1, or 0 if this cannot be done now.
 */
static int disc_h2_open(struct disc_h2 *h2, struct disc_h2s *body, uint32_t bytes)
{
	struct disc_grant grant = {
		.number = body->grant.number + 1,
		.stream = body->id,
		.first = body->done,
	};
	uint32_t records;

	if (body->done + bytes == body->length && bytes > DISC_GRANT_CLEAR)
		bytes -= DISC_H2_CLEAR;
	grant.bytes = bytes;
	grant.last = body->done + bytes == body->length;
	grant.clear = grant.last ? bytes : MIN(bytes, DISC_H2_CLEAR);
	records = disc_grant_records(&grant);

	if (!h2->gate)
		h2->gate = disc_gate_new(h2->conn, h2->conn->xprt->get_ssl_sock_ctx(h2->conn), &disc_h2_gate_ops, h2);
	if (!h2->gate || !disc_slots_open(&h2->slots, body->gen, records, now_ms))
		return 0;
	grant.slot = records ? h2->slots.pivot + 1 : 0;
	body->grant = grant;
	h2->open = body;
	h2->gathered = 0;
	h2->waiting = TICK_ETERNITY;
	h2->since = now_ms;
	*h2->mux.window -= bytes;
	*body->window -= bytes;
	disc_gate_watch(h2->gate, 1);
	disc_h2s_waits(body, 0);
	if (!disc_h2s_send_grant(body)) {
		disc_h2_void(h2);
		disc_hop_break(body->hop, "full");
		return 0;
	}
	disc_hop_expect(body->hop, grant.clear + disc_grant_ciphertext(&grant));
	task_schedule(h2->task, tick_add(now_ms, DISC_H2_STALL));
	if (body->s)
		http_disc_count_grant(body->s);
	return 1;
}

/* Opens a grant if one may be: the mux has nothing to send, or has sent enough since the last
 * one.
 */
static void disc_h2_next(struct disc_h2 *h2)
{
	struct disc_h2s *body, *back;
	uint32_t bytes;

	if (h2->open || LIST_ISEMPTY(&h2->bodies) || br_data(h2->mux.mbuf))
		return;
	if (h2->conn->flags & (CO_FL_ERROR | CO_FL_WAIT_XPRT | CO_FL_SSL_WAIT_HS | CO_FL_SOCK_WR_SH))
		return;
	if (!LIST_ISEMPTY(h2->mux.waiting) && h2->own < DISC_H2_OWN && !h2->deferred) {
		/* these streams were woken up, and are about to send */
		h2->deferred = 1;
		tasklet_wakeup(h2->mux.tasklet);
		return;
	}
	h2->deferred = 0;
	list_for_each_entry_safe(body, back, &h2->bodies, list) {
		if (!disc_h2s_is_usable(body)) {
			disc_h2s_go_clear(body);
			continue;
		}
		bytes = disc_h2s_grantable(body);
		if (bytes && disc_h2_open(h2, body, bytes))
			return;
		if (body->hop)
			disc_hop_expect(body->hop, 0); /* a report, maybe */
		disc_h2s_waits(body, body->ready > body->done);
	}
}

/* Seals the pivot of the open grant, whose answer is all there, and sends it and the records. */
static void disc_h2_commit(struct disc_h2 *h2)
{
	struct disc_h2s *body = h2->open;
	const struct disc_grant *grant = &body->grant;
	uint8_t frame[DISC_FRAME_HEAD + DISC_GRANT_CLEAR];
	const uint32_t records = disc_grant_records(grant);

	if (!disc_slots_untouched(&h2->slots, now_ms)) {
		disc_h2_void(h2);
		return;
	}
	disc_data_head(frame, grant->clear, grant->stream, grant->last && !records);
	memcpy(frame + DISC_FRAME_HEAD, body->hop->clear, grant->clear);
	disc_gate_capture(h2->gate);
	if (!disc_conn_seal(h2->conn, frame, DISC_FRAME_HEAD + grant->clear) || !disc_slots_commit(&h2->slots, now_ms)) {
		disc_h2_fail(h2);
		return;
	}
	h2->open = NULL;
	h2->gathered = 0;
	h2->own = 0;
	h2->waiting = TICK_ETERNITY;
	body->done += grant->bytes;
	if (tick_is_lt(now_ms, tick_add(body->date, DISC_H2_QUICK)))
		body->size = MIN(2 * body->size, DISC_GRANT_MAX);
	if (body->s) {
		http_disc_count_records(body->s, grant->bytes, records);
		sc_ep_report_send_activity(body->s->scf);
		sc_ep_report_read_activity(body->s->scb);
	}
	/* the next one's turn */
	LIST_DEL_INIT(&body->list);
	LIST_APPEND(&h2->bodies, &body->list);
	if (body->done == body->length) {
		void *h2s = body->h2s;

		disc_h2s_leave(body);
		h2->mux.end(h2s);
	}
	disc_gate_start(h2->gate, body->hop, body->hop->may_splice);
	if (h2->conn->flags & CO_FL_ERROR)
		return;
	if (h2->held) {
		h2->held = 0;
		tasklet_wakeup(h2->mux.tasklet);
	}
	disc_h2_next(h2);
}

/*
 * What the fetch hop tells
 */

/* A message came whose head is <wire>, with <payload> bytes behind it. */
static enum disc_payload disc_h2s_message(void *owner, const uint8_t wire[DISC_MESSAGE_LEN], uint32_t payload, uint32_t *clear)
{
	struct disc_h2s *body = owner;
	const struct disc_grant *grant = &body->grant;
	struct disc_message msg;

	if (!disc_message_decode(&msg, wire, body->key, body->ticket) || msg.payload != payload)
		return DISC_PL_WRONG;
	if (msg.ready < body->ready || msg.ready > body->length)
		return DISC_PL_WRONG;
	body->ready = msg.ready;
	if (body->s)
		sc_ep_report_read_activity(body->s->scb);
	if (msg.type == DISC_MSG_REPORT) {
		if (msg.number != body->answered)
			return DISC_PL_WRONG;
		if (body->h2 && !body->h2->open)
			tasklet_wakeup(body->h2->mux.tasklet);
		else if (body->clear && !disc_h2s_ask(body))
			return DISC_PL_WRONG;
		return DISC_PL_DISCARD;
	}
	if (msg.number != body->answered + 1 || msg.number > grant->number)
		return DISC_PL_WRONG;
	body->answered = msg.number;
	if (msg.number <= body->void_number)
		return DISC_PL_DISCARD;
	if (payload != grant->clear + disc_grant_ciphertext(grant))
		return DISC_PL_WRONG;
	if (!body->clear) {
		*clear = grant->clear;
		return (body->h2 && body->h2->open == body) ? DISC_PL_GATHER : DISC_PL_WRONG;
	}
	body->done = body->asked;
	return disc_h2s_ask(body) ? DISC_PL_FORWARD : DISC_PL_WRONG;
}

/* All of the answer to the open grant is there. */
static void disc_h2s_gathered(void *owner)
{
	struct disc_h2s *body = owner;
	struct disc_h2 *h2 = body->h2;

	if (!h2 || h2->open != body)
		return;
	h2->gathered = 1;
	if (!disc_gate_holds(h2->gate))
		disc_h2_commit(h2);
	else
		disc_h2s_waits(body, 1);
}

static int disc_h2s_ended(void *owner)
{
	const struct disc_h2s *body = owner;

	return body->done == body->length;
}

/* Frees <body> if nobody knows it any more. */
static void disc_h2s_free(struct disc_h2s *body)
{
	if (body->hop || body->txn || body->h2s)
		return;
	if (body->h2 && body->h2->open == body)
		disc_h2_void(body->h2);
	disc_h2s_leave(body);
	HA_SPIN_LOCK(OTHER_LOCK, &disc_bodies_lock);
	LIST_DELETE(&body->listed);
	HA_SPIN_UNLOCK(OTHER_LOCK, &disc_bodies_lock);
	disc_wolf_wipe(body->key, sizeof(body->key));
	pool_free(pool_head_disc_h2s, body);
}

/* The hop of <body> is gone, because of <why> unless this is NULL. */
static void disc_h2s_closed(void *owner, const char *why)
{
	struct disc_h2s *body = owner;

	body->hop = NULL;
	if (body->h2 && body->h2->open == body)
		disc_h2_void(body->h2);
	if (why && body->s) {
		const struct server *srv = objt_server(body->s->target);

		send_log(body->s->be, LOG_ERR, "DiSC: the body of HTTP/2 stream %u from server %s/%s broke off after %llu of %llu bytes: %s.\n",
		         body->id, body->s->be->id, srv ? srv->id : "<NOSRV>", (unsigned long long)body->done,
		         (unsigned long long)body->length, why);
	}
	disc_h2s_free(body);
}

/* The hop of <body> fails because of <why>, with <unsent> bytes of what was forwarded on the way.
 * Returns where the rest of the body comes from, or NULL if nothing can take the node's place.
 */
static struct disc_rest *disc_h2s_replace(void *owner, uint32_t unsent, const char *why)
{
	struct disc_h2s *body = owner;
	struct disc_hop *hop = body->hop;
	const struct disc_txn *txn = body->txn;
	const struct server *srv = body->s ? objt_server(body->s->target) : NULL;
	const uint64_t from = body->done - unsent;
	struct disc_rest *rest;

	if (!body->s || !txn || !srv || from >= body->length)
		return NULL;
	rest = disc_rest_new(body->s, &txn->request, txn->etag, txn->first + from, txn->first + body->length - 1);
	if (!rest)
		return NULL;
	if (body->h2 && body->h2->open == body) {
		body->hop = NULL;
		disc_h2_void(body->h2);
		body->hop = hop;
	}
	disc_h2s_leave(body);
	body->clear = 1;
	body->done = body->asked = body->length;
	send_log(body->s->be, LOG_WARNING, "DiSC: the body of HTTP/2 stream %u from server %s/%s broke off after %llu of %llu bytes: %s. Another server is asked for the rest.\n",
	         body->id, body->s->be->id, srv->id, (unsigned long long)from, (unsigned long long)body->length, why);
	return rest;
}

static void disc_h2s_rest_came(void *owner)
{
	const struct disc_h2s *body = owner;

	if (body->s)
		sc_ep_report_read_activity(body->s->scb);
}

static const struct disc_hop_ops disc_h2s_hop_ops = {
	.message = disc_h2s_message,
	.gathered = disc_h2s_gathered,
	.ended = disc_h2s_ended,
	.replace = disc_h2s_replace,
	.rest_came = disc_h2s_rest_came,
	.closed = disc_h2s_closed,
};

/*
 * Bodies
 */

/* Takes the body of the response of <s> over, which was accepted as one of <length> bytes that
 * come by grants, the first <ready> of which are at hand, on <srv_conn>. Returns it, or NULL
 * if this cannot be done.
 */
struct disc_h2s *disc_h2s_new(struct stream *s, struct disc_txn *txn, struct connection *srv_conn, uint64_t length,
                                uint64_t ready, int may_splice)
{
	struct disc_h2s *body = pool_zalloc(pool_head_disc_h2s);

	if (!body)
		return NULL;
	LIST_INIT(&body->list);
	body->s = s;
	body->txn = txn;
	body->gen = txn->gen;
	body->size = DISC_H2_FIRST;
	body->length = length;
	body->ready = ready;
	memcpy(body->key, txn->proof_key, sizeof(body->key));
	memcpy(body->ticket, txn->ticket, sizeof(body->ticket));
	body->hop = disc_hop_start(srv_conn, &disc_h2s_hop_ops, body, may_splice);
	if (!body->hop) {
		pool_free(pool_head_disc_h2s, body);
		return NULL;
	}
	HA_SPIN_LOCK(OTHER_LOCK, &disc_bodies_lock);
	body->serial = disc_bodies_count++;
	LIST_APPEND(&disc_bodies, &body->listed);
	HA_SPIN_UNLOCK(OTHER_LOCK, &disc_bodies_lock);
	return body;
}

/* Called when the stream of <body> ends, or does not want it. */
void disc_h2s_release(struct disc_h2s *body)
{
	body->txn = NULL;
	body->s = NULL;
	disc_h2s_free(body);
}

/* Appends a line about the body numbered <*next>, or the first one behind it, to <out>, and moves
 * <*next> behind it. Returns 1, or 0 if there is none.
 */
int disc_h2_show_next(struct buffer *out, uint64_t *next)
{
	const struct disc_h2s *body;
	int found = 0;

	HA_SPIN_LOCK(OTHER_LOCK, &disc_bodies_lock);
	list_for_each_entry(body, &disc_bodies, listed) {
		if (body->serial < *next)
			continue;
		chunk_appendf(out, "h2: stream=%u ticket=%s bytes=%llu ready=%llu length=%llu grants=%llu mode=%s\n",
		              body->id, body->ticket, (unsigned long long)body->done, (unsigned long long)body->ready,
		              (unsigned long long)body->length, (unsigned long long)body->grant.number,
		              body->clear ? "clear" : "sealed");
		*next = body->serial + 1;
		found = 1;
		break;
	}
	HA_SPIN_UNLOCK(OTHER_LOCK, &disc_bodies_lock);
	return found;
}

/*
 * What the mux calls
 */

/* Called when the headers of the response whose stream connector is <sc> are about to be sent
 * on stream <id> of the client, <h2s>, and its body comes by grants: that is noted in <*place>.
 * Returns what belongs to the connection, or NULL if the response cannot be sent.
 */
struct disc_h2 *disc_h2_attach(struct stconn *sc, const struct disc_h2_mux *mux, void *h2s, uint32_t id, int32_t *window,
                               struct disc_h2s **place)
{
	struct stream *s = sc ? sc_strm(sc) : NULL;
	struct disc_txn *txn = s ? http_disc_txn(s) : NULL;
	struct disc_h2s *body = txn ? txn->body : NULL;
	struct connection *conn = s ? objt_conn(s->sess->origin) : NULL;
	struct disc_h2 *h2 = disc_conn_h2(conn);

	if (!body || !h2)
		return NULL;
	h2->mux = *mux;
	body->h2 = h2;
	body->h2s = h2s;
	body->id = id;
	body->window = window;
	body->place = place;
	*place = body;
	return h2;
}

/* Called when the headers were sent. */
void disc_h2_begin(struct disc_h2s *body)
{
	LIST_DEL_INIT(&body->list);
	LIST_APPEND(&body->h2->bodies, &body->list);
	if (body->hop)
		disc_hop_go(body->hop);
}

/* Called when the client's stream of <body> is closed. */
void disc_h2_detach(struct disc_h2s *body)
{
	if (body->h2 && body->h2->open == body)
		disc_h2_void(body->h2);
	disc_h2s_leave(body);
	disc_h2s_free(body);
}

/* Called when the mux has nothing more to send. Returns non-zero if records have gone out since
 * the last time, as if the mux had sent them.
 */
int disc_h2_idle(struct disc_h2 *h2)
{
	const int ended = h2->ended;

	h2->ended = 0;
	disc_h2_next(h2);
	return ended;
}

/* Returns non-zero if something has to go out before the connection may be closed: records which
 * were committed, or what waits for these.
 */
int disc_h2_is_busy(const struct disc_h2 *h2)
{
	return h2->gate && !(h2->conn->flags & (CO_FL_ERROR | CO_FL_SOCK_WR_SH)) &&
	       (disc_gate_holds(h2->gate) || (br_data(h2->mux.mbuf) && tick_isset(h2->waiting)));
}

/* Returns non-zero if the payload of a stream, whose body by grants is <own> if it has one, must
 * wait: many bytes of own frames were sent or wait since the last grant, and it is the turn of
 * one.
 */
int disc_h2_holds(struct disc_h2 *h2, const struct disc_h2s *own)
{
	const struct disc_h2s *body;

	if (own)
		return 0;
	if (h2->own + (MAX(br_count(h2->mux.mbuf), 1) - 1) * global.tune.bufsize < DISC_H2_OWN)
		return 0;
	if (h2->open)
		return h2->held = 1;
	list_for_each_entry(body, &h2->bodies, list) {
		if (disc_h2s_grantable(body))
			return h2->held = 1;
	}
	return 0;
}

/*
 * What the transport layer calls
 */

/* Prepares grants on <conn>, whose leases are those of <lease>. Returns what belongs to them, or
 * NULL if memory is short.
 */
struct disc_h2 *disc_h2_new(struct connection *conn, struct disc_lease *lease)
{
	struct disc_h2 *h2 = pool_zalloc(pool_head_disc_h2);

	if (!h2)
		return NULL;
	h2->task = task_new_here();
	if (!h2->task) {
		pool_free(pool_head_disc_h2, h2);
		return NULL;
	}
	h2->task->process = disc_h2_expire;
	h2->task->context = h2;
	h2->conn = conn;
	h2->waiting = TICK_ETERNITY;
	LIST_INIT(&h2->bodies);
	disc_slots_init(&h2->slots, lease);
	return h2;
}

/* Called when the connection is closed. The gate goes with the TLS layer, afterwards. */
void disc_h2_free(struct disc_h2 *h2)
{
	struct disc_h2s *body, *back;

	if (!h2)
		return;
	list_for_each_entry_safe(body, back, &h2->bodies, list) {
		disc_h2s_leave(body);
		disc_h2s_free(body);
	}
	task_destroy(h2->task);
	pool_free(pool_head_disc_h2, h2);
}

/* Returns non-zero if nothing may be sealed now: a grant is open, or its records go out. */
int disc_h2_blocks(struct disc_h2 *h2)
{
	if (!h2->gate)
		return 0;
	if (disc_gate_holds(h2->gate))
		return 1;
	if (!h2->open)
		return 0;
	disc_h2_start_waiting(h2);
	return 1;
}

/* Called before the connection is shut down. Returns non-zero if it has to be without a word:
 * in the middle of records.
 */
int disc_h2_shut(struct disc_h2 *h2)
{
	disc_h2_void(h2);
	return h2->gate && disc_gate_holds(h2->gate);
}
