/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "control_server.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utlist.h>

#include "certificate_watch.h"
#include "channel_number.h"
#include "control.h"
#include "egress_guard.h"
#include "log.h"
#include "node_metrics.h"
#include "version.h"

#define CHANNELS_MAX 256 /* agents, and peers that have not proved to be one */
#define TICK_S 0.1       /* how late an offer may expire, and silence be noticed */
#define SILENCE_S 5.0    /* an agent pings every 250 ms */
#define AGENT_NAME_MAX 256
#define MESSAGE_MAX 4096 /* bytes of what a node sends */

struct agent {
	struct control_arrival arrival; /* on its way to the worker of its lane */
	struct control_server *server;
	struct channel *channel;
	uint64_t number;                        /* names the channel to the other threads; never used again */
	char name[AGENT_NAME_MAX];              /* of its certificate; empty until it is verified */
	bool greeted;                           /* its Hello came */
	unsigned lane;                          /* that its Hello named; 0: none */
	double heard;                           /* when, see ticket_clock() */
	struct control_credentials credentials; /* held: its channel has the names */
	struct agent *prev, *next;
};

struct control_server {
	struct ev_loop *loop;
	const struct control_settings *settings;
	unsigned lane;                          /* whose channels these are; 0: the one that accepts */
	struct control_credentials credentials; /* held */
	struct certificate_watch certificate;   /* of lane 0 */
	ev_io acceptor;
	struct control_lane arrivals;
	ev_timer tick;
	ev_prepare last; /* before the channels send what was queued in this turn of the loop */
	bool queued;     /* something was */
	ev_async again;  /* one more turn, at once */
	struct agent *agents;
	unsigned agent_count;
	uint64_t last_number;
};

static void hold(const struct control_credentials *credentials)
{
	if (credentials->hold)
		credentials->hold(credentials->owner);
}

static void drop(const struct control_credentials *credentials)
{
	if (credentials->hold)
		credentials->drop(credentials->owner);
}

static void fault(struct agent *agent, const char *reason)
{
	node_metrics_add(NODE_CHANNEL_FAULTS, 1);
	channel_close(agent->channel, reason);
}

/* Encodes and queues <message>. What cannot be queued is lost with the channel, which is as good as dead then. */
static void send_message(struct agent *agent, const struct control_message *message)
{
	uint8_t bytes[MESSAGE_MAX];
	size_t len;
	enum control_error error = control_encode(message, bytes, sizeof(bytes), &len);

	if (error != CONTROL_OK)
		log_error("control: a %s could not be encoded: %s", control_type_text(message->type),
			  control_error_text(error));
	else if (channel_send(agent->channel, bytes, len) < 0)
		log_warning("control: a %s to %s was lost: the channel takes nothing", control_type_text(message->type),
			    agent->name);
	else
		agent->server->queued = true;
}

static struct control_text text_of(const char *text)
{
	return (struct control_text){text, strlen(text)};
}

static void send_result(struct agent *agent, const struct offload_result *result)
{
	struct control_message message = {
		.type = CONTROL_RESULT,
		.u.result = {.ticket = result->ticket,
			     .outcome = result->outcome,
			     .records = result->records,
			     .bytes = result->bytes,
			     .reason = text_of(result->reason),
			     .changed = result->changed},
	};

	send_message(agent, &message);
}

static void send_unsealed(struct agent *agent, const struct ticket *ticket, enum control_outcome outcome,
			  const char *reason)
{
	const struct offload_result result = {.ticket = *ticket, .outcome = outcome, .reason = reason};

	send_result(agent, &result);
}

static struct agent *find_agent(struct control_server *server, uint64_t number)
{
	struct agent *agent;

	DL_FOREACH (server->agents, agent) {
		if (agent->number == number)
			return agent;
	}
	return NULL;
}

/* From the result queue: an offload has ended. Its agent may be gone. */
static void on_result(void *context, const struct offload_result *result)
{
	struct control_server *server = context;
	struct agent *agent;

	/* What was said of the connection before. */
	if (server->settings->direct)
		agent_outbox_retry(agent_outbox_of(&server->settings->direct->outbox, server->lane));
	agent = find_agent(server, result->channel);
	if (agent && agent->greeted)
		send_result(agent, result);
}

/* Results that wait leave with what is sent now. */
static void on_turn_ends(struct ev_loop *loop, ev_prepare *watcher, int events)
{
	struct control_server *server = watcher->data;

	(void)loop;
	(void)events;
	if (!server->queued)
		return;
	server->queued = false;
	result_queue_flush(result_queue_of(server->settings->results, server->lane));
	/* A channel that had nothing to send before sends in the next turn of the loop only. */
	if (server->queued && server->agent_count > 1)
		ev_async_send(server->loop, &server->again);
	server->queued = false;
}

