/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Direct settings: the section "direct" of disc-backend.conf, which says how to transmit on clients' connections - its
 * schema, its checks and its values. */
#ifndef DISC_DIRECT_SETTINGS_H
#define DISC_DIRECT_SETTINGS_H

#include <confuse.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ip_address.h"

struct direct_settings {
	struct ip_address *vips; /* vip_count virtual addresses: the load balancer's, which this node has too */
	size_t vip_count;
	const char **interfaces; /* through which clients are reached, NULL-terminated */
	const char *congestion;  /* name of a congestion control; NULL: the system's */
	int send_buffer;         /* SO_SNDBUF of a clone, bytes */
	double handoff_wait;     /* seconds that a prepared body waits for its connection */
	double client_timeout;   /* seconds without an acknowledgement from the client */
	bool ignore_tracking;    /* what connection tracking makes of connections is the operator's business */
};

extern cfg_opt_t direct_settings_options[];

/* Reads the <section> to <settings>; its texts stay the section's. Returns the number of faults, each of which was
 * written to stderr. <settings> is to be released in every case. */
int direct_settings_check(struct direct_settings *settings, cfg_t *section);

/* Frees what <settings>, which may be all zero, holds. */
void direct_settings_release(struct direct_settings *settings);

/* True if <address>, as in struct ip_address, is one of the virtual addresses. */
bool direct_settings_have_vip(const struct direct_settings *settings, uint8_t family, const uint8_t address[static 16]);

#endif
