/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "direct_path.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "capabilities.h"
#include "direct_needs.h"
#include "handoff.h"
#include "handoff_table.h"
#include "log.h"
#include "mover.h"
#include "node_reach.h"
#include "secret.h"
#include "steering_leftover.h"
#include "tracking_watch.h"

#define ROUTES_S 5.0        /* how often routes to nodes are looked up */
#define COUNT_S 1.0         /* how often steering is asked for its counters */
#define DRAIN_SETTLES_S 0.8 /* some pings: by then all nodes that drain at the same time have said so */
#define FLOW_AGE_S 3600.0   /* then a flow without a packet belongs to nobody */
#define ERROR_MAX 256

struct direct_path {
	struct handoff_table table;
	struct node_link_listener listener;
	struct dispatch_direct offers;
	struct handoff_server *server;
	struct node_reach routes;
	struct tracking_watch tracking;
	double drains_since[NODE_MAX]; /* by the nodes' index; loop time */
	ev_timer look, count;
	size_t leftovers;
};

/* --- handoffs --- */

/* An event of several handoffs: of those of one node, or that one connection of the handoff socket has parked. */
struct selection {
	enum handoff_event event;
	const struct node *node;                  /* NULL: any */
	const struct handoff_connection *haproxy; /* NULL: any */
};

static void feed_if_selected(void *context, struct handoff *handoff)
{
	const struct selection *selection = context;
	/* None that is only offered may be handed off any more, on whichever connection its PARKED comes. */
	bool any_haproxy =
		!selection->haproxy || (selection->event == EVENT_RECALL && handoff->machine.state == HANDOFF_OFFERED);

	if ((!selection->node || handoff->node == selection->node) &&
	    (any_haproxy || handoff->haproxy == selection->haproxy))
		handoff_feed(handoff, selection->event);
}

static void feed(struct direct_path *direct, struct selection selection)
{
	handoff_table_each(&direct->table, feed_if_selected, &selection);
}

/* Refuses a parked connection, to which nothing was done: HAProxy goes on by the splice path. <fd> is -1 if the
 * descriptor did not get here; <handoff> is the ticket's, in OFFERED, or NULL; <why> is for the log. */
static void refuse_handoff(struct direct_path *direct, struct handoff_connection *connection,
			   const struct handoff_message *message, int fd, struct handoff *handoff, const char *why)
{
	const struct handoff_message refused = {.type = HANDOFF_MESSAGE_REFUSED, .handoff = message->handoff};
	struct handoff_table *table = &direct->table;
	char digits[TICKET_TEXT_LEN + 1], note[LOG_LIMIT_NOTE_MAX];

	ticket_format(digits, &message->ticket);
	if (log_limit_allow(&table->losses, ev_now(table->loop), note))
		log_warning("ticket %.8s takes the splice path: %s%s", digits, why, note);
	if (fd >= 0)
		(void)close(fd);
	if (handoff)
		handoff_feed(handoff, EVENT_DECLINE);
	spoa_metrics_add(direct->table.metrics, SPOA_HANDOFFS_REFUSED, 1);
	handoff_connection_send(connection, &refused);
}

static const char *on_parked(void *context, struct handoff_connection *connection,
			     const struct handoff_message *message, int fd)
{
	struct direct_path *direct = context;
	struct handoff *handoff = handoff_table_find(&direct->table, &message->ticket);
	const char *why;

	if (fd < 0 && (!handoff || handoff->machine.state == HANDOFF_OFFERED)) {
		refuse_handoff(direct, connection, message, fd, handoff, "no descriptor is left for its connection");
		return NULL;
	}
	if (!handoff) {
		refuse_handoff(direct, connection, message, fd, NULL, "it is unknown to this agent");
		return NULL;
	}
	if (handoff->machine.state == HANDOFF_OFFERED && (why = tracking_watch_exempt(&direct->tracking, fd))) {
		refuse_handoff(direct, connection, message, fd, handoff, why);
		return NULL;
	}
	if (handoff->machine.state == HANDOFF_OFFERED && (why = handoff_body_announce(&handoff->body, message))) {
		refuse_handoff(direct, connection, message, fd, handoff, why);
		return NULL;
	}
	if (handoff->machine.state != HANDOFF_OFFERED ||
	    !handoff_table_number(&direct->table, handoff, connection, message->handoff)) {
		if (fd >= 0)
			(void)close(fd);
		return handoff->machine.state != HANDOFF_OFFERED ? "it parked two connections for one ticket"
								 : "it used a number twice";
	}
	handoff_parked(handoff, connection, message, fd);
	return NULL;
}

