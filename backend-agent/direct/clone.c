/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "clone.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clone_report.h"
#include "log.h"
#include "node_metrics.h"
#include "ticket_table.h"

#define MAGIC 0xc10ec10eU
#define TURN_BUDGET (1u << 20) /* bytes one clone may send before others get their turn */
#define TURN_READS 4           /* and messages of ClientData it may post */
#define UNSENT_MAX 262144      /* bytes that the kernel holds beyond what the client's window lets go: a block */
#define POLL_MIN_S 0.001
/* An older clone of the same connection may still be here: its Release went another way, and is a few milliseconds late. */
#define AGAIN_S 0.002
#define ATTEMPTS_MAX 100
#define ALONE_S 0.5 /* after this the agent has not seen the last acknowledgement */
#define POLL_MAX_S 0.025
#define REASON_MAX 200

static struct clone *checked(void *data)
{
	struct clone *clone = data;

	assert(clone->magic == MAGIC && clone->state != CLONE_ENDED);
	return clone;
}

/* --- the end --- */

/* Wipes the keys and lets the object go. */
static void release_body(struct clone *clone)
{
	if (!clone->body)
		return;
	clone->records = sealed_body_records(clone->body);
	clone->sealed = sealed_body_bytes(clone->body);
	clone->changed = sealed_body_has_changed(clone->body);
	node_metrics_add(NODE_BYTES_SEALED, (int64_t)clone->sealed);
	sealed_body_free(clone->body);
	clone->body = NULL;
}

/* The caller informs the announcer, or has. */
static struct clone_announcer take_announcer(struct clone *clone)
{
	struct clone_announcer announcer = clone->announcer;

	clone->announcer.settled = NULL;
	return announcer;
}

static void settle(struct clone_announcer announcer, struct sealed_body *body)
{
	if (announcer.settled)
		announcer.settled(announcer.context, body);
}

/* Connection tracking would not see its end here, and keep it for days. */
static void forget(struct clone *clone)
{
	if (clone->tracked.family)
		connection_tracking_remove(clone->shared->tracking, &clone->tracked);
	clone->tracked.family = 0;
}

/* No connection is waited for any more. */
static void stop_trying(struct clone *clone)
{
	if (!clone->kept)
		return;
	ev_timer_stop(clone->shared->loop, &clone->again);
	free(clone->kept);
	clone->kept = NULL;
}

/* The last word was posted, but for the Result. */
static void end(struct clone *clone, enum control_outcome outcome, const char *reason)
{
	const struct clone_shared *shared = clone->shared;
	struct clone_announcer announcer = take_announcer(clone);
	char digits[TICKET_TEXT_LEN + 1];

	ticket_format(digits, &clone->ticket);
	log_debug("direct: %.8s ended after %llu bytes of records: %s", digits, (unsigned long long)clone->written,
		  reason[0] != '\0'                 ? reason
		  : clone->state == CLONE_RETURNING ? "handed back"
						    : "released");
	if (clone->fd >= 0) {
		ev_io_stop(shared->loop, &clone->reader);
		ev_io_stop(shared->loop, &clone->writer);
		ev_timer_stop(shared->loop, &clone->poll);
		forget(clone);
		tcp_close_mute(clone->fd);
		clone->fd = -1;
		node_metrics_add(NODE_CLONES, -1);
	}
	stop_trying(clone);
	release_body(clone);
	clone_report_result(clone, outcome, reason);
	node_metrics_add(NODE_OFFLOADS_ACTIVE, -1);
	clone->state = CLONE_ENDED;
	shared->ended(shared->context, clone);
	settle(announcer, NULL);
}

