/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Any text as ticket, and as value of Disc-Ticket: what is accepted must be written back as it was read. */
#include <stdlib.h>
#include <string.h>

#include "ticket_header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int holds)
{
	if (!holds)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char text[TICKET_HEADER_LEN + 1];
	struct ticket_header header;
	struct ticket ticket;

	if (ticket_parse(&ticket, (const char *)data, size)) {
		ticket_format(text, &ticket);
		require(size == TICKET_TEXT_LEN && memcmp(text, data, size) == 0);
	}
	if (ticket_header_parse(&header, (const char *)data, size)) {
		ticket_header_format(text, &header);
		require(size == TICKET_HEADER_LEN && memcmp(text, data, size) == 0);
	}
	return 0;
}
