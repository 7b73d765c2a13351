/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards the TCP state's wire form 1: each field at its place, every malformed form refused by name, and nothing left
 * of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tcp_state.h"

/* Written by hand from the header's table. */
static const uint8_t wire4[TCP_STATE_WIRE_LEN] = {
	1,    4,    7,    9,    10, 0, 0x05, 0xb4, /* version, family, flags, scales, 0, mss 1460 */
	0x01, 0xbb, 0xc0, 0x01,                    /* ports 443, 49153 */
	192,  0,    2,    1,    0,  0, 0,    0,    0, 0, 0, 0, 0, 0, 0, 0, /* local */
	198,  51,   100,  7,    0,  0, 0,    0,    0, 0, 0, 0, 0, 0, 0, 0, /* remote */
	0xff, 0xff, 0xff, 0xfe,                                            /* send_next */
	0x01, 0x02, 0x03, 0x04,                                            /* receive_next */
	0x00, 0x00, 0x00, 0x05,                                            /* unsent */
	0x11, 0x12, 0x13, 0x14,                                            /* timestamp */
	0x21, 0x22, 0x23, 0x24,                                            /* window_update_seq */
	0x31, 0x32, 0x33, 0x34,                                            /* send_window */
	0x41, 0x42, 0x43, 0x44,                                            /* max_window */
	0x51, 0x52, 0x53, 0x54,                                            /* receive_window */
	0x61, 0x62, 0x63, 0x64,                                            /* receive_window_seq */
	0,    0,    0,    0,                                               /* flow_label */
	0,    0,    0,    0,                                               /* scope */
	0,    0,    0,    0,    0,  0, 0,    0,
};

static void make_wire6(uint8_t wire[static TCP_STATE_WIRE_LEN])
{
	memcpy(wire, wire4, TCP_STATE_WIRE_LEN);
	wire[1] = 6;
	for (int i = 0; i < 16; i++) {
		wire[12 + i] = (uint8_t)(0x20 + i);
		wire[28 + i] = (uint8_t)(0x80 + i);
	}
	wire[81] = 0x0f;
	wire[82] = 0xed;
	wire[83] = 0xcb;
	wire[87] = 3;
}

/* With byte <at> of <wire> set to <value>, it is refused for <error>, and no field is left. */
static void assert_refused(const uint8_t *wire, size_t at, uint8_t value, enum tcp_state_error error)
{
	static const struct tcp_state nothing;
	uint8_t changed[TCP_STATE_WIRE_LEN];
	struct tcp_state state;

	memcpy(changed, wire, sizeof(changed));
	changed[at] = value;
	memset(&state, 0xaa, sizeof(state));
	assert_int_equal(tcp_state_decode(&state, changed, sizeof(changed)), error);
	assert_memory_equal(&state, &nothing, sizeof(state));
}

static void other_lengths_are_refused(void **state)
{
	struct tcp_state tcp;
	uint8_t longer[TCP_STATE_WIRE_LEN + 1] = {0};

	(void)state;
	memcpy(longer, wire4, sizeof(wire4));
	for (size_t len = 0; len <= sizeof(longer); len++)
		assert_int_equal(tcp_state_decode(&tcp, longer, len),
				 len == TCP_STATE_WIRE_LEN ? TCP_STATE_OK : TCP_STATE_BAD_LENGTH);
}

static void malformed_fields_are_refused_by_name(void **state)
{
	uint8_t wire6[TCP_STATE_WIRE_LEN], zero[TCP_STATE_WIRE_LEN];

	(void)state;
	make_wire6(wire6);
	assert_refused(wire4, 0, 0, TCP_STATE_BAD_VERSION);
	assert_refused(wire4, 0, 2, TCP_STATE_BAD_VERSION);
	assert_refused(wire4, 1, 0, TCP_STATE_BAD_FAMILY);
	assert_refused(wire4, 1, 5, TCP_STATE_BAD_FAMILY);
	assert_refused(wire4, 2, 0x80 | 7, TCP_STATE_BAD_FLAGS);
	assert_refused(wire4, 2, 0x80 | 7, TCP_STATE_BAD_FLAGS);
	assert_refused(wire4, 2, 3, TCP_STATE_BAD_FLAGS); /* scales without SCALING */
	assert_refused(wire4, 3, 15, TCP_STATE_BAD_FLAGS);
	assert_refused(wire4, 4, 15, TCP_STATE_BAD_FLAGS);
	assert_refused(wire4, 5, 1, TCP_STATE_BAD_RESERVED);
	memcpy(zero, wire4, sizeof(zero));
	zero[6] = 0;
	assert_refused(zero, 7, 87, TCP_STATE_BAD_MSS);
	memcpy(zero, wire4, sizeof(zero));
	zero[8] = 0;
	assert_refused(zero, 9, 0, TCP_STATE_BAD_PORT);
	memcpy(zero, wire4, sizeof(zero));
	zero[10] = 0;
	assert_refused(zero, 11, 0, TCP_STATE_BAD_PORT);
	for (size_t at = 16; at < 28; at++)
		assert_refused(wire4, at, 1, TCP_STATE_BAD_RESERVED);
	for (size_t at = 32; at < 44; at++)
		assert_refused(wire4, at, 1, TCP_STATE_BAD_RESERVED);
	for (size_t at = 80; at < 88; at++) /* flow label and scope are IPv6's */
		assert_refused(wire4, at, 1, TCP_STATE_BAD_RESERVED);
	for (size_t at = 88; at < TCP_STATE_WIRE_LEN; at++) {
		assert_refused(wire4, at, 1, TCP_STATE_BAD_RESERVED);
		assert_refused(wire6, at, 1, TCP_STATE_BAD_RESERVED);
	}
	assert_refused(wire6, 80, 1, TCP_STATE_BAD_RESERVED);
	assert_refused(wire6, 81, 0x10, TCP_STATE_BAD_RESERVED); /* a flow label has 20 bits */
}

