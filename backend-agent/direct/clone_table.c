/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "clone_table.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>
#include <utlist.h>

struct entry {
	struct ticket ticket;
	uint64_t channel;
	struct clone_inbox *inbox;
	bool handed_off;
	bool lost; /* its channel is: the inbox must learn of it */
	UT_hash_handle hh;
};

struct clone_table {
	pthread_mutex_t lock;
	struct entry *entries; /* by ticket */
	struct clone_inbox *inboxes;
};

struct clone_table *clone_table_new(void)
{
	struct clone_table *table = calloc(1, sizeof(*table));

	if (table && pthread_mutex_init(&table->lock, NULL) != 0) {
		free(table);
		return NULL;
	}
	return table;
}

void clone_table_free(struct clone_table *table)
{
	if (!table)
		return;
	assert(!table->inboxes && !table->entries);
	pthread_mutex_destroy(&table->lock);
	free(table);
}

static struct entry *entry_find(struct clone_table *table, const struct ticket *ticket)
{
	struct entry *entry;

	HASH_FIND(hh, table->entries, ticket, sizeof(*ticket), entry);
	return entry;
}

static void order_free(struct clone_order *order)
{
	free(order->frozen);
	free(order);
}

/* --- inboxes --- */

static struct clone_order *take_order(struct clone_inbox *inbox)
{
	struct clone_order *order;

	pthread_mutex_lock(&inbox->table->lock);
	order = inbox->orders;
	if (order)
		DL_DELETE(inbox->orders, order);
	pthread_mutex_unlock(&inbox->table->lock);
	return order;
}

/* Takes an entry whose channel was lost. Returns false if there is none. */
static bool take_lost(struct clone_inbox *inbox, struct clone_order *order)
{
	struct entry *entry, *next;
	bool found = false;

	pthread_mutex_lock(&inbox->table->lock);
	if (inbox->lost) {
		HASH_ITER (hh, inbox->table->entries, entry, next) {
			if (!entry->lost || entry->inbox != inbox)
				continue;
			*order = (struct clone_order){
				CLONE_ORDER_CHANNEL_LOST, entry->ticket, entry->channel, NULL, 0, NULL, NULL};
			entry->lost = false;
			inbox->lost--;
			found = true;
			break;
		}
	}
	pthread_mutex_unlock(&inbox->table->lock);
	return found;
}

static void on_wake(struct ev_loop *loop, ev_async *wake, int events)
{
	struct clone_inbox *inbox = wake->data;
	struct clone_order *order, lost;

	(void)loop;
	(void)events;
	while ((order = take_order(inbox))) {
		inbox->receive(inbox->context, order);
		order_free(order);
	}
	while (take_lost(inbox, &lost))
		inbox->receive(inbox->context, &lost);
}

void clone_inbox_open(struct clone_inbox *inbox)
{
	inbox->orders = NULL;
	inbox->lost = 0;
	ev_async_init(&inbox->wake, on_wake);
	inbox->wake.data = inbox;
	ev_async_start(inbox->loop, &inbox->wake);
	pthread_mutex_lock(&inbox->table->lock);
	DL_APPEND(inbox->table->inboxes, inbox);
	pthread_mutex_unlock(&inbox->table->lock);
}

void clone_inbox_close(struct clone_inbox *inbox)
{
	struct clone_order *order;

	pthread_mutex_lock(&inbox->table->lock);
	DL_DELETE(inbox->table->inboxes, inbox);
	pthread_mutex_unlock(&inbox->table->lock);
	while ((order = take_order(inbox)))
		order_free(order);
	ev_async_stop(inbox->loop, &inbox->wake);
}

/* --- the side of the clones --- */

int clone_table_add(struct clone_table *table, const struct ticket *ticket, uint64_t channel, struct clone_inbox *inbox)
{
	struct entry *entry = calloc(1, sizeof(*entry));
	bool added;

	if (!entry)
		return -1;
	*entry = (struct entry){.ticket = *ticket, .channel = channel, .inbox = inbox};
	pthread_mutex_lock(&table->lock);
	added = entry_find(table, ticket) == NULL;
	if (added)
		HASH_ADD(hh, table->entries, ticket, sizeof(entry->ticket), entry);
	pthread_mutex_unlock(&table->lock);
	if (!added)
		free(entry);
	return added ? 0 : -1;
}

