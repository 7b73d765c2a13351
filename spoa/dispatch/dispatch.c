/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dispatch.h"

#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "log_limit.h"
#include "secret.h"

#define CHANGE_LOOK_S 0.02
#define LEAVE_LOOK_S 0.25

struct dispatch {
	struct spoa_config *config; /* held */
	struct spoa_config *next;   /* held: waits for its nodes; NULL: none */
	struct spoa_metrics *metrics;
	struct key_groups *key_groups; /* of all workers */
	struct node_link_owner owner;
	struct node_link *links[NODE_MAX];    /* by the nodes' index; NULL: none */
	const struct dispatch_direct *direct; /* NULL: every body takes the splice path */
	uint8_t *offer;                       /* room for one encoded OFFER, secret_alloc()ed */
	bool compared;                        /* see compare_arguments() */
	ev_timer look;                        /* while there is a <next>, or a node leaves */
	double deadline;                      /* loop time at which <next> is used, whatever its nodes are */
	struct log_limit bad_leases, refusals, faults;
};

/* --- the configuration changes --- */

/* Makes the links that <config> needs and that are not there. Returns false when memory is exhausted. */
static bool make_links(struct dispatch *dispatch, const struct spoa_config *config)
{
	for (size_t i = 0; i < config->node_count; i++) {
		struct node_link **link = &dispatch->links[config->nodes[i]->index];

		if (!*link)
			*link = node_link_new(&dispatch->owner, config->nodes[i]);
		if (!*link)
			return false;
	}
	return true;
}

static bool has_node(const struct spoa_config *config, const struct node *node)
{
	for (size_t i = 0; config && i < config->node_count; i++)
		if (config->nodes[i] == node)
			return true;
	return false;
}

static bool all_up(const struct dispatch *dispatch, const struct spoa_config *config)
{
	for (size_t i = 0; i < config->node_count; i++)
		if (!has_node(dispatch->config, config->nodes[i]) &&
		    node_link_readiness(dispatch->links[config->nodes[i]->index]) == NODE_LINK_DOWN)
			return false;
	return true;
}

/* Returns false if the direct path could not follow for want of memory. */
static bool use_next(struct dispatch *dispatch)
{
	/* Else nothing but the nodes of templates are other ones. */
	bool others = dispatch->next->policy.routes != dispatch->config->policy.routes;

	if (dispatch->direct && !dispatch->direct->change(dispatch->direct->context, dispatch->next))
		return false;
	spoa_config_drop(dispatch->config);
	dispatch->config = dispatch->next;
	dispatch->next = NULL;
	dispatch->compared = false;
	dispatch->owner.changed_hold = dispatch->config->changed_hold;
	if (!dispatch->owner.reports)
		return true;
	if (others)
		log_notice("the new configuration is in use: %zu nodes, %zu routes", dispatch->config->node_count,
			   dispatch->config->policy.count);
	else
		log_notice("the nodes that DNS has are in use: %zu nodes", dispatch->config->node_count);
	return true;
}

/* Nodes of links that are not needed any more. */
static node_set leaving_nodes(const struct dispatch *dispatch)
{
	node_set set = 0;

	for (size_t i = 0; i < NODE_MAX; i++) {
		const struct node *node = dispatch->links[i] ? node_link_node(dispatch->links[i]) : NULL;

		if (node && !has_node(dispatch->config, node) && !has_node(dispatch->next, node))
			set |= node_bit(node);
	}
	return set;
}

static void close_link(struct dispatch *dispatch, size_t index)
{
	const struct node *node = node_link_node(dispatch->links[index]);

	if (dispatch->owner.reports)
		log_notice("node %s left the configuration, and has nothing under way: its channel is closed",
			   node->name);
	if (dispatch->direct)
		dispatch->direct->forget_node(dispatch->direct->context, node);
	node_link_free(dispatch->links[index]);
	dispatch->links[index] = NULL;
}

/* Closes links to nodes that are not needed any more. Returns those that are still in use. */
static node_set close_links(struct dispatch *dispatch)
{
	const struct dispatch_direct *direct = dispatch->direct;
	node_set leaving = leaving_nodes(dispatch);
	node_set in_use = leaving && direct ? direct->used(direct->context) & leaving : 0;

	for (size_t i = 0; i < NODE_MAX; i++) {
		node_set bit = leaving & (node_set)1 << i;

		if (bit && node_link_outstanding(dispatch->links[i]))
			in_use |= bit;
		else if (bit && !(in_use & bit))
			close_link(dispatch, i);
	}
	return in_use;
}

