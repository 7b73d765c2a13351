/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "node_link.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Running out of memory is answered, not an exit(). */
#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#include "log.h"
#include "log_limit.h"
#include "version.h"

#define NODE_LINK_MAGIC 0x6e6f6465u
#define MESSAGE_SMALL_MAX 512 /* bytes of an encoded HELLO or PING */
#define LANES_S 3.            /* until all lanes are there, or the node is as good as unreachable */
#define FAILURE_REPORT_S 30.  /* a node that stays unreachable is reported that often */

enum link_state { LINK_WAITING, LINK_CONNECTING, LINK_GREETING, LINK_LANES, LINK_UP };

/* An offer whose RESULT has not come. */
struct open_offer {
	struct ticket ticket;
	uint64_t lease_id;
	UT_hash_handle hh;
	size_t target_len;
	char target[];
};

/* A further channel of a link. */
struct link_lane {
	struct node_link *link;
	struct channel *channel;
	unsigned number; /* from 1 */
	bool greeted;
};

struct node_link {
	unsigned magic;
	const struct node_link_owner *owner;
	struct node *node;
	const char *names[2];
	enum link_state state;
	bool draining, stopping, direct, grants;
	struct channel *channel; /* not in WAITING */
	struct link_lane *lanes; /* NULL: all goes by <channel> */
	unsigned lane_count, lanes_greeted;
	ev_timer lanes_due;
	struct open_offer *offers;
	ev_timer retry, ping, silence;
	double retry_delay;        /* seconds, of the next failure */
	double next_report;        /* of a failure to connect, loop time */
	uint64_t nonce;            /* of the last ping: when it was sent, loop time in microseconds */
	double asked;              /* loop time when the last ping that was answered, or Hello, was sent */
	unsigned unanswered;       /* pings since the node was last heard */
	struct log_limit failures; /* lines about offloads that ended badly */
	struct log_limit changes;  /* and about objects that changed meanwhile */
};

static void link_closed(struct channel *channel, void *context, const char *reason);
static void link_opened(struct channel *channel, void *context, const char *peer_name);
static void link_received(struct channel *channel, void *context, const uint8_t *frame, size_t len);

static const char *link_dispatch(struct node_link *link, const struct control_message *message);

static const struct channel_handlers link_handlers = {
	.opened = link_opened, .received = link_received, .closed = link_closed};

static struct node_link *link_of(void *pointer)
{
	struct node_link *link = pointer;

	assert(link && link->magic == NODE_LINK_MAGIC);
	return link;
}

/* Forgets all offers: of a channel that is gone no RESULT will come. */
static void drop_offers(struct node_link *link)
{
	struct open_offer *offer, *next;
	int64_t count = HASH_COUNT(link->offers);

	HASH_ITER (hh, link->offers, offer, next) {
		HASH_DEL(link->offers, offer);
		free(offer);
	}
	node_add_own(link->node, -count);
	spoa_metrics_add(link->owner->metrics, SPOA_OFFERS_LOST, count);
}

/* Counts for operators; <metric> may be NULL. */
static void show(struct metric *metric, int64_t delta)
{
	if (metric)
		metric_add(metric, delta);
}

static void schedule_retry(struct node_link *link)
{
	/* Up to 20 % less, so that agents do not come back to a restarted node all at once. */
	double jitter = (double)arc4random_uniform(1000) / 1000. * 0.2;

	link->state = LINK_WAITING;
	ev_timer_set(&link->retry, link->retry_delay * (1. - jitter), 0.);
	ev_timer_start(link->owner->loop, &link->retry);
	link->retry_delay *= 2;
	if (link->retry_delay > NODE_RETRY_MAX_S)
		link->retry_delay = NODE_RETRY_MAX_S;
}

