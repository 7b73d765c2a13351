/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Direct client: whether this node has a way to a client, before its connection is asked for. */
#ifndef DISC_DIRECT_CLIENT_H
#define DISC_DIRECT_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "direct_settings.h"

struct direct_client {
	uint8_t family;      /* 4 or 6; 0: not known */
	uint8_t address[16]; /* network order; IPv4 in the first 4, the rest 0 */
};

/* Reads the numeric address in the <len> bytes at <text>; anything else gives family 0. */
struct direct_client direct_client_parse(const char *text, size_t len);

/* Returns false if the kernel has no route from our virtual address of its family to <client>, and says so in the log
 * now and then; it counts each time. True if there is one, or if that cannot be told: the handoff will show. Nothing is
 * sent. */
bool direct_client_reachable(const struct direct_settings *settings, const struct direct_client *client);

#endif
