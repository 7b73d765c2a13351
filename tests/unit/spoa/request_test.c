/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards: arguments are known by name and type, in any order; a malformed message gives no request at all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "request.h"

#define PAYLOAD_MAX 512

static void begin(struct spop_writer *writer, uint8_t out[static PAYLOAD_MAX], uint8_t arguments)
{
	*writer = (struct spop_writer){out, out, out + PAYLOAD_MAX, false};
	spop_write_string(writer, "offload");
	spop_write_byte(writer, arguments);
}

static void add_text(struct spop_writer *writer, const char *name, const char *text)
{
	spop_write_string(writer, name);
	spop_write_text_value(writer, text);
}

static void add_raw(struct spop_writer *writer, const char *name, const void *value, size_t len)
{
	spop_write_string(writer, name);
	spop_write_bytes(writer, value, len);
}

static struct spop_slice end(const struct spop_writer *writer)
{
	assert_false(writer->full);
	return (struct spop_slice){writer->start, (size_t)(writer->p - writer->start)};
}

static void assert_text(struct control_text text, const char *expected)
{
	assert_int_equal(text.len, strlen(expected));
	assert_memory_equal(text.data, expected, text.len);
}

static void arguments_are_found_in_any_order(void **state)
{
	static const uint8_t client[] = {SPOP_DATA_IPV4, 192, 0, 2, 1}, id[] = {SPOP_DATA_INT64, 42};
	static const uint8_t peer[] = {SPOP_DATA_IPV4, 192, 0, 2, 2};
	static const uint8_t lease[] = {SPOP_DATA_BINARY, 3, 1, 2, 3};
	uint8_t payload[PAYLOAD_MAX];
	struct spop_writer writer;
	struct request request;

	(void)state;
	begin(&writer, payload, 9);
	add_raw(&writer, "peer", peer, sizeof(peer));
	add_raw(&writer, "client", client, sizeof(client));
	add_text(&writer, "target", "/a/b?c=/d?e");
	add_text(&writer, "later_addition", "ignored");
	add_text(&writer, "group", "inner");
	add_raw(&writer, "lease_id", id, sizeof(id));
	add_text(&writer, "host", "www.example:8443");
	add_raw(&writer, "lease", lease, sizeof(lease));
	add_text(&writer, "method", "GET");
	assert_true(request_read(&request, end(&writer)));
	assert_false(request.mistyped);
	assert_text(request.method, "GET");
	assert_text(request.host, "www.example:8443");
	assert_text(request.group, "inner");
	assert_text(request.target, "/a/b?c=/d?e");
	assert_text(request.path, "/a/b");
	assert_int_equal(request.client.family, CLIENT_IPV4);
	assert_int_equal(request.client.bytes[3], 1);
	assert_int_equal(request.peer.bytes[3], 2);
	assert_int_equal(request.lease_id, 42);
	assert_true(request.has_lease && request.has_lease_id);
	assert_int_equal(request.lease_len, 3);
	assert_memory_equal(request.lease, "\1\2\3", 3);
}

static void null_and_missing_arguments_are_absent(void **state)
{
	static const uint8_t null[] = {SPOP_DATA_NULL};
	uint8_t payload[PAYLOAD_MAX];
	struct spop_writer writer;
	struct request request;

	(void)state;
	begin(&writer, payload, 2);
	add_raw(&writer, "lease", null, sizeof(null));
	add_raw(&writer, "client", null, sizeof(null));
	assert_true(request_read(&request, end(&writer)));
	assert_false(request.mistyped);
	assert_null(request.lease);
	assert_false(request.has_lease || request.has_lease_id);
	assert_int_equal(request.method.len, 0);
	assert_int_equal(request.path.len, 0);
	assert_int_equal(request.client.family, CLIENT_UNKNOWN);
}

static void assert_argument(const struct request *request, const char *name, const char *expected)
{
	struct request_text value;

	assert_int_equal(request_argument(request, name, &value), REQUEST_ARGUMENT_THERE);
	assert_text(value.text, expected);
}

