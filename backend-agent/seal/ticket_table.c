/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ticket_table.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <uthash.h>
#include <utlist.h>

#include "secret.h"

enum entry_state { ENTRY_OFFERED, ENTRY_AWAITED, ENTRY_USED };

struct entry {
	struct ticket ticket;
	enum entry_state state;
	double until;                 /* OFFERED: end of the wait. USED: when it may be forgotten */
	struct ticket_offer *offer;   /* OFFERED only */
	struct ticket_waiter *waiter; /* AWAITED only */
	struct entry *prev, *next;    /* in the list of its state, oldest first; AWAITED: in none */
	UT_hash_handle hh;
};

struct ticket_table {
	pthread_mutex_t lock;
	struct ticket_limits limits;
	struct entry *entries;        /* by ticket */
	struct entry *offered, *used; /* every wait is equally long, so each list is ordered by <until> */
	size_t offered_count, awaited_count, used_count;
	struct ticket_offer *slots, *free_slots;
	size_t slot_count;
};

double ticket_clock(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

struct ticket_table *ticket_table_new(const struct ticket_limits *limits)
{
	struct ticket_table *table = calloc(1, sizeof(*table));

	if (!table)
		return NULL;
	table->limits = *limits;
	/* As many again for offers that were handed out and not given back yet. */
	table->slot_count = 2 * limits->max_waiting;
	table->slots = secret_alloc(table->slot_count * sizeof(*table->slots));
	if (!table->slots || pthread_mutex_init(&table->lock, NULL) != 0) {
		secret_free(table->slots, table->slot_count * sizeof(*table->slots));
		free(table);
		return NULL;
	}
	for (size_t i = table->slot_count; i-- > 0;) {
		table->slots[i].next_free = table->free_slots;
		table->free_slots = &table->slots[i];
	}
	return table;
}

void ticket_table_free(struct ticket_table *table)
{
	struct entry *entry, *next;

	if (!table)
		return;
	assert(!table->awaited_count);
	HASH_ITER (hh, table->entries, entry, next) {
		HASH_DEL(table->entries, entry);
		free(entry);
	}
	for (size_t i = 0; i < table->slot_count; i++)
		free(table->slots[i].continuation_texts); /* of offers that still waited */
	secret_free(table->slots, table->slot_count * sizeof(*table->slots));
	pthread_mutex_destroy(&table->lock);
	free(table);
}

/* --- slots; the lock is held --- */

static struct ticket_offer *slot_take(struct ticket_table *table)
{
	struct ticket_offer *slot = table->free_slots;

	if (slot)
		table->free_slots = slot->next_free;
	return slot;
}

static void slot_give(struct ticket_table *table, struct ticket_offer *slot)
{
	free(slot->continuation_texts);
	secret_wipe(slot, sizeof(*slot));
	slot->next_free = table->free_slots;
	table->free_slots = slot;
}

/* --- entries; the lock is held --- */

static struct entry *entry_find(struct ticket_table *table, const struct ticket *ticket)
{
	struct entry *entry;

	HASH_FIND(hh, table->entries, ticket, sizeof(*ticket), entry);
	return entry;
}

static struct entry *entry_new(struct ticket_table *table, const struct ticket *ticket)
{
	struct entry *entry = calloc(1, sizeof(*entry));

	if (!entry)
		return NULL;
	entry->ticket = *ticket;
	HASH_ADD(hh, table->entries, ticket, sizeof(entry->ticket), entry);
	return entry;
}

static void entry_set_used(struct ticket_table *table, struct entry *entry, double now)
{
	entry->state = ENTRY_USED;
	entry->offer = NULL;
	entry->waiter = NULL;
	entry->until = now + table->limits.remember_s;
	DL_APPEND(table->used, entry);
	table->used_count++;
}

/* Takes the offer off an OFFERED entry, which is used from then on. */
static struct ticket_offer *entry_take_offer(struct ticket_table *table, struct entry *entry, double now)
{
	struct ticket_offer *offer = entry->offer;

	assert(entry->state == ENTRY_OFFERED && offer);
	DL_DELETE(table->offered, entry);
	table->offered_count--;
	entry_set_used(table, entry, now);
	return offer;
}

static void entry_end_wait(struct ticket_table *table, struct entry *entry, double now)
{
	assert(entry->state == ENTRY_AWAITED);
	table->awaited_count--;
	entry_set_used(table, entry, now);
}

/* Every waiting entry ends as a used one, so room for it is set aside. */
static bool has_room(const struct ticket_table *table, size_t waiting)
{
	return waiting < table->limits.max_waiting &&
	       table->used_count + table->offered_count + table->awaited_count < table->limits.max_used;
}

/* --- the control side --- */

static struct ticket_offer *offer_new(struct ticket_table *table, const struct ticket *ticket,
				      const struct tx_state *state, const struct ticket_terms *terms)
{
	const struct ticket_continuation *continuation = &terms->continuation;
	char *texts = NULL;
	struct ticket_offer *offer;

	if (continuation->etag.len && !(texts = malloc(continuation->etag.len + continuation->target.len)))
		return NULL;
	offer = slot_take(table);
	if (!offer) {
		free(texts);
		return NULL;
	}
	offer->ticket = *ticket;
	offer->state = *state;
	offer->terms = *terms;
	offer->continuation_texts = texts;
	offer->terms.continuation = (struct ticket_continuation){.etag = {NULL, 0}};
	if (texts) {
		offer->terms.continuation.offset = continuation->offset;
		offer->terms.continuation.length = continuation->length;
		memcpy(texts, continuation->etag.data, continuation->etag.len);
		memcpy(texts + continuation->etag.len, continuation->target.data, continuation->target.len);
		offer->terms.continuation.etag = (struct text_span){texts, continuation->etag.len};
		offer->terms.continuation.target =
			(struct text_span){texts + continuation->etag.len, continuation->target.len};
	}
	return offer;
}

/* An offer for a fetch that waits: goes to the fetch's thread. */
static enum ticket_offer_status join_waiter(struct ticket_table *table, struct entry *entry, struct ticket_offer *offer,
					    double now)
{
	struct ticket_waiter *waiter = entry->waiter;

	entry_end_wait(table, entry, now);
	waiter->offer = offer;
	DL_APPEND(waiter->mailbox->joined, waiter);
	ev_async_send(waiter->mailbox->loop, &waiter->mailbox->wake);
	return TICKET_OFFER_JOINED;
}

static enum ticket_offer_status keep_offer(struct ticket_table *table, struct ticket_offer *offer, double now)
{
	struct entry *entry = entry_new(table, &offer->ticket);

	if (!entry) {
		slot_give(table, offer);
		return TICKET_OFFER_REFUSED;
	}
	entry->state = ENTRY_OFFERED;
	entry->offer = offer;
	entry->until = now + table->limits.wait_s;
	DL_APPEND(table->offered, entry);
	table->offered_count++;
	return TICKET_OFFER_KEPT;
}

enum ticket_offer_status ticket_table_offer(struct ticket_table *table, const struct ticket *ticket,
					    const struct tx_state *state, const struct ticket_terms *terms, double now)
{
	enum ticket_offer_status status = TICKET_OFFER_REFUSED;
	struct ticket_offer *offer;
	struct entry *entry;

	pthread_mutex_lock(&table->lock);
	entry = entry_find(table, ticket);
	if (entry && entry->state != ENTRY_AWAITED) {
		status = TICKET_OFFER_USED;
	} else if (entry || has_room(table, table->offered_count)) {
		offer = offer_new(table, ticket, state, terms);
		if (offer)
			status = entry ? join_waiter(table, entry, offer, now) : keep_offer(table, offer, now);
	}
	pthread_mutex_unlock(&table->lock);
	return status;
}

size_t ticket_table_drop_channel(struct ticket_table *table, uint64_t channel, double now)
{
	struct entry *entry, *next;
	size_t dropped = 0;

	pthread_mutex_lock(&table->lock);
	DL_FOREACH_SAFE (table->offered, entry, next) {
		if (entry->offer->terms.channel != channel)
			continue;
		slot_give(table, entry_take_offer(table, entry, now));
		dropped++;
	}
	pthread_mutex_unlock(&table->lock);
	return dropped;
}

/* Takes the oldest offer whose wait is over; the lock is held. */
static struct ticket_offer *take_expired(struct ticket_table *table, double now)
{
	struct entry *oldest = table->offered;

	return oldest && oldest->until <= now ? entry_take_offer(table, oldest, now) : NULL;
}

size_t ticket_table_expire(struct ticket_table *table, double now,
			   void (*expired)(void *context, const struct ticket *ticket, uint64_t channel), void *context)
{
	struct ticket_offer *offer;
	struct entry *entry;
	size_t count = 0;

	pthread_mutex_lock(&table->lock);
	while ((offer = take_expired(table, now))) {
		struct ticket ticket = offer->ticket;
		uint64_t channel = offer->terms.channel;

		slot_give(table, offer);
		count++;
		if (expired) {
			pthread_mutex_unlock(&table->lock);
			expired(context, &ticket, channel);
			pthread_mutex_lock(&table->lock);
		}
	}
	while ((entry = table->used) && entry->until <= now) {
		DL_DELETE(table->used, entry);
		table->used_count--;
		HASH_DEL(table->entries, entry);
		free(entry);
	}
	pthread_mutex_unlock(&table->lock);
	return count;
}

/* --- the fetch side --- */

static enum ticket_claim_status wait_for_offer(struct ticket_table *table, struct ticket_waiter *waiter)
{
	struct entry *entry;

	if (!has_room(table, table->awaited_count) || !(entry = entry_new(table, &waiter->ticket)))
		return TICKET_CLAIM_REFUSED;
	entry->state = ENTRY_AWAITED;
	entry->waiter = waiter;
	table->awaited_count++;
	waiter->offer = NULL;
	waiter->waiting = true;
	return TICKET_CLAIM_WAITING;
}

enum ticket_claim_status ticket_table_claim(struct ticket_table *table, struct ticket_waiter *waiter,
					    struct ticket_offer **offer, double now)
{
	enum ticket_claim_status status = TICKET_CLAIM_USED;
	struct entry *entry;

	*offer = NULL;
	pthread_mutex_lock(&table->lock);
	entry = entry_find(table, &waiter->ticket);
	if (!entry) {
		status = wait_for_offer(table, waiter);
	} else if (entry->state == ENTRY_OFFERED && entry->until > now) {
		*offer = entry_take_offer(table, entry, now);
		status = TICKET_CLAIM_JOINED;
	}
	pthread_mutex_unlock(&table->lock);
	return status;
}

struct ticket_offer *ticket_table_withdraw(struct ticket_table *table, struct ticket_waiter *waiter, double now)
{
	struct ticket_offer *offer;

	pthread_mutex_lock(&table->lock);
	assert(waiter->waiting);
	waiter->waiting = false;
	offer = waiter->offer;
	waiter->offer = NULL;
	if (offer) {
		DL_DELETE(waiter->mailbox->joined, waiter);
	} else {
		struct entry *entry = entry_find(table, &waiter->ticket);

		assert(entry && entry->waiter == waiter);
		entry_end_wait(table, entry, now);
	}
	pthread_mutex_unlock(&table->lock);
	return offer;
}

void ticket_table_release(struct ticket_table *table, struct ticket_offer *offer)
{
	if (!offer)
		return;
	pthread_mutex_lock(&table->lock);
	slot_give(table, offer);
	pthread_mutex_unlock(&table->lock);
}

size_t ticket_table_offers(struct ticket_table *table)
{
	size_t count;

	pthread_mutex_lock(&table->lock);
	count = table->offered_count;
	pthread_mutex_unlock(&table->lock);
	return count;
}

/* --- mailboxes --- */

static struct ticket_waiter *take_joined(struct ticket_mailbox *mailbox, struct ticket_offer **offer)
{
	struct ticket_waiter *waiter;

	pthread_mutex_lock(&mailbox->table->lock);
	waiter = mailbox->joined;
	if (waiter) {
		DL_DELETE(mailbox->joined, waiter);
		waiter->waiting = false;
		*offer = waiter->offer;
		waiter->offer = NULL;
	}
	pthread_mutex_unlock(&mailbox->table->lock);
	return waiter;
}

static void on_wake(struct ev_loop *loop, ev_async *wake, int events)
{
	struct ticket_mailbox *mailbox = wake->data;
	struct ticket_waiter *waiter;
	struct ticket_offer *offer;

	(void)loop;
	(void)events;
	while ((waiter = take_joined(mailbox, &offer)))
		waiter->call(waiter, offer);
}

void ticket_mailbox_open(struct ticket_mailbox *mailbox, struct ticket_table *table, struct ev_loop *loop)
{
	mailbox->loop = loop;
	mailbox->table = table;
	mailbox->joined = NULL;
	ev_async_init(&mailbox->wake, on_wake);
	mailbox->wake.data = mailbox;
	ev_async_start(loop, &mailbox->wake);
}

void ticket_mailbox_close(struct ticket_mailbox *mailbox)
{
	assert(!mailbox->joined);
	ev_async_stop(mailbox->loop, &mailbox->wake);
}
