/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "policy.h"

#include <ctype.h>
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

static bool any_name(const char *const *patterns, size_t count, struct control_text host)
{
	struct control_text name = host_name(host);

	for (size_t i = 0; i < count; i++)
		if (name.len && host_matches(name, patterns[i]))
			return true;
	return count == 0;
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

static bool any_sni(const struct policy_route *route, const struct request *request)
{
	struct request_text sni;

	if (!route->sni_count)
		return true;
	return request_argument(request, "sni", &sni) == REQUEST_ARGUMENT_THERE &&
	       any_name(route->snis, route->sni_count, sni.text);
}

/* Whether <value> is at <at> in <text>. */
static bool stands_at(struct control_text text, size_t at, const char *value, size_t len, bool any_case)
{
	if (len > text.len || at > text.len - len)
		return false;
	return any_case ? strncasecmp(text.data + at, value, len) == 0 : memcmp(text.data + at, value, len) == 0;
}

static bool contains(struct control_text text, const char *value, bool any_case)
{
	size_t len = strlen(value);

	for (size_t at = 0; at + len <= text.len; at++)
		if (stands_at(text, at, value, len, any_case))
			return true;
	return false;
}

static bool argument_has_value(const struct policy_argument *argument, struct control_text text)
{
	for (size_t i = 0; i < argument->is_count; i++)
		if (strlen(argument->is[i]) == text.len &&
		    stands_at(text, 0, argument->is[i], text.len, argument->any_case))
			return true;
	for (size_t i = 0; i < argument->begin_count; i++)
		if (stands_at(text, 0, argument->begins[i], strlen(argument->begins[i]), argument->any_case))
			return true;
	for (size_t i = 0; i < argument->end_count; i++) {
		size_t len = strlen(argument->ends[i]);

		if (len <= text.len && stands_at(text, text.len - len, argument->ends[i], len, argument->any_case))
			return true;
	}
	for (size_t i = 0; i < argument->contain_count; i++)
		if (contains(text, argument->contains[i], argument->any_case))
			return true;
	return !argument->is_count && !argument->begin_count && !argument->end_count && !argument->contain_count &&
	       !argument->absent;
}

bool policy_argument_matches(const struct policy_argument *argument, const struct request *request)
{
	struct request_text value;

	if (request_argument(request, argument->name, &value) == REQUEST_ARGUMENT_THERE)
		return argument_has_value(argument, value.text);
	return argument->absent;
}

static bool all_arguments(const struct policy_route *route, const struct request *request)
{
	for (size_t i = 0; i < route->argument_count; i++)
		if (!policy_argument_matches(&route->arguments[i], request))
			return false;
	return true;
}

bool policy_criterion_matches(const struct policy_route *route, const struct request *request,
			      enum policy_criterion criterion)
{
	switch (criterion) {
	case POLICY_METHOD:
		return any_method(route, request->method);
	case POLICY_HOST:
		return any_name(route->hosts, route->host_count, request->host);
	case POLICY_PATH_PREFIX:
		return any_prefix(route, request->path);
	case POLICY_PATH_SUFFIX:
		return any_suffix(route, request->path);
	case POLICY_CLIENT:
		return any_client(route, &request->client);
	case POLICY_SNI:
		return any_sni(route, request);
	case POLICY_ARGUMENTS:
		return all_arguments(route, request);
	case POLICY_CRITERION_COUNT:
		break;
	}
	return false;
}

bool policy_route_matches(const struct policy_route *route, const struct request *request)
{
	for (enum policy_criterion criterion = 0; criterion < POLICY_CRITERION_COUNT; criterion++)
		if (!policy_criterion_matches(route, request, criterion))
			return false;
	return true;
}

/* --- shares --- */

/* FNV-1a, 64 bits. */
#define HASH_START 0xcbf29ce484222325u

static uint64_t hash_byte(uint64_t hash, uint8_t byte)
{
	return (hash ^ byte) * 0x100000001b3u;
}

/* FNV's low bits depend on the low bits of the bytes alone, and a share is taken modulo 100: mix them (the finalizer of
 * splitmix64). */
static uint64_t mix(uint64_t hash)
{
	hash = (hash ^ hash >> 30) * 0xbf58476d1ce4e5b9u;
	hash = (hash ^ hash >> 27) * 0x94d049bb133111ebu;
	return hash ^ hash >> 31;
}

static uint64_t number_of_client(const struct client_address *client)
{
	size_t len = client->family == CLIENT_IPV4 ? 4 : 8; /* IPv6: a network's hosts change their lower half */
	uint64_t hash = HASH_START;

	for (size_t i = 0; i < len; i++)
		hash = hash_byte(hash, client->bytes[i]);
	return mix(hash);
}

/* Without the query: signatures and the like differ between requests for one object. */
static uint64_t number_of_object(const struct request *request)
{
	struct control_text host = host_name(request->host);
	uint64_t hash = HASH_START;

	for (size_t i = 0; i < host.len; i++)
		hash = hash_byte(hash, (uint8_t)tolower((unsigned char)host.data[i]));
	for (size_t i = 0; i < request->path.len; i++)
		hash = hash_byte(hash, (uint8_t)request->path.data[i]);
	return mix(hash);
}

unsigned policy_place(const struct policy_route *route, const struct request *request, uint64_t draw)
{
	switch (route->share) {
	case POLICY_SHARE_CLIENTS:
		if (request->client.family != CLIENT_UNKNOWN)
			return (unsigned)(number_of_client(&request->client) % 100);
		break;
	case POLICY_SHARE_OBJECTS:
		break;
	case POLICY_SHARE_REQUESTS:
		return (unsigned)(draw % 100);
	}
	return (unsigned)(number_of_object(request) % 100);
}

struct policy_decision policy_decide(const struct policy *policy, const struct request *request, uint64_t draw)
{
	for (size_t i = 0; i < policy->count; i++) {
		const struct policy_route *route = &policy->routes[i];

		if (!policy_route_matches(route, request))
			continue;
		if (!route->offload)
			return (struct policy_decision){route, false, PASS_POLICY};
		if (policy_place(route, request, draw) >= route->percent)
			return (struct policy_decision){route, false, PASS_ROLLOUT};
		return (struct policy_decision){.route = route, .offload = true};
	}
	return (struct policy_decision){NULL, false, PASS_NO_ROUTE};
}
