/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards: every message comes out as it went in; peers with more fields and messages than we know are understood; wrong
 * fields are refused each with its error; no block of memory is freed with key material in it. */
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "control.h"

/* --- what free() sees --- */

static const uint8_t key_pattern[16] = "key of the lease";
static size_t frees_with_key, frees_seen;

#ifndef __SANITIZE_ADDRESS__
extern void __libc_free(void *memory);

/* Stands before the C library's, and looks into each block that is given back. */
void free(void *memory)
{
	if (memory) {
		frees_seen++;
		frees_with_key += memmem(memory, malloc_usable_size(memory), key_pattern, sizeof(key_pattern)) != NULL;
		__libc_free(memory);
	}
}
#endif

/* --- messages --- */

static uint8_t frame[CONTROL_MESSAGE_MAX + 64];
static char long_text[CONTROL_TEXT_MAX + 1];

static struct control_text text(const char *data)
{
	return (struct control_text){.data = data, .len = strlen(data)};
}

static struct control_message make_offer(void)
{
	struct control_message message = {.type = CONTROL_OFFER};
	struct control_offer *offer = &message.u.offer;

	memset(offer->ticket.bytes, 0xa7, TICKET_LEN);
	offer->state =
		(struct tx_state){.tls_minor = 4, .suite = 0x1301, .aead = TX_AEAD_AES_GCM, .key_len = 16, .seq = 1};
	memcpy(offer->state.key, key_pattern, sizeof(key_pattern));
	memset(offer->state.proof_key, 0xb9, PROOF_KEY_LEN);
	offer->method = text("GET");
	offer->host = text("www.example.test:8443");
	offer->target = text("/a?b=c%20\xff\xfe");
	offer->client = text("2001:db8::1");
	offer->peer = text("192.0.2.9");
	offer->lease_id = UINT64_MAX;
	offer->splice_min = (1ull << 39) + 1;
	offer->direct_min = 1ull << 40;
	offer->continuation_etag = text("\"an entity tag\"");
	offer->continuation_offset = 1ull << 41;
	offer->continuation_length = (1ull << 42) + 1;
	return message;
}

static size_t encode(const struct control_message *message)
{
	size_t len = 0;

	assert_int_equal(control_encode(message, frame, sizeof(frame), &len), CONTROL_OK);
	assert_true(len <= CONTROL_MESSAGE_MAX);
	return len;
}

/* Encodes and decodes again, from memory of exactly the message's size. */
static struct control_message carry(const struct control_message *message)
{
	struct control_message arrived;
	size_t len = encode(message);
	uint8_t *bytes = malloc(len ? len : 1);

	memcpy(bytes, frame, len);
	assert_int_equal(control_decode(&arrived, bytes, len), CONTROL_OK);
	assert_int_equal(arrived.type, message->type);
	/* Nothing points into what was decoded. */
	memset(bytes, 0xee, len);
	free(bytes);
	return arrived;
}

static void expect_text(struct control_text actual, struct control_text expected)
{
	assert_int_equal(actual.len, expected.len);
	assert_non_null(actual.data);
	assert_memory_equal(actual.data, expected.data, expected.len);
}

static void offer_comes_out_as_it_went_in(void **unused)
{
	struct control_message sent = make_offer(), arrived = carry(&sent);
	const struct control_offer *offer = &arrived.u.offer;

	(void)unused;
	assert_memory_equal(&offer->ticket, &sent.u.offer.ticket, sizeof(offer->ticket));
	assert_int_equal(offer->state.suite, 0x1301);
	assert_memory_equal(offer->state.key, key_pattern, sizeof(key_pattern));
	assert_int_equal(offer->state.seq, 1);
	assert_memory_equal(offer->state.proof_key, sent.u.offer.state.proof_key, PROOF_KEY_LEN);
	expect_text(offer->method, sent.u.offer.method);
	expect_text(offer->host, sent.u.offer.host);
	expect_text(offer->target, sent.u.offer.target);
	expect_text(offer->client, sent.u.offer.client);
	expect_text(offer->peer, sent.u.offer.peer);
	assert_true(offer->lease_id == UINT64_MAX);
	assert_true(offer->splice_min == (1ull << 39) + 1);
	assert_true(offer->direct_min == 1ull << 40);
	expect_text(offer->continuation_etag, sent.u.offer.continuation_etag);
	assert_true(offer->continuation_offset == 1ull << 41);
	assert_true(offer->continuation_length == (1ull << 42) + 1);
	control_release(&arrived);
	assert_null(arrived.storage);
}

