/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Direct service: what all threads share of the direct path (doc/direct-path.md). Clones live on the workers' loops,
 * beside the bodies that they send; the control channels on a loop of their own. */
#ifndef DISC_DIRECT_SERVICE_H
#define DISC_DIRECT_SERVICE_H

#include "agent_outbox.h"
#include "clone_table.h"
#include "direct_settings.h"
#include "result_queue.h"

struct egress_guard;

struct direct_service {
	const struct direct_settings *settings;
	struct clone_table *table;  /* what agents order */
	struct agent_outbox outbox; /* what clones tell them */
	struct result_queue
		*results;           /* how bodies ended that may be told of late; NULL: in tests, all go to <outbox> */
	struct egress_guard *guard; /* NULL: none, in tests */
};

enum direct_service_status {
	DIRECT_SERVICE_ON,
	DIRECT_SERVICE_OFF,    /* this host, or this process, is not fit for it: logged; the splice path serves */
	DIRECT_SERVICE_FAILED, /* out of memory (logged) */
};

/* Checks the host, attaches the egress guard, and gives up the capabilities that are not needed afterwards, of this
 * thread and those that it makes later: to be called before the first. <lanes>: see agent_outbox_init(). <settings> and <results> outlive the service, which is to be
 * closed if it is on. */
enum direct_service_status direct_service_open(struct direct_service *service, const struct direct_settings *settings,
					       struct result_queue *results, unsigned lanes);

/* Frees what <service> holds; no clone may be left. */
void direct_service_close(struct direct_service *service);

#endif
