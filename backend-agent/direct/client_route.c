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

/* Where <client> is remembered; another one may be there (FNV-1a). */
static struct client_route_known *place_of(struct client_route_memory *memory, const struct ip_address *client)
{
	uint32_t hash = 2166136261u;

	for (size_t i = 0; i < sizeof(client->address); i++)
		hash = (hash ^ client->address[i]) * 16777619u;
	return &memory->known[hash % CLIENT_ROUTE_KEPT];
}

static bool ask(const struct direct_settings *settings, const struct ip_address *client)
{
	int error = 0;

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

bool client_route_exists(const struct direct_settings *settings, struct client_route_memory *memory,
			 const struct ip_address *client, double now)
{
	struct client_route_known *known = place_of(memory, client);

	if (client->family == 0)
		return true;
	if (now < known->until && known->client.family == client->family &&
	    memcmp(known->client.address, client->address, sizeof(client->address)) == 0)
		return true;
	if (!ask(settings, client))
		return false;
	*known = (struct client_route_known){*client, now + CLIENT_ROUTE_KEPT_S};
	return true;
}
