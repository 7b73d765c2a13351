/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "spop_frame.h"

#include <string.h>

#define FLAG_FIN 0x00000001u
#define FLAG_ABORT 0x00000002u

#define ACTION_SET_VAR 1
#define ACTION_SET_VAR_NARGS 3

#define VERSION "2.0"

const char *spop_status_text(enum spop_status status)
{
	switch (status) {
#define STATUS_CASE(name, code, text) \
	case SPOP_STATUS_##name:      \
		return text;
		SPOP_STATUS_TABLE(STATUS_CASE)
#undef STATUS_CASE
	}
	return "an unknown error occurred";
}

static bool read_flags(struct spop_reader *reader, uint32_t *flags)
{
	if (reader->end - reader->p < 4)
		return false;
	*flags = (uint32_t)reader->p[0] << 24 | (uint32_t)reader->p[1] << 16 | (uint32_t)reader->p[2] << 8 |
		 reader->p[3];
	reader->p += 4;
	return true;
}

enum spop_status spop_frame_read(struct spop_frame *frame, const uint8_t *bytes, size_t len)
{
	struct spop_reader reader = {bytes, bytes + len};
	uint32_t flags;
	uint8_t type;

	memset(frame, 0, sizeof(*frame));
	if (!spop_read_byte(&reader, &type) || !read_flags(&reader, &flags) ||
	    !spop_read_varint(&reader, &frame->stream_id) || !spop_read_varint(&reader, &frame->frame_id))
		return SPOP_STATUS_INVALID;
	frame->type = (enum spop_frame_type)type;
	frame->payload = (struct spop_slice){reader.p, (size_t)(reader.end - reader.p)};
	if (type == SPOP_FRAGMENT || !(flags & FLAG_FIN) || flags & FLAG_ABORT)
		return SPOP_STATUS_FRAGMENTED;
	switch (type) {
	case SPOP_HAPROXY_HELLO:
	case SPOP_HAPROXY_DISCONNECT:
		return frame->stream_id || frame->frame_id ? SPOP_STATUS_INVALID : SPOP_STATUS_NORMAL;
	case SPOP_NOTIFY:
		return SPOP_STATUS_NORMAL;
	default:
		return SPOP_STATUS_INVALID;
	}
}

/* Takes the next word of a list separated by commas and blanks. Returns false when there is none left. */
static bool next_word(struct spop_slice *list, struct spop_slice *word)
{
	while (list->len && (*list->data == ',' || *list->data == ' ' || *list->data == '\t')) {
		list->data++;
		list->len--;
	}
	*word = (struct spop_slice){list->data, 0};
	while (list->len && *list->data != ',' && *list->data != ' ' && *list->data != '\t') {
		list->data++;
		list->len--;
		word->len++;
	}
	return word->len != 0;
}

static bool list_has_version(struct spop_slice list)
{
	struct spop_slice word;

	while (next_word(&list, &word))
		if (spop_slice_is(word, "2") || (word.len > 2 && word.data[0] == '2' && word.data[1] == '.'))
			return true;
	return false;
}

static bool list_has_word(struct spop_slice list, const char *text)
{
	struct spop_slice word;

	while (next_word(&list, &word))
		if (spop_slice_is(word, text))
			return true;
	return false;
}

struct hello_keys {
	struct spop_value versions, max_frame_size, capabilities, healthcheck, engine_id;
};

static enum spop_status read_hello_keys(struct hello_keys *keys, struct spop_slice payload)
{
	struct spop_reader reader = {payload.data, payload.data + payload.len};
	const struct {
		const char *name;
		enum spop_data_type type;
		struct spop_value *value;
	} known[] = {
		{"supported-versions", SPOP_DATA_STRING, &keys->versions},
		{"max-frame-size", SPOP_DATA_UINT32, &keys->max_frame_size},
		{"capabilities", SPOP_DATA_STRING, &keys->capabilities},
		{"healthcheck", SPOP_DATA_BOOL, &keys->healthcheck},
		{"engine-id", SPOP_DATA_STRING, &keys->engine_id},
	};