static void on_abandon(void *context, struct handoff_connection *connection, uint64_t number)
{
	struct direct_path *direct = context;
	struct handoff *handoff = handoff_table_find_number(&direct->table, connection, number);

	/* Else it has ended, and HAProxy did not know yet. */
	if (handoff)
		handoff_feed(handoff, EVENT_ABANDON);
}

static void on_haproxy_closed(void *context, struct handoff_connection *connection)
{
	feed(context, (struct selection){.event = EVENT_ABANDON, .haproxy = connection});
}

static void on_recall(void *context, struct handoff_connection *connection)
{
	log_notice("HAProxy recalls its connections");
	feed(context, (struct selection){.event = EVENT_RECALL, .haproxy = connection});
}

static const struct handoff_server_events handoff_server_events = {
	.parked = on_parked,
	.abandon = on_abandon,
	.recall = on_recall,
	.closed = on_haproxy_closed,
};

/* --- nodes --- */

static const struct ticket *ticket_of(const struct control_message *message)
{
	switch (message->type) {
	case CONTROL_HANDOFF_REPLY:
		return &message->u.handoff_reply.ticket;
	case CONTROL_PROGRESS:
		return &message->u.progress.ticket;
	case CONTROL_CLIENT_DATA:
		return &message->u.client_data.ticket;
	case CONTROL_DRAINED:
		return &message->u.drained.ticket;
	case CONTROL_HANDBACK:
		return &message->u.handback.ticket;
	case CONTROL_GONE:
		return &message->u.gone.ticket;
	default:
		return &message->u.result.ticket;
	}
}

static const char *on_node_message(void *context, struct node *node, const struct control_message *message)
{
	struct direct_path *direct = context;
	struct handoff *handoff = handoff_table_find(&direct->table, ticket_of(message));

	if (!handoff || handoff->node != node) {
		if (message->type != CONTROL_RESULT)
			log_debug("node %s: %s for a ticket that is not known", node->name,
				  control_type_text(message->type));
		return NULL;
	}
	return handoff_received(handoff, message);
}

static void on_node_lost(void *context, struct node *node)
{
	late_release_forget(&((struct direct_path *)context)->table.releases, node->index);
	feed(context, (struct selection){.event = EVENT_NODE_LOST, .node = node});
}

static void on_node_drains(void *context, struct node *node)
{
	struct direct_path *direct = context;

	direct->drains_since[node->index] = ev_now(direct->table.loop);
}

/* Recalls what draining nodes have, after a moment: a node that begins to drain at the same time is no replica. */
static void recall_from_draining(struct direct_path *direct)
{
	double now = ev_now(direct->table.loop);

	for (size_t i = 0; i < NODE_MAX; i++) {
		const struct node_link *link = direct->table.links[i];

		if (node_link_readiness(link) == NODE_LINK_DRAINING && now - direct->drains_since[i] >= DRAIN_SETTLES_S)
			feed(direct, (struct selection){.event = EVENT_NODE_DRAINS, .node = node_link_node(link)});
	}
}

/* --- what is done now and then --- */

static void show(struct direct_path *direct, enum spoa_metric id, uint64_t value)
{
	atomic_store_explicit(&direct->table.metrics->all[id].value, (int64_t)value, memory_order_relaxed);
}