static void on_look(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct dispatch *dispatch = timer->data;

	(void)events;
	if (dispatch->next && (all_up(dispatch, dispatch->next) || ev_now(loop) >= dispatch->deadline))
		(void)use_next(dispatch);
	timer->repeat = dispatch->next ? CHANGE_LOOK_S : close_links(dispatch) ? LEAVE_LOOK_S : 0.;
	ev_timer_again(loop, timer);
}

void dispatch_change(struct dispatch *dispatch, struct spoa_config *config)
{
	char note[LOG_LIMIT_NOTE_MAX];

	if (config == dispatch->config && !dispatch->next)
		return;
	spoa_config_hold(config);
	/* One that comes while another one waits puts nothing off. */
	if (dispatch->next)
		spoa_config_drop(dispatch->next);
	else
		dispatch->deadline = ev_now(dispatch->owner.loop) + DISPATCH_CHANGE_S;
	dispatch->next = config;
	dispatch->owner.tls = config->tls;
	if (!make_links(dispatch, config) && log_limit_allow(&dispatch->faults, ev_now(dispatch->owner.loop), note))
		log_error("a node of the configuration gets no offloads: out of memory%s", note);
	ev_feed_event(dispatch->owner.loop, &dispatch->look, EV_TIMER);
}

/* --- life --- */

struct dispatch *dispatch_new(struct ev_loop *loop, unsigned index, struct spoa_config *config,
			      struct spoa_metrics *metrics, void (*settled)(void *context), void *context)
{
	struct dispatch *dispatch = calloc(1, sizeof(*dispatch));

	if (!dispatch)
		return NULL;
	spoa_config_hold(config);
	dispatch->config = config;
	dispatch->metrics = metrics;
	dispatch->key_groups = config->key_groups;
	dispatch->owner = (struct node_link_owner){
		.loop = loop,
		.tls = config->tls,
		.metrics = metrics,
		.changed_paths = config->changed_paths,
		.changed_hold = config->changed_hold,
		.reports = index == 0,
		.settled = settled,
		.context = context,
	};
	ev_timer_init(&dispatch->look, on_look, 0., CHANGE_LOOK_S);
	dispatch->look.data = dispatch;
	dispatch->offer = secret_alloc(CONTROL_MESSAGE_MAX);
	if (!dispatch->offer || !make_links(dispatch, config)) {
		dispatch_free(dispatch);
		return NULL;
	}
	return dispatch;
}

void dispatch_free(struct dispatch *dispatch)
{
	if (!dispatch)
		return;
	dispatch_set_direct(dispatch, NULL);
	ev_timer_stop(dispatch->owner.loop, &dispatch->look);
	for (size_t i = 0; i < NODE_MAX; i++)
		node_link_free(dispatch->links[i]);
	secret_free(dispatch->offer, CONTROL_MESSAGE_MAX);
	if (dispatch->next)
		spoa_config_drop(dispatch->next);
	spoa_config_drop(dispatch->config);
	free(dispatch);
}

struct node_link *const *dispatch_links(const struct dispatch *dispatch)
{
	return dispatch->links;
}

void dispatch_set_direct(struct dispatch *dispatch, const struct dispatch_direct *direct)
{
	dispatch->direct = direct;
	dispatch->owner.listener = direct ? direct->listener : NULL;
}

/* Reads the lease into <state>. Returns true, or false, with nothing left in <state>, if it is malformed or of a kind
 * that is never leased. */
static bool read_lease(struct dispatch *dispatch, const struct request *request, struct tx_state *state)
{
	enum tx_state_error error = tx_state_decode(state, request->lease, request->lease_len);
	char note[LOG_LIMIT_NOTE_MAX];

	if (error == TX_STATE_OK)
		return true;
	if (log_limit_allow(&dispatch->bad_leases, ev_now(dispatch->owner.loop), note))
		log_warning("lease %" PRIu64 " refused: %s%s", request->lease_id, tx_state_error_text(error), note);
	return false;
}

