/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "agent_outbox.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>
#include <utlist.h>

#include "channel_number.h"
#include "log.h"

struct agent_letter {
	uint64_t channel;
	struct agent_letter *prev, *next;
	size_t len;
	uint8_t bytes[];
};

struct agent_account {
	uint64_t channel;
	size_t bytes;
	bool full; /* in the delivery under way it took nothing more */
	UT_hash_handle hh;
};

static int init_box(struct agent_outbox *outbox)
{
	int error = pthread_mutex_init(&outbox->lock, NULL);

	if (error != 0) {
		errno = error;
		return -1;
	}
	outbox->letters = NULL;
	outbox->accounts = NULL;
	outbox->loop = NULL;
	outbox->lanes = NULL;
	outbox->lane_count = 0;
	return 0;
}

int agent_outbox_init(struct agent_outbox *outbox, unsigned lanes)
{
	if (init_box(outbox) < 0)
		return -1;
	outbox->lanes = lanes ? calloc(lanes, sizeof(*outbox->lanes)) : NULL;
	while (outbox->lanes && outbox->lane_count < lanes && init_box(&outbox->lanes[outbox->lane_count]) == 0)
		outbox->lane_count++;
	if (outbox->lane_count == lanes)
		return 0;
	agent_outbox_destroy(outbox);
	errno = ENOMEM;
	return -1;
}

struct agent_outbox *agent_outbox_of(struct agent_outbox *outbox, uint64_t channel)
{
	unsigned lane = channel_number_lane(channel);

	return lane && lane <= outbox->lane_count ? &outbox->lanes[lane - 1] : outbox;
}

/* --- accounts; the lock is held --- */

static struct agent_account *account_of(struct agent_outbox *outbox, uint64_t channel)
{
	struct agent_account *account;

	HASH_FIND(hh, outbox->accounts, &channel, sizeof(channel), account);
	return account;
}

/* Returns false when memory is exhausted. */
static bool charge(struct agent_outbox *outbox, uint64_t channel, size_t len)
{
	struct agent_account *account = account_of(outbox, channel);

	if (!account) {
		account = calloc(1, sizeof(*account));
		if (!account)
			return false;
		account->channel = channel;
		HASH_ADD(hh, outbox->accounts, channel, sizeof(account->channel), account);
	}
	account->bytes += len;
	return true;
}

/* Takes <letter> out of the books and frees it. */
static void settle(struct agent_outbox *outbox, struct agent_letter *letter)
{
	struct agent_account *account = account_of(outbox, letter->channel);

	DL_DELETE(outbox->letters, letter);
	account->bytes -= letter->len;
	if (!account->bytes) {
		HASH_DEL(outbox->accounts, account);
		free(account);
	}
	free(letter);
}

void agent_outbox_destroy(struct agent_outbox *outbox)
{
	while (outbox->letters)
		settle(outbox, outbox->letters);
	pthread_mutex_destroy(&outbox->lock);
	while (outbox->lane_count)
		agent_outbox_destroy(&outbox->lanes[--outbox->lane_count]);
	free(outbox->lanes);
}

/* --- delivery --- */

/* Only the receiver's thread removes letters, so <letter> stays while the lock is open. */
static void deliver(struct agent_outbox *outbox)
{
	struct agent_letter *letter, *next;
	struct agent_account *account;

	pthread_mutex_lock(&outbox->lock);
	for (account = outbox->accounts; account; account = account->hh.next)
		account->full = false;
	for (letter = outbox->letters; letter; letter = next) {
		enum agent_outbox_status status = AGENT_OUTBOX_LATER;

		if (!account_of(outbox, letter->channel)->full) {
			pthread_mutex_unlock(&outbox->lock);
			status = outbox->deliver(outbox->context, letter->channel, letter->bytes, letter->len);
			pthread_mutex_lock(&outbox->lock);
		}
		next = letter->next;
		if (status == AGENT_OUTBOX_TAKEN)
			settle(outbox, letter);
		else
			account_of(outbox, letter->channel)->full = true;
	}
	pthread_mutex_unlock(&outbox->lock);
}

static void on_wake(struct ev_loop *loop, ev_async *wake, int events)
{
	(void)loop;
	(void)events;
	deliver(wake->data);
}

void agent_outbox_attach(struct agent_outbox *outbox, struct ev_loop *loop,
			 enum agent_outbox_status (*take)(void *context, uint64_t channel, const uint8_t *bytes,
							  size_t len),
			 void *context)
{
	outbox->deliver = take;
	outbox->context = context;
	ev_async_init(&outbox->wake, on_wake);
	outbox->wake.data = outbox;
	ev_async_start(loop, &outbox->wake);
	pthread_mutex_lock(&outbox->lock);
	outbox->loop = loop;
	pthread_mutex_unlock(&outbox->lock);
	deliver(outbox);
}

void agent_outbox_detach(struct agent_outbox *outbox)
{
	struct ev_loop *loop = outbox->loop;

	deliver(outbox);
	pthread_mutex_lock(&outbox->lock);
	outbox->loop = NULL;
	pthread_mutex_unlock(&outbox->lock);
	ev_async_stop(loop, &outbox->wake);
}

void agent_outbox_retry(struct agent_outbox *outbox)
{
	deliver(outbox);
}

/* --- posting --- */

static struct agent_letter *write_letter(uint64_t channel, const struct control_message *message)
{
	struct agent_letter *letter = malloc(sizeof(*letter) + CONTROL_MESSAGE_MAX), *fitted;
	enum control_error error = CONTROL_NO_MEMORY;

	if (letter) {
		letter->channel = channel;
		error = control_encode(message, letter->bytes, CONTROL_MESSAGE_MAX, &letter->len);
	}
	if (error != CONTROL_OK) {
		log_error("control: a %s could not be encoded: %s", control_type_text(message->type),
			  control_error_text(error));
		free(letter);
		return NULL;
	}
	fitted = realloc(letter, sizeof(*letter) + letter->len);
	return fitted ? fitted : letter;
}

int agent_outbox_post(struct agent_outbox *outbox, uint64_t channel, const struct control_message *message)
{
	struct agent_letter *letter = write_letter(channel, message);
	bool charged;

	if (!letter)
		return -1;
	outbox = agent_outbox_of(outbox, channel);
	pthread_mutex_lock(&outbox->lock);
	charged = charge(outbox, channel, letter->len);
	if (charged) {
		DL_APPEND(outbox->letters, letter);
		/* Under the lock, so that the loop cannot go away between the look and the call. */
		if (outbox->loop)
			ev_async_send(outbox->loop, &outbox->wake);
	}
	pthread_mutex_unlock(&outbox->lock);
	if (!charged) {
		log_error("control: a %s was lost: out of memory", control_type_text(message->type));
		free(letter);
		return -1;
	}
	return 0;
}

bool agent_outbox_has_room(struct agent_outbox *outbox, uint64_t channel)
{
	const struct agent_account *account;
	bool room;

	outbox = agent_outbox_of(outbox, channel);
	pthread_mutex_lock(&outbox->lock);
	account = account_of(outbox, channel);
	room = !account || account->bytes < AGENT_OUTBOX_ROOM;
	pthread_mutex_unlock(&outbox->lock);
	return room;
}