static void small_messages_come_out_as_they_went_in(void **unused)
{
	struct control_message hello = {.type = CONTROL_HELLO};
	struct control_message ping = {.type = CONTROL_PING};
	struct control_message pong = {.type = CONTROL_PONG}, arrived;

	(void)unused;
	hello.u.hello = (struct control_hello){1, 7, text("lb1"), text("disc-spoa 0.1.0"), 256, 256, 9, 1024};
	arrived = carry(&hello);
	assert_int_equal(arrived.u.hello.version_min, 1);
	assert_int_equal(arrived.u.hello.version_max, 7);
	expect_text(arrived.u.hello.name, text("lb1"));
	expect_text(arrived.u.hello.software, text("disc-spoa 0.1.0"));
	assert_int_equal(arrived.u.hello.direct, 1);
	assert_int_equal(arrived.u.hello.lanes, 256);
	assert_int_equal(arrived.u.hello.lane, 9);
	assert_int_equal(arrived.u.hello.grants, 1);
	control_release(&arrived);

	ping.u.ping.nonce = 0x8000000000000001;
	arrived = carry(&ping);
	assert_true(arrived.u.ping.nonce == 0x8000000000000001);
	control_release(&arrived);

	pong.u.pong = (struct control_pong){.nonce = 9, .offloads = UINT32_MAX, .draining = 256};
	arrived = carry(&pong);
	assert_int_equal(arrived.u.pong.nonce, 9);
	assert_true(arrived.u.pong.offloads == UINT32_MAX);
	assert_int_equal(arrived.u.pong.draining, 1);
	control_release(&arrived);
}

static void every_outcome_comes_out_as_it_went_in(void **unused)
{
	(void)unused;
	for (int outcome = CONTROL_OUTCOME_SEALED; outcome <= CONTROL_OUTCOME_FAILED; outcome++) {
		struct control_message sent = {.type = CONTROL_RESULT}, arrived;

		sent.u.result.outcome = (enum control_outcome)outcome;
		sent.u.result.records = 1ull << 24;
		sent.u.result.bytes = 1ull << 38;
		sent.u.result.reason = text("object changed");
		sent.u.result.changed = outcome == CONTROL_OUTCOME_FAILED;
		arrived = carry(&sent);
		assert_int_equal(arrived.u.result.outcome, outcome);
		assert_true(arrived.u.result.records == 1ull << 24);
		assert_true(arrived.u.result.bytes == 1ull << 38);
		expect_text(arrived.u.result.reason, text("object changed"));
		assert_int_equal(arrived.u.result.changed, outcome == CONTROL_OUTCOME_FAILED);
		control_release(&arrived);
		assert_string_not_equal(control_outcome_text((enum control_outcome)outcome), "unknown");
	}
}

/* --- faults of ours --- */

static void expect_not_encoded(const struct control_message *message, size_t cap, enum control_error expected)
{
	size_t len = 1;

	memset(frame, 0xcc, sizeof(frame));
	assert_int_equal(control_encode(message, frame, cap, &len), expected);
	assert_int_equal(len, 0);
	for (size_t i = 0; i < sizeof(frame); i++)
		assert_int_equal(frame[i], 0xcc);
}