static void on_look(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct direct_path *direct = timer->data;
	const struct spoa_config *config = direct->table.config;

	(void)loop;
	(void)events;
	tracking_watch_look(&direct->tracking);
	show(direct, SPOA_NODES_UNREACHABLE,
	     node_reach_find(&direct->routes, direct->table.steering, config->nodes, config->node_count,
			     direct->table.routes));
}

static void on_count(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct direct_path *direct = timer->data;
	struct steering_counters counters;

	(void)loop;
	(void)events;
	recall_from_draining(direct);
	steering_count(direct->table.steering, &counters);
	show(direct, SPOA_STEERING_FLOWS, counters.flows);
	show(direct, SPOA_STEERING_REDIRECTED, counters.redirected);
	show(direct, SPOA_STEERING_HELD, counters.held);
	show(direct, SPOA_STEERING_OVERFLOWS, counters.hold_overflows);
	show(direct, SPOA_STEERING_REINJECTED, counters.reinjected);
	show(direct, SPOA_STEERING_MUTED, counters.muted);
	show(direct, SPOA_STEERING_FRAGMENTS, counters.fragments);
}

/* --- offers --- */

/* Returns why a body of <route> cannot take the direct path from <node> to <peer> now, or NULL if it can. */
static const char *why_not(void *context, const struct policy_route *route, const struct node *node,
			   const struct client_address *peer)
{
	struct direct_path *direct = context;
	struct handoff_table *table = &direct->table;
	const size_t family = peer->family == CLIENT_IPV6;

	if (route->path == POLICY_PATH_SPLICE)
		return "its route says splice";
	if (table->draining)
		return "this agent ends";
	if (direct->tracking.judges)
		return "connection tracking on this host would judge what clients send";
	if (peer->family == CLIENT_UNKNOWN)
		return "the other end of its TCP connection is not known";
	if (!breaker_allows(&table->breakers[route->breaker], ev_now(table->loop)))
		return "its route's breaker is open after failures";
	if (!node_link_direct(table->links[node->index]))
		return "the node does not transmit on clients' connections";
	if (!node_reach_usable(&direct->routes, node, family, &table->routes[node->index][family], ev_now(table->loop)))
		return "the node's address for packets of clients is not reached";
	return NULL;
}

static bool can_be_direct(struct direct_path *direct, const struct control_offer *offer,
			  const struct policy_route *route, const struct node *node, const struct client_address *peer)
{
	return offer->method.len == 3 && memcmp(offer->method.data, "GET", 3) == 0 &&
	       !why_not(direct, route, node, peer);
}

/* If the direct path can be taken, keeps what a takeover needs and sets offer->direct_min. */
static void expect(void *context, struct control_offer *offer, const struct policy_route *route, struct node *node,
		   const struct client_address *peer)
{
	struct direct_path *direct = context;
	struct handoff *handoff;

	/* The offer leaves in the same turn of the loop, so that both share a record. */
	late_release_flush(&direct->table.releases, node->index);
	if (!can_be_direct(direct, offer, route, node, peer))
		return;
	handoff = handoff_new(&direct->table, offer, route, node);
	if (!handoff)
		return;
	if (!handoff_table_add(&direct->table, handoff)) {
		handoff_free(handoff);
		return;
	}
	offer->direct_min = route->path == POLICY_PATH_DIRECT ? 1 : route->sizes.direct_min;
}

static void forget(void *context, const struct ticket *ticket)
{
	struct direct_path *direct = context;
	struct handoff *handoff = handoff_table_find(&direct->table, ticket);

	if (!handoff)
		return;
	handoff_table_remove(&direct->table, handoff);
	handoff_free(handoff);
}

/* --- another configuration --- */

static void note_use(void *context, struct handoff *handoff)
{
	node_set *set = context;

	*set |= node_bit(handoff->node);
}

static node_set used(void *context)
{
	struct direct_path *direct = context;
	node_set set = 0;

	handoff_table_each(&direct->table, note_use, &set);
	return set;
}

