/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Egress guard of a node: no FIN and no RST from a VIP leaves it. A clone of a client's connection ends by being handed
 * back or by vanishing, never by word; but the kernel would send one when the process dies, or when a packet comes for
 * a clone that is gone (RFC 9293 3.10.7.1), and the client would believe it. So the filter stays attached when the
 * process ends without egress_guard_close(), until the next egress_guard_open() puts its own in its place.
 */
#ifndef DISC_EGRESS_GUARD_H
#define DISC_EGRESS_GUARD_H

#include <stddef.h>
#include <stdint.h>

#include "address.h"

struct egress_guard;

/* Attaches the filter to <interfaces> (NULL-terminated: all through which packets to clients may leave) for the <count>
 * addresses <vips>, IPv4 or IPv6, ports unused. A left-over of ours there is replaced without a gap. Needs CAP_BPF and
 * CAP_NET_ADMIN here, only CAP_NET_ADMIN afterwards. Returns the guard, or NULL with a sentence in <error>; then
 * filters that were there before stay. */
struct egress_guard *egress_guard_open(const char *const *interfaces, const struct address *vips, size_t count,
				       char *error, size_t error_size);

/* Detaches the filter and frees <guard>; NULL is allowed. */
void egress_guard_close(struct egress_guard *guard);

/* Frees <guard>, which may be NULL, and leaves the filter where it is: for a process that had clones, for which packets
 * may still be on their way. */
void egress_guard_leave(struct egress_guard *guard);

/* Returns how many packets were dropped. */
uint64_t egress_guard_dropped(const struct egress_guard *guard);

#endif
