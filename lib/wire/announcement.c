/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "announcement.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define PROOF_PREFIX "; proof="

/* Writes what the proof is over. Returns its length, or a number that leaves no room for the proof. */
static size_t format_claim(char text[static ANNOUNCEMENT_TEXT_MAX], const struct announcement *announcement)
{
	char ticket[TICKET_TEXT_LEN + 1];
	int len;

	ticket_format(ticket, &announcement->ticket);
	if (announcement->kind == ANNOUNCEMENT_NONE)
		len = snprintf(text, ANNOUNCEMENT_TEXT_MAX, "none; ticket=%s", ticket);
	else
		len = snprintf(text, ANNOUNCEMENT_TEXT_MAX,
			       "%s; ticket=%s; seq=%" PRIu64 "; records=%" PRIu64 "; length=%" PRIu64
			       "; status=%u; first=%" PRIu64 "; etag=%s",
			       announcement->kind == ANNOUNCEMENT_DIRECT ? "direct" : "splice", ticket,
			       announcement->seq, announcement->records, announcement->length, announcement->status,
			       announcement->first, announcement->etag ? announcement->etag : "");
	return len < 0 ? ANNOUNCEMENT_TEXT_MAX : (size_t)len;
}

size_t announcement_format(char text[static ANNOUNCEMENT_TEXT_MAX], const struct announcement *announcement,
			   const uint8_t key[static PROOF_KEY_LEN])
{
	const size_t ending = sizeof(PROOF_PREFIX) - 1 + PROOF_TEXT_LEN;
	struct proof proof;
	size_t len;

	if (announcement->etag && strlen(announcement->etag) > ANNOUNCEMENT_ETAG_MAX) {
		text[0] = '\0';
		return 0;
	}
	len = format_claim(text, announcement);
	if (len + ending >= ANNOUNCEMENT_TEXT_MAX || !proof_compute(&proof, key, PROOF_OF_ANNOUNCEMENT, text, len)) {
		text[0] = '\0';
		return 0;
	}
	memcpy(text + len, PROOF_PREFIX, sizeof(PROOF_PREFIX) - 1);
	proof_format(text + len + sizeof(PROOF_PREFIX) - 1, &proof);
	return len + ending;
}
