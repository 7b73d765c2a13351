/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tracking_watch.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "log.h"

#define WHY_MAX 320

int tracking_watch_check(struct connection_tracking *tracking, char *why, size_t why_size)
{
	struct connection_tracking_host host;

	connection_tracking_look(&host);
	if (!host.active || host.liberal || connection_tracking_works(tracking) == 0)
		return 0;
	(void)snprintf(why, why_size,
		       "connection tracking on this host may drop what clients send after a handoff, and this process "
		       "cannot exempt connections from it (%s): sysctl -w net.netfilter.nf_conntrack_tcp_be_liberal=1",
		       strerror(errno));
	return -1;
}

static void set_judges(struct tracking_watch *watch, bool judges, const char *why)
{
	if (watch->judges == judges)
		return;
	watch->judges = judges;
	spoa_metrics_add(watch->metrics, SPOA_TRACKING_JUDGES, judges ? 1 : -1);
	if (judges)
		log_warning("the direct path is off until this changes, bodies take the splice path: %s", why);
	else
		log_notice("the direct path is on again: connection tracking is not in its way any more");
}

void tracking_watch_look(struct tracking_watch *watch)
{
	char why[WHY_MAX] = "";

	if (!watch->ignores)
		set_judges(watch, tracking_watch_check(&watch->tracking, why, sizeof(why)) < 0, why);
}

const char *tracking_watch_exempt(struct tracking_watch *watch, int fd)
{
	if (watch->ignores)
		return NULL;
	switch (connection_tracking_exempt(&watch->tracking, fd)) {
	case CONNECTION_UNTRACKED:
		break;
	case CONNECTION_EXEMPT:
		spoa_metrics_add(watch->metrics, SPOA_TRACKING_EXEMPTED, 1);
		break;
	case CONNECTION_JUDGED:
		return "connection tracking on this host would drop what its client sends afterwards "
		       "(net.netfilter.nf_conntrack_tcp_be_liberal is 0)";
	case CONNECTION_TRANSLATED:
		return "this host translates its destination (DNAT): no node could send from the one that its client "
		       "knows";
	}
	return NULL;
}

void tracking_watch_open(struct tracking_watch *watch, struct spoa_metrics *metrics, bool ignores)
{
	*watch = (struct tracking_watch){.metrics = metrics, .ignores = ignores};
	connection_tracking_open(&watch->tracking);
}

void tracking_watch_close(struct tracking_watch *watch)
{
	connection_tracking_close(&watch->tracking);
}
