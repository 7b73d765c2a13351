/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Any text as address, but names, which would be asked of a resolver: what is accepted must be written in a form that
 * reads to the same address. */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "address.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool asks_no_resolver(const char *text)
{
	const char *colon = strchr(text, ':');

	if (text[0] == '[' || strncmp(text, "unix:", 5) == 0 || !colon)
		return true;
	return strspn(text, "0123456789.*") == (size_t)(colon - text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct address address, again;
	char text[256], written[ADDRESS_TEXT_MAX];
	const char *why = NULL;

	if (size >= sizeof(text))
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	if (!asks_no_resolver(text))
		return 0;
	if (address_parse(&address, text, &why) < 0) {
		if (!why)
			abort();
		return 0;
	}
	(void)address_format(&address, written);
	if (address_parse(&again, written, &why) < 0 || again.len != address.len ||
	    memcmp(&again.storage, &address.storage, address.len) != 0)
		abort();
	return 0;
}
