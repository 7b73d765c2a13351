/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "request.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void request_set_target(struct request *request, struct control_text target)
{
	const char *query = target.len ? memchr(target.data, '?', target.len) : NULL;

	request->target = target;
	request->path = (struct control_text){target.data, query ? (size_t)(query - target.data) : target.len};
}

static bool read_text(struct control_text *text, const struct spop_value *value)
{
	if (value->type != SPOP_DATA_STRING)
		return false;
	*text = (struct control_text){(const char *)value->bytes.data, value->bytes.len};
	return true;
}

static bool read_address(struct client_address *address, const struct spop_value *value)
{
	if (value->type != SPOP_DATA_IPV4 && value->type != SPOP_DATA_IPV6)
		return false;
	client_address_set(address, value->bytes.data, value->bytes.len);
	return true;
}

static bool read_lease(struct request *request, const struct spop_value *value)
{
	request->has_lease = true;
	if (value->type != SPOP_DATA_BINARY)
		return false;
	request->lease = value->bytes.data;
	request->lease_len = value->bytes.len;
	return true;
}

static bool read_lease_id(struct request *request, const struct spop_value *value)
{
	switch (value->type) {
	case SPOP_DATA_INT32:
	case SPOP_DATA_UINT32:
	case SPOP_DATA_INT64:
	case SPOP_DATA_UINT64:
		request->has_lease_id = true;
		request->lease_id = value->number;
		return true;
	default:
		return false;
	}
}

static bool read_direct(struct request *request, const struct spop_value *value)
{
	if (value->type != SPOP_DATA_BOOL)
		return false;
	request->direct = value->number != 0;
	return true;
}

/* Returns false if the argument is a known one of a wrong type. */
static bool read_argument(struct request *request, const struct spop_item *argument, bool *has_peer)
{
	struct control_text target;

	*has_peer |= spop_slice_is(argument->name, "peer");
	if (argument->value.type == SPOP_DATA_NULL)
		return true;
	if (spop_slice_is(argument->name, "lease"))
		return read_lease(request, &argument->value);
	if (spop_slice_is(argument->name, "lease_id"))
		return read_lease_id(request, &argument->value);
	if (spop_slice_is(argument->name, "method"))
		return read_text(&request->method, &argument->value);
	if (spop_slice_is(argument->name, "host"))
		return read_text(&request->host, &argument->value);
	if (spop_slice_is(argument->name, "group"))
		return read_text(&request->group, &argument->value);
	if (spop_slice_is(argument->name, "direct"))
		return read_direct(request, &argument->value);
	if (spop_slice_is(argument->name, "client"))
		return read_address(&request->client, &argument->value);
	if (spop_slice_is(argument->name, "peer"))
		return read_address(&request->peer, &argument->value);
	if (!spop_slice_is(argument->name, "target"))
		return true;
	if (!read_text(&target, &argument->value))
		return false;
	request_set_target(request, target);
	return true;
}

bool request_read(struct request *request, struct spop_slice payload)
{
	struct spop_notify notify;
	struct spop_item item;
	unsigned messages = 0;
	bool has_peer = false;

	memset(request, 0, sizeof(*request));
	request->payload = payload;
	spop_notify_begin(&notify, payload);
	for (;;) {
		switch (spop_notify_next(&notify, &item)) {
		case SPOP_STEP_MESSAGE:
			messages++;
			break;
		case SPOP_STEP_ARGUMENT:
			if (messages == 1 && !read_argument(request, &item, &has_peer))
				request->mistyped = true;
			break;
		case SPOP_STEP_END:
			/* A configuration from before there was this argument. */
			if (!has_peer)
				request->peer = request->client;
			return messages != 0;
		case SPOP_STEP_FAULT:
			return false;
		}
	}
}

static void set_number(struct request_text *value, const struct spop_value *number)
{
	int len = number->type == SPOP_DATA_UINT32 || number->type == SPOP_DATA_UINT64
			  ? snprintf(value->buffer, sizeof(value->buffer), "%" PRIu64, number->number)
			  : snprintf(value->buffer, sizeof(value->buffer), "%" PRId64, (int64_t)number->number);

	value->text = (struct control_text){value->buffer, (size_t)len};
}

static void set_text(struct request_text *value, const struct spop_value *argument)
{
	struct client_address address;

	switch (argument->type) {
	case SPOP_DATA_STRING:
	case SPOP_DATA_BINARY:
		value->text = (struct control_text){(const char *)argument->bytes.data, argument->bytes.len};
		return;
	case SPOP_DATA_IPV4:
	case SPOP_DATA_IPV6:
		client_address_set(&address, argument->bytes.data, argument->bytes.len);
		value->text.data = client_address_format(&address, value->buffer);
		value->text.len = strlen(value->buffer);
		return;
	case SPOP_DATA_BOOL:
		value->text = argument->number ? (struct control_text){"true", 4} : (struct control_text){"false", 5};
		return;
	default:
		set_number(value, argument);
		return;
	}
}

enum request_argument request_argument(const struct request *request, const char *name, struct request_text *value)
{
	enum request_argument found = REQUEST_ARGUMENT_UNKNOWN;
	struct spop_notify notify;
	struct spop_item item;
	unsigned messages = 0;

	if (!request->payload.len)
		return found;
	spop_notify_begin(&notify, request->payload);
	for (;;) {
		switch (spop_notify_next(&notify, &item)) {
		case SPOP_STEP_MESSAGE:
			if (++messages > 1)
				return found;
			break;
		case SPOP_STEP_ARGUMENT:
			if (!spop_slice_is(item.name, name))
				break;
			if (item.value.type != SPOP_DATA_NULL) {
				set_text(value, &item.value);
				found = REQUEST_ARGUMENT_THERE;
			} else if (found == REQUEST_ARGUMENT_UNKNOWN) {
				found = REQUEST_ARGUMENT_NULL;
			}
			break;
		case SPOP_STEP_END:
		case SPOP_STEP_FAULT:
			return found;
		}
	}
}