/* A route that is gone keeps no breaker open. */
static void close_unused_breakers(struct direct_path *direct, const struct spoa_config *config)
{
	struct handoff_table *table = &direct->table;

	for (size_t i = 0; i < table->config->breaker_count; i++) {
		bool used = false;

		for (size_t k = 0; k < config->policy.count; k++)
			used = used || config->policy.routes[k].breaker == i;
		if (!used && table->breakers[i].tripped)
			spoa_metrics_add(table->metrics, SPOA_BREAKERS_OPEN, -1);
		if (!used)
			table->breakers[i] = (struct breaker){.failures = 0};
	}
}

static bool change(void *context, struct spoa_config *config)
{
	struct direct_path *direct = context;
	struct handoff_table *table = &direct->table;
	const size_t count = table->config->breaker_count;
	struct breaker *breakers = realloc(table->breakers, (config->breaker_count + 1) * sizeof(*breakers));

	if (!breakers)
		return false;
	table->breakers = breakers;
	memset(breakers + count, 0, (config->breaker_count + 1 - count) * sizeof(*breakers));
	close_unused_breakers(direct, config);
	table->config = config;
	on_look(table->loop, &direct->look, 0);
	return true;
}

static void forget_node(void *context, const struct node *node)
{
	struct direct_path *direct = context;

	node_reach_forget(&direct->routes, node->index, direct->table.routes);
}

/* --- life --- */

const struct dispatch_direct *direct_path_offers(const struct direct_path *direct)
{
	return &direct->offers;
}

/* An earlier process left this flow behind, and nobody will finish it: resets its client. */
static void on_leftover(void *context, const struct tcp_state *flow, const struct steering_seen *seen)
{
	struct direct_path *direct = context;
	char text[TCP_STATE_TEXT_MAX];
	struct tcp_fault fault;

	direct->leftovers++;
	spoa_metrics_add(direct->table.metrics, SPOA_LEFTOVERS, 1);
	if (seen->any && tcp_reset(flow, seen->acknowledged, &fault) < 0)
		log_debug("%s, left over by an earlier process, could not be reset: %s: %s",
			  tcp_state_format(flow, text), fault.call, strerror(fault.error));
}

static void tell_off(const char *why)
{
	log_warning("the direct path is off, bodies take the splice path: %s", why);
}

/* How many connections may be handed off at a time. Returns 0, or -1 after a line in the log. */
static int check_needs(struct direct_path *direct)
{
	const struct spoa_config *config = direct->table.config;
	char why[ERROR_MAX];

	if (direct_needs_capabilities(why, sizeof(why)) == 0)
		direct->table.max = direct_needs_descriptors(config, why, sizeof(why));
	if (!direct->table.max) {
		tell_off(why);
		return -1;
	}
	if (direct->table.max < config->direct.max_flows)
		log_warning("of max-flows = %zu connections only %zu can be handed off at a time: %s",
			    config->direct.max_flows, direct->table.max, why);
	return 0;
}

static int open_steering(struct direct_path *direct)
{
	const struct spoa_config_direct *settings = &direct->table.config->direct;
	const struct steering_settings wanted = {.interfaces = settings->interfaces,
						 .max_flows = settings->max_flows,
						 .max_age = FLOW_AGE_S,
						 .acknowledged = handoff_acknowledged};
	struct tcp_fault fault;
	char error[ERROR_MAX];

	if (tcp_repair_check(&fault) < 0) {
		(void)snprintf(error, sizeof(error), "%s: %s", fault.call, strerror(fault.error));
		tell_off(error);
		return -1;
	}
	direct->table.steering = steering_open(direct->table.loop, &wanted, on_leftover, direct, error, sizeof(error));
	if (!direct->table.steering) {
		tell_off(error);
		return -1;
	}
	if (direct->leftovers)
		log_warning("%zu connections of clients were left over by an earlier process and are reset",
			    direct->leftovers);
	return 0;
}