/* No connection came, for <why>: ends a clone in WAITING. The Result is the announcer's, who gets the body. */
static void surrender(struct clone *clone, const char *why)
{
	const struct clone_shared *shared = clone->shared;
	struct clone_announcer announcer = take_announcer(clone);
	struct sealed_body *body = clone->body;
	char digits[TICKET_TEXT_LEN + 1];

	ticket_format(digits, &clone->ticket);
	log_debug("direct: %.8s is sent on the fetch hop instead: %s", digits, why);
	node_metrics_add(NODE_UNCLAIMED, 1);
	clone->body = NULL;
	clone->state = CLONE_ENDED;
	shared->ended(shared->context, clone);
	settle(announcer, body);
}

static enum node_metric metric_of(enum control_gone_cause cause)
{
	switch (cause) {
	case CONTROL_GONE_CLIENT:
		return NODE_GONE_CLIENT;
	case CONTROL_GONE_NODE:
		return NODE_GONE_NODE;
	case CONTROL_GONE_RECALLED:
		break;
	}
	return NODE_GONE_RECALLED;
}

/* Bytes of records that the client has; what it was owed by the agent comes before them. */
static uint64_t acknowledged_records(const struct clone *clone)
{
	return clone->acknowledged > clone->inherited ? clone->acknowledged - clone->inherited : 0;
}

void clone_drop(struct clone *clone, enum control_gone_cause cause, enum control_outcome outcome, const char *reason)
{
	node_metrics_add(metric_of(cause), 1);
	clone_report_gone(clone, cause, acknowledged_records(clone), reason);
	end(clone, outcome, reason);
}

/* As surrender(), and tells the agent. */
static void give_up_waiting(struct clone *clone, const char *why)
{
	node_metrics_add(NODE_GONE_RECALLED, 1);
	clone_report_gone(clone, CONTROL_GONE_RECALLED, 0, why);
	surrender(clone, why);
}

void clone_channel_lost(struct clone *clone)
{
	if (checked(clone)->kept)
		clone_drop(clone, CONTROL_GONE_NODE, CONTROL_OUTCOME_ABORTED, "the control channel was lost");
	else if (clone->state == CLONE_WAITING)
		surrender(clone, "the control channel was lost");
	else
		clone_drop(clone, CONTROL_GONE_NODE, CONTROL_OUTCOME_ABORTED, "the control channel was lost");
}

void clone_cancel(struct clone *clone, const char *why)
{
	(void)take_announcer(checked(clone));
	if (clone->state == CLONE_WAITING)
		clone_drop(clone, CONTROL_GONE_RECALLED, CONTROL_OUTCOME_ABORTED, why);
}

static void lose_client(struct clone *clone, const char *reason)
{
	size_t outstanding;

	/* How far it had come: the kernel still knows. */
	if (tcp_unacknowledged(clone->fd, &outstanding) == 0 &&
	    clone->inherited + clone->written - outstanding > clone->acknowledged)
		clone->acknowledged = clone->inherited + clone->written - outstanding;
	clone_drop(clone, CONTROL_GONE_CLIENT, CONTROL_OUTCOME_ABORTED, reason);
}

/* <what> failed here, with <error>. */
static void fail(struct clone *clone, const char *what, int error)
{
	char reason[REASON_MAX];

	(void)snprintf(reason, sizeof(reason), "%s: %s", what, strerror(error));
	log_warning("direct: a clone is given up: %s", reason);
	clone_drop(clone, CONTROL_GONE_NODE, CONTROL_OUTCOME_FAILED, reason);
}

static void set_state(struct clone *clone, enum clone_state state)
{
	clone->state = state;
	clone->since = ticket_clock();
}

/* --- what the client has acknowledged --- */

/* Stores in <*outstanding> what the client has not acknowledged. Returns false if the clone ended. */
static bool look(struct clone *clone, size_t *outstanding)
{
	uint64_t acknowledged;

	if (tcp_unacknowledged(clone->fd, outstanding) < 0) {
		fail(clone, "ioctl(SIOCOUTQ)", errno);
		return false;
	}
	acknowledged = clone->inherited + clone->written - *outstanding;
	if (acknowledged > clone->acknowledged || !*outstanding)
		clone->advanced = ticket_clock();
	if (acknowledged > clone->acknowledged)
		clone->acknowledged = acknowledged;
	return true;
}