/* Adds <node> to the sets of node_pool_judge(), if it knows what <use> needs. */
static void add_standing(const struct dispatch *dispatch, const struct node *node, enum tx_use use, node_set *up,
			 node_set *taking)
{
	const struct node_link *link = dispatch->links[node->index];

	if (use == TX_USE_GRANTS && !node_link_takes_grants(link))
		return;
	switch (node_link_readiness(link)) {
	case NODE_LINK_READY:
		*taking |= node_bit(node);
		/* fall through */
	case NODE_LINK_DRAINING:
		*up |= node_bit(node);
		break;
	case NODE_LINK_DOWN:
		break;
	}
}

static struct node_pool_state judge_pool(const struct dispatch *dispatch, const struct node_pool *pool, enum tx_use use)
{
	node_set up = 0, taking = 0;

	for (size_t i = 0; i < pool->count; i++)
		add_standing(dispatch, pool->members[i], use, &up, &taking);
	return node_pool_judge(pool, up, taking);
}

/* Counts the request at the node whose it would be if none were full. */
static void count_spill(const struct node_pool *pool, struct control_text path, const struct node_pool_state *members)
{
	const struct node *node;

	if (!members->full)
		return;
	node = node_pool_choose(pool, path, members->ready | members->full);
	if (node && (members->full & node_bit(node)) && node->spills)
		metric_add(node->spills, 1);
}

/* Encodes <offer> into dispatch->offer. Returns its length in bytes, or 0 after a log line. */
static size_t encode_offer(struct dispatch *dispatch, const struct control_offer *offer)
{
	struct control_message message = {.type = CONTROL_OFFER, .u.offer = *offer};
	enum control_error error;
	char note[LOG_LIMIT_NOTE_MAX];
	size_t len = 0;

	error = control_encode(&message, dispatch->offer, CONTROL_MESSAGE_MAX, &len);
	secret_wipe(&message, sizeof(message));
	if (error == CONTROL_OK)
		return len;
	secret_wipe(dispatch->offer, CONTROL_MESSAGE_MAX);
	if (log_limit_allow(&dispatch->faults, ev_now(dispatch->owner.loop), note))
		log_error("lease %" PRIu64 ": cannot encode its offer: %s", offer->lease_id, control_error_text(error));
	return 0;
}

enum offered { OFFERED, OFFER_REFUSED, OFFER_IMPOSSIBLE };

/* Offers to <node>, and prepares for the direct path if both sides of it can. */
static enum offered offer_to_node(struct dispatch *dispatch, struct control_offer *offer, const struct request *request,
				  const struct policy_route *route, struct node *node)
{
	int result = -1;
	size_t len;

	offer->direct_min = 0;
	if (dispatch->direct && request->direct && offer->state.use == TX_USE_RANGE)
		dispatch->direct->expect(dispatch->direct->context, offer, route, node, &request->peer);
	len = encode_offer(dispatch, offer);
	if (len)
		result = node_link_offer(dispatch->links[node->index], offer, dispatch->offer, len);
	secret_wipe(dispatch->offer, len);
	if (result < 0 && offer->direct_min > 0)
		dispatch->direct->forget(dispatch->direct->context, &offer->ticket);
	return result == 0 ? OFFERED : len ? OFFER_REFUSED : OFFER_IMPOSSIBLE;
}

/* Offers to the nodes of <route>'s pool in the order of choice until one takes it. */
static const struct node *offer_to_pool(struct dispatch *dispatch, struct control_offer *offer,
					const struct request *request, const struct policy_route *route,
					enum pass_reason *reason)
{
	const struct node_pool *pool = &dispatch->config->pools[route->pool];
	struct node_pool_state members = judge_pool(dispatch, pool, offer->state.use);
	struct node *node;
	char note[LOG_LIMIT_NOTE_MAX];

	*reason = members.otherwise;
	count_spill(pool, request->path, &members);
	while ((node = node_pool_choose(pool, request->path, members.ready))) {
		switch (offer_to_node(dispatch, offer, request, route, node)) {
		case OFFERED:
			return node;
		case OFFER_IMPOSSIBLE:
			*reason = PASS_INTERNAL;
			return NULL;
		case OFFER_REFUSED:
			break;
		}
		members.ready &= ~node_bit(node);
		if (log_limit_allow(&dispatch->refusals, ev_now(dispatch->owner.loop), note))
			log_warning("node %s: its control channel takes no more offers%s", node->name, note);
	}
	return NULL;
}

