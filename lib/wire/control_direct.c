/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Messages of the direct path: their part of control_encode() and control_decode(). */
#include "control_pack.h"

/* What a Handback needs beside its queues: ticket, TCP state, a number, and fewer than 16 tags and lengths of at most 4
 * bytes. */
_Static_assert(TCP_SEND_TAIL_MAX + TCP_RECEIVE_TAIL_MAX + TICKET_LEN + TCP_STATE_WIRE_LEN + 10 + 16 * 4 <=
		       CONTROL_MESSAGE_MAX,
	       "a Handback with full queues fits a message");

static ProtobufCBinaryData pack_bytes(struct control_bytes bytes)
{
	return (ProtobufCBinaryData){.len = bytes.len, .data = (uint8_t *)bytes.data};
}

static struct control_bytes unpack_bytes(ProtobufCBinaryData packed)
{
	return (struct control_bytes){.data = packed.len ? packed.data : (const uint8_t *)"", .len = packed.len};
}

static bool queues_are_valid(const struct tcp_state *state, struct control_bytes send_queue,
			     struct control_bytes receive_queue)
{
	return send_queue.len <= TCP_SEND_TAIL_MAX && receive_queue.len <= TCP_RECEIVE_TAIL_MAX &&
	       state->unsent <= send_queue.len;
}

static bool cause_is_known(uint64_t cause)
{
	return cause >= CONTROL_GONE_CLIENT && cause <= CONTROL_GONE_RECALLED;
}

/* Silence says that a clone lives. */
static bool reason_is_valid(struct control_text reason)
{
	return reason.len && text_fits(reason);
}

static bool client_data_is_valid(struct control_bytes data)
{
	return data.len && data.len <= CONTROL_CLIENT_DATA_MAX;
}

/* --- encoding --- */

static enum control_error encode_handoff(const struct control_handoff *handoff, uint8_t *out, size_t cap, size_t *len)
{
	Disc__Control__Envelope envelope = DISC__CONTROL__ENVELOPE__INIT;
	Disc__Control__Handoff packed = DISC__CONTROL__HANDOFF__INIT;
	uint8_t state[TCP_STATE_WIRE_LEN];

	if (!queues_are_valid(&handoff->state, handoff->send_queue, handoff->receive_queue))
		return CONTROL_BAD_QUEUE;
	packed.ticket = pack_ticket(&handoff->ticket);
	tcp_state_encode(state, &handoff->state);
	packed.tcp_state = (ProtobufCBinaryData){.len = sizeof(state), .data = state};
	packed.send_queue = pack_bytes(handoff->send_queue);
	packed.receive_queue = pack_bytes(handoff->receive_queue);
	packed.bytes = handoff->bytes;
	envelope.message_case = DISC__CONTROL__ENVELOPE__MESSAGE_HANDOFF;
	envelope.handoff = &packed;
	return pack_envelope(&envelope, out, cap, len);
}

static enum control_error encode_handoff_reply(const struct control_handoff_reply *handoff_reply, uint8_t *out,
					       size_t cap, size_t *len)
{
	Disc__Control__Envelope envelope = DISC__CONTROL__ENVELOPE__INIT;
	Disc__Control__HandoffReply packed = DISC__CONTROL__HANDOFF_REPLY__INIT;

	if (!reason_is_valid(handoff_reply->reason))
		return CONTROL_BAD_FIELD;
	packed.ticket = pack_ticket(&handoff_reply->ticket);
	packed.reason = pack_text(handoff_reply->reason);
	packed.contradicts = handoff_reply->contradicts;
	envelope.message_case = DISC__CONTROL__ENVELOPE__MESSAGE_HANDOFF_REPLY;
	envelope.handoff_reply = &packed;
	return pack_envelope(&envelope, out, cap, len);
}

