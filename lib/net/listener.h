/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Listeners: sockets that are opened once and on which all workers accept. The last worker that leaves one closes
 * it, so that a successor can listen on the address while this process finishes. */
#ifndef DISC_LISTENER_H
#define DISC_LISTENER_H

#include <stdatomic.h>
#include <stddef.h>
#include <sys/types.h>

#include "address.h"

struct listener {
	int fd;
	char name[ADDRESS_TEXT_MAX];
	_Atomic unsigned users; /* workers that may still accept on it */
};

struct listener_owner {
	unsigned mode; /* of a UNIX socket's file */
	uid_t user;    /* -1: left as it is */
	gid_t group;   /* -1: left as it is */
};

/* Listens on <address> for <users> workers. Returns 0, or -1 after a log line that names the address and the reason. */
int listener_open(struct listener *listener, const struct address *address, const struct listener_owner *owner,
		  unsigned users);

/* One worker will not accept on <listener> again. */
void listener_leave(struct listener *listener);

/* Closes <listener> if it is open, also while workers use it. */
void listener_close(struct listener *listener);

#endif
