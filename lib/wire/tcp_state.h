/* SPDX-License-Identifier: GPL-2.0-or-later */
/* TCP state: what another host, or the same socket later, needs to go on with a TCP connection (RFC 9293 3.3.1, options
 * of RFC 7323 and 2018). A codec: bytes in, struct out; lib/tcp_freeze reads and makes it.
 *
 * Wire form 1, 96 bytes, big-endian, in messages Handoff and Handback of the control channel:
 *   0 version u8 = 1 | 1 family u8 (4, 6) | 2 flags u8 (enum tcp_state_flag) | 3 send_scale u8 | 4 receive_scale u8 | 5
 * 0 u8 | 6 mss u16 | 8 local_port u16 | 10 remote_port u16 | 12 local[16] | 28 remote[16] | 44 send_next u32 | 48
 * receive_next u32 | 52 unsent u32 | 56 timestamp u32 | 60 window_update_seq u32 | 64 send_window u32 | 68 max_window
 * u32 | 72 receive_window u32 | 76 receive_window_seq u32 | 80 flow_label u32 | 84 scope u32 | 88 0 u64 An IPv4 address
 * stands in the first 4 of its 16 bytes, the rest is 0.
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
	uint32_t window_update_seq, send_window, max_window, receive_window,
		receive_window_seq; /* struct tcp_repair_window */
	uint32_t flow_label;        /* IPv6, 0: none */
	uint32_t scope;             /* IPv6 scope of <remote>, 0: none */
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