static enum control_error encode_progress(const struct control_progress *progress, uint8_t *out, size_t cap,
					  size_t *len)
{
	Disc__Control__Envelope envelope = DISC__CONTROL__ENVELOPE__INIT;
	Disc__Control__Progress packed = DISC__CONTROL__PROGRESS__INIT;

	packed.ticket = pack_ticket(&progress->ticket);
	packed.bytes = progress->bytes;
	envelope.message_case = DISC__CONTROL__ENVELOPE__MESSAGE_PROGRESS;
	envelope.progress = &packed;
	return pack_envelope(&envelope, out, cap, len);
}

static enum control_error encode_client_data(const struct control_client_data *client_data, uint8_t *out, size_t cap,
					     size_t *len)
{
	Disc__Control__Envelope envelope = DISC__CONTROL__ENVELOPE__INIT;
	Disc__Control__ClientData packed = DISC__CONTROL__CLIENT_DATA__INIT;

	if (!client_data_is_valid(client_data->data))
		return CONTROL_BAD_FIELD;
	packed.ticket = pack_ticket(&client_data->ticket);
	packed.offset = client_data->offset;
	packed.data = pack_bytes(client_data->data);
	envelope.message_case = DISC__CONTROL__ENVELOPE__MESSAGE_CLIENT_DATA;
	envelope.client_data = &packed;
	return pack_envelope(&envelope, out, cap, len);
}

static enum control_error encode_drained(const struct control_drained *drained, uint8_t *out, size_t cap, size_t *len)
{
	Disc__Control__Envelope envelope = DISC__CONTROL__ENVELOPE__INIT;
	Disc__Control__Drained packed = DISC__CONTROL__DRAINED__INIT;

	packed.ticket = pack_ticket(&drained->ticket);
	envelope.message_case = DISC__CONTROL__ENVELOPE__MESSAGE_DRAINED;
	envelope.drained = &packed;
	return pack_envelope(&envelope, out, cap, len);
}

static enum control_error encode_recall(const struct control_recall *recall, uint8_t *out, size_t cap, size_t *len)
{
	Disc__Control__Envelope envelope = DISC__CONTROL__ENVELOPE__INIT;
	Disc__Control__Recall packed = DISC__CONTROL__RECALL__INIT;

	packed.ticket = pack_ticket(&recall->ticket);
	packed.discard = recall->discard != 0;
	envelope.message_case = DISC__CONTROL__ENVELOPE__MESSAGE_RECALL;
	envelope.recall = &packed;
	return pack_envelope(&envelope, out, cap, len);
}

static enum control_error encode_handback(const struct control_handback *handback, uint8_t *out, size_t cap,
					  size_t *len)
{
	Disc__Control__Envelope envelope = DISC__CONTROL__ENVELOPE__INIT;
	Disc__Control__Handback packed = DISC__CONTROL__HANDBACK__INIT;
	uint8_t state[TCP_STATE_WIRE_LEN];

	if (!queues_are_valid(&handback->state, handback->send_queue, handback->receive_queue))
		return CONTROL_BAD_QUEUE;
	packed.ticket = pack_ticket(&handback->ticket);
	tcp_state_encode(state, &handback->state);
	packed.tcp_state = (ProtobufCBinaryData){.len = sizeof(state), .data = state};
	packed.send_queue = pack_bytes(handback->send_queue);
	packed.receive_queue = pack_bytes(handback->receive_queue);
	packed.bytes = handback->bytes;
	envelope.message_case = DISC__CONTROL__ENVELOPE__MESSAGE_HANDBACK;
	envelope.handback = &packed;
	return pack_envelope(&envelope, out, cap, len);
}

static enum control_error encode_gone(const struct control_gone *gone, uint8_t *out, size_t cap, size_t *len)
{
	Disc__Control__Envelope envelope = DISC__CONTROL__ENVELOPE__INIT;
	Disc__Control__Gone packed = DISC__CONTROL__GONE__INIT;

	if (!cause_is_known(gone->cause) || !text_fits(gone->reason))
		return CONTROL_BAD_FIELD;
	packed.ticket = pack_ticket(&gone->ticket);
	packed.cause = (Disc__Control__GoneCause)gone->cause;
	packed.bytes = gone->bytes;
	packed.reason = pack_text(gone->reason);
	envelope.message_case = DISC__CONTROL__ENVELOPE__MESSAGE_GONE;
	envelope.gone = &packed;
	return pack_envelope(&envelope, out, cap, len);
}

