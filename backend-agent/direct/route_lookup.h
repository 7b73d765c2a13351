/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Route lookup: by which interface this host would send from one address to another (rtnetlink(7), RTM_GETROUTE). */
#ifndef DISC_ROUTE_LOOKUP_H
#define DISC_ROUTE_LOOKUP_H

#include <stdint.h>

struct route_found {
	unsigned interface; /* its index */
	unsigned mtu;       /* of the route; 0: the interface's */
};

/* Looks up the route of <family> (4 or 6) to <destination>, from <source> unless it is NULL; addresses in network
 * order, IPv4 in the first 4 bytes. Nothing is sent. Returns 0, or -1 with errno: ENETUNREACH or EHOSTUNREACH, there is
 * none; EINVAL, <source> is not an address of this host. */
int route_lookup(uint8_t family, const uint8_t *destination, const uint8_t *source, struct route_found *found);

#endif