static void on_again(struct ev_loop *loop, ev_async *watcher, int events)
{
	(void)loop;
	(void)watcher;
	(void)events;
}

/* From the outbox. Half of a channel's queue is kept free for what is said on this loop. */
static enum agent_outbox_status on_letter(void *context, uint64_t channel, const uint8_t *bytes, size_t len)
{
	struct agent *agent = find_agent(context, channel);

	if (!agent)
		return AGENT_OUTBOX_TAKEN;
	if (channel_queued(agent->channel) + len > CHANNEL_QUEUE_MAX / 2)
		return AGENT_OUTBOX_LATER;
	/* An agent that does not hear of its connections must not believe that it has them. */
	if (channel_send(agent->channel, bytes, len) < 0)
		fault(agent, "a message about a client's connection was lost: the channel takes nothing");
	else
		agent->server->queued = true;
	return AGENT_OUTBOX_TAKEN;
}

/* Its channel may be of any lane. */
static void on_offer_expired(void *context, const struct ticket *ticket, uint64_t channel)
{
	const struct control_server *server = context;
	const struct offload_result result = {.ticket = *ticket,
					      .channel = channel,
					      .outcome = CONTROL_OUTCOME_EXPIRED,
					      .reason = "no fetch named the ticket in time"};

	node_metrics_add(NODE_EXPIRED, 1);
	result_queue_push(server->settings->results, &result);
}

/* --- messages of an agent --- */

static void on_hello(struct agent *agent, const struct control_hello *hello)
{
	if (agent->greeted) {
		fault(agent, "a second Hello");
		return;
	}
	if (control_negotiate(hello) == 0) {
		char reason[128];

		snprintf(reason, sizeof(reason),
			 "no common version of the control protocol: it speaks %u to %u, we %u to %u",
			 hello->version_min, hello->version_max, CONTROL_VERSION_MIN, CONTROL_VERSION_MAX);
		fault(agent, reason);
		return;
	}
	if (hello->lane) {
		/* Greeted when it is there. */
		agent->lane = hello->lane;
		channel_depart(agent->channel);
		return;
	}
	agent->greeted = true;
	log_notice("control: agent %s at %s (%.*s, %.*s) is here", agent->name, channel_peer(agent->channel),
		   (int)hello->name.len, hello->name.data, (int)hello->software.len, hello->software.data);
}

static void on_offer(struct agent *agent, const struct control_offer *offer)
{
	char digits[TICKET_TEXT_LEN + 1];
	struct ticket_terms terms = {
		.lease_id = offer->lease_id,
		.channel = agent->number,
		.splice_min = offer->splice_min,
		.direct_min = offer->direct_min,
		.continuation = {.etag = {offer->continuation_etag.data, offer->continuation_etag.len},
				 .target = {offer->target.data, offer->target.len},
				 .offset = offer->continuation_offset,
				 .length = offer->continuation_length},
	};
	enum ticket_offer_status status;
	const struct control_text *peer;

	peer = offer->peer.len ? &offer->peer : &offer->client;
	(void)ip_address_parse(&terms.client, peer->data, peer->len);
	status = ticket_table_offer(agent->server->settings->tickets, &offer->ticket, &offer->state, &terms,
				    ticket_clock());
	node_metrics_add(NODE_OFFERS, 1);
	ticket_format(digits, &offer->ticket);
	log_debug("control: offer %.8s, lease %llu: %.*s %.*s for %.*s", digits, (unsigned long long)offer->lease_id,
		  (int)offer->method.len, offer->method.data, (int)offer->target.len, offer->target.data,
		  (int)offer->client.len, offer->client.data);
	if (status == TICKET_OFFER_KEPT || status == TICKET_OFFER_JOINED)
		return;
	node_metrics_add(NODE_OFFERS_REFUSED, 1);
	node_metrics_add(NODE_DECLINED, 1);
	send_unsealed(agent, &offer->ticket, CONTROL_OUTCOME_DECLINED,
		      status == TICKET_OFFER_USED ? "the ticket was used before" : "too many tickets wait");
}

static void on_ping(struct agent *agent, const struct control_ping *ping)
{
	struct control_message message = {
		.type = CONTROL_PONG,
		.u.pong = {.nonce = ping->nonce,
			   .offloads = (uint32_t)node_metric_value(NODE_OFFLOADS_ACTIVE),
			   .draining = atomic_load(agent->server->settings->draining)},
	};

	send_message(agent, &message);
}

