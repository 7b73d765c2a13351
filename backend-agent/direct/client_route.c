/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "client_route.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "log.h"
#include "node_metrics.h"
#include "route_lookup.h"

#define SAY_INTERVAL_S 10

/* Whether a line may be written: one in SAY_INTERVAL_S for all threads. */
static bool may_say(void)
{
	static atomic_llong next;
	long long now = (long long)time(NULL), due = atomic_load(&next);

	return now >= due && atomic_compare_exchange_strong(&next, &due, now + SAY_INTERVAL_S);
}

static void say(const struct ip_address *client, int error)
{
	char text[IP_ADDRESS_TEXT_MAX];

	node_metrics_add(NODE_UNREACHABLE, 1);
	if (may_say())
		log_warning("direct: no route to the client %s: %s: its bodies take the splice path (see --check-vip "
			    "--client)",
			    ip_address_format(client, text), strerror(error));
}

/* <*error> says why there is none. */
static bool has_route(const struct ip_address *client, const uint8_t *source, int *error)
{
	struct route_found found;

	if (route_lookup(client->family, client->address, source, &found) == 0)
		return true;
	*error = errno;
	return errno != ENETUNREACH && errno != EHOSTUNREACH && errno != EACCES;
}

bool client_route_exists(const struct direct_settings *settings, const struct ip_address *client)
{
	int error = 0;

	if (client->family == 0)
		return true;
	for (size_t i = 0; i < settings->vip_count; i++) {
		const struct ip_address *vip = &settings->vips[i];

		if (vip->family == client->family && has_route(client, vip->address, &error))
			return true;
	}
	/* An address that this host has lost looks the same; the handoff names it. */
	if (has_route(client, NULL, &error))
		return true;
	say(client, error);
	return false;
}
