/* SPDX-License-Identifier: GPL-2.0-or-later */
/* VIP check: whether this host is set up for the direct path - the virtual addresses are on it without being claimed
 * from the load balancer, packets reach clients, and this process may do what it takes. Changes nothing. */
#ifndef DISC_VIP_CHECK_H
#define DISC_VIP_CHECK_H

#include <stdbool.h>
#include <stddef.h>

#include "direct_settings.h"

#define VIP_CHECK_TEXT_MAX 400

enum vip_check_weight {
	VIP_CHECK_FAULT, /* the direct path would not work */
	VIP_CHECK_NOTE,  /* it may be meant so */
};

struct vip_check {
	const struct direct_settings *settings;
	const struct ip_address *clients; /* addresses that routes are looked up for, client_count of them; */
	size_t client_count; /* of a family without one the default route is looked at, and faults there are notes */
	/* Called with each finding: one line without its end, which says what is wrong and, behind ": ", the command
	 * that mends it if there is one. */
	void (*found)(void *context, enum vip_check_weight weight, const char *text);
	void *context;
};

/* Checks everything. Returns the number of faults. */
unsigned vip_check_run(const struct vip_check *check);

#endif