static void refuse_handoff(struct agent *agent, const struct ticket *ticket, const char *reason)
{
	struct control_message message = {
		.type = CONTROL_HANDOFF_REPLY,
		.u.handoff_reply = {.ticket = *ticket, .reason = text_of(reason)},
	};

	node_metrics_add(NODE_HANDOFFS_REFUSED, 1);
	send_message(agent, &message);
}

static void on_handoff(struct agent *agent, const struct control_handoff *handoff)
{
	struct direct_service *direct = agent->server->settings->direct;

	if (!direct) {
		refuse_handoff(agent, &handoff->ticket, "this node has no direct path");
		return;
	}
	switch (clone_table_hand_off(direct->table, agent->number, handoff)) {
	case CLONE_ORDER_GIVEN:
		break;
	case CLONE_ORDER_UNKNOWN:
		/* Its wait was over: it crossed our Gone. */
		refuse_handoff(agent, &handoff->ticket, "no body waits for this connection (any more)");
		break;
	case CLONE_ORDER_TWICE:
		fault(agent, "a second Handoff for one ticket");
		break;
	case CLONE_ORDER_NO_MEMORY:
		refuse_handoff(agent, &handoff->ticket, "out of memory");
		break;
	}
}

static void on_recall(struct agent *agent, const struct control_recall *recall)
{
	struct direct_service *direct = agent->server->settings->direct;

	/* A ticket that is unknown has ended meanwhile: our Handback or Gone is under way. */
	if (direct && clone_table_recall(direct->table, agent->number, &recall->ticket, recall->discard != 0) ==
			      CLONE_ORDER_NO_MEMORY)
		fault(agent, "out of memory: its connections cannot be recalled one by one");
}

static void on_release(struct agent *agent, const struct control_release *release)
{
	struct direct_service *direct = agent->server->settings->direct;

	if (direct && clone_table_release(direct->table, agent->number, &release->ticket) == CLONE_ORDER_NO_MEMORY)
		fault(agent, "out of memory: its connections cannot be released one by one");
}

static void dispatch(struct agent *agent, const struct control_message *message)
{
	if (!agent->greeted && message->type != CONTROL_HELLO) {
		fault(agent, "a message before Hello");
		return;
	}
	switch (message->type) {
	case CONTROL_HELLO:
		on_hello(agent, &message->u.hello);
		break;
	case CONTROL_OFFER:
		on_offer(agent, &message->u.offer);
		break;
	case CONTROL_PING:
		on_ping(agent, &message->u.ping);
		break;
	case CONTROL_HANDOFF:
		on_handoff(agent, &message->u.handoff);
		break;
	case CONTROL_RECALL:
		on_recall(agent, &message->u.recall);
		break;
	case CONTROL_RELEASE:
		on_release(agent, &message->u.release);
		break;
	case CONTROL_PONG:
	case CONTROL_RESULT:
	case CONTROL_HANDOFF_REPLY:
	case CONTROL_PROGRESS:
	case CONTROL_CLIENT_DATA:
	case CONTROL_DRAINED:
	case CONTROL_HANDBACK:
	case CONTROL_GONE:
		fault(agent, "a message that only a node sends");
		break;
	case CONTROL_UNKNOWN:
		break;
	}
}

/* --- channels --- */

static void on_channel_opened(struct channel *channel, void *context, const char *peer_name)
{
	struct agent *agent = context;
	struct control_message message = {
		.type = CONTROL_HELLO,
		.u.hello = {.version_min = CONTROL_VERSION_MIN,
			    .version_max = CONTROL_VERSION_MAX,
			    .name = text_of(agent->server->settings->node_name),
			    .software = text_of("disc-backend " DISC_VERSION),
			    .direct = agent->server->settings->direct != NULL,
			    .lanes = agent->server->settings->lanes ? agent->server->settings->lanes->count : 0,
			    .grants = 1},
	};

	(void)channel;
	snprintf(agent->name, sizeof(agent->name), "%s", peer_name);
	agent->heard = ticket_clock();
	node_metrics_add(NODE_CHANNELS, 1);
	send_message(agent, &message);
}

static void on_channel_received(struct channel *channel, void *context, const uint8_t *frame, size_t len)
{
	struct agent *agent = context;
	struct control_message message;
	enum control_error error = control_decode(&message, frame, len);

	(void)channel;
	agent->heard = ticket_clock();
	if (error != CONTROL_OK) {
		fault(agent, control_error_text(error));
		return;
	}
	/* The agent may be gone afterwards, the message is ours. */
	dispatch(agent, &message);
	control_release(&message);
}

