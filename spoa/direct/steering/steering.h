/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Steering: packets of handed-off connections that reach the LB are held here or sent on to a node. BPF on tc clsact of
 * the LB's interfaces (steering.bpf.c), loaded with libbpf; keyed by the whole tuple, IPv4 and IPv6.
 *
 *   (none) --steering_hold()--> HELD         packets are kept here, in order
 *   HELD --steering_redirect()--> REDIRECTED to a node, those held first
 *   REDIRECTED --steering_hold()--> HELD
 *   REDIRECTED --(the client has acknowledged the goal)--> HELD
 *   HELD --steering_release()--> (none)      packets reach our own stack, those held first
 *
 * While a flow is HELD or REDIRECTED the LB's egress drops what its own stack would say on it. Entries that nobody owns
 * any more (a process that died) are found by steering_open(). All interfaces on which packets from or to clients pass
 * must be named, VLAN and VXLAN interfaces by their own names.
 *
 * IPv6: at most 8 extension headers are walked. Packets that hide the TCP header (fragments but the first, longer
 * chains) follow the flow with the same source and flow label (RFC 7098, RFC 6437), never label 0 and none that several
 * flows share. Fragments of IPv4 are not steered: our own stack reassembles them, its socket is mute, the client's
 * retransmission is fragmented again. Such a client needs a smaller MSS; the counter <fragments> tells.
 *
 * Redirected packets keep their TTL or hop limit; only the MAC addresses are new. ICMP's "packet too big" about a
 * REDIRECTED flow (RFC 1191, RFC 8201) goes to the node, too.
 *
 * Order: no packet of a flow overtakes another when the flow changes its way; packets that arrive while held ones are
 * put back are held, too.
 *
 * Ageing: a flow of which no packet came for <max_age> seconds, and for which no function here was called either, is
 * dropped, with a line in the log.
 *
 * Not thread safe: one steering, one loop.
 */
#ifndef DISC_STEERING_H
#define DISC_STEERING_H

#include <ev.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "address.h"
#include "byte_queue.h"
#include "tcp_state.h"

struct steering;

struct steering_settings {
	const char *const *interfaces; /* where clients' packets come in, NULL-terminated */
	size_t max_flows;              /* at least 262144 unless the operator wants less */
	double max_age;                /* seconds without a packet after which a flow that nobody asks for is dropped */
	/* The client has acknowledged the goal of <owner>'s flow, which is HELD since. Once, from the loop, never from
	 * within these functions; may be NULL if there are no goals. */
	void (*acknowledged)(void *owner);
};

/* Where a flow may be sent: found once for each node by steering_route(). */
struct steering_route {
	struct address node; /* a directly reachable address of the node, port unused */
	unsigned interface;  /* index of the interface it is reached through */
	char interface_name[16];
	unsigned mtu; /* of that interface */
};

/* What is to be sent on a flow from elsewhere. */
struct steering_goal {
	uint32_t begin, end; /* sequence numbers of its first byte, and of the one behind its last */
	bool armed;          /* hold the flow when <end> is acknowledged, which is less than 2 GB away */
	void *owner;         /* for acknowledged() */
};

/* What the client was last seen to say on a flow. */
struct steering_seen {
	bool any;                           /* an acknowledgement; otherwise nothing else holds but tcp_flags */
	uint32_t acknowledged;              /* highest ACK number */
	uint32_t window;                    /* in force then (RFC 9293 3.10.7.4), as on the wire: not scaled */
	uint32_t timestamp, timestamp_echo; /* newest TSval and TSecr; 0 without timestamps */
	uint32_t sequence_end;              /* highest sequence number + length, FIN included */
	uint8_t tcp_flags;                  /* OR of all flag bytes (RFC 9293 3.1) */
	/* What of it was sent on to the node, acknowledgements aside. */
	bool forwarded, forwarded_hidden; /* anything; also packets that hide their TCP header */
	uint32_t forwarded_end;           /* highest sequence number + length, FIN included; if forwarded */
	uint64_t packets, bytes;
	double age; /* seconds since the last packet */
};

struct steering_counters {
	uint64_t flows;          /* in the table now */
	uint64_t redirected;     /* packets sent to nodes */
	uint64_t held;           /* packets taken out of a flow that was HELD, or not yet drained */
	uint64_t hold_overflows; /* packets that were lost because there was no room to hold them or to put them back */
	uint64_t reinjected;     /* packets put back */
	uint64_t muted;          /* packets of our own stack that the guard dropped */
	uint64_t fragments;      /* TCP fragments that belong to no flow for us: our own stack got them */
};

