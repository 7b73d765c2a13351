/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "resolver.h"

/* What later versions call deprecated is all that Debian 12 has. */
#define CARES_NO_DEPRECATED 1
#include <ares.h>
#include <arpa/nameser.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "dns_answer.h"
#include "log.h"
#include "log_limit.h"

#define TRIES 2
#define FAILURE_REPORT_S 30.

struct resolver_name {
	struct resolver *resolver;
	char *pool, *dns; /* owned */
	bool service, prefer_ipv6;
	struct record_set set;
	struct lookup *lookup; /* under way; NULL: none */
	bool stale;            /* the last lookup failed */
	double next_report;    /* of a failure, loop time */
	struct log_limit changes;
};

/* What the records of a name are made of. */
struct lookup {
	struct resolver_name *name; /* NULL: nobody waits for it any more */
	unsigned pending;           /* queries, and one for the function that starts them */
	const char *fault;          /* why it is none; NULL: nothing failed until now */
	uint32_t ttl;
	size_t target_count;
	struct lookup_target {
		uint16_t port; /* of a service */
		struct node_record lowest;
		bool found;
	} targets[DNS_ANSWER_SERVICES_MAX];            /* of services */
	struct node_record records[2][DNS_ANSWER_MAX]; /* of addresses, by family */
	size_t record_counts[2];
};

struct query {
	struct lookup *lookup;
	size_t target;
	enum dns_type type;
};

/* A descriptor of c-ares. */
struct resolver_socket {
	struct resolver_socket *next;
	struct resolver *resolver;
	ev_io io;
};

struct resolver {
	struct resolver_owner owner;
	ares_channel channel; /* NULL before the first names */
	struct resolver_socket *sockets;
	ev_timer patience;            /* of c-ares: when it wants to ask again */
	ev_timer due;                 /* a name is to be resolved, or a member leaves */
	struct resolver_name **names; /* by the pools' numbers; NULL: a list */
	size_t name_count;
};

/* --- c-ares on the loop --- */

static void wait_for_channel(struct resolver *resolver)
{
	struct timeval left, *until = ares_timeout(resolver->channel, NULL, &left);

	ev_timer_stop(resolver->owner.loop, &resolver->patience);
	if (!until)
		return;
	ev_timer_set(&resolver->patience, (double)until->tv_sec + (double)until->tv_usec / 1e6, 0.);
	ev_timer_start(resolver->owner.loop, &resolver->patience);
}