/* Takes <agent>, whose channel there never was or is not any more, out and frees it. */
static void remove_agent(struct agent *agent)
{
	struct control_server *server = agent->server;

	DL_DELETE(server->agents, agent);
	server->agent_count--;
	drop(&agent->credentials);
	free(agent);
}

static void on_channel_closed(struct channel *channel, void *context, const char *reason)
{
	struct agent *agent = context;
	struct control_server *server = agent->server;
	size_t dropped;

	if (agent->name[0] == '\0') {
		log_warning("control: peer %s refused: %s", channel_peer(channel), reason);
	} else {
		dropped = ticket_table_drop_channel(server->settings->tickets, agent->number, ticket_clock());
		if (server->settings->direct)
			clone_table_channel_lost(server->settings->direct->table, agent->number);
		log_write(agent->lane ? LOG_LEVEL_DEBUG : LOG_LEVEL_NOTICE,
			  "control: channel of agent %s at %s closed: %s; %zu offers dropped", agent->name,
			  channel_peer(channel), reason, dropped);
		node_metrics_add(NODE_CHANNELS, -1);
	}
	remove_agent(agent);
}

/* It is not watched any more: its lane's worker goes on. */
static void on_channel_departed(struct channel *channel, void *context)
{
	struct agent *agent = context;
	struct control_server *server = agent->server;

	(void)channel;
	DL_DELETE(server->agents, agent);
	server->agent_count--;
	if (server->settings->lanes && control_lanes_give(server->settings->lanes, agent->lane, &agent->arrival) == 0)
		return;
	DL_APPEND(server->agents, agent);
	server->agent_count++;
	fault(agent, "this node has no such lane");
}

static const struct channel_handlers handlers = {
	.opened = on_channel_opened,
	.received = on_channel_received,
	.closed = on_channel_closed,
	.departed = on_channel_departed,
};

static const char unnamed[] = "control.agents does not name it any more";

static bool is_named(const char *name, const char *const *names)
{
	for (; *names; names++)
		if (strcasecmp(name, *names) == 0)
			return true;
	return false;
}

/* A channel of this lane came from the control loop. */
static void on_arrived(void *context, struct control_arrival *arrival)
{
	struct control_server *server = context;
	struct agent *agent = (struct agent *)((char *)arrival - offsetof(struct agent, arrival));

	agent->server = server;
	agent->number = channel_number(++server->last_number, server->lane);
	agent->greeted = true;
	agent->heard = ticket_clock();
	DL_APPEND(server->agents, agent);
	server->agent_count++;
	if (server->agent_count > CHANNELS_MAX)
		fault(agent, "too many channels of this lane");
	else if (!is_named(agent->name, server->credentials.agents))
		fault(agent, unnamed);
	else
		channel_arrive(agent->channel, server->loop, &handlers, agent);
}

/* Takes <fd> over. */
static void add_agent(struct control_server *server, int fd)
{
	struct agent *agent = calloc(1, sizeof(*agent));

	if (!agent) {
		log_error("control: a peer was dropped: out of memory");
		close(fd);
		return;
	}
	agent->server = server;
	agent->number = channel_number(++server->last_number, 0);
	agent->heard = ticket_clock();
	agent->credentials = server->credentials;
	hold(&agent->credentials);
	DL_APPEND(server->agents, agent);
	server->agent_count++;
	agent->channel =
		channel_accept(server->loop, server->credentials.tls, fd, server->credentials.agents, &handlers, agent);
	if (!agent->channel) {
		log_error("control: a peer was dropped: %s", strerror(errno));
		remove_agent(agent);
	}
}

static void on_connection(struct ev_loop *loop, ev_io *watcher, int events)
{
	struct control_server *server = watcher->data;
	int fd = accept4(watcher->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	(void)events;
	if (fd < 0) {
		if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)
			return;
		/* Out of descriptors: the tick tries again. */
		log_warning("control.listen: cannot accept a connection: %s", strerror(errno));
		ev_io_stop(loop, watcher);
		return;
	}
	if (server->agent_count >= CHANNELS_MAX) {
		log_warning("control.listen: a peer was dropped: %d channels are open", CHANNELS_MAX);
		close(fd);
		return;
	}
	add_agent(server, fd);
}

/* --- time --- */

static void close_silent(struct control_server *server, double now)
{
	struct agent *agent, *next;

	DL_FOREACH_SAFE (server->agents, agent, next) {
		if (agent->name[0] != '\0' && now - agent->heard > SILENCE_S)
			channel_close(agent->channel, "nothing was heard from it");
	}
}