static enum control_error encode_release(const struct control_release *release, uint8_t *out, size_t cap, size_t *len)
{
	Disc__Control__Envelope envelope = DISC__CONTROL__ENVELOPE__INIT;
	Disc__Control__Release packed = DISC__CONTROL__RELEASE__INIT;

	packed.ticket = pack_ticket(&release->ticket);
	envelope.message_case = DISC__CONTROL__ENVELOPE__MESSAGE_RELEASE;
	envelope.release = &packed;
	return pack_envelope(&envelope, out, cap, len);
}

enum control_error control_direct_encode(const struct control_message *message, uint8_t *out, size_t cap, size_t *len)
{
	switch (message->type) {
	case CONTROL_HANDOFF:
		return encode_handoff(&message->u.handoff, out, cap, len);
	case CONTROL_HANDOFF_REPLY:
		return encode_handoff_reply(&message->u.handoff_reply, out, cap, len);
	case CONTROL_PROGRESS:
		return encode_progress(&message->u.progress, out, cap, len);
	case CONTROL_CLIENT_DATA:
		return encode_client_data(&message->u.client_data, out, cap, len);
	case CONTROL_DRAINED:
		return encode_drained(&message->u.drained, out, cap, len);
	case CONTROL_RECALL:
		return encode_recall(&message->u.recall, out, cap, len);
	case CONTROL_HANDBACK:
		return encode_handback(&message->u.handback, out, cap, len);
	case CONTROL_GONE:
		return encode_gone(&message->u.gone, out, cap, len);
	case CONTROL_RELEASE:
		return encode_release(&message->u.release, out, cap, len);
	default:
		return CONTROL_BAD_FIELD;
	}
}

/* --- decoding --- */

static enum control_error decode_handoff(struct control_handoff *handoff, const Disc__Control__Handoff *packed)
{
	if (!unpack_ticket(&handoff->ticket, packed->ticket))
		return CONTROL_BAD_TICKET;
	if (tcp_state_decode(&handoff->state, packed->tcp_state.data, packed->tcp_state.len) != TCP_STATE_OK)
		return CONTROL_BAD_TCP_STATE;
	handoff->send_queue = unpack_bytes(packed->send_queue);
	handoff->receive_queue = unpack_bytes(packed->receive_queue);
	handoff->bytes = packed->bytes;
	return queues_are_valid(&handoff->state, handoff->send_queue, handoff->receive_queue) ? CONTROL_OK
											      : CONTROL_BAD_QUEUE;
}

static enum control_error decode_handoff_reply(struct control_handoff_reply *handoff_reply,
					       const Disc__Control__HandoffReply *packed)
{
	if (!unpack_ticket(&handoff_reply->ticket, packed->ticket))
		return CONTROL_BAD_TICKET;
	if (!unpack_text(&handoff_reply->reason, packed->reason) || !reason_is_valid(handoff_reply->reason))
		return CONTROL_BAD_FIELD;
	handoff_reply->contradicts = packed->contradicts;
	return CONTROL_OK;
}

static enum control_error decode_progress(struct control_progress *progress, const Disc__Control__Progress *packed)
{
	if (!unpack_ticket(&progress->ticket, packed->ticket))
		return CONTROL_BAD_TICKET;
	progress->bytes = packed->bytes;
	return CONTROL_OK;
}

static enum control_error decode_client_data(struct control_client_data *client_data,
					     const Disc__Control__ClientData *packed)
{
	if (!unpack_ticket(&client_data->ticket, packed->ticket))
		return CONTROL_BAD_TICKET;
	client_data->offset = packed->offset;
	client_data->data = unpack_bytes(packed->data);
	return client_data_is_valid(client_data->data) ? CONTROL_OK : CONTROL_BAD_FIELD;
}

