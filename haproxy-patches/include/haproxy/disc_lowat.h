/*
 * include/haproxy/disc_lowat.h
 * Being woken up for large amounts of data only, not for each segment.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef _HAPROXY_DISC_LOWAT_H
#define _HAPROXY_DISC_LOWAT_H

#include <inttypes.h>

#include <haproxy/list-t.h>

/* belongs to the transport layer of the client that the data are for */
struct disc_lowat {
	struct list list;       /* in the thread's list */
	int fd;                 /* the socket */
	unsigned int generation;/* of <fd>: it was closed if fdtab has another one */
	int mark;               /* its SO_RCVLOWAT, in bytes */
	uint32_t date;          /* of the last progress, in milliseconds */
};

struct disc_lowat *disc_lowat_new(int fd, uint64_t left);
void disc_lowat_progress(struct disc_lowat **lowat, uint64_t left);
void disc_lowat_free(struct disc_lowat **lowat);

#endif /* _HAPROXY_DISC_LOWAT_H */