static void what_may_not_be_sent_is_not_encoded(void **unused)
{
	struct control_message message = make_offer();
	size_t len = encode(&message);

	(void)unused;
	expect_not_encoded(&message, len - 1, CONTROL_TOO_LONG);
	expect_not_encoded(&message, 0, CONTROL_TOO_LONG);
	message.u.offer.target = (struct control_text){long_text, CONTROL_TEXT_MAX + 1};
	expect_not_encoded(&message, sizeof(frame), CONTROL_BAD_FIELD);
	message.u.offer.target.len = message.u.offer.host.len = CONTROL_TEXT_MAX;
	message.u.offer.method.len = message.u.offer.client.len = CONTROL_TEXT_MAX;
	message.u.offer.host.data = message.u.offer.method.data = message.u.offer.client.data = long_text;
	expect_not_encoded(&message, sizeof(frame), CONTROL_TOO_LONG);

	message = (struct control_message){.type = CONTROL_UNKNOWN};
	expect_not_encoded(&message, sizeof(frame), CONTROL_BAD_FIELD);
	message = (struct control_message){.type = CONTROL_RESULT};
	expect_not_encoded(&message, sizeof(frame), CONTROL_BAD_FIELD);
	message.u.result.outcome = (enum control_outcome)(CONTROL_OUTCOME_FAILED + 1);
	expect_not_encoded(&message, sizeof(frame), CONTROL_BAD_FIELD);
	message = (struct control_message){.type = CONTROL_HELLO, .u.hello = {.version_min = 2, .version_max = 1}};
	expect_not_encoded(&message, sizeof(frame), CONTROL_BAD_FIELD);
}

/* --- faults of peers; bytes written by hand, so that our encoder is not asked about itself --- */

/* Protobuf wire format: field <number> of type "length-delimited". Returns its size. */
static size_t put_bytes(uint8_t *out, unsigned number, const void *bytes, size_t len)
{
	size_t at = 0;

	if (number > 15) {
		out[at++] = (uint8_t)((number << 3 | 2) & 127) | 128;
		out[at++] = (uint8_t)(number >> 4);
	} else {
		out[at++] = (uint8_t)(number << 3 | 2);
	}
	for (size_t rest = len;; rest >>= 7) {
		out[at++] = (uint8_t)(rest < 128 ? rest : (rest & 127) | 128);
		if (rest < 128)
			break;
	}
	if (len)
		memcpy(out + at, bytes, len);
	return at + len;
}

static size_t put_number(uint8_t *out, unsigned number, uint8_t value)
{
	out[0] = (uint8_t)(number << 3);
	out[1] = value;
	return 2;
}

static void expect_decoded_as(const uint8_t *bytes, size_t len, enum control_error expected)
{
	struct control_message message;
	static const struct control_message empty;

	memset(&message, 0x5a, sizeof(message));
	assert_int_equal(control_decode(&message, bytes, len), expected);
	if (expected == CONTROL_OK)
		control_release(&message);
	else
		assert_memory_equal(&message, &empty, sizeof(message));
}

/* Wraps <body> as field <number> of an Envelope and decodes. */
static void expect_message(unsigned number, const uint8_t *body, size_t len, enum control_error expected)
{
	static uint8_t envelope[CONTROL_MESSAGE_MAX];

	expect_decoded_as(envelope, put_bytes(envelope, number, body, len), expected);
}