static void every_field_has_its_place(void **state)
{
	static const uint8_t local[16] = {192, 0, 2, 1}, remote[16] = {198, 51, 100, 7};
	uint8_t again[TCP_STATE_WIRE_LEN];
	struct tcp_state tcp;

	(void)state;
	assert_int_equal(tcp_state_decode(&tcp, wire4, sizeof(wire4)), TCP_STATE_OK);
	assert_int_equal(tcp.family, 4);
	assert_int_equal(tcp.flags, TCP_STATE_TIMESTAMPS | TCP_STATE_SACK | TCP_STATE_SCALING);
	assert_int_equal(tcp.send_scale, 9);
	assert_int_equal(tcp.receive_scale, 10);
	assert_int_equal(tcp.mss, 1460);
	assert_int_equal(tcp.local.port, 443);
	assert_int_equal(tcp.remote.port, 49153);
	assert_memory_equal(tcp.local.address, local, 16);
	assert_memory_equal(tcp.remote.address, remote, 16);
	assert_int_equal(tcp.send_next, 0xfffffffe);
	assert_int_equal(tcp.receive_next, 0x01020304);
	assert_int_equal(tcp.unsent, 5);
	assert_int_equal(tcp.timestamp, 0x11121314);
	assert_int_equal(tcp.window_update_seq, 0x21222324);
	assert_int_equal(tcp.send_window, 0x31323334);
	assert_int_equal(tcp.max_window, 0x41424344);
	assert_int_equal(tcp.receive_window, 0x51525354);
	assert_int_equal(tcp.receive_window_seq, 0x61626364);
	memset(again, 0xaa, sizeof(again));
	tcp_state_encode(again, &tcp);
	assert_memory_equal(again, wire4, sizeof(wire4));
}

static void ipv6_has_its_fields_too(void **state)
{
	uint8_t wire6[TCP_STATE_WIRE_LEN], again[TCP_STATE_WIRE_LEN];
	struct tcp_state tcp;

	(void)state;
	make_wire6(wire6);
	assert_int_equal(tcp_state_decode(&tcp, wire6, sizeof(wire6)), TCP_STATE_OK);
	assert_memory_equal(tcp.local.address, wire6 + 12, 16);
	assert_memory_equal(tcp.remote.address, wire6 + 28, 16);
	assert_int_equal(tcp.flow_label, 0xfedcb);
	assert_int_equal(tcp.scope, 3);
	tcp_state_encode(again, &tcp);
	assert_memory_equal(again, wire6, sizeof(wire6));
}

static void limits_are_taken(void **state)
{
	uint8_t wire[TCP_STATE_WIRE_LEN];
	struct tcp_state tcp;

	(void)state;
	memcpy(wire, wire4, sizeof(wire));
	wire[2] = 0x3f; /* every flag */
	wire[3] = wire[4] = 14;
	wire[6] = 0;
	wire[7] = 88;
	assert_int_equal(tcp_state_decode(&tcp, wire, sizeof(wire)), TCP_STATE_OK);
	assert_true(tcp.flags & TCP_STATE_PEER_CLOSED && tcp.flags & TCP_STATE_MICROSECONDS &&
		    tcp.flags & TCP_STATE_ECN);
	wire[2] = wire[3] = wire[4] = 0; /* a peer that knows no options */
	assert_int_equal(tcp_state_decode(&tcp, wire, sizeof(wire)), TCP_STATE_OK);
}

static void text_names_both_ends(void **state)
{
	static const uint8_t local6[16] = {0x20, 0x01, 0x0d, 0xb8, [15] = 1},
			     remote6[16] = {0x20, 0x01, 0x0d, 0xb8, [15] = 2};
	uint8_t wire6[TCP_STATE_WIRE_LEN];
	char text[TCP_STATE_TEXT_MAX];
	struct tcp_state tcp;

	(void)state;
	assert_int_equal(tcp_state_decode(&tcp, wire4, sizeof(wire4)), TCP_STATE_OK);
	assert_string_equal(tcp_state_format(&tcp, text), "192.0.2.1:443 -> 198.51.100.7:49153");
	make_wire6(wire6);
	memcpy(wire6 + 12, local6, 16);
	memcpy(wire6 + 28, remote6, 16);
	assert_int_equal(tcp_state_decode(&tcp, wire6, sizeof(wire6)), TCP_STATE_OK);
	assert_string_equal(tcp_state_format(&tcp, text), "[2001:db8::1]:443 -> [2001:db8::2]:49153");
}

static void every_fault_has_a_text(void **state)
{
	(void)state;
	for (int error = TCP_STATE_OK; error <= TCP_STATE_BAD_RESERVED; error++)
		for (int other = TCP_STATE_OK; other < error; other++)
			assert_string_not_equal(tcp_state_error_text((enum tcp_state_error)error),
						tcp_state_error_text((enum tcp_state_error)other));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(other_lengths_are_refused), cmocka_unit_test(malformed_fields_are_refused_by_name),
		cmocka_unit_test(every_field_has_its_place), cmocka_unit_test(ipv6_has_its_fields_too),
		cmocka_unit_test(limits_are_taken),          cmocka_unit_test(text_names_both_ends),
		cmocka_unit_test(every_fault_has_a_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