static int make_table(struct direct_path *direct, const struct direct_path_owner *owner)
{
	struct handoff_table *table = &direct->table;

	table->loop = owner->loop;
	table->config = owner->config;
	table->metrics = owner->metrics;
	table->links = owner->links;
	table->settled = owner->settled;
	table->context = owner->context;
	table->releases = (struct late_release){.loop = owner->loop, .send = mover_send_release, .context = table};
	late_release_open(&table->releases);
	table->leases = lease_store_new();
	table->breakers = calloc(table->config->breaker_count + 1, sizeof(*table->breakers));
	table->frozen = malloc(sizeof(*table->frozen));
	table->frame = secret_alloc(CONTROL_MESSAGE_MAX);
	if (table->leases && table->breakers && table->frozen && table->frame)
		return 0;
	log_error("the direct path is off: out of memory");
	return -1;
}

static void start_timers(struct direct_path *direct)
{
	ev_timer_init(&direct->look, on_look, ROUTES_S, ROUTES_S);
	ev_timer_init(&direct->count, on_count, COUNT_S, COUNT_S);
	direct->look.data = direct->count.data = direct;
	ev_timer_start(direct->table.loop, &direct->look);
	ev_timer_start(direct->table.loop, &direct->count);
	on_look(direct->table.loop, &direct->look, 0);
}

static int open_handoff_socket(struct direct_path *direct)
{
	const struct spoa_config_direct *settings = &direct->table.config->direct;

	direct->server = handoff_server_new(direct->table.loop, &settings->socket, &settings->owner,
					    &handoff_server_events, direct);
	return direct->server ? 0 : -1;
}

/* What opening took is not needed any more. */
static void keep_capabilities(const char *kept)
{
	char error[ERROR_MAX];

	if (capabilities_keep(kept, error, sizeof(error)) < 0)
		log_warning("the capabilities that are not needed any more cannot be given up: %s", error);
}

struct direct_path *direct_path_new(const struct direct_path_owner *owner)
{
	struct direct_path *direct = calloc(1, sizeof(*direct));

	if (!direct) {
		log_error("the direct path is off: out of memory");
		keep_capabilities("");
		return NULL;
	}
	tracking_watch_open(&direct->tracking, owner->metrics, owner->config->direct.ignore_tracking);
	direct->listener = (struct node_link_listener){on_node_message, on_node_lost, on_node_drains, direct};
	direct->offers =
		(struct dispatch_direct){expect, forget, why_not, change, used, forget_node, direct, &direct->listener};
	if (make_table(direct, owner) < 0 || check_needs(direct) < 0 || open_steering(direct) < 0 ||
	    open_handoff_socket(direct) < 0) {
		/* Detaching takes a capability: what was attached, and what an earlier process left, which nobody else
		 * will. One that still drains beside us loses its own, as when this path does open. */
		direct_path_free(direct);
		steering_leftover_detach(0, 0);
		keep_capabilities("");
		return NULL;
	}
	keep_capabilities(DIRECT_CAPABILITIES);
	start_timers(direct);
	return direct;
}

void direct_path_free(struct direct_path *direct)
{
	struct handoff_table *table;

	if (!direct)
		return;
	table = &direct->table;
	table->settled = NULL;
	feed(direct, (struct selection){.event = EVENT_AGENT_ENDS});
	late_release_close(&table->releases);
	handoff_server_free(direct->server);
	ev_timer_stop(direct->table.loop, &direct->look);
	ev_timer_stop(direct->table.loop, &direct->count);
	if (table->steering)
		steering_close(table->steering);
	tracking_watch_close(&direct->tracking);
	lease_store_free(table->leases);
	free(table->breakers);
	free(table->frozen);
	secret_free(table->frame, CONTROL_MESSAGE_MAX);
	free(direct);
}

void direct_path_drain(struct direct_path *direct)
{
	if (direct->table.draining)
		return;
	direct->table.draining = true;
	handoff_server_drain(direct->server);
	feed(direct, (struct selection){.event = EVENT_AGENT_DRAINS});
}

size_t direct_path_outstanding(const struct direct_path *direct)
{
	return handoff_table_parked(&direct->table);
}