void clone_table_remove(struct clone_table *table, const struct ticket *ticket)
{
	struct entry *entry;

	pthread_mutex_lock(&table->lock);
	entry = entry_find(table, ticket);
	assert(entry);
	if (entry->lost)
		entry->inbox->lost--;
	HASH_DEL(table->entries, entry);
	pthread_mutex_unlock(&table->lock);
	free(entry);
}

/* --- the side of the agents --- */

/* Takes over <order>. Under the lock, so that the inbox and its loop cannot go away meanwhile. */
static void give(struct clone_inbox *inbox, struct clone_order *order)
{
	DL_APPEND(inbox->orders, order);
	ev_async_send(inbox->loop, &inbox->wake);
}

static struct clone_order *order_new(enum clone_order_kind kind, uint64_t channel, const struct ticket *ticket)
{
	struct clone_order *order = calloc(1, sizeof(*order));

	if (order)
		*order = (struct clone_order){.kind = kind, .ticket = *ticket, .channel = channel};
	return order;
}

/* Takes over <order>, which may be NULL. */
static enum clone_order_status give_by_ticket(struct clone_table *table, struct clone_order *order)
{
	enum clone_order_status status = CLONE_ORDER_UNKNOWN;
	struct entry *entry;

	if (!order)
		return CLONE_ORDER_NO_MEMORY;
	pthread_mutex_lock(&table->lock);
	entry = entry_find(table, &order->ticket);
	if (entry && entry->channel == order->channel) {
		status = CLONE_ORDER_GIVEN;
		if (order->kind == CLONE_ORDER_HANDOFF && entry->handed_off)
			status = CLONE_ORDER_TWICE;
		else if (order->kind == CLONE_ORDER_HANDOFF)
			entry->handed_off = true;
	}
	if (status == CLONE_ORDER_GIVEN)
		give(entry->inbox, order);
	pthread_mutex_unlock(&table->lock);
	if (status != CLONE_ORDER_GIVEN)
		order_free(order);
	return status;
}

enum clone_order_status clone_table_hand_off(struct clone_table *table, uint64_t channel,
					     const struct control_handoff *handoff)
{
	struct clone_order *order = order_new(CLONE_ORDER_HANDOFF, channel, &handoff->ticket);
	struct tcp_frozen *frozen = malloc(sizeof(*frozen));

	if (!order || !frozen) {
		free(frozen);
		free(order);
		return CLONE_ORDER_NO_MEMORY;
	}
	frozen->state = handoff->state;
	frozen->send_len = handoff->send_queue.len;
	memcpy(frozen->send_queue, handoff->send_queue.data, frozen->send_len);
	/* What the client sent and nobody read stays with the agent, which has it and says so by receive_next. */
	frozen->receive_len = 0;
	order->frozen = frozen;
	order->bytes = handoff->bytes;
	return give_by_ticket(table, order);
}

enum clone_order_status clone_table_recall(struct clone_table *table, uint64_t channel, const struct ticket *ticket,
					   bool discard)
{
	return give_by_ticket(table, order_new(discard ? CLONE_ORDER_DISCARD : CLONE_ORDER_RECALL, channel, ticket));
}

enum clone_order_status clone_table_release(struct clone_table *table, uint64_t channel, const struct ticket *ticket)
{
	return give_by_ticket(table, order_new(CLONE_ORDER_RELEASE, channel, ticket));
}

/* Needs no memory: a clone that went on after its agent had given it up would fight with its successor. */
void clone_table_channel_lost(struct clone_table *table, uint64_t channel)
{
	struct entry *entry, *next;

	pthread_mutex_lock(&table->lock);
	HASH_ITER (hh, table->entries, entry, next) {
		if (entry->channel != channel || entry->lost)
			continue;
		entry->lost = true;
		entry->inbox->lost++;
		ev_async_send(entry->inbox->loop, &entry->inbox->wake);
	}
	pthread_mutex_unlock(&table->lock);
}