	memset(keys, 0, sizeof(*keys));
	while (reader.p != reader.end) {
		struct spop_slice name;
		struct spop_value value;

		if (!spop_read_string(&reader, &name) || !spop_read_value(&reader, &value))
			return SPOP_STATUS_INVALID;
		for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
			if (!spop_slice_is(name, known[i].name))
				continue;
			if (value.type != known[i].type)
				return SPOP_STATUS_INVALID;
			*known[i].value = value;
		}
	}
	return SPOP_STATUS_NORMAL;
}

enum spop_status spop_hello_read(struct spop_hello *hello, struct spop_slice payload)
{
	struct hello_keys keys;
	enum spop_status status = read_hello_keys(&keys, payload);

	memset(hello, 0, sizeof(*hello));
	if (status != SPOP_STATUS_NORMAL)
		return status;
	if (keys.versions.type == SPOP_DATA_NULL)
		return SPOP_STATUS_NO_VERSION;
	if (!list_has_version(keys.versions.bytes))
		return SPOP_STATUS_BAD_VERSION;
	if (keys.max_frame_size.type == SPOP_DATA_NULL)
		return SPOP_STATUS_NO_FRAME_SIZE;
	if (keys.max_frame_size.number < SPOP_FRAME_SIZE_MIN)
		return SPOP_STATUS_BAD_FRAME_SIZE;
	if (keys.capabilities.type == SPOP_DATA_NULL)
		return SPOP_STATUS_NO_CAPABILITIES;
	hello->max_frame_size = (uint32_t)keys.max_frame_size.number;
	hello->pipelining = list_has_word(keys.capabilities.bytes, "pipelining");
	hello->healthcheck = keys.healthcheck.number != 0;
	hello->engine_id = keys.engine_id.bytes;
	return SPOP_STATUS_NORMAL;
}

enum spop_status spop_disconnect_read(struct spop_disconnect *disconnect, struct spop_slice payload)
{
	struct spop_reader reader = {payload.data, payload.data + payload.len};
	bool has_status = false;

	memset(disconnect, 0, sizeof(*disconnect));
	while (reader.p != reader.end) {
		struct spop_slice name;
		struct spop_value value;

		if (!spop_read_string(&reader, &name) || !spop_read_value(&reader, &value))
			return SPOP_STATUS_INVALID;
		if (spop_slice_is(name, "status-code")) {
			if (value.type != SPOP_DATA_UINT32)
				return SPOP_STATUS_INVALID;
			disconnect->status = (uint32_t)value.number;
			has_status = true;
		} else if (spop_slice_is(name, "message")) {
			if (value.type != SPOP_DATA_STRING)
				return SPOP_STATUS_INVALID;
			disconnect->message = value.bytes;
		}
	}
	return has_status ? SPOP_STATUS_NORMAL : SPOP_STATUS_INVALID;
}

void spop_notify_begin(struct spop_notify *notify, struct spop_slice payload)
{
	notify->reader = (struct spop_reader){payload.data, payload.data + payload.len};
	notify->arguments = 0;
}

enum spop_step spop_notify_next(struct spop_notify *notify, struct spop_item *item)
{
	struct spop_reader *reader = &notify->reader;
	uint8_t arguments;

	memset(item, 0, sizeof(*item));
	if (notify->arguments) {
		notify->arguments--;
		if (!spop_read_string(reader, &item->name) || !spop_read_value(reader, &item->value))
			return SPOP_STEP_FAULT;
		return SPOP_STEP_ARGUMENT;
	}
	if (reader->p == reader->end)
		return SPOP_STEP_END;
	if (!spop_read_string(reader, &item->name) || !item->name.len || !spop_read_byte(reader, &arguments))
		return SPOP_STEP_FAULT;
	notify->arguments = arguments;
	return SPOP_STEP_MESSAGE;
}

