/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Client route: whether this node has a way to a client, before its connection is asked for. */
#ifndef DISC_CLIENT_ROUTE_H
#define DISC_CLIENT_ROUTE_H

#include <stdbool.h>

#include "direct_settings.h"

/* Returns false if the kernel has no route to <client> from any virtual address of its family, which is counted each
 * time and said in the log now and then. True if there is one, or if that is unknown (family 0 too): the handoff
 * will show. Nothing is sent. Of any thread. */
bool client_route_exists(const struct direct_settings *settings, const struct ip_address *client);

#endif
