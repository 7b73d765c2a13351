/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Direct settings: what the configuration says about transmitting on clients' connections. */
#ifndef DISC_DIRECT_SETTINGS_H
#define DISC_DIRECT_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "ip_address.h"

struct direct_settings {
	struct ip_address *vips; /* vip_count virtual addresses: the load balancer's, which this node has too */
	size_t vip_count;
	const char **interfaces; /* through which clients are reached, NULL-terminated */
	const char *congestion;  /* name of a congestion control; NULL: the system's */
	int send_buffer;         /* SO_SNDBUF of a clone, bytes */
	double handoff_wait;     /* seconds that a prepared body waits for its connection */
	double client_timeout;   /* seconds without an acknowledgement from the client */
};

/* True if <address>, as in struct ip_address, is one of the virtual addresses. */
static inline bool direct_settings_have_vip(const struct direct_settings *settings, uint8_t family,
					    const uint8_t address[static 16])
{
	for (size_t i = 0; i < settings->vip_count; i++)
		if (settings->vips[i].family == family && memcmp(settings->vips[i].address, address, 16) == 0)
			return true;
	return false;
}

#endif
