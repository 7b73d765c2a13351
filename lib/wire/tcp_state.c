/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tcp_state.h"

#include <arpa/inet.h>
#include <endian.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define WIRE_VERSION 1
#define SCALE_MAX 14 /* RFC 7323 2.3 */
#define MSS_MIN 88   /* what Linux takes at least */
#define FLOW_LABEL_MAX 0xfffffu

#define KNOWN_FLAGS                                                                                           \
	(TCP_STATE_TIMESTAMPS | TCP_STATE_SACK | TCP_STATE_SCALING | TCP_STATE_ECN | TCP_STATE_MICROSECONDS | \
	 TCP_STATE_PEER_CLOSED | TCP_STATE_KEEPALIVE)

/* Where each field lies in wire form 1. */
enum wire_offset {
	AT_VERSION = 0,
	AT_FAMILY = 1,
	AT_FLAGS = 2,
	AT_SEND_SCALE = 3,
	AT_RECEIVE_SCALE = 4,
	AT_RESERVED = 5,
	AT_MSS = 6,
	AT_LOCAL_PORT = 8,
	AT_REMOTE_PORT = 10,
	AT_LOCAL = 12,
	AT_REMOTE = 28,
	AT_SEND_NEXT = 44,
	AT_RECEIVE_NEXT = 48,
	AT_UNSENT = 52,
	AT_TIMESTAMP = 56,
	AT_WINDOW_UPDATE_SEQ = 60,
	AT_SEND_WINDOW = 64,
	AT_MAX_WINDOW = 68,
	AT_RECEIVE_WINDOW = 72,
	AT_RECEIVE_WINDOW_SEQ = 76,
	AT_FLOW_LABEL = 80,
	AT_SCOPE = 84,
	AT_RESERVED_END = 88,
};

_Static_assert(AT_RESERVED_END + sizeof(uint64_t) == TCP_STATE_WIRE_LEN, "wire form 1 has 96 bytes");

static uint16_t load_u16(const uint8_t *at)
{
	uint16_t value;

	memcpy(&value, at, sizeof(value));
	return be16toh(value);
}

static uint32_t load_u32(const uint8_t *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof(value));
	return be32toh(value);
}

static void store_u16(uint8_t *at, uint16_t value)
{
	value = htobe16(value);
	memcpy(at, &value, sizeof(value));
}

static void store_u32(uint8_t *at, uint32_t value)
{
	value = htobe32(value);
	memcpy(at, &value, sizeof(value));
}

static bool all_zero(const uint8_t *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (bytes[i])
			return false;
	}
	return true;
}

static void load_fields(struct tcp_state *state, const uint8_t *wire)
{
	state->family = wire[AT_FAMILY];
	state->flags = wire[AT_FLAGS];
	state->send_scale = wire[AT_SEND_SCALE];
	state->receive_scale = wire[AT_RECEIVE_SCALE];
	state->mss = load_u16(wire + AT_MSS);
	state->local.port = load_u16(wire + AT_LOCAL_PORT);
	state->remote.port = load_u16(wire + AT_REMOTE_PORT);
	memcpy(state->local.address, wire + AT_LOCAL, sizeof(state->local.address));
	memcpy(state->remote.address, wire + AT_REMOTE, sizeof(state->remote.address));
	state->send_next = load_u32(wire + AT_SEND_NEXT);
	state->receive_next = load_u32(wire + AT_RECEIVE_NEXT);
	state->unsent = load_u32(wire + AT_UNSENT);
	state->timestamp = load_u32(wire + AT_TIMESTAMP);
	state->window_update_seq = load_u32(wire + AT_WINDOW_UPDATE_SEQ);
	state->send_window = load_u32(wire + AT_SEND_WINDOW);
	state->max_window = load_u32(wire + AT_MAX_WINDOW);
	state->receive_window = load_u32(wire + AT_RECEIVE_WINDOW);
	state->receive_window_seq = load_u32(wire + AT_RECEIVE_WINDOW_SEQ);
	state->flow_label = load_u32(wire + AT_FLOW_LABEL);
	state->scope = load_u32(wire + AT_SCOPE);
}

static bool scales_are_valid(const struct tcp_state *state)
{
	if (!(state->flags & TCP_STATE_SCALING))
		return state->send_scale == 0 && state->receive_scale == 0;
	return state->send_scale <= SCALE_MAX && state->receive_scale <= SCALE_MAX;
}

/* IPv4 leaves 12 bytes of each address and the two fields of IPv6 unused. */
static bool unused_is_zero(const struct tcp_state *state)
{
	if (state->family == 6)
		return state->flow_label <= FLOW_LABEL_MAX;
	return all_zero(state->local.address + 4, 12) && all_zero(state->remote.address + 4, 12) &&
	       state->flow_label == 0 && state->scope == 0;
}

