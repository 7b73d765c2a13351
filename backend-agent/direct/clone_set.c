/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "clone_set.h"

#include <stdlib.h>

#include "ticket_table.h"

#define TICK_S 0.25

struct clone_set {
	struct clone_shared shared;
	struct client_route_memory routes;
	struct connection_tracking tracking;
	struct clone_inbox inbox;
	ev_timer tick; /* runs while there are clones */
	struct clone *clones;
	size_t count, max;
	void (*ended)(void *context);
	void *context;
};

static struct clone *find(struct clone_set *set, const struct ticket *ticket)
{
	struct clone *clone;

	HASH_FIND(hh, set->clones, ticket, sizeof(*ticket), clone);
	return clone;
}

static void on_ended(void *context, struct clone *clone)
{
	struct clone_set *set = context;

	clone_table_remove(set->inbox.table, &clone->ticket);
	HASH_DEL(set->clones, clone);
	free(clone);
	set->count--;
	if (!set->count)
		ev_timer_stop(set->shared.loop, &set->tick);
	set->ended(set->context);
}

/* The clone has ended while this order was on its way to it. */
static void answer_late_order(struct clone_set *set, const struct clone_order *order)
{
	static const char reason[] = "it came too late";
	const struct control_message message = {
		.type = CONTROL_HANDOFF_REPLY,
		.u.handoff_reply = {.ticket = order->ticket, .reason = {reason, sizeof(reason) - 1}},
	};

	if (order->kind == CLONE_ORDER_HANDOFF)
		(void)agent_outbox_post(set->shared.outbox, order->channel, &message);
}

static void on_order(void *context, const struct clone_order *order)
{
	struct clone *clone = find(context, &order->ticket);

	if (!clone) {
		answer_late_order(context, order);
		return;
	}
	switch (order->kind) {
	case CLONE_ORDER_HANDOFF:
		clone_hand_off(clone, order->frozen, order->bytes);
		break;
	case CLONE_ORDER_RECALL:
		clone_recall(clone, false);
		break;
	case CLONE_ORDER_DISCARD:
		clone_recall(clone, true);
		break;
	case CLONE_ORDER_RELEASE:
		clone_release(clone);
		break;
	case CLONE_ORDER_CHANNEL_LOST:
		clone_channel_lost(clone);
		break;
	}
}

static void on_tick(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct clone_set *set = timer->data;
	struct clone *clone, *next;
	double now = ticket_clock();

	(void)loop;
	(void)events;
	HASH_ITER (hh, set->clones, clone, next)
		clone_tick(clone, now);
}

struct clone_set *clone_set_new(struct ev_loop *loop, struct direct_service *service, size_t max_clones,
				void (*ended)(void *context), void *context)
{
	struct clone_set *set = calloc(1, sizeof(*set));
	struct tcp_frozen *frozen = malloc(sizeof(*frozen));

	if (!set || !frozen) {
		free(frozen);
		free(set);
		return NULL;
	}
	set->shared = (struct clone_shared){.loop = loop,
					    .settings = service->settings,
					    .outbox = &service->outbox,
					    .results = service->results,
					    .frozen = frozen,
					    .tracking = &set->tracking,
					    .ended = on_ended,
					    .context = set};
	connection_tracking_open(&set->tracking);
	set->max = max_clones;
	set->ended = ended;
	set->context = context;
	ev_timer_init(&set->tick, on_tick, TICK_S, TICK_S);
	set->tick.data = set;
	set->inbox.loop = loop;
	set->inbox.table = service->table;
	set->inbox.receive = on_order;
	set->inbox.context = set;
	clone_inbox_open(&set->inbox);
	return set;
}

void clone_set_free(struct clone_set *set)
{
	struct clone *clone, *next;

	if (!set)
		return;
	HASH_ITER (hh, set->clones, clone, next)
		clone_drop(clone, CONTROL_GONE_NODE, CONTROL_OUTCOME_ABORTED, "the node ends");
	clone_inbox_close(&set->inbox);
	connection_tracking_close(&set->tracking);
	free(set->shared.frozen);
	free(set);
}

bool clone_set_reaches(struct clone_set *set, const struct ip_address *client)
{
	return client_route_exists(set->shared.settings, &set->routes, client, ticket_clock());
}

struct clone *clone_set_add(struct clone_set *set, const struct clone_terms *terms, struct sealed_body *body)
{
	struct clone *clone;

	if (set->count >= set->max ||
	    clone_table_add(set->inbox.table, &terms->ticket, terms->channel, &set->inbox) < 0)
		return NULL;
	clone = clone_new(&set->shared, terms, body);
	if (!clone) {
		clone_table_remove(set->inbox.table, &terms->ticket);
		return NULL;
	}
	HASH_ADD(hh, set->clones, ticket, sizeof(clone->ticket), clone);
	if (set->count++ == 0)
		ev_timer_again(set->shared.loop, &set->tick);
	return clone;
}

void clone_set_cancel(struct clone_set *set, const struct ticket *ticket, const char *why)
{
	struct clone *clone = find(set, ticket);

	if (clone)
		clone_cancel(clone, why);
}

size_t clone_set_count(const struct clone_set *set)
{
	return set->count;
}