/* They close without a word of their own. */
static void drop_lanes(struct node_link *link, const char *reason)
{
	struct link_lane *lanes = link->lanes;
	unsigned count = link->lane_count;

	ev_timer_stop(link->owner->loop, &link->lanes_due);
	link->lanes = NULL;
	link->lane_count = link->lanes_greeted = 0;
	for (unsigned i = 0; i < count; i++) {
		struct channel *channel = lanes[i].channel;

		lanes[i].channel = NULL;
		if (channel)
			channel_close(channel, reason);
	}
	free(lanes);
}

static void link_failed(struct node_link *link, const char *reason)
{
	bool was_up = link->state == LINK_UP;
	struct node *node = link->node;
	char peer[ADDRESS_TEXT_MAX];
	double now = ev_now(link->owner->loop);

	if (link->state == LINK_UP) {
		show(node->up, -1);
		show(node->draining, -(int64_t)link->draining);
		show(node->failures, !link->stopping);
		/* One line for the node, not one for each worker. */
		if (atomic_fetch_sub(&node->links, 1) == 1 && !link->stopping)
			log_warning("node %s (%s) is down: %s", node->name, address_format(&node->control, peer),
				    reason);
		link->retry_delay = NODE_RETRY_MIN_S;
	} else if (link->owner->reports && now >= link->next_report && !link->stopping) {
		log_warning("node %s (%s) cannot be reached: %s", node->name, address_format(&node->control, peer),
			    reason);
		link->next_report = now + FAILURE_REPORT_S;
	}
	ev_timer_stop(link->owner->loop, &link->ping);
	ev_timer_stop(link->owner->loop, &link->silence);
	link->channel = NULL;
	drop_lanes(link, "the first channel is closed");
	link->draining = link->direct = link->grants = false;
	link->state = LINK_WAITING;
	drop_offers(link);
	if (was_up && link->owner->listener && !link->stopping)
		link->owner->listener->lost(link->owner->listener->context, node);
	if (!link->stopping)
		schedule_retry(link);
	if (link->owner->settled && !link->stopping)
		link->owner->settled(link->owner->context);
}

static void link_closed(struct channel *channel, void *context, const char *reason)
{
	(void)channel;
	link_failed(link_of(context), reason);
}

static int send_small(struct channel *channel, const struct control_message *message)
{
	uint8_t frame[MESSAGE_SMALL_MAX];
	size_t len;
	enum control_error error = control_encode(message, frame, sizeof(frame), &len);

	if (error != CONTROL_OK) {
		log_error("cannot encode %s: %s", control_type_text(message->type), control_error_text(error));
		return -1;
	}
	return channel_send(channel, frame, len);
}

/* On the channel of <lane>; 0: the first one. */
static int send_hello(struct channel *channel, unsigned lane)
{
	char name[HOST_NAME_MAX + 1] = "";
	const char *software = "disc-spoa " DISC_VERSION;
	struct control_message hello = {.type = CONTROL_HELLO};

	if (gethostname(name, sizeof(name) - 1) < 0)
		name[0] = '\0';
	hello.u.hello.version_min = CONTROL_VERSION_MIN;
	hello.u.hello.version_max = CONTROL_VERSION_MAX;
	hello.u.hello.name = (struct control_text){name, strlen(name)};
	hello.u.hello.software = (struct control_text){software, strlen(software)};
	hello.u.hello.lane = lane;
	return send_small(channel, &hello);
}

static void link_opened(struct channel *channel, void *context, const char *peer_name)
{
	struct node_link *link = link_of(context);

	(void)peer_name;
	link->channel = channel;
	link->state = LINK_GREETING;
	ev_timer_again(link->owner->loop, &link->silence);
	if (send_hello(channel, 0) < 0)
		channel_close(channel, "cannot send HELLO");
}

static void link_is_up(struct node_link *link)
{
	struct node *node = link->node;
	char peer[ADDRESS_TEXT_MAX];

	link->state = LINK_UP;
	link->retry_delay = NODE_RETRY_MIN_S;
	link->next_report = 0;
	link->unanswered = 0;
	link->asked = ev_now(link->owner->loop);
	show(node->up, 1);
	if (atomic_fetch_add(&node->links, 1) == 0)
		log_notice("node %s (%s) is up", node->name, address_format(&node->control, peer));
	ev_timer_again(link->owner->loop, &link->silence);
	ev_timer_again(link->owner->loop, &link->ping);
}

