/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Origin sockets: the connections of one HTTP source, in use or kept for the next request. */
#ifndef DISC_ORIGIN_SOCKETS_H
#define DISC_ORIGIN_SOCKETS_H

#include <ev.h>
#include <stdbool.h>

struct origin_socket;

struct origin_sockets {
	struct ev_loop *loop;
	/* A watched socket is ready for <events>, EV_READ or EV_WRITE. */
	void (*ready)(void *context, int fd, int events);
	void *context;
	struct origin_socket *by_fd; /* private; NULL at first */
};

/* Opens a non-blocking socket. Returns its descriptor, or -1 (logged). */
int origin_sockets_open(struct origin_sockets *sockets, int family, int type, int protocol);

/* Closes <fd>. Returns what close(2) does. */
int origin_sockets_close(struct origin_sockets *sockets, int fd);

/* From now on <user> has the socket, and waits for <events>. Unknown descriptors are left alone. */
void origin_sockets_watch(struct origin_sockets *sockets, int fd, int events, const void *user);

/* Whether <user> has the socket. */
bool origin_sockets_has(const struct origin_sockets *sockets, int fd, const void *user);

/* Its user waits for nothing now. */
void origin_sockets_unwatch(struct origin_sockets *sockets, int fd);

/* <user> is done. If the socket is still open and its own, it is idle from now on: whatever comes on it is the answer
 * to no request, is read away, and the connection shut. */
void origin_sockets_leave(struct origin_sockets *sockets, int fd, const void *user);

#endif