static enum tcp_state_error check_fields(const struct tcp_state *state)
{
	if (state->family != 4 && state->family != 6)
		return TCP_STATE_BAD_FAMILY;
	if ((state->flags & ~KNOWN_FLAGS) || !scales_are_valid(state))
		return TCP_STATE_BAD_FLAGS;
	if (state->local.port == 0 || state->remote.port == 0)
		return TCP_STATE_BAD_PORT;
	if (state->mss < MSS_MIN)
		return TCP_STATE_BAD_MSS;
	return unused_is_zero(state) ? TCP_STATE_OK : TCP_STATE_BAD_RESERVED;
}

enum tcp_state_error tcp_state_decode(struct tcp_state *state, const uint8_t *wire, size_t len)
{
	enum tcp_state_error error;

	memset(state, 0, sizeof(*state));
	if (len != TCP_STATE_WIRE_LEN)
		return TCP_STATE_BAD_LENGTH;
	if (wire[AT_VERSION] != WIRE_VERSION)
		return TCP_STATE_BAD_VERSION;
	load_fields(state, wire);
	error = check_fields(state);
	if (error == TCP_STATE_OK &&
	    (wire[AT_RESERVED] || !all_zero(wire + AT_RESERVED_END, TCP_STATE_WIRE_LEN - AT_RESERVED_END)))
		error = TCP_STATE_BAD_RESERVED;
	if (error != TCP_STATE_OK)
		memset(state, 0, sizeof(*state));
	return error;
}

void tcp_state_encode(uint8_t wire[static TCP_STATE_WIRE_LEN], const struct tcp_state *state)
{
	memset(wire, 0, TCP_STATE_WIRE_LEN);
	wire[AT_VERSION] = WIRE_VERSION;
	wire[AT_FAMILY] = state->family;
	wire[AT_FLAGS] = state->flags;
	wire[AT_SEND_SCALE] = state->send_scale;
	wire[AT_RECEIVE_SCALE] = state->receive_scale;
	store_u16(wire + AT_MSS, state->mss);
	store_u16(wire + AT_LOCAL_PORT, state->local.port);
	store_u16(wire + AT_REMOTE_PORT, state->remote.port);
	memcpy(wire + AT_LOCAL, state->local.address, sizeof(state->local.address));
	memcpy(wire + AT_REMOTE, state->remote.address, sizeof(state->remote.address));
	store_u32(wire + AT_SEND_NEXT, state->send_next);
	store_u32(wire + AT_RECEIVE_NEXT, state->receive_next);
	store_u32(wire + AT_UNSENT, state->unsent);
	store_u32(wire + AT_TIMESTAMP, state->timestamp);
	store_u32(wire + AT_WINDOW_UPDATE_SEQ, state->window_update_seq);
	store_u32(wire + AT_SEND_WINDOW, state->send_window);
	store_u32(wire + AT_MAX_WINDOW, state->max_window);
	store_u32(wire + AT_RECEIVE_WINDOW, state->receive_window);
	store_u32(wire + AT_RECEIVE_WINDOW_SEQ, state->receive_window_seq);
	store_u32(wire + AT_FLOW_LABEL, state->flow_label);
	store_u32(wire + AT_SCOPE, state->scope);
}

const char *tcp_state_error_text(enum tcp_state_error error)
{
	switch (error) {
	case TCP_STATE_OK:
		return "no fault";
	case TCP_STATE_BAD_LENGTH:
		return "the TCP state has not 96 bytes";
	case TCP_STATE_BAD_VERSION:
		return "the TCP state has an unknown version";
	case TCP_STATE_BAD_FAMILY:
		return "the TCP state's family is neither 4 nor 6";
	case TCP_STATE_BAD_FLAGS:
		return "the TCP state has unknown flags or a wrong window scale";
	case TCP_STATE_BAD_PORT:
		return "a port of the TCP state is 0";
	case TCP_STATE_BAD_MSS:
		return "the TCP state's MSS is below 88";
	case TCP_STATE_BAD_RESERVED:
		return "reserved bytes of the TCP state are not 0";
	}
	return "unknown fault of the TCP state";
}

const char *tcp_state_format(const struct tcp_state *state, char text[static TCP_STATE_TEXT_MAX])
{
	char local[INET6_ADDRSTRLEN], remote[INET6_ADDRSTRLEN];
	int family = state->family == 6 ? AF_INET6 : AF_INET;
	const char *open = state->family == 6 ? "[" : "", *close = state->family == 6 ? "]" : "";

	if (!inet_ntop(family, state->local.address, local, sizeof(local)) ||
	    !inet_ntop(family, state->remote.address, remote, sizeof(remote))) {
		text[0] = '\0';
		return text;
	}
	if (snprintf(text, TCP_STATE_TEXT_MAX, "%s%s%s:%u -> %s%s%s:%u", open, local, close, state->local.port, open,
		     remote, close, state->remote.port) < 0)
		text[0] = '\0';
	return text;
}
