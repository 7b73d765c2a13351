/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "listener.h"

#include <errno.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "log.h"

#define LISTEN_BACKLOG 1024

static int give_socket(const struct address *address, const struct listener_owner *owner)
{
	const struct sockaddr_un *path = (const struct sockaddr_un *)&address->storage;

	if (address->storage.ss_family != AF_UNIX || (owner->user == (uid_t)-1 && owner->group == (gid_t)-1))
		return 0;
	return chown(path->sun_path, owner->user, owner->group);
}

int listener_open(struct listener *listener, const struct address *address, const struct listener_owner *owner,
		  unsigned users)
{
	(void)address_format(address, listener->name);
	atomic_store(&listener->users, users);
	listener->fd = address_listen(address, LISTEN_BACKLOG, owner->mode);
	if (listener->fd < 0) {
		log_error("cannot listen on %s: %s", listener->name,
			  errno == EADDRINUSE ? "another program already does" : strerror(errno));
		return -1;
	}
	if (give_socket(address, owner) < 0) {
		log_error("cannot give %s to the user and group of the configuration: %s", listener->name,
			  strerror(errno));
		listener_close(listener);
		return -1;
	}
	log_info("listening on %s", listener->name);
	return 0;
}

void listener_close(struct listener *listener)
{
	if (listener->fd >= 0)
		(void)close(listener->fd);
	listener->fd = -1;
}

void listener_leave(struct listener *listener)
{
	if (atomic_fetch_sub(&listener->users, 1) == 1)
		listener_close(listener);
}
