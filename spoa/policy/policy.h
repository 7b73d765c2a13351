/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Policy: routes in the operator's order, of which the first that matches a request decides. Pure: a request and a
 * random number in, a decision out. */
#ifndef DISC_POLICY_H
#define DISC_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pass_reason.h"
#include "request.h"

/* How an offloaded body reaches the client. */
enum policy_path {
	POLICY_PATH_SPLICE = 0, /* through HAProxy */
	POLICY_PATH_DIRECT,     /* on the client's own connection, where that is possible */
	POLICY_PATH_AUTO,       /* direct from a size on, else splice */
};

/* A criterion with no values matches every request; with several, one of them must hold. */
struct policy_route {
	const char *name;
	const char *const *hosts; /* "www.example" or "*.example", any case, without a port */
	size_t host_count;
	const char *const *path_prefixes; /* compared byte by byte with the target up to its query */
	size_t path_prefix_count;
	const char *const *path_suffixes;
	size_t path_suffix_count;
	const char *const *methods; /* exact, as methods are */
	size_t method_count;
	const struct client_network *clients;
	size_t client_count;
	bool offload;          /* false: requests that match are passed */
	size_t pool;           /* index of the pool, with <offload> */
	enum policy_path path; /* with <offload> */
	unsigned percent;      /* how many of 100 requests are offloaded, on average */
};

struct policy {
	struct policy_route *routes;
	size_t count;
};

struct policy_decision {
	const struct policy_route *route; /* the one that matched, or NULL */
	bool offload;
	enum pass_reason reason; /* without <offload>: NO_ROUTE, POLICY or ROLLOUT */
};

/* Decides about <request>. <draw> is a uniformly random number: with percent = P the request is offloaded if
 * draw mod 100 < P, so every request is drawn for itself and P of 100 are offloaded on average. */
struct policy_decision policy_decide(const struct policy *policy, const struct request *request, uint64_t draw);

#endif