static void arm_poll(struct clone *clone, double seconds)
{
	clone->poll.repeat = seconds;
	ev_timer_again(clone->shared->loop, &clone->poll);
}

/* Bytes that may be unacknowledged when the connection is given back by this node. The LB's socket has no round-trip time yet: it
 * sends lost bytes again after 3 s, unless more data follows them. So all must be acknowledged, with two exceptions: in
 * the middle of a body the rest follows, and if the client has sent its next request the response follows. */
static size_t tail_max(const struct clone *clone)
{
	return clone->state == CLONE_WRITTEN && !clone->received ? 0 : TCP_SEND_TAIL_MAX;
}

/* Looks again when, at the pace of the last interval, half of what is too much will be gone. No event tells of it. */
static void poll_again(struct clone *clone, size_t outstanding)
{
	double last = clone->poll.repeat, next = 2 * last;
	size_t most = tail_max(clone);

	if (clone->polled > outstanding && outstanding > most)
		next = last * (double)(outstanding - most) / (double)(clone->polled - outstanding) / 2;
	clone->polled = outstanding;
	if (next < POLL_MIN_S)
		next = POLL_MIN_S;
	arm_poll(clone, next < POLL_MAX_S ? next : POLL_MAX_S);
}

/* --- what the client sends --- */