static void offers_with_wrong_fields_are_refused(void **unused)
{
	static uint8_t body[40000];
	struct control_message good = make_offer();
	uint8_t state[TX_STATE_WIRE_LEN + 1] = {0};
	size_t len;

	(void)unused;
	tx_state_encode(state, &good.u.offer.state);
	expect_message(2, body, 0, CONTROL_BAD_TICKET);
	for (size_t ticket_len = 0; ticket_len <= TICKET_LEN + 1; ticket_len++) {
		for (size_t state_len = 59; state_len <= sizeof(state); state_len++) {
			enum control_error expected = ticket_len != TICKET_LEN         ? CONTROL_BAD_TICKET
						      : state_len != TX_STATE_WIRE_LEN ? CONTROL_BAD_TX_STATE
										       : CONTROL_OK;

			len = put_bytes(body, 1, "0123456789abcdefg", ticket_len);
			len += put_bytes(body + len, 2, state, state_len);
			expect_message(2, body, len, expected);
		}
	}
	for (unsigned number = 4; number <= 7; number++) {
		for (size_t text_len = CONTROL_TEXT_MAX; text_len <= CONTROL_TEXT_MAX + 1; text_len++) {
			len = put_bytes(body, 1, "0123456789abcdef", TICKET_LEN);
			len += put_bytes(body + len, 2, state, TX_STATE_WIRE_LEN);
			len += put_bytes(body + len, number, long_text, text_len);
			expect_message(2, body, len, text_len > CONTROL_TEXT_MAX ? CONTROL_BAD_FIELD : CONTROL_OK);
		}
	}
}

