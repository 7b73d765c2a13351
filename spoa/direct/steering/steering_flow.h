/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the steering program in the kernel (steering.bpf.c) and ours share: the maps' layouts.
 *
 * A flow is a slot of the array <slots>, which we see as memory; <flows> finds its number by the tuple of the client's
 * packets, <labels> by source address and IPv6 flow label. A packet is held while the slot says FLOW_HOLD, or as long
 * as an earlier one that was held has not been put back: <held> counts the former, in the kernel, <drained> the latter,
 * here. So no packet overtakes another when a flow changes its way; but in FLOW_PROVE acknowledgements do, which have no
 * place in the order of what the client sends.
 *
 * Both sides change <action>, by compare-and-swap only: the kernel from FLOW_PROVE to FLOW_REDIRECT when the client has
 * acknowledged a byte of the node's, and from there to FLOW_HOLD when it has acknowledged all, if <armed>. The packet that
 * said so is held, and thus known here. If it is lost for want of room, the next one that says so is held.
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
	FLOW_PROVE = 3, /* FLOW_REDIRECT of what is not lost if the node has no connection yet; else held */
};

enum flow_forwarded {
	FORWARDED_NOTHING = 0, /* but acknowledgements */
	FORWARDED_KNOWN = 1,   /* up to <forwarded_end> */
	FORWARDED_HIDDEN = 2,  /* also packets that hide their TCP header */
};

struct flow_slot {
	/* written here */
	__u32 generation; /* of flows in this slot */
	__u32 drained;    /* of <held>; neither begins anew with another flow */
	__u32 interface;  /* where the node is reached */
	__u32 family;     /* of <node>: AF_INET or AF_INET6 */
	__u32 node[4];
	__u32 begin, end; /* sequence numbers of the node's first byte, and of the one behind its last */
	__u32 armed;      /* <end> holds: it is less than 2 GB away */
	/* written by both, see above */
	__u32 action; /* of enum flow_action */
	/* written in the kernel */
	__u32 held;
	__u32 forwarded;     /* of enum flow_forwarded: what the client sent and the node got */
	__u32 forwarded_end; /* highest sequence number + length of it, FIN included */
	__u32 label;         /* in <labels> for this flow, network order; 0: none */
	__u32 any;           /* whether a packet with an acknowledgement was seen of the client */
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