static enum control_error decode_drained(struct control_drained *drained, const Disc__Control__Drained *packed)
{
	if (!unpack_ticket(&drained->ticket, packed->ticket))
		return CONTROL_BAD_TICKET;
	return CONTROL_OK;
}

static enum control_error decode_recall(struct control_recall *recall, const Disc__Control__Recall *packed)
{
	if (!unpack_ticket(&recall->ticket, packed->ticket))
		return CONTROL_BAD_TICKET;
	recall->discard = packed->discard ? 1 : 0;
	return CONTROL_OK;
}

static enum control_error decode_handback(struct control_handback *handback, const Disc__Control__Handback *packed)
{
	if (!unpack_ticket(&handback->ticket, packed->ticket))
		return CONTROL_BAD_TICKET;
	if (tcp_state_decode(&handback->state, packed->tcp_state.data, packed->tcp_state.len) != TCP_STATE_OK)
		return CONTROL_BAD_TCP_STATE;
	handback->send_queue = unpack_bytes(packed->send_queue);
	handback->receive_queue = unpack_bytes(packed->receive_queue);
	handback->bytes = packed->bytes;
	return queues_are_valid(&handback->state, handback->send_queue, handback->receive_queue) ? CONTROL_OK
												 : CONTROL_BAD_QUEUE;
}

static enum control_error decode_gone(struct control_gone *gone, const Disc__Control__Gone *packed)
{
	if (!unpack_ticket(&gone->ticket, packed->ticket))
		return CONTROL_BAD_TICKET;
	if (!cause_is_known((uint64_t)(int64_t)packed->cause))
		return CONTROL_BAD_FIELD;
	gone->cause = (enum control_gone_cause)packed->cause;
	gone->bytes = packed->bytes;
	return unpack_text(&gone->reason, packed->reason) ? CONTROL_OK : CONTROL_BAD_FIELD;
}

static enum control_error decode_release(struct control_release *release, const Disc__Control__Release *packed)
{
	return unpack_ticket(&release->ticket, packed->ticket) ? CONTROL_OK : CONTROL_BAD_TICKET;
}

enum control_error control_direct_decode(struct control_message *message, const Disc__Control__Envelope *envelope)
{
	switch (envelope->message_case) {
	case DISC__CONTROL__ENVELOPE__MESSAGE_HANDOFF:
		message->type = CONTROL_HANDOFF;
		return decode_handoff(&message->u.handoff, envelope->handoff);
	case DISC__CONTROL__ENVELOPE__MESSAGE_HANDOFF_REPLY:
		message->type = CONTROL_HANDOFF_REPLY;
		return decode_handoff_reply(&message->u.handoff_reply, envelope->handoff_reply);
	case DISC__CONTROL__ENVELOPE__MESSAGE_PROGRESS:
		message->type = CONTROL_PROGRESS;
		return decode_progress(&message->u.progress, envelope->progress);
	case DISC__CONTROL__ENVELOPE__MESSAGE_CLIENT_DATA:
		message->type = CONTROL_CLIENT_DATA;
		return decode_client_data(&message->u.client_data, envelope->client_data);
	case DISC__CONTROL__ENVELOPE__MESSAGE_DRAINED:
		message->type = CONTROL_DRAINED;
		return decode_drained(&message->u.drained, envelope->drained);
	case DISC__CONTROL__ENVELOPE__MESSAGE_RECALL:
		message->type = CONTROL_RECALL;
		return decode_recall(&message->u.recall, envelope->recall);
	case DISC__CONTROL__ENVELOPE__MESSAGE_HANDBACK:
		message->type = CONTROL_HANDBACK;
		return decode_handback(&message->u.handback, envelope->handback);
	case DISC__CONTROL__ENVELOPE__MESSAGE_GONE:
		message->type = CONTROL_GONE;
		return decode_gone(&message->u.gone, envelope->gone);
	case DISC__CONTROL__ENVELOPE__MESSAGE_RELEASE:
		message->type = CONTROL_RELEASE;
		return decode_release(&message->u.release, envelope->release);
	default:
		message->type = CONTROL_UNKNOWN;
		return CONTROL_OK;
	}
}
