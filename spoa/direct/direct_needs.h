/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Direct needs: capabilities and descriptors that the direct path must have for as long as it runs, checked before
 * anything is opened. steering.h says what opening takes beyond that. */
#ifndef DISC_DIRECT_NEEDS_H
#define DISC_DIRECT_NEEDS_H

#include <stddef.h>

#include "spoa_config.h"

/* For sockets in repair mode and filters; and because the port of a connection is bound again when it comes back. */
#define DIRECT_CAPABILITIES "cap_net_admin cap_net_bind_service"

/* Whether the calling thread has them; the second is not needed where net.ipv4.ip_unprivileged_port_start lets all bind
 * every port. Returns 0, or -1 with a sentence in <error>. */
int direct_needs_capabilities(char *error, size_t error_size);

/* Raises the soft limit of open files to the hard one. Returns how many connections may be handed off at a time with
 * enough descriptors for each: max_flows of <config>; or fewer, down to 0, with a sentence in <why>. */
size_t direct_needs_descriptors(const struct spoa_config *config, char *why, size_t why_size);

#endif
