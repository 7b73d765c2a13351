/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Any bytes as a message of the handoff socket: what is accepted must be written back as it was read. */
#include <stdlib.h>
#include <string.h>

#include "handoff_message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t again[HANDOFF_MESSAGE_MAX];
	struct handoff_message message;

	if (handoff_message_decode(&message, data, size) != HANDOFF_MESSAGE_OK)
		return 0;
	if (handoff_message_encode(again, &message) != size || memcmp(again, data, size) != 0)
		abort();
	return 0;
}
