/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "handoff_body.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "secret.h"

/* Copies a text for the head of a request. Returns NULL if it has bytes that a head cannot carry. */
static char *copy_text(struct control_text text)
{
	for (size_t i = 0; i < text.len; i++)
		if ((unsigned char)text.data[i] <= ' ' || text.data[i] == 0x7f)
			return NULL;
	return strndup(text.len ? text.data : "", text.len);
}

int handoff_body_init(struct handoff_body *body, struct lease_store *leases, const struct control_offer *offer)
{
	*body = (struct handoff_body){.leases = leases, .lease_id = offer->lease_id};
	body->host = copy_text(offer->host);
	body->target = copy_text(offer->target);
	body->lease = lease_store_keep(leases, &offer->state);
	if (body->host && body->target && body->lease)
		return 0;
	handoff_body_release(body);
	return -1;
}

void handoff_body_release(struct handoff_body *body)
{
	free(body->host);
	free(body->target);
	free(body->etag);
	lease_store_drop(body->leases, body->lease);
	*body = (struct handoff_body){.leases = NULL};
}

const char *handoff_body_prepare(struct handoff_body *body, const struct control_prepared *prepared)
{
	enum record_error error;
	char *target;

	if (body->prepared)
		return "it sent PREPARED twice for one ticket";
	if (prepared->length > UINT64_MAX - prepared->offset)
		return "PREPARED has a body beyond the end of all objects";
	error = record_layout_init(&body->layout, body->lease, prepared->length);
	if (error != RECORD_OK)
		return record_error_text(error);
	body->offset = prepared->offset;
	if (!prepared->etag.len) {
		body->prepared = true;
		return NULL;
	}
	body->etag = copy_text(prepared->etag);
	target = copy_text(prepared->target);
	if (!body->etag || !target) {
		free(target);
		return "PREPARED has an entity tag or a target that no request can carry";
	}
	free(body->target);
	body->target = target;
	body->prepared = true;
	return NULL;
}

bool continuation_range_init(struct continuation_range *range, const struct handoff_body *body, uint64_t from)
{
	const struct record_layout *layout = &body->layout;
	uint64_t full = RECORD_PLAIN_MAX + layout->overhead, record = from / full, before = record * RECORD_PLAIN_MAX;

	assert(from < layout->ciphertext);
	range->state = *body->lease;
	range->skip = from - record * full;
	range->first = body->offset + before;
	range->last = body->offset + layout->length - 1;
	if (tx_state_advance(&range->state, record) &&
	    record_layout_init(&range->layout, &range->state, layout->length - before) == RECORD_OK)
		return true;
	secret_wipe(&range->state, sizeof(range->state));
	return false;
}
