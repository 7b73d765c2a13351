/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Connection tracking: the kernel's nf_conntrack in this process's network namespace, which firewalls with "ct state" and
 * NAT switch on. It judges sequence numbers by what it has seen. Of a connection that was handed off it has not seen
 * what went elsewhere, so afterwards it calls the client's packets invalid, and usual firewalls drop these. A connection
 * can be exempted from this judgement, or made known where it began elsewhere (ctnetlink; needs CAP_NET_ADMIN).
 *
 * Only the default zone is looked at, and only IPv4 and IPv6.
 */
#ifndef DISC_CONNECTION_TRACKING_H
#define DISC_CONNECTION_TRACKING_H

#include <stdbool.h>
#include <stdint.h>

#include "tcp_state.h"

struct connection_tracking {
	int netlink;       /* -1: none */
	uint32_t sequence; /* of the last request */
	bool active;       /* private: what connection_tracking_was_active() saw, */
	double until;      /* private:   and until when that counts */
};

/* What a connection is known by. */
struct connection_tracking_flow {
	uint8_t family; /* 4 or 6; 0: none */
	struct tcp_endpoint client, site;
};

/* What is known of this host. */
struct connection_tracking_host {
	bool active;  /* connections are tracked now */
	bool liberal; /* nf_conntrack_tcp_be_liberal: sequence numbers are not judged */
	bool loose;   /* nf_conntrack_tcp_loose: a connection is tracked from its middle on */
};

/* What becomes of a connection of this host. */
enum connection_tracking_fate {
	CONNECTION_UNTRACKED = 0, /* nothing is in its way */
	CONNECTION_EXEMPT,        /* it is tracked, and its sequence numbers are not judged any more */
	CONNECTION_JUDGED,        /* they are: errno says why it cannot be exempted */
	CONNECTION_TRANSLATED,    /* this host translates its destination: on the wire it has another one */
};

/* Looks at this host. */
void connection_tracking_look(struct connection_tracking_host *host);

/* Whether this host tracks connections now. */
bool connection_tracking_is_active(void);

#define CONNECTION_TRACKING_KEPT_S 1.0

/* The same, as it was at most CONNECTION_TRACKING_KEPT_S before <now>, in seconds of a clock that does not go back: looking takes three
 * system calls. */
bool connection_tracking_was_active(struct connection_tracking *tracking, double now);

/* Opens <tracking>. Never fails: without a socket nothing can be exempted, and connection_tracking_works() says why. */
void connection_tracking_open(struct connection_tracking *tracking);
void connection_tracking_close(struct connection_tracking *tracking);

/* Whether connections can be exempted, by a request that changes nothing. Returns 0, or -1 with errno. */
int connection_tracking_works(struct connection_tracking *tracking);

/* Finds out what becomes of the TCP connection <fd>, which this host accepted, and exempts it if it is tracked; in that case its
 * entry also outlives five days without a packet. */
enum connection_tracking_fate connection_tracking_exempt(struct connection_tracking *tracking, int fd);

/* Makes known the connection <state>, whose client began it elsewhere, as an established one that is exempt. Returns 0,
 * or -1 with errno. */
int connection_tracking_add(struct connection_tracking *tracking, const struct tcp_state *state);

/* Has the connection <flow> forgotten, which need not be connected any more; nothing happens if it is not known. */
void connection_tracking_remove(struct connection_tracking *tracking, const struct connection_tracking_flow *flow);

#endif