static void frame_begin(struct spop_writer *writer, uint8_t *out, size_t cap, enum spop_frame_type type,
			uint64_t stream_id, uint64_t frame_id)
{
	const uint8_t head[SPOP_PREFIX_LEN + 5] = {0, 0, 0, 0, (uint8_t)type, 0, 0, 0, FLAG_FIN};

	writer->start = writer->p = out;
	writer->end = out + cap;
	writer->full = false;
	spop_write_bytes(writer, head, sizeof(head));
	spop_write_varint(writer, stream_id);
	spop_write_varint(writer, frame_id);
}

/* Fills in the length, which is known only now. */
static size_t frame_end(struct spop_writer *writer)
{
	if (writer->full)
		return 0;
	size_t len = (size_t)(writer->p - writer->start);
	size_t counted = len - SPOP_PREFIX_LEN;
	writer->start[0] = (uint8_t)(counted >> 24);
	writer->start[1] = (uint8_t)(counted >> 16);
	writer->start[2] = (uint8_t)(counted >> 8);
	writer->start[3] = (uint8_t)counted;
	return len;
}

void spop_ack_begin(struct spop_writer *ack, uint8_t *out, size_t cap, uint64_t stream_id, uint64_t frame_id)
{
	frame_begin(ack, out, cap, SPOP_ACK, stream_id, frame_id);
}

static void ack_name_variable(struct spop_writer *ack, enum spop_scope scope, const char *name)
{
	spop_write_byte(ack, ACTION_SET_VAR);
	spop_write_byte(ack, ACTION_SET_VAR_NARGS);
	spop_write_byte(ack, (uint8_t)scope);
	spop_write_string(ack, name);
}

void spop_ack_set_text(struct spop_writer *ack, enum spop_scope scope, const char *name, const char *text)
{
	ack_name_variable(ack, scope, name);
	spop_write_text_value(ack, text);
}

void spop_ack_set_number(struct spop_writer *ack, enum spop_scope scope, const char *name, uint64_t number)
{
	ack_name_variable(ack, scope, name);
	spop_write_uint64_value(ack, number);
}

void spop_ack_set_address(struct spop_writer *ack, enum spop_scope scope, const char *name, const uint8_t *address,
			  size_t len)
{
	ack_name_variable(ack, scope, name);
	spop_write_byte(ack, len == 16 ? SPOP_DATA_IPV6 : SPOP_DATA_IPV4);
	spop_write_bytes(ack, address, len);
}

size_t spop_ack_end(struct spop_writer *ack)
{
	return frame_end(ack);
}

size_t spop_build_hello(uint8_t *out, size_t cap, uint32_t max_frame_size, bool pipelining)
{
	struct spop_writer writer;

	frame_begin(&writer, out, cap, SPOP_AGENT_HELLO, 0, 0);
	spop_write_string(&writer, "version");
	spop_write_text_value(&writer, VERSION);
	spop_write_string(&writer, "max-frame-size");
	spop_write_uint32_value(&writer, max_frame_size);
	spop_write_string(&writer, "capabilities");
	spop_write_text_value(&writer, pipelining ? "pipelining" : "");
	return frame_end(&writer);
}

size_t spop_build_disconnect(uint8_t *out, size_t cap, enum spop_status status, const char *message)
{
	char text[SPOP_MESSAGE_TEXT_MAX + 1];
	size_t len = strlen(message);
	struct spop_writer writer;

	if (len > SPOP_MESSAGE_TEXT_MAX)
		len = SPOP_MESSAGE_TEXT_MAX;
	memcpy(text, message, len);
	text[len] = '\0';
	frame_begin(&writer, out, cap, SPOP_AGENT_DISCONNECT, 0, 0);
	spop_write_string(&writer, "status-code");
	spop_write_uint32_value(&writer, (uint32_t)status);
	spop_write_string(&writer, "message");
	spop_write_text_value(&writer, text);
	return frame_end(&writer);
}
