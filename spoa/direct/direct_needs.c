/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "direct_needs.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "capabilities.h"
#include "log.h"

#define CAPABILITIES_ANY_PORT "cap_net_admin"
#define FIRST_PORT_FILE "/proc/sys/net/ipv4/ip_unprivileged_port_start" /* of IPv6, too */

#define DESCRIPTORS_EACH 3u /* one while it is parked, two more while this agent writes its continuation */
/* Besides SPOP connections and nodes: listeners, HAProxy's threads on the handoff socket, the admin's connections,
 * maps, the log. */
#define OTHER_DESCRIPTORS 512u

static bool is_any_port_free(void)
{
	FILE *file = fopen(FIRST_PORT_FILE, "re");
	char text[16] = "";
	bool is_free = file && fgets(text, sizeof(text), file) && strtoul(text, NULL, 10) <= 1;

	if (file)
		(void)fclose(file);
	return is_free;
}

int direct_needs_capabilities(char *error, size_t error_size)
{
	const char *set = is_any_port_free() ? CAPABILITIES_ANY_PORT : DIRECT_CAPABILITIES;
	char missing[64];

	if (capabilities_have(set, missing, sizeof(missing)) == 0)
		return 0;
	(void)snprintf(error, error_size, "it needs %s", missing);
	return -1;
}

static size_t raise_limit(void)
{
	struct rlimit limit, raised;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return 0;
	raised = (struct rlimit){limit.rlim_max, limit.rlim_max};
	if (limit.rlim_cur == limit.rlim_max || setrlimit(RLIMIT_NOFILE, &raised) == 0)
		return limit.rlim_max;
	log_warning("cannot raise the limit of open files: %s", strerror(errno));
	return limit.rlim_cur;
}

size_t direct_needs_descriptors(const struct spoa_config *config, char *why, size_t why_size)
{
	size_t limit = raise_limit(), others = OTHER_DESCRIPTORS + config->max_connections + config->node_count;
	size_t possible = limit > others ? (limit - others) / DESCRIPTORS_EACH : 0;

	if (possible >= config->direct.max_flows)
		return config->direct.max_flows;
	(void)snprintf(why, why_size,
		       "this process may open %zu files, needs %u for each connection and %zu for others (LimitNOFILE)",
		       limit, DESCRIPTORS_EACH, others);
	return possible;
}
