/* SPDX-License-Identifier: GPL-2.0-or-later */
/* TCP packets made by hand, from the Ethernet header on, sent and watched without a TCP that has an opinion about
 * them. */
#ifndef RAW_PACKET_H
#define RAW_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "netns.h"
#include "tcp_state.h"

enum raw_extension {
	RAW_NONE,
	RAW_CHAIN,
	RAW_LONG_CHAIN
}; /* IPv6: hop-by-hop, routing, destination options; or nine */

struct raw_packet {
	const struct tcp_state *flow; /* from its <remote> to its <local>; family, addresses and ports count */
	bool reverse;                 /* or the other way */
	uint32_t seq, ack;
	uint16_t window;
	uint8_t flags;
	size_t payload;
	uint32_t timestamp, timestamp_echo; /* an option if not 0 */
	uint32_t label;                     /* IPv6 */
	enum raw_extension extension;
	bool damaged; /* its checksum is wrong */
	int fragment; /* 0: whole; 1: the first of two; 2: the second, without a TCP header */
};

/* A way into the network: a packet socket on interface <name> of <netns>, which speaks to the MAC address <to>. */
struct raw_sender {
	int fd;
	int interface;
	uint8_t own_mac[6], to_mac[6];
};

int raw_sender_open(struct raw_sender *sender, const struct netns *netns, const char *name, const struct netns *to,
		    const char *to_name);
void raw_sender_close(struct raw_sender *sender);
int raw_send(const struct raw_sender *sender, const struct raw_packet *packet);

/* Sends what a router on the way to the client would send to the VIP: a packet of <flow> to the client was too big. */
int raw_send_too_big(const struct raw_sender *sender, const struct tcp_state *flow);

/* What was seen somewhere of a packet. */
struct raw_seen {
	uint32_t seq;
	uint8_t flags;
	uint16_t source_port, port;       /* the latter is the destination's */
	uint8_t source_mac[6], hop_limit; /* on a wire only */
	bool too_big;                     /* the ICMP message: only MAC and hop limit hold */
	bool fragment;                    /* of IPv6 without TCP header: <seq> and ports do not hold */
};

struct raw_watcher {
	int fd;
	enum { RAW_WIRE, RAW_STACK4, RAW_STACK6 } kind;
};

/* What comes in on an interface, fit for us or not; or what reaches the TCP of <netns>. */
int raw_watch_wire(struct raw_watcher *watcher, const struct netns *netns, const char *name);
int raw_watch_stack(struct raw_watcher *watcher, const struct netns *netns, int family);
void raw_watcher_close(struct raw_watcher *watcher);

/* Waits for the next TCP packet, at most <milliseconds>. Returns 0, or -1 if there is none. */
int raw_next(const struct raw_watcher *watcher, struct raw_seen *seen, int milliseconds);

#endif
