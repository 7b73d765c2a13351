/* SPDX-License-Identifier: GPL-2.0-or-later */
/* TCP state: what another host, or the same socket later, needs to go on with a TCP connection (RFC 9293 3.3.1, options
 * of RFC 7323 and 2018). A codec: bytes in, struct out; tcp_freeze reads and makes it.
 *
 * Wire form 1, 96 bytes, big-endian, in messages Handoff and Handback of the control channel:
 *
 *   offset  size  field
 *        0     1  version: 1
 *        1     1  family: 4 or 6
 *        2     1  flags: enum tcp_state_flag
 *        3     1  send_scale
 *        4     1  receive_scale
 *        5     1  0
 *        6     2  mss
 *        8     2  local port
 *       10     2  remote port
 *       12    16  local address; an IPv4 address in the first 4 bytes, the others are 0
 *       28    16  remote address, likewise
 *       44     4  send_next
 *       48     4  receive_next
 *       52     4  unsent
 *       56     4  timestamp
 *       60     4  window_update_seq
 *       64     4  send_window
 *       68     4  max_window
 *       72     4  receive_window
 *       76     4  receive_window_seq
 *       80     4  flow_label
 *       84     4  scope
 *       88     8  0
 */
#ifndef DISC_TCP_STATE_H
#define DISC_TCP_STATE_H

#include <stddef.h>
#include <stdint.h>

#define TCP_SEND_TAIL_MAX 49152u    /* bytes of a send queue that a handoff carries */
#define TCP_RECEIVE_TAIL_MAX 12288u /* bytes of unread input that a handoff carries */
#define TCP_STATE_WIRE_LEN 96
#define TCP_STATE_TEXT_MAX 128

enum tcp_state_flag {
	TCP_STATE_TIMESTAMPS = 1,    /* RFC 7323 timestamps were negotiated */
	TCP_STATE_SACK = 2,          /* RFC 2018 */
	TCP_STATE_SCALING = 4,       /* RFC 7323 window scaling; the two scales hold */
	TCP_STATE_ECN = 8,           /* RFC 3168 */
	TCP_STATE_MICROSECONDS = 16, /* <timestamp> counts microseconds, not milliseconds (Linux) */
	TCP_STATE_PEER_CLOSED = 32,  /* the peer's FIN was received: receive_next is behind it */
	TCP_STATE_KEEPALIVE = 64,    /* keep-alives (RFC 9293 3.8.4) are on */
};

struct tcp_endpoint {
	uint8_t address[16]; /* network order; IPv4 in the first 4 */
	uint16_t port;       /* host order */
};

/* Sequence numbers are host order and wrap. */
struct tcp_state {
	uint8_t family; /* 4 or 6 */
	uint8_t flags;  /* of enum tcp_state_flag */
	uint8_t send_scale, receive_scale;
	uint16_t mss; /* what the peer takes, bytes */
	struct tcp_endpoint local, remote;
	uint32_t send_next;    /* of the byte behind the whole send queue */
	uint32_t receive_next; /* of the next byte from the peer; the receive queue ends here */
	uint32_t unsent;       /* bytes at the end of the send queue that never left */
	uint32_t timestamp;    /* our TSval now */
	/* as in struct tcp_repair_window */
	uint32_t window_update_seq, send_window, max_window;
	uint32_t receive_window, receive_window_seq;
	uint32_t flow_label; /* IPv6, 0: none */
	uint32_t scope;      /* IPv6 scope of <remote>, 0: none */
};

enum tcp_state_error {
	TCP_STATE_OK = 0,
	TCP_STATE_BAD_LENGTH, /* not TCP_STATE_WIRE_LEN bytes */
	TCP_STATE_BAD_VERSION,
	TCP_STATE_BAD_FAMILY,
	TCP_STATE_BAD_FLAGS,    /* unknown bits, or a scale over 14 or without SCALING */
	TCP_STATE_BAD_PORT,     /* 0 */
	TCP_STATE_BAD_MSS,      /* below 88 */
	TCP_STATE_BAD_RESERVED, /* reserved or unused address bytes are not 0 */
};

/* Reads wire form 1. Returns TCP_STATE_OK, or the first fault found, <state> being zeroed. */
enum tcp_state_error tcp_state_decode(struct tcp_state *state, const uint8_t *wire, size_t len);

/* Writes wire form 1; <state> must be one that tcp_state_decode() would accept. */
void tcp_state_encode(uint8_t wire[static TCP_STATE_WIRE_LEN], const struct tcp_state *state);

const char *tcp_state_error_text(enum tcp_state_error error);

/* Writes "LOCAL -> REMOTE" for logs, terminated. Returns <text>. */
const char *tcp_state_format(const struct tcp_state *state, char text[static TCP_STATE_TEXT_MAX]);

#endif
