/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the steering program in the kernel (steering.bpf.c) and ours share: the maps' layouts.
 *
 * A flow is a slot of the array <slots>, which we see as memory; <flows> finds its number by the tuple of the client's
 * packets, <labels> by source address and IPv6 flow label. A packet is held while the slot says FLOW_HOLD, or as long
 * as an earlier one that was held has not been put back: <held> counts the former, in the kernel, <drained> the latter,
 * here. So no packet overtakes another when a flow changes its way.
 */
#ifndef DISC_STEERING_FLOW_H
#define DISC_STEERING_FLOW_H

#include <linux/types.h>

#include "packet_tuple.h"

#define STEERING_MARK 0xd15c5709u      /* SO_MARK of packets that are put back; they reach nobody else with it */
#define STEERING_AMBIGUOUS 0xffffffffu /* in <labels>: several flows of one source share a label, or did */

#define HELD_SMALL 256u   /* capacities of records in the ring: an acknowledgement, */
#define HELD_MEDIUM 2048u /* a packet as long as Ethernet's, */
#define HELD_LARGE 65792u /* and packets merged on receipt, up to 64 KB and their Ethernet header */

enum flow_action {
	FLOW_PASS = 0, /* to our own stack: released, and gone as soon as all that was held has been put back */
	FLOW_HOLD = 1,
	FLOW_REDIRECT = 2,
};

struct flow_slot {
	/* written here */
	__u32 action;     /* of enum flow_action */
	__u32 generation; /* of flows in this slot */
	__u32 drained;    /* of <held>; neither begins anew with another flow */
	__u32 interface;  /* where the node is reached */
	__u32 family;     /* of <node>: AF_INET or AF_INET6 */
	__u32 node[4];
	/* written in the kernel */
	__u32 held;
	__u32 label; /* in <labels> for this flow, network order; 0: none */
	__u32 any;   /* whether a packet with an acknowledgement was seen of the client */
	__u32 acknowledged, window, timestamp, timestamp_echo, sequence_end, tcp_flags;
	__u32 window_sequence; /* of the packet with that <window>: SND.WL1 of RFC 9293 */
	__u64 packets, bytes;
	__u64 last; /* nanoseconds of CLOCK_MONOTONIC */
};

struct flow_label {
	__u32 source[4];
	__u32 label;
};

/* One packet in the ring <held>, as it came, from its Ethernet header on. */
struct held_packet {
	__u32 number, generation; /* of the flow */
	__u32 interface;
	__u32 len;
	__u32 gso_size;   /* bytes of payload in each packet that was merged; 0: one packet */
	__u32 tcp_offset; /* 0: the TCP header is not in this packet */
	__u8 data[];
};

struct steering_totals {
	__u64 redirected, held, hold_overflows, muted, fragments;
};

#endif