/* --- lanes --- */

static void lane_closed(struct channel *channel, void *context, const char *reason)
{
	struct link_lane *lane = context;
	struct node_link *link = lane->link;

	(void)channel;
	if (!lane->channel)
		return;
	lane->channel = NULL;
	channel_close(link->channel, reason);
}

static void lane_opened(struct channel *channel, void *context, const char *peer_name)
{
	struct link_lane *lane = context;

	(void)peer_name;
	if (send_hello(channel, lane->number) < 0)
		channel_close(channel, "cannot send HELLO");
}

static const char *lane_dispatch(struct link_lane *lane, const struct control_message *message)
{
	struct node_link *link = lane->link;

	if ((message->type == CONTROL_HELLO) == lane->greeted)
		return "HELLO was due and something else came, or HELLO came twice";
	if (message->type == CONTROL_HELLO) {
		lane->greeted = true;
		if (++link->lanes_greeted == link->lane_count) {
			ev_timer_stop(link->owner->loop, &link->lanes_due);
			link_is_up(link);
		}
		return NULL;
	}
	/* Whether the node lives, its first channel says. */
	return message->type == CONTROL_PONG ? NULL : link_dispatch(link, message);
}

static void lane_received(struct channel *channel, void *context, const uint8_t *frame, size_t len)
{
	struct control_message message;
	enum control_error error = control_decode(&message, frame, len);
	const char *fault;

	if (error != CONTROL_OK) {
		channel_close(channel, control_error_text(error));
		return;
	}
	fault = lane_dispatch(context, &message);
	control_release(&message);
	if (fault)
		channel_close(channel, fault);
}

static const struct channel_handlers lane_handlers = {
	.opened = lane_opened, .received = lane_received, .closed = lane_closed};

static void lanes_overdue(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct node_link *link = link_of(timer->data);

	(void)loop;
	(void)events;
	channel_close(link->channel, "its further channels did not open in time");
}

/* Returns 0, or -1 if memory or descriptors are exhausted. */
static int open_lanes(struct node_link *link, unsigned count)
{
	const struct node_link_owner *owner = link->owner;

	link->lanes = calloc(count, sizeof(*link->lanes));
	if (!link->lanes)
		return -1;
	link->lane_count = count;
	link->state = LINK_LANES;
	ev_timer_stop(owner->loop, &link->silence);
	ev_timer_set(&link->lanes_due, LANES_S, 0.);
	ev_timer_start(owner->loop, &link->lanes_due);
	for (unsigned i = 0; i < count; i++) {
		struct link_lane *lane = &link->lanes[i];

		*lane = (struct link_lane){.link = link, .number = i + 1};
		lane->channel = channel_connect(owner->loop, owner->tls, &link->node->control, link->names,
						&lane_handlers, lane);
		if (!lane->channel)
			return -1;
	}
	return 0;
}

/* The channel that messages about <ticket> go by. */
static struct channel *channel_of(const struct node_link *link, const struct ticket *ticket)
{
	uint32_t number;

	if (!link->lane_count)
		return link->channel;
	memcpy(&number, ticket->bytes + TICKET_LEN - sizeof(number), sizeof(number));
	return link->lanes[number % link->lane_count].channel;
}

static void link_greeted(struct node_link *link, const struct control_hello *hello)
{
	if (control_negotiate(hello) == 0) {
		char reason[128];

		(void)snprintf(reason, sizeof(reason),
			       "it speaks control versions %" PRIu32 " to %" PRIu32 ", this agent %u to %u",
			       hello->version_min, hello->version_max, CONTROL_VERSION_MIN, CONTROL_VERSION_MAX);
		channel_close(link->channel, reason);
		return;
	}
	link->direct = hello->direct != 0;
	link->grants = hello->grants != 0;
	if (!link->direct || !link->owner->listener || !hello->lanes)
		link_is_up(link);
	else if (open_lanes(link, hello->lanes) < 0)
		channel_close(link->channel, "no memory for its further channels");
}