static void on_patience(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct resolver *resolver = timer->data;

	(void)loop;
	(void)events;
	ares_process_fd(resolver->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
	wait_for_channel(resolver);
}

static void on_socket(struct ev_loop *loop, ev_io *io, int events)
{
	struct resolver *resolver = ((struct resolver_socket *)io->data)->resolver;
	int fd = io->fd; /* the watcher may be gone when c-ares has closed it */

	(void)loop;
	ares_process_fd(resolver->channel, events & EV_READ ? fd : ARES_SOCKET_BAD,
			events & EV_WRITE ? fd : ARES_SOCKET_BAD);
	wait_for_channel(resolver);
}

static void forget_socket(struct resolver *resolver, struct resolver_socket **place)
{
	struct resolver_socket *gone = *place;

	*place = gone->next;
	ev_io_stop(resolver->owner.loop, &gone->io);
	free(gone);
}

static void watch_socket(void *context, ares_socket_t fd, int readable, int writable)
{
	struct resolver *resolver = context;
	struct resolver_socket **place = &resolver->sockets, *watched;

	while (*place && (*place)->io.fd != fd)
		place = &(*place)->next;
	if (!readable && !writable) {
		if (*place)
			forget_socket(resolver, place);
		return;
	}
	watched = *place;
	if (!watched) {
		watched = calloc(1, sizeof(*watched));
		if (!watched)
			return; /* then the query ends by its timeout */
		watched->resolver = resolver;
		watched->next = resolver->sockets;
		resolver->sockets = watched;
	} else {
		ev_io_stop(resolver->owner.loop, &watched->io);
	}
	ev_io_init(&watched->io, on_socket, fd, (readable ? EV_READ : 0) | (writable ? EV_WRITE : 0));
	watched->io.data = watched;
	ev_io_start(resolver->owner.loop, &watched->io);
}

/* Returns a channel, or NULL after a log line. */
static ares_channel open_channel(struct resolver *resolver, const struct spoa_config_dns *settings)
{
	struct ares_options options = {
		.flags = ARES_FLAG_EDNS,
		.timeout = (int)(settings->timeout * 1000),
		.tries = TRIES,
		.ednspsz = 1232,
		.sock_state_cb = watch_socket,
		.sock_state_cb_data = resolver,
	};
	const int which =
		ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_EDNSPSZ | ARES_OPT_SOCK_STATE_CB;
	ares_channel channel;
	int status = ares_init_options(&channel, &options, which);

	if (status == ARES_SUCCESS && settings->servers[0]) {
		status = ares_set_servers_ports_csv(channel, settings->servers);
		if (status != ARES_SUCCESS)
			ares_destroy(channel);
	}
	if (status == ARES_SUCCESS)
		return channel;
	log_error("names of pools cannot be resolved: %s", ares_strerror(status));
	return NULL;
}

/* --- a lookup --- */

static void wait_for_names(struct resolver *resolver);

static void report_failure(struct resolver_name *name, const char *why, double now)
{
	const struct node_record *members[NODE_MAX];

	if (name->stale && now < name->next_report)
		return;
	name->next_report = now + FAILURE_REPORT_S;
	log_warning("pool %s: %s cannot be resolved: %s; its %zu nodes stay", name->pool, name->dns, why,
		    record_set_members(&name->set, members));
}

static void set_stale(struct resolver_name *name, bool stale)
{
	if (stale != name->stale)
		spoa_metrics_add(name->resolver->owner.metrics, SPOA_DNS_STALE, stale ? 1 : -1);
	name->stale = stale;
}

static void report_members(struct resolver_name *name, double now)
{
	const struct node_record *members[NODE_MAX];
	char note[LOG_LIMIT_NOTE_MAX], ignored[64] = "";

	if (!log_limit_allow(&name->changes, now, note))
		return;
	if (name->set.ignored)
		(void)snprintf(ignored, sizeof(ignored), "; %zu more are over max-nodes", name->set.ignored);
	log_notice("pool %s: %s has other records now: %zu nodes%s%s", name->pool, name->dns,
		   record_set_members(&name->set, members), ignored, note);
}

/* Tells the owner of other members, after what <change> did with those of <name>. */
static void members_changed(struct resolver_name *name, bool changed, size_t ignored, double now)
{
	struct resolver *resolver = name->resolver;

	spoa_metrics_add(resolver->owner.metrics, SPOA_DNS_IGNORED, (int64_t)name->set.ignored - (int64_t)ignored);
	if (!changed && name->set.ignored == ignored)
		return;
	report_members(name, now);
	if (changed)
		resolver->owner.changed(resolver->owner.context);
}

/* The records of a lookup, all of whose queries have ended, in records[0]. */
static size_t gather(struct lookup *lookup)
{
	const struct resolver_name *name = lookup->name;
	size_t family = name->prefer_ipv6, count = 0;

	if (!name->service) {
		if (!lookup->record_counts[family])
			family = !family;
		if (family)
			memcpy(lookup->records[0], lookup->records[1], sizeof(lookup->records[0]));
		return lookup->record_counts[family];
	}
	for (size_t i = 0; i < lookup->target_count; i++) {
		if (!lookup->targets[i].found)
			continue;
		lookup->records[0][count] = lookup->targets[i].lowest;
		lookup->records[0][count++].port = lookup->targets[i].port;
	}
	return count;
}

static void finish(struct lookup *lookup)
{
	struct resolver_name *name = lookup->name;
	struct resolver *resolver = name->resolver;
	double now = ev_now(resolver->owner.loop);
	size_t ignored = name->set.ignored;
	bool changed = false;

	name->lookup = NULL;
	spoa_metrics_add(resolver->owner.metrics, SPOA_DNS_LOOKUPS, 1);
	if (lookup->fault) {
		spoa_metrics_add(resolver->owner.metrics, SPOA_DNS_FAILURES, 1);
		record_set_failure(&name->set, now);
		report_failure(name, lookup->fault, now);
	} else {
		size_t count = gather(lookup);

		changed = record_set_answer(&name->set, lookup->records[0], count, count ? lookup->ttl : 0, now);
		if (name->stale)
			log_notice("pool %s: %s is resolved again", name->pool, name->dns);
	}
	set_stale(name, lookup->fault != NULL);
	members_changed(name, changed, ignored, now);
	wait_for_names(resolver);
}

/* One of its queries has ended, or the function that starts them. */
static void drop(struct lookup *lookup)
{
	if (--lookup->pending)
		return;
	if (lookup->name)
		finish(lookup);
	free(lookup);
}

static void on_answer(void *context, int status, int timeouts, unsigned char *bytes, int len);

static void ask(struct lookup *lookup, const char *dns, enum dns_type type, size_t target)
{
	struct query *query = malloc(sizeof(*query));

	if (!query) {
		lookup->fault = "out of memory";
		return;
	}
	*query = (struct query){lookup, target, type};
	lookup->pending++;
	ares_query(lookup->name->resolver->channel, dns, ns_c_in, (int)type, on_answer, query);
}

static void take_addresses(struct lookup *lookup, const struct dns_answer *answer, size_t target, size_t len)
{
	struct lookup_target *service = &lookup->targets[target];
	size_t family = len == 16;

	for (size_t i = 0; i < answer->count; i++) {
		struct node_record record = {.port = 0};
		const struct address *known = &service->lowest.addresses[family];

		node_record_set(&record, answer->records.addresses[i], len);
		if (!lookup->name->service) {
			lookup->records[family][lookup->record_counts[family]++] = record;
			continue;
		}
		/* A service is one node, whatever the order of its addresses. */
		if (!known->len || memcmp(&record.addresses[family], known, sizeof(*known)) < 0)
			service->lowest.addresses[family] = record.addresses[family];
		service->found = true;
	}
}

static void take_services(struct lookup *lookup, const struct dns_answer *answer)
{
	for (size_t i = 0; i < answer->count; i++) {
		const struct dns_service *service = &answer->records.services[i];

		lookup->targets[i].port = service->port;
		lookup->target_count++;
		ask(lookup, service->target, DNS_TYPE_A, i);
		ask(lookup, service->target, DNS_TYPE_AAAA, i);
	}
}

/* Reads what came for <query>. */
static void take_answer(const struct query *query, const unsigned char *bytes, int len)
{
	struct lookup *lookup = query->lookup;
	struct dns_answer *answer = malloc(sizeof(*answer));

	if (!answer)
		lookup->fault = "out of memory";
	else if (dns_answer_read(answer, bytes, (size_t)len, query->type) < 0)
		lookup->fault = "the answer is malformed";
	if (lookup->fault) {
		free(answer);
		return;
	}
	if (answer->count && answer->ttl < lookup->ttl)
		lookup->ttl = answer->ttl;
	if (query->type == DNS_TYPE_SRV)
		take_services(lookup, answer);
	else
		take_addresses(lookup, answer, query->target, query->type == DNS_TYPE_A ? 4 : 16);
	free(answer);
}

static void on_answer(void *context, int status, int timeouts, unsigned char *bytes, int len)
{
	struct query *query = context;
	struct lookup *lookup = query->lookup;

	(void)timeouts;
	/* Names without records of a type are no failure. */
	if (lookup->name && status == ARES_SUCCESS)
		take_answer(query, bytes, len);
	else if (status != ARES_ENODATA && status != ARES_ENOTFOUND)
		lookup->fault = ares_strerror(status);
	free(query);
	drop(lookup);
}

static void start_lookup(struct resolver_name *name)
{
	struct lookup *lookup = calloc(1, sizeof(*lookup));

	if (!lookup) {
		record_set_failure(&name->set, ev_now(name->resolver->owner.loop));
		report_failure(name, "out of memory", ev_now(name->resolver->owner.loop));
		return;
	}
	lookup->name = name;
	lookup->pending = 1;
	lookup->ttl = UINT32_MAX >> 1;
	name->lookup = lookup;
	if (name->service) {
		ask(lookup, name->dns, DNS_TYPE_SRV, 0);
	} else {
		ask(lookup, name->dns, DNS_TYPE_A, 0);
		ask(lookup, name->dns, DNS_TYPE_AAAA, 0);
	}
	drop(lookup);
}

/* --- names --- */

static void wait_for_names(struct resolver *resolver)
{
	double due = INFINITY, now = ev_now(resolver->owner.loop);

	for (size_t i = 0; i < resolver->name_count; i++) {
		const struct resolver_name *name = resolver->names[i];

		if (!name)
			continue;
		due = fmin(due, record_set_due(&name->set));
		if (!name->lookup)
			due = fmin(due, name->set.ask);
	}
	ev_timer_stop(resolver->owner.loop, &resolver->due);
	if (isinf(due))
		return;
	ev_timer_set(&resolver->due, due > now ? due - now : 0., 0.);
	ev_timer_start(resolver->owner.loop, &resolver->due);
}

static void on_due(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct resolver *resolver = timer->data;
	double now = ev_now(loop);

	(void)events;
	for (size_t i = 0; i < resolver->name_count; i++) {
		struct resolver_name *name = resolver->names[i];
		size_t ignored = name ? name->set.ignored : 0;

		if (!name)
			continue;
		members_changed(name, record_set_pass(&name->set, now), ignored, now);
		if (!name->lookup && name->set.ask <= now)
			start_lookup(name);
	}
	if (resolver->channel)
		wait_for_channel(resolver);
	wait_for_names(resolver);
}

static void free_name(struct resolver_name *name)
{
	if (!name)
		return;
	set_stale(name, false);
	spoa_metrics_add(name->resolver->owner.metrics, SPOA_DNS_IGNORED, -(int64_t)name->set.ignored);
	if (name->lookup)
		name->lookup->name = NULL;
	free(name->pool);
	free(name->dns);
	free(name);
}

static void free_names(struct resolver_name **names, size_t count)
{
	for (size_t i = 0; names && i < count; i++)
		free_name(names[i]);
	free(names);
}

static struct record_set_limits limits_of(const struct spoa_config_dns *settings, const struct node_template *template)
{
	return (struct record_set_limits){settings->ttl_min, settings->ttl_max, settings->hold_gone,
					  settings->hold_empty, template->max_nodes};
}

/* The name of <pool>, with what is known of it. Returns NULL when memory is exhausted. */
static struct resolver_name *new_name(struct resolver *resolver, const struct node_pool *pool,
				      const struct spoa_config_dns *settings)
{
	const struct node_template *template = pool->template;
	struct record_set_limits limits = limits_of(settings, template);
	struct resolver_name *name = calloc(1, sizeof(*name));

	if (!name)
		return NULL;
	name->resolver = resolver;
	name->pool = strdup(pool->name);
	name->dns = strdup(template->dns);
	name->service = template->service;
	name->prefer_ipv6 = template->prefer_ipv6;
	record_set_init(&name->set, &limits, ev_now(resolver->owner.loop));
	if (name->pool && name->dns)
		return name;
	free_name(name);
	return NULL;
}

/* Gives <name> the records of the same name, which is asked about again at once. */
static void inherit(struct resolver_name *name, struct resolver_name *const *before, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (!before[i] || strcmp(before[i]->dns, name->dns) != 0 || before[i]->service != name->service ||
		    before[i]->prefer_ipv6 != name->prefer_ipv6)
			continue;
		record_set_inherit(&name->set, &before[i]->set);
		name->next_report = before[i]->next_report;
		spoa_metrics_add(name->resolver->owner.metrics, SPOA_DNS_IGNORED, (int64_t)name->set.ignored);
		set_stale(name, before[i]->stale);
		return;
	}
}

