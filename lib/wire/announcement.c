/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "announcement.h"

#include <inttypes.h>
#include <stdbool.h>
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
	else if (announcement->kind == ANNOUNCEMENT_GRANTS)
		len = snprintf(text, ANNOUNCEMENT_TEXT_MAX,
			       "grants; ticket=%s; length=%" PRIu64 "; status=%u; first=%" PRIu64
			       "; etag=%s; ready=%" PRIu64,
			       ticket, announcement->length, announcement->status, announcement->first,
			       announcement->etag ? announcement->etag : "", announcement->ready);
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

/* Takes <word> off the beginning of what is left of <*text> (<*len>). Returns whether it was there. */
static bool take(const char **text, size_t *len, const char *word)
{
	size_t word_len = strlen(word);

	if (*len < word_len || memcmp(*text, word, word_len) != 0)
		return false;
	*text += word_len;
	*len -= word_len;
	return true;
}

/* Takes a decimal number without leading zeros. */
static bool take_number(const char **text, size_t *len, uint64_t *number)
{
	size_t digits = 0;

	*number = 0;
	while (digits < *len && (*text)[digits] >= '0' && (*text)[digits] <= '9') {
		if (__builtin_mul_overflow(*number, 10, number) ||
		    __builtin_add_overflow(*number, (uint64_t)((*text)[digits] - '0'), number))
			return false;
		digits++;
	}
	if (!digits || ((*text)[0] == '0' && digits > 1))
		return false;
	*text += digits;
	*len -= digits;
	return true;
}

/* Takes a strong entity tag (RFC 9110 8.8.3), which may be missing. */
static bool take_etag(const char **text, size_t *len, char etag[static ANNOUNCEMENT_ETAG_MAX + 1])
{
	size_t used = 0;

	if (*len && **text == '"') {
		for (used = 1; used < *len && (*text)[used] != '"'; used++) {
			unsigned char c = (unsigned char)(*text)[used];

			if (c <= ' ' || c == 0x7f)
				return false;
		}
		if (used == *len || ++used > ANNOUNCEMENT_ETAG_MAX)
			return false;
	}
	memcpy(etag, *text, used);
	etag[used] = '\0';
	*text += used;
	*len -= used;
	return true;
}

bool announcement_read_direct(struct announcement *announcement, char etag[static ANNOUNCEMENT_ETAG_MAX + 1],
			      const char *text, size_t len, const uint8_t key[static PROOF_KEY_LEN])
{
	const size_t ending = sizeof(PROOF_PREFIX) - 1 + PROOF_TEXT_LEN;
	struct proof proof, expected;
	uint64_t status;

	*announcement = (struct announcement){.kind = ANNOUNCEMENT_DIRECT, .etag = etag};
	if (len <= ending || memcmp(text + len - ending, PROOF_PREFIX, sizeof(PROOF_PREFIX) - 1) != 0 ||
	    !proof_parse(&proof, text + len - PROOF_TEXT_LEN, PROOF_TEXT_LEN))
		return false;
	len -= ending;
	if (!proof_compute(&expected, key, PROOF_OF_ANNOUNCEMENT, text, len) || !proof_equal(&proof, &expected))
		return false;
	if (!take(&text, &len, "direct; ticket=") || len < TICKET_TEXT_LEN ||
	    !ticket_parse(&announcement->ticket, text, TICKET_TEXT_LEN))
		return false;
	text += TICKET_TEXT_LEN;
	len -= TICKET_TEXT_LEN;
	if (!take(&text, &len, "; seq=") || !take_number(&text, &len, &announcement->seq) ||
	    !take(&text, &len, "; records=") || !take_number(&text, &len, &announcement->records) ||
	    !take(&text, &len, "; length=") || !take_number(&text, &len, &announcement->length) ||
	    !take(&text, &len, "; status=") || !take_number(&text, &len, &status) || !take(&text, &len, "; first=") ||
	    !take_number(&text, &len, &announcement->first) || !take(&text, &len, "; etag=") ||
	    !take_etag(&text, &len, etag) || len)
		return false;
	announcement->status = (unsigned)status;
	return status == 200 || status == 206;
}