/* A flow that an earlier process left behind: only family, addresses and ports of <flow> hold. */
typedef void steering_leftover_function(void *context, const struct tcp_state *flow, const struct steering_seen *seen);

/* Loads and attaches the BPF programs, opens what is needed to re-inject packets, and finds left-overs of an earlier
 * process, on any interface: <leftover>(<context>) is called with each flow, and what was last seen on it, when its
 * entry and its filters are gone, so that tcp_reset() reaches the client; may be NULL. Needs CAP_BPF (or
 * CAP_SYS_ADMIN), CAP_NET_ADMIN and CAP_NET_RAW; afterwards CAP_NET_ADMIN is enough. To read the left-overs
 * CAP_SYS_ADMIN is needed (the kernel's rule for maps of others); without it they are cleared unread, and our own stack
 * resets each client at its next packet. Returns the steering, or NULL with a sentence in <error>, which names what is
 * missing (kernel feature, capability, interface). */
struct steering *steering_open(struct ev_loop *loop, const struct steering_settings *settings,
			       steering_leftover_function *leftover, void *context, char *error, size_t error_size);

/* Detaches the programs, unless another process has put its own there, and frees <steering>; flows should have been
 * released: those that are left are dropped. NULL is allowed. */
void steering_close(struct steering *steering);

/* Finds out how <node> is reached. Returns 0, or -1 with a sentence in <error>: no route, only through a gateway, the
 * interface is down, its MTU is smaller than that of the clients' interface. */
int steering_route_find(struct steering *steering, const struct address *node, struct steering_route *route,
			char *error, size_t error_size);

enum steering_neighbour {
	STEERING_NEIGHBOUR_UNKNOWN, /* the kernel has not found out yet */
	STEERING_NEIGHBOUR_ANSWERS, /* or did not long ago */
	STEERING_NEIGHBOUR_SILENT,  /* it answers neither ARP nor neighbour discovery */
};

/* What the kernel knows of the route's node on the wire. Lets it find out anew, unless it does already or has just
 * heard of the node. */
enum steering_neighbour steering_route_neighbour(const struct steering_route *route);

/* Whether a neighbour entry for the route's node exists and is usable or still unknown (asks for one then). Returns
 * false if the kernel says that the node does not answer, until steering_route_neighbour() has it asked again. */
bool steering_route_usable(const struct steering_route *route);

/* The flow whose local and remote endpoints <flow> names. Begins to hold its packets. Returns 0, or -1 with errno:
 * ENOSPC, the table is full. */
int steering_hold(struct steering *steering, const struct tcp_state *flow);

/* HELD -> REDIRECTED: sends the flow's packets to <route> from now on, those held first. With a <goal> the node may not
 * have the connection yet: until the client has acknowledged a byte from <begin> on it gets only what may be lost, which
 * is acknowledgements and RSTs; the rest stays held, and acknowledgements held until now are dropped, since each says
 * again what came before. NULL: it has it. Returns 0, or -1 with errno:
 * ENOENT, it is not steered (any longer); EBUSY, it is REDIRECTED; EAFNOSUPPORT, an IPv6 flow needs an IPv6 address of
 * the node. */
int steering_redirect(struct steering *steering, const struct tcp_state *flow, const struct steering_route *route,
		      const struct steering_goal *goal);

/* The goal of the REDIRECTED flow is less than 2 GB away by now: holds the flow when it is acknowledged, which may have
 * happened already. */
void steering_arm(struct steering *steering, const struct tcp_state *flow);

/* Drops acknowledgements that are held of the HELD flow, and moves the client's bytes from <*sequence> on, at most <max>, out
 * of what is held to <input>: as far as packets follow each other and say nothing else. Moves <*sequence>. */
void steering_collect(struct steering *steering, const struct tcp_state *flow, uint32_t *sequence,
		      struct byte_queue *input, size_t max);

/* Ends it: packets reach our own stack again, those held first. Of a flow that is not steered nothing happens. */
void steering_release(struct steering *steering, const struct tcp_state *flow);

/* Ends it and drops the packets held. tcp_reset() of its client comes after this: the guard would drop it before. */
void steering_drop(struct steering *steering, const struct tcp_state *flow);

/* What was seen of the client on a flow, since it was first held. Returns 0, or -1 with errno ENOENT. */
int steering_seen(struct steering *steering, const struct tcp_state *flow, struct steering_seen *seen);

void steering_count(struct steering *steering, struct steering_counters *counters);

/* Returns the indexes of the clients' interfaces, which belong to <steering>, and their number in <*count>. */
const unsigned *steering_interfaces(const struct steering *steering, size_t *count);

#endif