static int make_names(struct resolver *resolver, const struct spoa_config *config, struct resolver_name **names)
{
	for (size_t i = 0; i < config->pool_count; i++) {
		if (!config->pools[i].template)
			continue;
		names[i] = new_name(resolver, &config->pools[i], &config->dns);
		if (!names[i])
			return -1;
		inherit(names[i], resolver->names, resolver->name_count);
	}
	return 0;
}

static void close_channel(struct resolver *resolver)
{
	/* Its queries end with ARES_EDESTRUCTION. */
	if (resolver->channel)
		ares_destroy(resolver->channel);
	resolver->channel = NULL;
	ev_timer_stop(resolver->owner.loop, &resolver->patience);
	while (resolver->sockets)
		forget_socket(resolver, &resolver->sockets);
}

int resolver_change(struct resolver *resolver, const struct spoa_config *config)
{
	struct resolver_name **names = calloc(config->pool_count + 1, sizeof(*names));
	ares_channel channel = NULL;

	if (!names || make_names(resolver, config, names) < 0) {
		log_error("names of pools cannot be resolved: out of memory");
		free_names(names, config->pool_count);
		return -1;
	}
	if (config->template_count) {
		channel = open_channel(resolver, &config->dns);
		if (!channel) {
			free_names(names, config->pool_count);
			return -1;
		}
	}
	free_names(resolver->names, resolver->name_count);
	close_channel(resolver);
	resolver->names = names;
	resolver->name_count = config->pool_count;
	resolver->channel = channel;
	wait_for_names(resolver);
	return 0;
}

size_t resolver_members(const struct resolver *resolver, size_t pool,
			const struct node_record *members[static NODE_MAX])
{
	if (pool >= resolver->name_count || !resolver->names[pool])
		return 0;
	return record_set_members(&resolver->names[pool]->set, members);
}

struct resolver *resolver_new(const struct resolver_owner *owner)
{
	struct resolver *resolver = calloc(1, sizeof(*resolver));

	if (!resolver)
		return NULL;
	resolver->owner = *owner;
	ev_timer_init(&resolver->patience, on_patience, 0., 0.);
	ev_timer_init(&resolver->due, on_due, 0., 0.);
	resolver->patience.data = resolver->due.data = resolver;
	return resolver;
}

void resolver_free(struct resolver *resolver)
{
	if (!resolver)
		return;
	free_names(resolver->names, resolver->name_count);
	close_channel(resolver);
	ev_timer_stop(resolver->owner.loop, &resolver->due);
	free(resolver);
}
