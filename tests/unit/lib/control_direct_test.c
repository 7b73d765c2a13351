/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards: the direct path's messages come out as they went in, also with queues as long as a handoff carries; queues
 * that are longer, or shorter than what is unsent, tags, data and causes out of bounds are refused when sent and when
 * they arrive. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "control.h"
#include "control.pb-c.h"
#include "tcp_freeze.h"

static uint8_t frame[CONTROL_MESSAGE_MAX + 64];
static uint8_t queue[TCP_SEND_TAIL_MAX + 1];

static struct control_text text(const char *data)
{
	return (struct control_text){.data = data, .len = strlen(data)};
}

static struct control_bytes bytes(size_t len)
{
	for (size_t i = 0; i < len; i++)
		queue[i] = (uint8_t)(i * 7 + i / 251);
	return (struct control_bytes){.data = queue, .len = len};
}

static struct ticket make_ticket(void)
{
	struct ticket ticket;

	memset(ticket.bytes, 0x5a, TICKET_LEN);
	return ticket;
}

static struct tcp_state make_state(uint32_t unsent)
{
	struct tcp_state state = {.family = 6,
				  .flags = TCP_STATE_TIMESTAMPS | TCP_STATE_SCALING,
				  .send_scale = 7,
				  .receive_scale = 14,
				  .mss = 1428,
				  .send_next = 0xfffffff0,
				  .receive_next = 17,
				  .unsent = unsent,
				  .timestamp = 0x80000001,
				  .flow_label = 0xabcde};

	memset(state.local.address, 0x20, 16);
	memset(state.remote.address, 0x21, 16);
	state.local.port = 443;
	state.remote.port = 65535;
	return state;
}

/* Encodes and decodes, from memory of exactly the message's size. */
static struct control_message carry(const struct control_message *message)
{
	struct control_message arrived;
	uint8_t *copy;
	size_t len;

	assert_int_equal(control_encode(message, frame, sizeof(frame), &len), CONTROL_OK);
	assert_true(len <= CONTROL_MESSAGE_MAX);
	copy = malloc(len);
	memcpy(copy, frame, len);
	assert_int_equal(control_decode(&arrived, copy, len), CONTROL_OK);
	assert_int_equal(arrived.type, message->type);
	memset(copy, 0xee, len);
	free(copy);
	return arrived;
}

static void refused(const struct control_message *message, enum control_error error)
{
	size_t len;

	assert_int_equal(control_encode(message, frame, sizeof(frame), &len), error);
}

/* What a peer sends that does not keep to our own bounds. */
static void arrives_as(Disc__Control__Envelope *envelope, enum control_error error)
{
	struct control_message arrived;
	size_t len = disc__control__envelope__get_packed_size(envelope);

	assert_true(len <= sizeof(frame));
	disc__control__envelope__pack(envelope, frame);
	assert_int_equal(control_decode(&arrived, frame, len), error);
	if (error == CONTROL_OK)
		control_release(&arrived);
}

static void queues_of_any_allowed_length_arrive_whole(void **unused)
{
	const size_t lengths[] = {0, 1, 1448, TCP_SEND_TAIL_MAX};
	struct control_message handoff = {.type = CONTROL_HANDOFF}, handback = {.type = CONTROL_HANDBACK}, arrived;
	struct tcp_state state;

	(void)unused;
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		state = make_state((uint32_t)(lengths[i] / 2));
		handoff.u.handoff =
			(struct control_handoff){make_ticket(), state, bytes(lengths[i]), bytes(0), UINT64_MAX - i};
		arrived = carry(&handoff);
		assert_memory_equal(&arrived.u.handoff.ticket, &handoff.u.handoff.ticket, TICKET_LEN);
		assert_int_equal(arrived.u.handoff.state.send_next, state.send_next);
		assert_int_equal(arrived.u.handoff.state.unsent, lengths[i] / 2);
		assert_int_equal(arrived.u.handoff.state.flow_label, 0xabcde);
		assert_int_equal(arrived.u.handoff.send_queue.len, lengths[i]);
		assert_memory_equal(arrived.u.handoff.send_queue.data, bytes(lengths[i]).data, lengths[i]);
		assert_int_equal(arrived.u.handoff.receive_queue.len, 0);
		assert_true(arrived.u.handoff.bytes == UINT64_MAX - i);
		control_release(&arrived);
	}
	handback.u.handback = (struct control_handback){make_ticket(), make_state(0), bytes(TCP_SEND_TAIL_MAX),
							bytes(TCP_RECEIVE_TAIL_MAX), UINT64_MAX};
	arrived = carry(&handback);
	assert_int_equal(arrived.u.handback.send_queue.len, TCP_SEND_TAIL_MAX);
	assert_int_equal(arrived.u.handback.receive_queue.len, TCP_RECEIVE_TAIL_MAX);
	assert_true(arrived.u.handback.bytes == UINT64_MAX);
	assert_memory_equal(arrived.u.handback.receive_queue.data, queue, TCP_RECEIVE_TAIL_MAX);
	control_release(&arrived);
}