static void other_messages_with_wrong_fields_are_refused(void **unused)
{
	uint8_t body[64] = {0};
	size_t len;

	(void)unused;
	/* Hello: 0 is no version, and the range must not be upside down. */
	expect_message(1, body, 0, CONTROL_BAD_FIELD);
	len = put_number(body, 1, 3);
	len += put_number(body + len, 2, 2);
	expect_message(1, body, len, CONTROL_BAD_FIELD);
	body[3] = 3;
	expect_message(1, body, len, CONTROL_OK);
	/* Result: every outcome but 1..5, also negative ones. */
	for (unsigned outcome = 0; outcome < 128; outcome++) {
		len = put_bytes(body, 1, "0123456789abcdef", TICKET_LEN);
		len += put_number(body + len, 2, (uint8_t)outcome);
		expect_message(4, body, len, outcome >= 1 && outcome <= 5 ? CONTROL_OK : CONTROL_BAD_FIELD);
	}
	len = put_bytes(body, 1, "0123456789abcdef", TICKET_LEN);
	memcpy(body + len, "\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11);
	expect_message(4, body, len + 11, CONTROL_BAD_FIELD);
	/* Result without a ticket. */
	expect_message(4, body, 0, CONTROL_BAD_TICKET);
}

static void bytes_that_are_no_envelope_are_refused(void **unused)
{
	struct control_message message = make_offer();
	size_t len = encode(&message);
	static uint8_t too_long[CONTROL_MESSAGE_MAX + 1];

	(void)unused;
	expect_decoded_as(too_long, sizeof(too_long), CONTROL_TOO_LONG);
	expect_decoded_as((const uint8_t *)"\x0a", 1, CONTROL_MALFORMED);
	expect_decoded_as((const uint8_t *)"\x0a\xff\xff\xff\xff\x0f", 6, CONTROL_MALFORMED);
	expect_decoded_as((const uint8_t *)"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 11, CONTROL_MALFORMED);
	expect_decoded_as((const uint8_t *)"GET / HTTP/1.1\r\n\r\n", 18, CONTROL_MALFORMED);
	/* Cut anywhere: an Offer that lacks its end must not become one. */
	for (size_t cut = 1; cut < len; cut++) {
		uint8_t *bytes = malloc(cut);

		memcpy(bytes, frame, cut);
		expect_decoded_as(bytes, cut, CONTROL_MALFORMED);
		free(bytes);
	}
}

static void unknown_fields_and_messages_are_skipped(void **unused)
{
	uint8_t body[64] = {0}, envelope[128] = {0};
	struct control_message message;
	size_t len, body_len;

	(void)unused;
	/* A Ping with fields 14 and 15 of two wire types, in an Envelope with field 200. */
	body_len = put_bytes(body, 15, "later", 5);
	body_len += put_number(body + body_len, 1, 42);
	body_len += put_number(body + body_len, 14, 1);
	len = put_bytes(envelope, 200, "even later", 10);
	len += put_bytes(envelope + len, 5, body, body_len);
	assert_int_equal(control_decode(&message, envelope, len), CONTROL_OK);
	assert_int_equal(message.type, CONTROL_PING);
	assert_int_equal(message.u.ping.nonce, 42);
	control_release(&message);

	len = put_bytes(envelope, 200, "a message of version 9", 22);
	assert_int_equal(control_decode(&message, envelope, len), CONTROL_OK);
	assert_int_equal(message.type, CONTROL_UNKNOWN);
	control_release(&message);

	/* No message at all is one that we do not know. */
	assert_int_equal(control_decode(&message, envelope, 0), CONTROL_OK);
	assert_int_equal(message.type, CONTROL_UNKNOWN);
	control_release(&message);
}

static void highest_common_version_is_chosen(void **unused)
{
	(void)unused;
	assert_int_equal(control_negotiate(&(struct control_hello){.version_min = 3, .version_max = 3}), 3);
	/* Version 1 has no proof keys, 2 no Release. */
	assert_int_equal(control_negotiate(&(struct control_hello){.version_min = 1, .version_max = 2}), 0);
	assert_int_equal(control_negotiate(&(struct control_hello){.version_min = 1, .version_max = UINT32_MAX}),
			 CONTROL_VERSION_MAX);
	assert_int_equal(
		control_negotiate(&(struct control_hello){.version_min = CONTROL_VERSION_MAX + 1, .version_max = 9}),
		0);
	assert_int_equal(control_negotiate(&(struct control_hello){.version_min = 0, .version_max = 0}), 0);
}

/* --- key material --- */

static void no_memory_is_freed_with_the_key_in_it(void **unused)
{
	struct control_message message = make_offer(), arrived;
	uint8_t *twice;
	size_t len;
	void *leaky;

	(void)unused;
#ifdef __SANITIZE_ADDRESS__
	skip();
#endif
	/* That the watch works at all: one that must be seen. */
	frees_with_key = 0;
	leaky = malloc(64);
	memcpy(leaky, key_pattern, sizeof(key_pattern));
	free(leaky);
	assert_int_equal(frees_with_key, 1);
	frees_with_key = frees_seen = 0;

	arrived = carry(&message);
	assert_memory_equal(arrived.u.offer.state.key, key_pattern, sizeof(key_pattern));
	control_release(&arrived);
	assert_int_equal(memcmp(arrived.u.offer.state.key, key_pattern, sizeof(key_pattern)) == 0, 0);
	/* Two offers in one Envelope: the second replaces the first, which is freed while decoding. */
	len = encode(&message);
	twice = calloc(2, len);
	memcpy(twice, frame, len);
	memcpy(twice + len, frame, len);
	assert_int_equal(control_decode(&arrived, twice, 2 * len), CONTROL_OK);
	control_release(&arrived);
	/* Refused ones too, cut anywhere. */
	for (size_t cut = 1; cut < len; cut++)
		assert_int_equal(control_decode(&arrived, twice, cut), CONTROL_MALFORMED);
	memset(twice, 0, 2 * len);
	free(twice);
	assert_true(frees_seen > 10);
	assert_int_equal(frees_with_key, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes_that_are_no_envelope_are_refused),
		cmocka_unit_test(offers_with_wrong_fields_are_refused),
		cmocka_unit_test(other_messages_with_wrong_fields_are_refused),
		cmocka_unit_test(what_may_not_be_sent_is_not_encoded),
		cmocka_unit_test(unknown_fields_and_messages_are_skipped),
		cmocka_unit_test(offer_comes_out_as_it_went_in),
		cmocka_unit_test(small_messages_come_out_as_they_went_in),
		cmocka_unit_test(every_outcome_comes_out_as_it_went_in),
		cmocka_unit_test(highest_common_version_is_chosen),
		cmocka_unit_test(no_memory_is_freed_with_the_key_in_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