static void attend_to_direct(struct direct_service *direct, unsigned lane)
{
	agent_outbox_retry(agent_outbox_of(&direct->outbox, lane));
	if (direct->guard && !lane)
		atomic_store_explicit(&node_metrics[NODE_GUARD_DROPPED].value,
				      (int64_t)egress_guard_dropped(direct->guard), memory_order_relaxed);
}

static void on_tick(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct control_server *server = timer->data;
	struct ticket_table *tickets = server->settings->tickets;
	double now = ticket_clock();

	(void)events;
	if (!server->lane) {
		ticket_table_expire(tickets, now, on_offer_expired, server);
		atomic_store_explicit(&node_metrics[NODE_OFFERS_WAITING].value, (int64_t)ticket_table_offers(tickets),
				      memory_order_relaxed);
		ev_io_start(loop, &server->acceptor);
	}
	close_silent(server, now);
	if (server->settings->direct)
		attend_to_direct(server->settings->direct, server->lane);
}

static struct control_server *start(struct ev_loop *loop, unsigned lane, const struct control_settings *settings,
				    const struct control_credentials *credentials)
{
	struct control_server *server = calloc(1, sizeof(*server));

	if (!server)
		return NULL;
	server->loop = loop;
	server->lane = lane;
	server->settings = settings;
	server->credentials = *credentials;
	hold(&server->credentials);
	ev_prepare_init(&server->last, on_turn_ends);
	ev_set_priority(&server->last, EV_MAXPRI);
	server->last.data = server;
	ev_prepare_start(loop, &server->last);
	ev_async_init(&server->again, on_again);
	ev_async_start(loop, &server->again);
	ev_timer_init(&server->tick, on_tick, TICK_S, TICK_S);
	server->tick.data = server;
	ev_timer_start(loop, &server->tick);
	result_queue_attach(result_queue_of(settings->results, lane), loop, on_result, server);
	if (settings->direct)
		agent_outbox_attach(agent_outbox_of(&settings->direct->outbox, lane), loop, on_letter, server);
	return server;
}

struct control_server *control_server_start(struct ev_loop *loop, int listener, const struct control_settings *settings)
{
	struct control_server *server = start(loop, 0, settings, &settings->credentials);

	if (!server)
		return NULL;
	certificate_watch_start(&server->certificate, loop, &node_metrics[NODE_CERTIFICATE_END]);
	certificate_watch_set(&server->certificate, channel_tls_not_after(server->credentials.tls));
	ev_io_init(&server->acceptor, on_connection, listener, EV_READ);
	server->acceptor.data = server;
	ev_io_start(loop, &server->acceptor);
	return server;
}

struct control_server *control_server_start_lane(struct ev_loop *loop, unsigned lane,
						 const struct control_settings *settings,
						 const struct control_credentials *credentials)
{
	struct control_server *server = start(loop, lane, settings, credentials);

	if (!server)
		return NULL;
	server->arrivals = (struct control_lane){.loop = loop, .arrived = on_arrived, .context = server};
	control_lane_open(settings->lanes, &server->arrivals, lane);
	return server;
}

void control_server_change(struct control_server *server, const struct control_credentials *credentials)
{
	struct agent *agent, *next;

	hold(credentials);
	drop(&server->credentials);
	server->credentials = *credentials;
	if (!server->lane)
		certificate_watch_set(&server->certificate, channel_tls_not_after(credentials->tls));
	DL_FOREACH_SAFE (server->agents, agent, next) {
		if (agent->name[0] != '\0' && !is_named(agent->name, credentials->agents))
			channel_close(agent->channel, unnamed);
	}
}

void control_server_stop(struct control_server *server)
{
	struct agent *agent, *next;

	if (server->lane) {
		control_lane_close(server->settings->lanes, server->lane);
	} else {
		ev_io_stop(server->loop, &server->acceptor);
		certificate_watch_stop(&server->certificate, server->loop);
	}
	result_queue_detach(result_queue_of(server->settings->results, server->lane));
	if (server->settings->direct)
		agent_outbox_detach(agent_outbox_of(&server->settings->direct->outbox, server->lane));
	ev_prepare_stop(server->loop, &server->last);
	ev_async_stop(server->loop, &server->again);
	ev_timer_stop(server->loop, &server->tick);
	DL_FOREACH_SAFE (server->agents, agent, next)
		channel_close(agent->channel, "the node ends");
	drop(&server->credentials);
	free(server);
}
