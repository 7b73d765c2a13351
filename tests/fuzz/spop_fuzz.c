/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Everything that reads a SPOP frame, fed with one: no input may read outside of it, and what is accepted must be
 * inside what the header promises. What is read of a NOTIFY is answered, so that the writer is fed too. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "policy.h"
#include "request.h"
#include "spop_frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A finding: libFuzzer keeps the input. */
static void require(int holds)
{
	if (!holds)
		abort();
}

static void require_inside(struct spop_slice slice, const uint8_t *data, size_t size)
{
	require(!slice.len || (slice.data >= data && slice.data + slice.len <= data + size));
}

static void feed_hello(struct spop_slice payload, const uint8_t *data, size_t size)
{
	struct spop_hello hello;

	if (spop_hello_read(&hello, payload) != SPOP_STATUS_NORMAL)
		return;
	require(hello.max_frame_size >= SPOP_FRAME_SIZE_MIN);
	require_inside(hello.engine_id, data, size);
}

static void feed_disconnect(struct spop_slice payload, const uint8_t *data, size_t size)
{
	struct spop_disconnect disconnect;

	if (spop_disconnect_read(&disconnect, payload) == SPOP_STATUS_NORMAL)
		require_inside(disconnect.message, data, size);
}

static void feed_policy(const struct request *request)
{
	static const char *const hosts[] = {"*.example", "[::1]"}, *const prefixes[] = {"/a/"},
				 *const suffixes[] = {".iso"};
	struct policy_route route = {
		.hosts = hosts,
		.host_count = 2,
		.path_prefixes = prefixes,
		.path_prefix_count = 1,
		.path_suffixes = suffixes,
		.path_suffix_count = 1,
		.offload = true,
		.percent = 50,
	};
	const struct policy policy = {&route, 1};
	struct policy_decision decision = policy_decide(&policy, request, request->lease_id);

	require(decision.offload || decision.reason < PASS_REASON_COUNT);
}

/* What a boolean is as text. */
static bool is_word(struct control_text text)
{
	return (text.len == 4 && memcmp(text.data, "true", 4) == 0) ||
	       (text.len == 5 && memcmp(text.data, "false", 5) == 0);
}

static void feed_notify(const struct spop_frame *frame, const uint8_t *data, size_t size)
{
	struct request request;
	struct request_text value;
	struct spop_writer ack;
	uint8_t out[256];
	size_t len;

	if (!request_read(&request, frame->payload))
		return;
	require_inside((struct spop_slice){request.lease, request.lease_len}, data, size);
	require_inside((struct spop_slice){(const uint8_t *)request.target.data, request.target.len}, data, size);
	require(request.path.len <= request.target.len);
	if (request_argument(&request, "host", &value) == REQUEST_ARGUMENT_THERE && value.text.data != value.buffer &&
	    !is_word(value.text))
		require_inside((struct spop_slice){(const uint8_t *)value.text.data, value.text.len}, data, size);
	feed_policy(&request);
	spop_ack_begin(&ack, out, sizeof(out), frame->stream_id, frame->frame_id);
	spop_ack_set_text(&ack, SPOP_SCOPE_TRANSACTION, "action", "pass");
	len = spop_ack_end(&ack);
	require(len > SPOP_PREFIX_LEN && len <= sizeof(out));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct spop_frame frame;

	if (spop_frame_read(&frame, data, size) != SPOP_STATUS_NORMAL)
		return 0;
	require_inside(frame.payload, data, size);
	if (frame.type == SPOP_HAPROXY_HELLO)
		feed_hello(frame.payload, data, size);
	else if (frame.type == SPOP_NOTIFY)
		feed_notify(&frame, data, size);
	else if (frame.type == SPOP_HAPROXY_DISCONNECT)
		feed_disconnect(frame.payload, data, size);
	else
		require(0);
	return 0;
}