static void tell_unknown(const struct policy_route *route, const struct request *request, const char *name)
{
	struct request_text value;

	if (request_argument(request, name, &value) == REQUEST_ARGUMENT_UNKNOWN)
		log_warning("route %s asks for the argument \"%s\", which HAProxy's message does not have: see args in "
			    "its SPOE configuration",
			    route->name, name);
}

/* Logs what routes ask for and HAProxy's messages do not have, with the first of them. */
static void compare_arguments(struct dispatch *dispatch, const struct request *request)
{
	const struct policy *policy = &dispatch->config->policy;

	if (dispatch->compared || !dispatch->owner.reports)
		return;
	dispatch->compared = true;
	for (size_t i = 0; i < policy->count; i++) {
		const struct policy_route *route = &policy->routes[i];

		if (route->sni_count)
			tell_unknown(route, request, "sni");
		for (size_t k = 0; k < route->argument_count; k++)
			tell_unknown(route, request, route->arguments[k].name);
	}
}

static struct dispatch_answer pass(enum pass_reason reason)
{
	return (struct dispatch_answer){.reason = reason};
}

/* Draws a ticket for <request> and its percentage, which is taken from the ticket's own randomness. */
static struct dispatch_answer decide(struct dispatch *dispatch, const struct request *request,
				     const struct tx_state *state)
{
	struct dispatch_answer answer = {.node = NULL};
	struct policy_decision decision;
	const struct node_pool *pool;
	char note[LOG_LIMIT_NOTE_MAX];
	char client[CLIENT_ADDRESS_TEXT_MAX], peer[CLIENT_ADDRESS_TEXT_MAX];
	struct control_offer offer;
	uint64_t draw;

	if (ticket_generate(&answer.ticket) < 0) {
		if (log_limit_allow(&dispatch->faults, ev_now(dispatch->owner.loop), note))
			log_error("cannot draw a ticket: %s", strerror(errno));
		return pass(PASS_INTERNAL);
	}
	memcpy(&draw, answer.ticket.bytes, sizeof(draw));
	decision = policy_decide(&dispatch->config->policy, request, draw);
	if (!decision.offload)
		return pass(decision.reason);
	pool = &dispatch->config->pools[decision.route->pool];
	if (node_pool_is_foreign(pool, request->group))
		return pass(PASS_GROUP);
	if (changed_paths_hold(dispatch->owner.changed_paths, request->path, changed_paths_clock()))
		return pass(PASS_CHANGING);
	/* Last of all: the key is that group's from here on, also if none of its nodes can take the offer. */
	if (state->use == TX_USE_GRANTS && dispatch->config->groups_differ &&
	    !key_groups_claim(dispatch->key_groups, state, pool->trust_group))
		return pass(PASS_GROUP);
	offer = (struct control_offer){
		.ticket = answer.ticket,
		.state = *state,
		.method = request->method,
		.host = request->host,
		.target = request->target,
		.lease_id = request->lease_id,
		.splice_min =
			state->use == TX_USE_GRANTS ? decision.route->sizes.h2_min : decision.route->sizes.splice_min,
	};
	offer.client.data = client_address_format(&request->client, client);
	offer.client.len = strlen(client);
	offer.peer.data = client_address_format(&request->peer, peer);
	offer.peer.len = strlen(peer);
	answer.node = offer_to_pool(dispatch, &offer, request, decision.route, &answer.reason);
	secret_wipe(&offer, sizeof(offer));
	if (answer.node && state->use == TX_USE_GRANTS)
		answer.group = pool->trust_group;
	return answer;
}

struct dispatch_answer dispatch_request(struct dispatch *dispatch, const struct request *request)
{
	struct dispatch_answer answer;
	struct tx_state state;

	if (request->mistyped || !request->method.len || !request->target.len)
		return pass(PASS_BAD_REQUEST);
	if (!request->lease)
		return pass(PASS_NO_LEASE);
	if (!read_lease(dispatch, request, &state))
		return pass(PASS_BAD_LEASE);
	answer = decide(dispatch, request, &state);
	secret_wipe(&state, sizeof(state));
	return answer;
}

