/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Any text as ticket: what is accepted must be written back as it was read. */
#include <stdlib.h>
#include <string.h>

#include "ticket.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char text[TICKET_TEXT_LEN + 1];
	struct ticket ticket;

	if (!ticket_parse(&ticket, (const char *)data, size))
		return 0;
	ticket_format(text, &ticket);
	if (size != TICKET_TEXT_LEN || memcmp(text, data, size) != 0)
		abort();
	return 0;
}