/* Passes on what the client sent, as far as the channel takes it. Returns false if the clone ended. */
static bool read_client(struct clone *clone)
{
	uint8_t bytes[CONTROL_CLIENT_DATA_MAX];

	for (int reads = 0; reads < TURN_READS && !clone->client_closed; reads++) {
		ssize_t n;

		if (!agent_outbox_has_room(clone->shared->outbox, clone->channel)) {
			/* The tick looks again; until then the client's window closes. */
			ev_io_stop(clone->shared->loop, &clone->reader);
			return true;
		}
		n = recv(clone->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
		if (n > 0) {
			if (clone_report_client_data(clone, bytes, (size_t)n) < 0) {
				fail(clone, "ClientData", ENOMEM);
				return false;
			}
			clone->received += (uint64_t)n;
			node_metrics_add(NODE_DIRECT_CLIENT_BYTES, n);
		} else if (n == 0) {
			clone->client_closed = true;
			ev_io_stop(clone->shared->loop, &clone->reader);
		} else if (errno == EAGAIN) {
			break;
		} else if (errno != EINTR) {
			lose_client(clone, strerror(errno));
			return false;
		}
	}
	if (!clone->client_closed)
		ev_io_start(clone->shared->loop, &clone->reader);
	return true;
}

/* --- giving the connection back --- */

static void hand_back(struct clone *clone)
{
	struct tcp_frozen *frozen = clone->shared->frozen;
	bool whole = clone->body == NULL;
	struct tcp_fault fault;

	if (tcp_freeze(clone->fd, frozen, &fault) < 0) {
		/* More came in from the client than a Handback carries: it is alive, and read on. */
		if (fault.error == E2BIG)
			poll_again(clone, clone->polled);
		else if (fault.error == ENOTCONN)
			lose_client(clone, "the connection is gone");
		else
			fail(clone, fault.call, fault.error);
		return;
	}
	if (clone_report_handback(clone, frozen) < 0) {
		fail(clone, "Handback", ENOMEM);
		return;
	}
	node_metrics_add(NODE_HANDED_BACK, 1);
	log_debug("direct: a connection is handed back with %zu bytes under way", frozen->send_len);
	end(clone, whole ? CONTROL_OUTCOME_SEALED : CONTROL_OUTCOME_ABORTED, whole ? "" : "recalled by the agent");
}

/* Whether a slow client's window keeps back bytes that only this node should send. */
static bool is_unsent(const struct clone *clone)
{
	size_t unsent;

	return tcp_unsent(clone->fd, &unsent) == 0 && unsent;
}

/* All that will be written is. Goes on if the tail fits, and unless the connection is recalled, if all of it has left:
 * bodies do not leave by the load balancer. */
static void await_tail(struct clone *clone)
{
	size_t outstanding;

	if (!look(clone, &outstanding))
		return;
	if (outstanding > tail_max(clone) || (clone->state == CLONE_WRITTEN && is_unsent(clone))) {
		poll_again(clone, outstanding);
		return;
	}
	ev_timer_stop(clone->shared->loop, &clone->poll);
	if (clone->state == CLONE_WRITTEN || clone->state == CLONE_RECALLED) {
		set_state(clone, CLONE_DRAINED);
		clone_report_drained(clone);
	} else if (clone->state == CLONE_RETURNING && read_client(clone)) {
		clone->polled = outstanding;
		hand_back(clone);
	}
}

static void on_poll(struct ev_loop *loop, ev_timer *timer, int events)
{
	(void)loop;
	(void)events;
	await_tail(checked(timer->data));
}

static void on_readable(struct ev_loop *loop, ev_io *watcher, int events)
{
	struct clone *clone = checked(watcher->data);

	(void)loop;
	(void)events;
	/* A request acknowledges the response before it. */
	if (read_client(clone) && clone->state == CLONE_WRITTEN && clone->received)
		await_tail(clone);
}

static void begin_to_await_tail(struct clone *clone, enum clone_state state)
{
	ev_io_stop(clone->shared->loop, &clone->writer);
	set_state(clone, state);
	clone->poll.repeat = POLL_MIN_S / 2;
	clone->polled = 0;
	await_tail(clone);
}

/* The agent hears of the last acknowledgement first, so nothing is to be done here before Release; unless the client has
 * sent something, which the agent cannot have without this node. */
static void finish_writing(struct clone *clone)
{
	if (clone->received) {
		begin_to_await_tail(clone, CLONE_WRITTEN);
		return;
	}
	ev_io_stop(clone->shared->loop, &clone->writer);
	set_state(clone, CLONE_WRITTEN);
	clone->poll.repeat = POLL_MIN_S / 2;
	clone->polled = 0;
}

static void refuse(struct clone *clone, const char *reason, bool contradicts);

void clone_recall(struct clone *clone, bool discard)
{
	(void)checked(clone);
	if (clone->kept) /* the agent believes that it is here */
		refuse(clone, "recalled before an older clone of it was gone", false);
	else if (clone->state == CLONE_WAITING && !discard)
		give_up_waiting(clone, "recalled before the handoff");
	else if (clone->state == CLONE_WAITING)
		clone_drop(clone, CONTROL_GONE_RECALLED, CONTROL_OUTCOME_EXPIRED, "recalled before the handoff");
	else if (discard)
		clone_drop(clone, CONTROL_GONE_RECALLED, CONTROL_OUTCOME_ABORTED, "discarded by the agent");
	else if (clone->state == CLONE_TRANSMITTING || clone->state == CLONE_WRITTEN)
		begin_to_await_tail(clone, CLONE_RECALLED);
	else if (clone->state == CLONE_DRAINED)
		begin_to_await_tail(clone, CLONE_RETURNING);
}

void clone_release(struct clone *clone)
{
	bool whole = checked(clone)->body == NULL;

	if (clone->state == CLONE_WAITING) {
		clone_drop(clone, CONTROL_GONE_RECALLED, CONTROL_OUTCOME_EXPIRED, "released before the handoff");
		return;
	}
	node_metrics_add(NODE_RELEASED, 1);
	end(clone, whole ? CONTROL_OUTCOME_SEALED : CONTROL_OUTCOME_ABORTED, whole ? "" : "released before its end");
}

/* --- transmitting --- */

/* Gives the socket <len> bytes of a block. Returns how many it took, or -1 if the clone ended. */
static ssize_t give(struct clone *clone, const uint8_t *block, size_t len)
{
	ssize_t n;

	do {
		n = send(clone->fd, block, len, MSG_NOSIGNAL | MSG_DONTWAIT);
	} while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN) {
		sealed_body_sent(clone->body, 0);
		return 0;
	}
	if (n >= 0) {
		sealed_body_sent(clone->body, (size_t)n);
		clone->written += (uint64_t)n;
		clone->waits_for_more = false;
		node_metrics_add(NODE_DIRECT_BYTES, n);
	} else if (errno == ENOBUFS || errno == ENOMEM) {
		fail(clone, "send()", errno);
	} else {
		lose_client(clone, strerror(errno));
	}
	return n;
}

