/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "policy.h"

#include <string.h>
#include <strings.h>

/* Takes the port, and a dot that ends the name, off a Host header's value. */
static struct control_text host_name(struct control_text host)
{
	size_t len = host.len;

	while (len && host.data[len - 1] >= '0' && host.data[len - 1] <= '9')
		len--;
	if (len && host.data[len - 1] == ':') {
		/* "::1" without brackets is no valid Host, and "[::1]" ends with its bracket: so this was a port */
		host.len = len - 1;
	}
	if (host.len && host.data[host.len - 1] == '.')
		host.len--;
	return host;
}

static bool host_matches(struct control_text name, const char *pattern)
{
	size_t len = strlen(pattern);

	if (pattern[0] == '*') {
		pattern++;
		len--;
		/* "*.example" means names below example, not example itself */
		return name.len > len && strncasecmp(name.data + name.len - len, pattern, len) == 0;
	}
	return name.len == len && strncasecmp(name.data, pattern, len) == 0;
}

static bool any_host(const struct policy_route *route, struct control_text host)
{
	struct control_text name = host_name(host);

	for (size_t i = 0; i < route->host_count; i++)
		if (name.len && host_matches(name, route->hosts[i]))
			return true;
	return route->host_count == 0;
}

static bool any_prefix(const struct policy_route *route, struct control_text path)
{
	for (size_t i = 0; i < route->path_prefix_count; i++) {
		size_t len = strlen(route->path_prefixes[i]);

		if (path.len >= len && memcmp(path.data, route->path_prefixes[i], len) == 0)
			return true;
	}
	return route->path_prefix_count == 0;
}

static bool any_suffix(const struct policy_route *route, struct control_text path)
{
	for (size_t i = 0; i < route->path_suffix_count; i++) {
		size_t len = strlen(route->path_suffixes[i]);

		if (path.len >= len && memcmp(path.data + path.len - len, route->path_suffixes[i], len) == 0)
			return true;
	}
	return route->path_suffix_count == 0;
}

static bool any_method(const struct policy_route *route, struct control_text method)
{
	for (size_t i = 0; i < route->method_count; i++)
		if (method.len == strlen(route->methods[i]) && memcmp(method.data, route->methods[i], method.len) == 0)
			return true;
	return route->method_count == 0;
}

static bool any_client(const struct policy_route *route, const struct client_address *client)
{
	for (size_t i = 0; i < route->client_count; i++)
		if (client_network_holds(&route->clients[i], client))
			return true;
	return route->client_count == 0;
}

static bool route_matches(const struct policy_route *route, const struct request *request)
{
	return any_method(route, request->method) && any_host(route, request->host) &&
	       any_prefix(route, request->path) && any_suffix(route, request->path) &&
	       any_client(route, &request->client);
}

struct policy_decision policy_decide(const struct policy *policy, const struct request *request, uint64_t draw)
{
	for (size_t i = 0; i < policy->count; i++) {
		const struct policy_route *route = &policy->routes[i];

		if (!route_matches(route, request))
			continue;
		if (!route->offload)
			return (struct policy_decision){route, false, PASS_POLICY};
		if (draw % 100 >= route->percent)
			return (struct policy_decision){route, false, PASS_ROLLOUT};
		return (struct policy_decision){.route = route, .offload = true};
	}
	return (struct policy_decision){NULL, false, PASS_NO_ROUTE};
}
