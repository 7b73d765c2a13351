/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Policy: routes in the operator's order, of which the first that matches a request decides. Pure: a request and a
 * random number in, a decision out. All agents with the same routes decide alike, but for POLICY_SHARE_REQUESTS. */
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
	POLICY_PATH_AUTO,       /* direct from direct_min on, else splice */
};

/* Bytes of a body from which its path costs the load balancer less than encrypting it. */
struct policy_sizes {
	uint64_t splice_min; /* shorter bodies are not offloaded */
	uint64_t direct_min; /* for POLICY_PATH_AUTO */
	uint64_t h2_min;     /* and those of HTTP/2 clients, which cost a grant or more, from this one on */
};

/* What makes a share of requests (percent) the same one each time. */
enum policy_share {
	POLICY_SHARE_CLIENTS = 0, /* a client's requests go one way; without an address: as OBJECTS */
	POLICY_SHARE_OBJECTS,     /* all requests for one host and path do */
	POLICY_SHARE_REQUESTS,    /* each is drawn for itself */
};

/* A criterion about one argument of HAProxy's message. It holds if one of the values does; without values if the
 * argument is there. */
struct policy_argument {
	const char *name;
	const char *const *is; /* values that are the argument's whole, */
	size_t is_count;
	const char *const *begins; /* its beginning, */
	size_t begin_count;
	const char *const *ends; /* its end, */
	size_t end_count;
	const char *const *contains; /* or somewhere in it */
	size_t contain_count;
	bool absent; /* it also holds if HAProxy has no value for it */
	bool any_case;
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
	const char *const *snis; /* as <hosts>, compared with the argument "sni" */
	size_t sni_count;
	struct policy_argument *arguments; /* all must hold */
	size_t argument_count;
	bool offload;            /* false: requests that match are passed */
	size_t pool;             /* index of the pool, with <offload> */
	enum policy_path path;   /* with <offload> */
	unsigned percent;        /* how many of 100 are offloaded, on average */
	enum policy_share share; /* 100 what */
	struct policy_sizes sizes;
	size_t breaker; /* number of its breaker, which stays the same as long as there is a route of this name */
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

/* The criteria of a route, in the order in which they are compared. */
enum policy_criterion {
	POLICY_METHOD,
	POLICY_HOST,
	POLICY_PATH_PREFIX,
	POLICY_PATH_SUFFIX,
	POLICY_CLIENT,
	POLICY_SNI,
	POLICY_ARGUMENTS,
	POLICY_CRITERION_COUNT
};

/* Whether one criterion of <route> holds for <request>, one argument, and all criteria. */
bool policy_criterion_matches(const struct policy_route *route, const struct request *request,
			      enum policy_criterion criterion);
bool policy_argument_matches(const struct policy_argument *argument, const struct request *request);
bool policy_route_matches(const struct policy_route *route, const struct request *request);

/* The place, 0 to 99, of <request> among 100 of what <route> has a share of: with percent = P places below P are
 * offloaded. It is a hash of the client's address or of host and path, or taken from <draw>, which is uniformly random. So
 * who is in a share stays in it when it grows. */
unsigned policy_place(const struct policy_route *route, const struct request *request, uint64_t draw);

/* Decides about <request>; <draw> as in policy_place(). */
struct policy_decision policy_decide(const struct policy *policy, const struct request *request, uint64_t draw);

#endif
