/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Any bytes as a message of the lending socket: what is accepted must be written back as it was read. */
#include <stdlib.h>
#include <string.h>

#include "lending_message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t again[LENDING_MESSAGE_MAX];
	struct lending_message message;

	if (lending_message_decode(&message, data, size) != LENDING_OK)
		return 0;
	if (lending_message_encode(again, &message) != size || memcmp(again, data, size) != 0)
		abort();
	return 0;
}