static void link_ponged(struct node_link *link, const struct control_pong *pong)
{
	bool draining = pong->draining != 0;

	if (pong->nonce <= link->nonce && (double)pong->nonce / 1e6 > link->asked)
		link->asked = (double)pong->nonce / 1e6;
	node_set_total(link->node, pong->offloads);
	if (draining != link->draining && link->owner->reports)
		log_notice("node %s %s", link->node->name,
			   draining ? "drains: it gets no new offloads" : "takes offloads again");
	show(link->node->draining, draining - link->draining);
	if (draining && !link->draining && link->owner->listener) {
		link->draining = true; /* before anybody is asked for another node */
		link->owner->listener->drains(link->owner->listener->context, link->node);
	}
	link->draining = draining;
}

static enum spoa_metric outcome_metric(enum control_outcome outcome)
{
	switch (outcome) {
	case CONTROL_OUTCOME_SEALED:
		return SPOA_RESULTS_SEALED;
	case CONTROL_OUTCOME_DECLINED:
		return SPOA_RESULTS_DECLINED;
	case CONTROL_OUTCOME_ABORTED:
		return SPOA_RESULTS_ABORTED;
	case CONTROL_OUTCOME_EXPIRED:
		return SPOA_RESULTS_EXPIRED;
	case CONTROL_OUTCOME_FAILED:
		break;
	}
	return SPOA_RESULTS_FAILED;
}

/* Copies what a peer sent into a log line's buffer: printable ASCII as it is, other bytes as dots. */
static const char *printable(char *out, size_t cap, struct control_text text)
{
	size_t len = text.len < cap - 1 ? text.len : cap - 1;

	for (size_t i = 0; i < len; i++)
		out[i] = text.data[i] >= ' ' && text.data[i] <= '~' ? text.data[i] : '.';
	out[len] = '\0';
	return out;
}

static void log_result(struct node_link *link, const struct open_offer *offer, const struct control_result *result)
{
	bool failed = result->outcome == CONTROL_OUTCOME_FAILED || result->outcome == CONTROL_OUTCOME_EXPIRED;
	char ticket[TICKET_TEXT_LEN + 1], reason[128], note[LOG_LIMIT_NOTE_MAX] = "";

	if (!failed && !log_enabled(LOG_LEVEL_DEBUG))
		return;
	if (failed && !log_limit_allow(&link->failures, ev_now(link->owner->loop), note))
		return;
	ticket_format(ticket, &result->ticket);
	log_write(failed ? LOG_LEVEL_WARNING : LOG_LEVEL_DEBUG,
		  "node %s: ticket %.8s, lease %" PRIu64 ": %s, %" PRIu64 " records, %" PRIu64 " bytes%s%s%s",
		  link->node->name, ticket, offer->lease_id, control_outcome_text(result->outcome), result->records,
		  result->bytes, result->reason.len ? ": " : "", printable(reason, sizeof(reason), result->reason),
		  note);
}

/* The body of <target> broke off because its file was written meanwhile, which may go on. */
static void object_changed(struct node_link *link, struct control_text target)
{
	const struct node_link_owner *owner = link->owner;
	const char *query = target.len ? memchr(target.data, '?', target.len) : NULL;
	char text[128], note[LOG_LIMIT_NOTE_MAX];

	/* A query may be a signature: it is not for the log. */
	if (query)
		target.len = (size_t)(query - target.data);
	spoa_metrics_add(owner->metrics, SPOA_CHANGED, 1);
	changed_paths_add(owner->changed_paths, target, changed_paths_clock(), owner->changed_hold);
	if (owner->changed_hold && log_limit_allow(&link->changes, ev_now(owner->loop), note))
		log_warning("node %s: the file %s changed during its transfer: it is not offloaded for %u s%s",
			    link->node->name, printable(text, sizeof(text), target), owner->changed_hold, note);
}

