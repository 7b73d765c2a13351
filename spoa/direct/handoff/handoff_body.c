/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "handoff_body.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "announcement.h"
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

/* Whether <announcement>, which is proven, is of the lease's body and has <bytes> of records. Fills <layout>. */
static bool is_of_lease(const struct announcement *announcement, const struct handoff_body *body,
			const struct handoff_message *parked, struct record_layout *layout)
{
	return memcmp(&announcement->ticket, &parked->ticket, sizeof(parked->ticket)) == 0 &&
	       announcement->seq == body->lease->seq && announcement->length <= UINT64_MAX - announcement->first &&
	       record_layout_init(layout, body->lease, announcement->length) == RECORD_OK &&
	       layout->records == announcement->records && layout->ciphertext == parked->bytes;
}

const char *handoff_body_announce(struct handoff_body *body, const struct handoff_message *parked)
{
	struct control_text target = {parked->target, parked->target_len};
	char etag[ANNOUNCEMENT_ETAG_MAX + 1], *copied_target, *copied_etag = NULL;
	struct announcement announcement;
	struct record_layout layout;

	assert(!body->announced);
	if (!announcement_read_direct(&announcement, etag, parked->announcement, parked->announcement_len,
				      body->lease->proof_key))
		return "its announcement is not proven";
	if (!is_of_lease(&announcement, body, parked, &layout))
		return "its announcement is of another body";
	copied_target = copy_text(target);
	if (etag[0] != '\0')
		copied_etag = strdup(etag);
	if (!copied_target || (etag[0] != '\0' && !copied_etag)) {
		free(copied_target);
		free(copied_etag);
		return "its target cannot be asked for, or there is no memory";
	}
	free(body->target);
	body->target = copied_target;
	body->etag = copied_etag;
	body->layout = layout;
	body->offset = announcement.first;
	body->announced = true;
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