static void small_messages_come_out_as_they_went_in(void **unused)
{
	struct control_message message = {.type = CONTROL_HANDOFF_REPLY}, arrived;

	(void)unused;
	message.u.handoff_reply = (struct control_handoff_reply){make_ticket(), text("bind(): no such address"), true};
	arrived = carry(&message);
	assert_int_equal(arrived.u.handoff_reply.reason.len, 23);
	assert_true(arrived.u.handoff_reply.contradicts);
	control_release(&arrived);

	message = (struct control_message){.type = CONTROL_PROGRESS};
	message.u.progress = (struct control_progress){make_ticket(), 1ull << 50};
	arrived = carry(&message);
	assert_true(arrived.u.progress.bytes == 1ull << 50);
	control_release(&arrived);

	message = (struct control_message){.type = CONTROL_CLIENT_DATA};
	message.u.client_data = (struct control_client_data){make_ticket(), 1ull << 33, bytes(CONTROL_CLIENT_DATA_MAX)};
	arrived = carry(&message);
	assert_true(arrived.u.client_data.offset == 1ull << 33);
	assert_int_equal(arrived.u.client_data.data.len, CONTROL_CLIENT_DATA_MAX);
	assert_memory_equal(arrived.u.client_data.data.data, queue, CONTROL_CLIENT_DATA_MAX);
	control_release(&arrived);

	message = (struct control_message){.type = CONTROL_DRAINED, .u.drained.ticket = make_ticket()};
	arrived = carry(&message);
	assert_memory_equal(&arrived.u.drained.ticket, &message.u.drained.ticket, TICKET_LEN);
	control_release(&arrived);

	message = (struct control_message){.type = CONTROL_RELEASE, .u.release.ticket = make_ticket()};
	arrived = carry(&message);
	assert_memory_equal(&arrived.u.release.ticket, &message.u.release.ticket, TICKET_LEN);
	control_release(&arrived);

	for (uint32_t discard = 0; discard <= 1; discard++) {
		message = (struct control_message){.type = CONTROL_RECALL};
		message.u.recall = (struct control_recall){make_ticket(), discard};
		arrived = carry(&message);
		assert_int_equal(arrived.u.recall.discard, discard);
		control_release(&arrived);
	}
	for (int cause = CONTROL_GONE_CLIENT; cause <= CONTROL_GONE_RECALLED; cause++) {
		message = (struct control_message){.type = CONTROL_GONE};
		message.u.gone = (struct control_gone){make_ticket(), (enum control_gone_cause)cause, 99, text("why")};
		arrived = carry(&message);
		assert_int_equal(arrived.u.gone.cause, cause);
		assert_int_equal(arrived.u.gone.bytes, 99);
		assert_int_equal(arrived.u.gone.reason.len, 3);
		assert_string_not_equal(control_gone_cause_text((enum control_gone_cause)cause), "");
		control_release(&arrived);
	}
}

static void what_is_out_of_bounds_is_not_sent(void **unused)
{
	struct control_message message = {.type = CONTROL_HANDOFF};

	(void)unused;
	message.u.handoff =
		(struct control_handoff){make_ticket(), make_state(0), bytes(TCP_SEND_TAIL_MAX + 1), bytes(0), 0};
	refused(&message, CONTROL_BAD_QUEUE);
	message.u.handoff = (struct control_handoff){make_ticket(), make_state(11), bytes(10), bytes(0), 0};
	refused(&message, CONTROL_BAD_QUEUE);
	message = (struct control_message){.type = CONTROL_HANDBACK};
	message.u.handback =
		(struct control_handback){make_ticket(), make_state(0), bytes(0), bytes(TCP_RECEIVE_TAIL_MAX + 1), 0};
	refused(&message, CONTROL_BAD_QUEUE);
	message = (struct control_message){.type = CONTROL_HANDOFF_REPLY};
	message.u.handoff_reply = (struct control_handoff_reply){make_ticket(), text(""), false};
	refused(&message, CONTROL_BAD_FIELD);
	message.u.handoff_reply.reason = (struct control_text){(const char *)queue, CONTROL_TEXT_MAX + 1};
	refused(&message, CONTROL_BAD_FIELD);
	message = (struct control_message){.type = CONTROL_CLIENT_DATA};
	message.u.client_data = (struct control_client_data){make_ticket(), 0, bytes(0)};
	refused(&message, CONTROL_BAD_FIELD);
	message.u.client_data.data = bytes(CONTROL_CLIENT_DATA_MAX + 1);
	refused(&message, CONTROL_BAD_FIELD);
	message = (struct control_message){.type = CONTROL_GONE};
	message.u.gone = (struct control_gone){make_ticket(), (enum control_gone_cause)4, 0, text("")};
	refused(&message, CONTROL_BAD_FIELD);
}