static void break_off(struct clone *clone, const char *why)
{
	log_warning("direct: a transfer is broken off: %s", why);
	node_metrics_add(NODE_FILES_CHANGED, 1);
	clone_drop(clone, CONTROL_GONE_NODE, CONTROL_OUTCOME_FAILED, why);
}

/* The source has nothing by now: what waits to leave with the body leaves. */
static void await_source(struct clone *clone)
{
	struct tcp_fault fault;

	ev_io_stop(clone->shared->loop, &clone->writer);
	if (clone->waits_for_more && tcp_push(clone->fd, &fault) < 0) {
		fail(clone, fault.call, fault.error);
		return;
	}
	clone->waits_for_more = false;
}

/* Seals and sends until the socket takes nothing more, the source has nothing, or others are to have their turn. */
static void transmit(struct clone *clone)
{
	size_t budget = TURN_BUDGET;

	while (budget) {
		const uint8_t *block;
		size_t len;
		ssize_t n;

		switch (sealed_body_next(clone->body, &block, &len)) {
		case SEALED_BODY_BLOCK:
			break;
		case SEALED_BODY_WAITING:
			await_source(clone);
			return;
		case SEALED_BODY_END:
			release_body(clone);
			finish_writing(clone);
			return;
		case SEALED_BODY_CHANGED:
		case SEALED_BODY_READ_FAILED:
			break_off(clone, sealed_body_fault(clone->body));
			return;
		case SEALED_BODY_SEAL_FAILED:
			break_off(clone, "a record could not be sealed");
			return;
		}
		n = give(clone, block, len);
		if (n < 0)
			return;
		if ((size_t)n < len)
			break;
		budget -= len < budget ? len : budget;
	}
	ev_io_start(clone->shared->loop, &clone->writer);
}

static void on_writable(struct ev_loop *loop, ev_io *watcher, int events)
{
	(void)loop;
	(void)events;
	transmit(checked(watcher->data));
}

void clone_fed(struct clone *clone)
{
	(void)checked(clone);
	if (clone->state == CLONE_TRANSMITTING && !ev_is_active(&clone->writer))
		transmit(clone);
}

/* --- the connection comes --- */

/* Whether another socket of this host has the same connection. */
static bool is_here(const struct tcp_fault *fault)
{
	return fault->error == EADDRNOTAVAIL && strcmp(fault->call, "connect()") == 0;
}

/* Why the connection could not be restored, in the operator's words. */
static void explain(const struct tcp_state *state, const struct tcp_fault *fault, char reason[static REASON_MAX])
{
	int family = state->family == 6 ? AF_INET6 : AF_INET;
	char address[INET6_ADDRSTRLEN];

	if (is_here(fault))
		(void)snprintf(reason, REASON_MAX, "an older clone of it is still here");
	else if (fault->error == EADDRNOTAVAIL && inet_ntop(family, state->local.address, address, sizeof(address)))
		(void)snprintf(reason, REASON_MAX, "the VIP %s is not on this node", address);
	else
		(void)snprintf(reason, REASON_MAX, "%s: %s", fault->call, strerror(fault->error));
}

