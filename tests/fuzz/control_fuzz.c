/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Any bytes as Envelope: what is accepted and known must encode and decode to the same message. */
#include <stdlib.h>
#include <string.h>

#include "control.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int holds)
{
	if (!holds)
		abort();
}

/* Reads every byte that the message points to. */
static unsigned touch(struct control_text text)
{
	unsigned sum = 0;

	require(text.data && text.len <= CONTROL_TEXT_MAX);
	for (size_t i = 0; i < text.len; i++)
		sum += (unsigned char)text.data[i];
	return sum;
}

static unsigned touch_bytes(struct control_bytes bytes)
{
	unsigned sum = 0;

	require(bytes.data && bytes.len <= CONTROL_MESSAGE_MAX);
	for (size_t i = 0; i < bytes.len; i++)
		sum += bytes.data[i];
	return sum;
}

static unsigned touch_texts(const struct control_message *message)
{
	switch (message->type) {
	case CONTROL_HELLO:
		return touch(message->u.hello.name) + touch(message->u.hello.software);
	case CONTROL_OFFER:
		return touch(message->u.offer.method) + touch(message->u.offer.host) + touch(message->u.offer.target) +
		       touch(message->u.offer.client) + touch(message->u.offer.peer);
	case CONTROL_RESULT:
		return touch(message->u.result.reason);
	case CONTROL_HANDOFF:
		return touch_bytes(message->u.handoff.send_queue) + touch_bytes(message->u.handoff.receive_queue);
	case CONTROL_HANDOFF_REPLY:
		return touch(message->u.handoff_reply.reason);
	case CONTROL_CLIENT_DATA:
		return touch_bytes(message->u.client_data.data);
	case CONTROL_HANDBACK:
		return touch_bytes(message->u.handback.send_queue) + touch_bytes(message->u.handback.receive_queue);
	case CONTROL_GONE:
		return touch(message->u.gone.reason);
	default:
		return 0;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t first[CONTROL_MESSAGE_MAX], second[CONTROL_MESSAGE_MAX];
	struct control_message message, again;
	size_t first_len, second_len;
	enum control_error error;

	if (control_decode(&message, data, size) != CONTROL_OK)
		return 0;
	(void)touch_texts(&message);
	if (message.type != CONTROL_UNKNOWN) {
		error = control_encode(&message, first, sizeof(first), &first_len);
		require(error == CONTROL_OK);
		require(control_decode(&again, first, first_len) == CONTROL_OK && again.type == message.type);
		require(touch_texts(&again) == touch_texts(&message));
		require(control_encode(&again, second, sizeof(second), &second_len) == CONTROL_OK);
		require(first_len == second_len && memcmp(first, second, first_len) == 0);
		control_release(&again);
	}
	control_release(&message);
	return 0;
}