static void link_resulted(struct node_link *link, const struct control_result *result)
{
	struct spoa_metrics *metrics = link->owner->metrics;
	struct open_offer *offer;

	HASH_FIND(hh, link->offers, &result->ticket, sizeof(result->ticket), offer);
	if (!offer) {
		log_debug("node %s: a result for a ticket that is not open", link->node->name);
		return;
	}
	spoa_metrics_add(metrics, outcome_metric(result->outcome), 1);
	show(link->node->failures,
	     result->outcome == CONTROL_OUTCOME_FAILED || result->outcome == CONTROL_OUTCOME_EXPIRED);
	if (result->records <= INT64_MAX && result->bytes <= INT64_MAX) {
		spoa_metrics_add(metrics, SPOA_SEALED_RECORDS, (int64_t)result->records);
		spoa_metrics_add(metrics, SPOA_SEALED_BYTES, (int64_t)result->bytes);
	}
	log_result(link, offer, result);
	if (result->changed)
		object_changed(link, (struct control_text){offer->target, offer->target_len});
	HASH_DEL(link->offers, offer);
	free(offer);
	node_add_own(link->node, -1);
	if (link->owner->settled)
		link->owner->settled(link->owner->context);
}

static const char *tell_listener(struct node_link *link, const struct control_message *message)
{
	const struct node_link_listener *listener = link->owner->listener;

	return listener ? listener->received(listener->context, link->node, message) : NULL;
}

/* Acts on one message. Returns a reason to close the channel with, or NULL. */
static const char *link_dispatch(struct node_link *link, const struct control_message *message)
{
	if (message->type == CONTROL_UNKNOWN)
		return NULL;
	if ((message->type == CONTROL_HELLO) != (link->state == LINK_GREETING))
		return "HELLO was due and something else came, or HELLO came twice";
	switch (message->type) {
	case CONTROL_HELLO:
		link_greeted(link, &message->u.hello);
		return NULL;
	case CONTROL_PONG:
		link_ponged(link, &message->u.pong);
		return NULL;
	case CONTROL_RESULT:
		(void)tell_listener(link, message);
		link_resulted(link, &message->u.result);
		return NULL;
	case CONTROL_HANDOFF_REPLY:
	case CONTROL_PROGRESS:
	case CONTROL_CLIENT_DATA:
	case CONTROL_DRAINED:
	case CONTROL_HANDBACK:
	case CONTROL_GONE:
		return tell_listener(link, message);
	default:
		return "it sent a message that only agents send";
	}
}

static void link_received(struct channel *channel, void *context, const uint8_t *frame, size_t len)
{
	struct node_link *link = link_of(context);
	struct control_message message;
	enum control_error error = control_decode(&message, frame, len);
	const char *fault;

	if (error != CONTROL_OK) {
		channel_close(channel, control_error_text(error));
		return;
	}
	ev_timer_again(link->owner->loop, &link->silence);
	link->unanswered = 0;
	fault = link_dispatch(link, &message);
	control_release(&message);
	if (fault)
		channel_close(channel, fault);
}

static void ping_due(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct node_link *link = link_of(timer->data);
	struct control_message ping = {.type = CONTROL_PING};

	(void)events;
	ping.u.ping.nonce = link->nonce = (uint64_t)(ev_now(loop) * 1e6);
	link->unanswered++;
	if (send_small(link->channel, &ping) < 0)
		log_debug("node %s: no room for a ping", link->node->name);
	/* Its workers close what is silent. */
	for (unsigned i = 0; i < link->lane_count; i++)
		(void)send_small(link->lanes[i].channel, &ping);
}

static void silence_over(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct node_link *link = link_of(timer->data);

	(void)events;
	/* This process got no processor for a while: the node was asked nothing that it could have answered. */
	if (link->state == LINK_UP && link->unanswered < NODE_DEAD_PINGS)
		return;
	ev_timer_stop(loop, timer);
	channel_close(link->channel, "nothing was heard from it for 750 ms");
}