/* Tells connection tracking, if it is active, of a connection whose beginning it did not see. Returns 0, or -1 with
 * <reason>. */
static int make_known(struct clone *clone, const struct tcp_state *state, char reason[static REASON_MAX])
{
	struct connection_tracking_host host;
	int error;

	if (clone->shared->settings->ignore_tracking ||
	    !connection_tracking_was_active(clone->shared->tracking, ticket_clock()))
		return 0;
	if (connection_tracking_add(clone->shared->tracking, state) == 0) {
		clone->tracked = (struct connection_tracking_flow){state->family, state->remote, state->local};
		return 0;
	}
	error = errno;
	connection_tracking_look(&host);
	if (host.loose)
		return 0;
	(void)snprintf(reason, REASON_MAX,
		       "connection tracking cannot be told of it (%s), and nf_conntrack_tcp_loose is 0",
		       strerror(error));
	return -1;
}

/* Returns the live socket, or -1 with <reason> and <*again>, whether it may be possible soon. */
static int restore(struct clone *clone, const struct tcp_frozen *frozen, char reason[static REASON_MAX], bool *again)
{
	const struct direct_settings *settings = clone->shared->settings;
	int unsent = UNSENT_MAX, fd;
	char text[TCP_STATE_TEXT_MAX];
	struct tcp_fault fault;

	*again = false;
	if (!direct_settings_have_vip(settings, frozen->state.family, frozen->state.local.address)) {
		(void)snprintf(reason, REASON_MAX, "%s: the local address is none of direct.vip",
			       tcp_state_format(&frozen->state, text));
		return -1;
	}
	fd = tcp_restore(frozen, settings->congestion, settings->send_buffer, &fault);
	if (fd < 0) {
		*again = is_here(&fault);
		explain(&frozen->state, &fault, reason);
		return -1;
	}
	if (make_known(clone, &frozen->state, reason) < 0) {
		tcp_close_mute(fd);
		return -1;
	}
	if (setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof(unsent)) < 0)
		fault = (struct tcp_fault){.call = "setsockopt(TCP_NOTSENT_LOWAT)", .error = errno};
	else if (tcp_go(fd, frozen, true, &fault) == 0)
		return fd;
	explain(&frozen->state, &fault, reason);
	forget(clone);
	tcp_close_mute(fd);
	return -1;
}

static void watch(struct clone *clone, int fd)
{
	clone->fd = fd;
	ev_io_init(&clone->reader, on_readable, fd, EV_READ);
	ev_io_init(&clone->writer, on_writable, fd, EV_WRITE);
	ev_init(&clone->poll, on_poll);
	clone->reader.data = clone->writer.data = clone->poll.data = clone;
	ev_io_start(clone->shared->loop, &clone->reader);
}

static void refuse(struct clone *clone, const char *reason, bool contradicts)
{
	log_warning("direct: a handoff is refused: %s", reason);
	node_metrics_add(NODE_HANDOFFS_REFUSED, 1);
	clone_report_reply(clone, reason, contradicts);
	end(clone, CONTROL_OUTCOME_FAILED, reason);
}

static void take(struct clone *clone, const struct tcp_frozen *frozen);

static void on_again(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct clone *clone = checked(timer->data);

	(void)loop;
	(void)events;
	take(clone, clone->kept);
}

/* Keeps <frozen> for another attempt. Returns false if there were enough, or memory is exhausted. */
static bool try_again(struct clone *clone, const struct tcp_frozen *frozen)
{
	if (++clone->attempts > ATTEMPTS_MAX)
		return false;
	if (clone->kept)
		return true;
	clone->kept = malloc(sizeof(*clone->kept));
	if (!clone->kept)
		return false;
	memcpy(clone->kept, frozen, sizeof(*frozen));
	ev_timer_init(&clone->again, on_again, AGAIN_S, AGAIN_S);
	clone->again.data = clone;
	ev_timer_start(clone->shared->loop, &clone->again);
	return true;
}