static void what_is_out_of_bounds_is_not_accepted(void **unused)
{
	Disc__Control__Envelope envelope = DISC__CONTROL__ENVELOPE__INIT;
	Disc__Control__Handoff handoff = DISC__CONTROL__HANDOFF__INIT;
	Disc__Control__ClientData data = DISC__CONTROL__CLIENT_DATA__INIT;
	Disc__Control__HandoffReply reply = DISC__CONTROL__HANDOFF_REPLY__INIT;
	Disc__Control__Release release = DISC__CONTROL__RELEASE__INIT;
	Disc__Control__Gone gone = DISC__CONTROL__GONE__INIT;
	struct ticket ticket = make_ticket();
	struct tcp_state state = make_state(20);
	uint8_t wire[TCP_STATE_WIRE_LEN];

	(void)unused;
	tcp_state_encode(wire, &state);
	envelope.message_case = DISC__CONTROL__ENVELOPE__MESSAGE_HANDOFF;
	envelope.handoff = &handoff;
	handoff.ticket = (ProtobufCBinaryData){TICKET_LEN, ticket.bytes};
	handoff.tcp_state = (ProtobufCBinaryData){sizeof(wire), wire};
	handoff.send_queue = (ProtobufCBinaryData){20, queue};
	arrives_as(&envelope, CONTROL_OK);
	handoff.send_queue.len = 19; /* shorter than what is unsent */
	arrives_as(&envelope, CONTROL_BAD_QUEUE);
	handoff.send_queue.len = TCP_SEND_TAIL_MAX + 1;
	arrives_as(&envelope, CONTROL_BAD_QUEUE);
	handoff.send_queue.len = 20;
	handoff.receive_queue = (ProtobufCBinaryData){TCP_RECEIVE_TAIL_MAX + 1, queue};
	arrives_as(&envelope, CONTROL_BAD_QUEUE);
	handoff.receive_queue.len = 0;
	handoff.tcp_state.len--;
	arrives_as(&envelope, CONTROL_BAD_TCP_STATE);
	handoff.tcp_state.len++;
	wire[1] = 5; /* family */
	arrives_as(&envelope, CONTROL_BAD_TCP_STATE);
	handoff.ticket.len--;
	arrives_as(&envelope, CONTROL_BAD_TICKET);

	envelope.message_case = DISC__CONTROL__ENVELOPE__MESSAGE_CLIENT_DATA;
	envelope.client_data = &data;
	data.ticket = (ProtobufCBinaryData){TICKET_LEN, ticket.bytes};
	arrives_as(&envelope, CONTROL_BAD_FIELD);
	data.data = (ProtobufCBinaryData){CONTROL_CLIENT_DATA_MAX + 1, queue};
	arrives_as(&envelope, CONTROL_BAD_FIELD);

	envelope.message_case = DISC__CONTROL__ENVELOPE__MESSAGE_HANDOFF_REPLY;
	envelope.handoff_reply = &reply;
	reply.ticket = data.ticket;
	arrives_as(&envelope, CONTROL_BAD_FIELD);
	reply.reason = (ProtobufCBinaryData){1, queue};
	arrives_as(&envelope, CONTROL_OK);

	envelope.message_case = DISC__CONTROL__ENVELOPE__MESSAGE_RELEASE;
	envelope.release = &release;
	arrives_as(&envelope, CONTROL_BAD_TICKET);
	release.ticket = data.ticket;
	arrives_as(&envelope, CONTROL_OK);

	envelope.message_case = DISC__CONTROL__ENVELOPE__MESSAGE_GONE;
	envelope.gone = &gone;
	gone.ticket = data.ticket;
	arrives_as(&envelope, CONTROL_BAD_FIELD); /* no cause */
	gone.cause = (Disc__Control__GoneCause)4;
	arrives_as(&envelope, CONTROL_BAD_FIELD);
	gone.cause = DISC__CONTROL__GONE_CAUSE__GONE_NODE;
	arrives_as(&envelope, CONTROL_OK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_out_of_bounds_is_not_accepted),
		cmocka_unit_test(what_is_out_of_bounds_is_not_sent),
		cmocka_unit_test(queues_of_any_allowed_length_arrive_whole),
		cmocka_unit_test(small_messages_come_out_as_they_went_in),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