static void retry_due(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct node_link *link = link_of(timer->data);
	struct channel *channel;

	(void)events;
	link->state = LINK_CONNECTING;
	channel = channel_connect(loop, link->owner->tls, &link->node->control, link->names, &link_handlers, link);
	if (!channel)
		link_failed(link, strerror(errno));
	else if (link->state != LINK_WAITING) /* else it was closed already */
		link->channel = channel;
}

struct node_link *node_link_new(const struct node_link_owner *owner, struct node *node)
{
	struct node_link *link = calloc(1, sizeof(*link));

	if (!link)
		return NULL;
	link->magic = NODE_LINK_MAGIC;
	link->owner = owner;
	node_hold(node);
	link->node = node;
	link->names[0] = node->certificate_name;
	link->retry_delay = NODE_RETRY_MIN_S;
	ev_timer_init(&link->retry, retry_due, 0., 0.);
	ev_timer_init(&link->lanes_due, lanes_overdue, 0., 0.);
	ev_timer_init(&link->ping, ping_due, NODE_PING_S, NODE_PING_S);
	ev_timer_init(&link->silence, silence_over, NODE_DEAD_S, NODE_DEAD_S);
	/* After a stall of the loop what the node sent meanwhile counts first. */
	ev_set_priority(&link->silence, EV_MINPRI);
	link->retry.data = link->lanes_due.data = link->ping.data = link->silence.data = link;
	ev_timer_start(owner->loop, &link->retry);
	return link;
}

void node_link_free(struct node_link *link)
{
	if (!link)
		return;
	link->stopping = true;
	if (link->channel)
		channel_close(link->channel, "this agent ends");
	ev_timer_stop(link->owner->loop, &link->retry);
	node_drop(link->node);
	link->magic = 0;
	free(link);
}

enum node_link_readiness node_link_readiness(const struct node_link *link)
{
	if (!link || link->state != LINK_UP)
		return NODE_LINK_DOWN;
	return link->draining ? NODE_LINK_DRAINING : NODE_LINK_READY;
}

struct node *node_link_node(const struct node_link *link)
{
	return link->node;
}

bool node_link_is_fresh(const struct node_link *link)
{
	return ev_now(link->owner->loop) - link->asked <= NODE_DEAD_S;
}

int node_link_offer(struct node_link *link, const struct control_offer *offer, const uint8_t *frame, size_t len)
{
	struct open_offer *open;

	if (node_link_readiness(link) != NODE_LINK_READY)
		return -1;
	open = calloc(1, sizeof(*open) + offer->target.len);
	if (!open)
		return -1;
	open->ticket = offer->ticket;
	open->lease_id = offer->lease_id;
	open->target_len = offer->target.len;
	if (offer->target.len)
		memcpy(open->target, offer->target.data, offer->target.len);
	/* Counted first: if sending finds the channel broken, what is open is dropped and counted back. */
	HASH_ADD(hh, link->offers, ticket, sizeof(open->ticket), open);
	if (!open->hh.tbl) {
		free(open);
		return -1;
	}
	node_add_own(link->node, 1);
	if (channel_send(channel_of(link, &offer->ticket), frame, len) == 0) {
		spoa_metrics_add(link->owner->metrics, SPOA_OFFERS, 1);
		return 0;
	}
	HASH_FIND(hh, link->offers, &offer->ticket, sizeof(offer->ticket), open);
	if (open) {
		HASH_DEL(link->offers, open);
		free(open);
		node_add_own(link->node, -1);
	}
	return -1;
}

bool node_link_takes_grants(const struct node_link *link)
{
	return link && link->grants;
}

bool node_link_direct(const struct node_link *link)
{
	return node_link_readiness(link) == NODE_LINK_READY && link->direct;
}

int node_link_send(struct node_link *link, const struct ticket *ticket, const uint8_t *frame, size_t len)
{
	return link->state == LINK_UP ? channel_send(channel_of(link, ticket), frame, len) : -1;
}

size_t node_link_outstanding(const struct node_link *link)
{
	return HASH_COUNT(link->offers);
}