static void take(struct clone *clone, const struct tcp_frozen *frozen)
{
	struct clone_announcer announcer;
	char reason[REASON_MAX];
	bool again;
	int fd;

	fd = restore(clone, frozen, reason, &again);
	if (fd < 0) {
		if (!again || !try_again(clone, frozen))
			refuse(clone, reason, false);
		return;
	}
	node_metrics_add(NODE_HANDOFFS, 1);
	node_metrics_add(NODE_CLONES, 1);
	clone->inherited = frozen->send_len;
	clone->waits_for_more = frozen->state.unsent != 0;
	stop_trying(clone);
	watch(clone, fd);
	set_state(clone, CLONE_TRANSMITTING);
	clone->advanced = clone->since;
	announcer = take_announcer(clone);
	transmit(clone);
	settle(announcer, NULL);
}

void clone_hand_off(struct clone *clone, const struct tcp_frozen *frozen, uint64_t announced)
{
	assert(checked(clone)->state == CLONE_WAITING);
	if (announced == sealed_body_layout(clone->body)->ciphertext)
		take(clone, frozen);
	else
		refuse(clone, "HAProxy was told of a body of another length", true);
}

struct clone *clone_new(const struct clone_shared *shared, const struct clone_terms *terms, struct sealed_body *body)
{
	struct clone *clone = calloc(1, sizeof(*clone));

	if (!clone)
		return NULL;
	clone->magic = MAGIC;
	clone->shared = shared;
	clone->ticket = terms->ticket;
	clone->channel = terms->channel;
	clone->announcer = terms->announcer;
	clone->body = body;
	clone->fd = -1;
	set_state(clone, CLONE_WAITING);
	node_metrics_add(NODE_OFFLOADS_ACTIVE, 1);
	return clone;
}

/* --- time --- */

/* A connection that was reset wakes nobody while its socket is not watched. */
static bool is_closed(int fd)
{
	struct tcp_info info = {0};
	socklen_t len = sizeof(info);

	return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0 && info.tcpi_state == TCP_CLOSE;
}

static void report_progress(struct clone *clone)
{
	uint64_t records = acknowledged_records(clone);

	if (records == clone->reported || !agent_outbox_has_room(clone->shared->outbox, clone->channel))
		return;
	clone->reported = records;
	clone_report_progress(clone, records);
}

void clone_tick(struct clone *clone, double now)
{
	const struct direct_settings *settings = checked(clone)->shared->settings;
	size_t outstanding;

	if (clone->state == CLONE_WAITING) {
		if (now - clone->since > settings->handoff_wait)
			give_up_waiting(clone, "the Handoff did not come in time");
		return;
	}
	if (is_closed(clone->fd)) {
		int error = 0;
		socklen_t len = sizeof(error);

		if (getsockopt(clone->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0 || error == 0)
			error = ECONNRESET;
		lose_client(clone, strerror(error));
		return;
	}
	if (!look(clone, &outstanding))
		return;
	report_progress(clone);
	if (clone->state == CLONE_WRITTEN && !outstanding && now - clone->since > ALONE_S)
		await_tail(clone);
	else if (now - clone->advanced > settings->client_timeout)
		lose_client(clone, "the client acknowledged nothing for direct.client-timeout");
	else if (clone->state == CLONE_RETURNING && now - clone->since > settings->client_timeout)
		clone_drop(clone, CONTROL_GONE_NODE, CONTROL_OUTCOME_ABORTED,
			   "it could not be given back within direct.client-timeout");
	else if (clone->state == CLONE_DRAINED && now - clone->since > settings->client_timeout)
		clone_drop(clone, CONTROL_GONE_NODE, CONTROL_OUTCOME_SEALED, "the agent did not recall it");
	else if (!ev_is_active(&clone->reader))
		(void)read_client(clone);
}
