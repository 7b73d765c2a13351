/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Packet tuple: what a TCP flow is found by in maps that programs in the kernel and ours share. */
#ifndef DISC_PACKET_TUPLE_H
#define DISC_PACKET_TUPLE_H

#include <linux/types.h>

#define PACKET_IPV4 4
#define PACKET_IPV6 6

/* No padding: it is a key byte by byte. Addresses and ports in network order; an IPv4 address in the first word, the
 * others 0. */
struct packet_tuple {
	__u32 source[4], destination[4];
	__u16 source_port, destination_port;
	__u32 family;
};

#endif