static void other_arguments_are_read_as_texts(void **state)
{
	static const uint8_t ipv4[] = {SPOP_DATA_IPV4, 192, 0, 2, 1}, null[] = {SPOP_DATA_NULL};
	static const uint8_t ipv6[] = {SPOP_DATA_IPV6, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
	static const uint8_t yes[] = {SPOP_DATA_BOOL | 0x10}, no[] = {SPOP_DATA_BOOL},
			     bytes[] = {SPOP_DATA_BINARY, 2, 'a', 'b'};
	uint8_t payload[PAYLOAD_MAX];
	struct spop_writer writer;
	struct request request;
	struct request_text value;

	(void)state;
	begin(&writer, payload, 11);
	add_text(&writer, "hdr_x", "a value");
	add_text(&writer, "method", "GET");
	add_raw(&writer, "v4", ipv4, sizeof(ipv4));
	add_raw(&writer, "v6", ipv6, sizeof(ipv6));
	add_raw(&writer, "yes", yes, sizeof(yes));
	add_raw(&writer, "no", no, sizeof(no));
	add_raw(&writer, "bytes", bytes, sizeof(bytes));
	add_raw(&writer, "null", null, sizeof(null));
	spop_write_string(&writer, "u32");
	spop_write_uint32_value(&writer, 4294967295u);
	spop_write_string(&writer, "less");
	spop_write_byte(&writer, SPOP_DATA_INT64);
	spop_write_varint(&writer, (uint64_t)-7);
	spop_write_string(&writer, "u64");
	spop_write_uint64_value(&writer, UINT64_MAX);
	spop_write_string(&writer, "second-message");
	spop_write_byte(&writer, 1);
	add_text(&writer, "later", "x");
	assert_true(request_read(&request, end(&writer)));
	assert_argument(&request, "hdr_x", "a value");
	assert_argument(&request, "method", "GET");
	assert_argument(&request, "v4", "192.0.2.1");
	assert_argument(&request, "v6", "2001:db8::1");
	assert_argument(&request, "yes", "true");
	assert_argument(&request, "no", "false");
	assert_argument(&request, "bytes", "ab");
	assert_argument(&request, "u32", "4294967295");
	assert_argument(&request, "less", "-7");
	assert_argument(&request, "u64", "18446744073709551615");
	assert_int_equal(request_argument(&request, "null", &value), REQUEST_ARGUMENT_NULL);
	assert_int_equal(request_argument(&request, "hdr", &value), REQUEST_ARGUMENT_UNKNOWN);
	assert_int_equal(request_argument(&request, "later", &value), REQUEST_ARGUMENT_UNKNOWN);
}

static void the_peer_is_the_client_only_if_haproxy_does_not_name_one(void **state)
{
	static const uint8_t client[] = {SPOP_DATA_IPV4, 192, 0, 2, 1}, null[] = {SPOP_DATA_NULL};
	uint8_t payload[PAYLOAD_MAX];
	struct spop_writer writer;
	struct request request;

	(void)state;
	begin(&writer, payload, 1);
	add_raw(&writer, "client", client, sizeof(client));
	assert_true(request_read(&request, end(&writer)));
	assert_int_equal(request.peer.family, CLIENT_IPV4);
	assert_int_equal(request.peer.bytes[3], 1);
	begin(&writer, payload, 2);
	add_raw(&writer, "peer", null, sizeof(null));
	add_raw(&writer, "client", client, sizeof(client));
	assert_true(request_read(&request, end(&writer)));
	assert_int_equal(request.peer.family, CLIENT_UNKNOWN);
}

static void arguments_of_another_type_are_noted(void **state)
{
	static const uint8_t yes[] = {SPOP_DATA_BOOL | 0x10};
	static const char *const names[] = {"lease", "lease_id", "method", "host", "target", "client", "peer"};

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		uint8_t payload[PAYLOAD_MAX];
		struct spop_writer writer;
		struct request request;

		begin(&writer, payload, 1);
		add_raw(&writer, names[i], yes, sizeof(yes));
		assert_true(request_read(&request, end(&writer)));
		assert_true(request.mistyped);
		assert_null(request.lease);
		assert_int_equal(request.has_lease, i == 0);
		assert_false(request.has_lease_id);
	}
}

static void only_a_connection_that_can_be_handed_off_is_direct(void **state)
{
	static const uint8_t yes[] = {SPOP_DATA_BOOL | 0x10}, no[] = {SPOP_DATA_BOOL}, null[] = {SPOP_DATA_NULL};
	static const struct {
		const uint8_t *bytes;
		bool direct;
	} cases[] = {{yes, true}, {no, false}, {null, false}};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t payload[PAYLOAD_MAX];
		struct spop_writer writer;
		struct request request;

		begin(&writer, payload, 1);
		add_raw(&writer, "direct", cases[i].bytes, 1);
		assert_true(request_read(&request, end(&writer)));
		assert_false(request.mistyped);
		assert_int_equal(request.direct, cases[i].direct);
	}
}

static void lease_as_a_string_is_no_lease(void **state)
{
	uint8_t payload[PAYLOAD_MAX];
	struct spop_writer writer;
	struct request request;

	(void)state;
	begin(&writer, payload, 1);
	add_text(&writer, "lease", "text");
	assert_true(request_read(&request, end(&writer)));
	assert_true(request.mistyped);
	assert_null(request.lease);
}

static void message_cut_at_every_byte_gives_no_request(void **state)
{
	uint8_t payload[PAYLOAD_MAX];
	struct spop_writer writer;
	struct request request;
	size_t whole;

	(void)state;
	begin(&writer, payload, 2);
	add_text(&writer, "method", "GET");
	add_text(&writer, "target", "/");
	whole = end(&writer).len;
	for (size_t len = 0; len < whole; len++) {
		uint8_t *copy = malloc(len ? len : 1);

		assert_non_null(copy);
		memcpy(copy, payload, len);
		assert_false(request_read(&request, (struct spop_slice){copy, len}));
		free(copy);
	}
	assert_true(request_read(&request, end(&writer)));
}

static void only_the_first_message_counts_but_all_are_checked(void **state)
{
	uint8_t payload[PAYLOAD_MAX];
	struct spop_writer writer;
	struct request request;

	(void)state;
	begin(&writer, payload, 1);
	add_text(&writer, "target", "/first");
	spop_write_string(&writer, "another");
	spop_write_byte(&writer, 1);
	add_text(&writer, "target", "/second");
	assert_true(request_read(&request, end(&writer)));
	assert_text(request.target, "/first");
	writer.p--;
	assert_false(request_read(&request, end(&writer)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(message_cut_at_every_byte_gives_no_request),
		cmocka_unit_test(other_arguments_are_read_as_texts),
		cmocka_unit_test(the_peer_is_the_client_only_if_haproxy_does_not_name_one),
		cmocka_unit_test(arguments_of_another_type_are_noted),
		cmocka_unit_test(only_a_connection_that_can_be_handed_off_is_direct),
		cmocka_unit_test(lease_as_a_string_is_no_lease),
		cmocka_unit_test(null_and_missing_arguments_are_absent),
		cmocka_unit_test(arguments_are_found_in_any_order),
		cmocka_unit_test(only_the_first_message_counts_but_all_are_checked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