static void set_variable(struct spop_writer *ack, const char *name, const char *text)
{
	spop_ack_set_text(ack, SPOP_SCOPE_TRANSACTION, name, text);
}

/* The address that HAProxy is to connect to, for its set-dst and set-dst-port. Not a server's name too: without these rules HAProxy
 * would take a server that has no address. */
static void set_address(struct spop_writer *ack, const struct address *address)
{
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)&address->storage;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&address->storage;

	if (address->storage.ss_family == AF_INET6) {
		spop_ack_set_address(ack, SPOP_SCOPE_TRANSACTION, "address", (const uint8_t *)&v6->sin6_addr,
				     sizeof(v6->sin6_addr));
		spop_ack_set_number(ack, SPOP_SCOPE_TRANSACTION, "port", ntohs(v6->sin6_port));
	} else {
		spop_ack_set_address(ack, SPOP_SCOPE_TRANSACTION, "address", (const uint8_t *)&v4->sin_addr,
				     sizeof(v4->sin_addr));
		spop_ack_set_number(ack, SPOP_SCOPE_TRANSACTION, "port", ntohs(v4->sin_port));
	}
}

/* Without a node nothing was queued under the lease, and nothing will be: HAProxy goes on using its slots. */
static void answer_pass(struct dispatch *dispatch, const struct request *request, enum pass_reason reason,
			struct spop_writer *ack)
{
	spoa_metrics_count_pass(dispatch->metrics, reason);
	set_variable(ack, "action", "pass");
	set_variable(ack, "reason", pass_reason_word(reason));
	if (request->has_lease && request->has_lease_id)
		spop_ack_set_number(ack, SPOP_SCOPE_TRANSACTION, "unused_lease", request->lease_id);
	log_debug("lease %" PRIu64 ": pass, %s", request->lease_id, pass_reason_word(reason));
}

enum spop_status dispatch_notify(struct dispatch *dispatch, const struct spop_frame *frame, struct spop_writer *ack)
{
	char ticket[TICKET_TEXT_LEN + 1];
	struct dispatch_answer answer;
	struct request request;

	if (!request_read(&request, frame->payload))
		return SPOP_STATUS_INVALID;
	compare_arguments(dispatch, &request);
	answer = dispatch_request(dispatch, &request);
	if (!answer.node) {
		answer_pass(dispatch, &request, answer.reason, ack);
		return SPOP_STATUS_NORMAL;
	}
	ticket_format(ticket, &answer.ticket);
	set_variable(ack, "action", "offload");
	if (answer.node->by_address)
		set_address(ack, &answer.node->fetch);
	else
		set_variable(ack, "server", answer.node->server);
	set_variable(ack, "ticket", ticket);
	set_variable(ack, "node", answer.node->name);
	if (answer.group)
		set_variable(ack, "group", answer.group);
	log_debug("lease %" PRIu64 ": offload to node %s, ticket %.8s", request.lease_id, answer.node->name, ticket);
	return SPOP_STATUS_NORMAL;
}

static const char *no_direct_section(void *context, const struct policy_route *route, const struct node *node,
				     const struct client_address *peer)
{
	(void)context;
	(void)route;
	(void)node;
	(void)peer;
	return "it is off, as the log says";
}

char *dispatch_explain(struct dispatch *dispatch, const struct explain_question *question)
{
	const struct spoa_config *config = dispatch->config;
	const struct dispatch_direct *direct = dispatch->direct;
	struct explain_state state = {
		.running = true,
		.changing = changed_paths_hold(dispatch->owner.changed_paths, question->request.path,
					       changed_paths_clock()),
		.no_direct = direct ? direct->why_not : no_direct_section,
		.context = direct ? direct->context : NULL,
	};

	for (size_t i = 0; i < config->node_count; i++) {
		add_standing(dispatch, config->nodes[i], TX_USE_RANGE, &state.up, &state.taking);
		if (!node_link_takes_grants(dispatch->links[config->nodes[i]->index]))
			state.no_grants |= node_bit(config->nodes[i]);
	}
	return explain(&config->policy, config->pools, question, &state);
}

size_t dispatch_outstanding(const struct dispatch *dispatch)
{
	size_t count = 0;

	for (size_t i = 0; i < NODE_MAX; i++)
		if (dispatch->links[i])
			count += node_link_outstanding(dispatch->links[i]);
	return count;
}
