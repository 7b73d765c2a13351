/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "announcement.h"

#include <inttypes.h>
#include <stdio.h>

size_t announcement_format(char text[static ANNOUNCEMENT_TEXT_MAX], const struct announcement *announcement)
{
	char ticket[TICKET_TEXT_LEN + 1];
	int len;

	ticket_format(ticket, &announcement->ticket);
	if (announcement->kind != ANNOUNCEMENT_NONE)
		len = snprintf(text, ANNOUNCEMENT_TEXT_MAX,
			       "%s; ticket=%s; seq=%" PRIu64 "; records=%" PRIu64 "; length=%" PRIu64,
			       announcement->kind == ANNOUNCEMENT_DIRECT ? "direct" : "splice", ticket,
			       announcement->seq, announcement->records, announcement->length);
	else
		len = snprintf(text, ANNOUNCEMENT_TEXT_MAX, "none; ticket=%s", ticket);
	/* The longest value has 133 bytes, so this cannot fail but for a broken C library. */
	return len < 0 ? 0 : (size_t)len;
}
