/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The key of the egress guard's map, which its program in the kernel and ours share. */
#ifndef DISC_EGRESS_GUARD_ADDRESS_H
#define DISC_EGRESS_GUARD_ADDRESS_H

#include <linux/types.h>

struct egress_guard_address {
	__u32 words[4]; /* network order; an IPv4 address in the first, the others 0 */
	__u32 family;   /* PACKET_IPV4, PACKET_IPV6 */
};

#endif
