/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "node.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "admin.h"
#include "aead_choice.h"
#include "control_server.h"
#include "digester.h"
#include "fetch_server.h"
#include "log.h"
#include "node_metrics.h"
#include "worker.h"

#define FETCH_BACKLOG 4096
#define CONTROL_BACKLOG 128
#define SOCKET_MODE 0660
#define NODE_NAME_MAX 256

struct node {
	const struct node_config *config;
	struct fetch_content content;
	struct ticket_table *tickets;
	struct result_queue results;
	struct direct_service *direct; /* NULL: none */
	struct direct_service direct_service;
	struct control_settings control;
	char name[NODE_NAME_MAX];
	int control_listener;
	int *fetch_listeners;
	struct admin *admin;
	struct digester *digester; /* NULL: entity tags are those of files' times */
	_Atomic bool draining;
	_Atomic unsigned fetch_workers_left;  /* whose loops have not ended */
	struct ev_loop *_Atomic control_loop; /* NULL until it is made */
	ev_async fetching_ended;              /* on the control loop: a fetch worker ended */
};

/* --- workers --- */

/* The control loop outlives the fetch workers, so that agents hear of the drain and of the last results. */
static void on_fetching_ended(struct ev_loop *loop, ev_async *watcher, int events)
{
	struct node *node = watcher->data;

	(void)events;
	if (!atomic_load(&node->fetch_workers_left))
		ev_break(loop, EVBREAK_ALL);
}

static int start_control(struct worker *worker, struct node *node)
{
	worker->context = control_server_start(worker->loop, node->control_listener, &node->control);
	if (!worker->context) {
		log_error("control.listen: the server could not be started: out of memory");
		return -1;
	}
	ev_async_start(worker->loop, &node->fetching_ended);
	atomic_store(&node->control_loop, worker->loop);
	return 0;
}

static void on_fetch_idle(void *context)
{
	struct worker *worker = context;

	ev_break(worker->loop, EVBREAK_ALL);
}

static int start_fetch(struct worker *worker, struct node *node)
{
	struct fetch_service service = {
		.loop = worker->loop,
		.limits = node->config->limits,
		.content = &node->content,
		.tickets = node->tickets,
		.results = &node->results,
		.draining = &node->draining,
		.direct = node->direct,
	};

	worker->context = fetch_server_start(&service, node->fetch_listeners, node->config->fetch_listen_count,
					     on_fetch_idle, worker);
	if (!worker->context) {
		log_error("fetch.listen: a server could not be started: out of memory");
		return -1;
	}
	return 0;
}

static int start_worker(struct worker *worker, void *shared)
{
	struct node *node = shared;

	if (worker->index > 0)
		return start_fetch(worker, node);
	return start_control(worker, node);
}

static void drain_worker(struct worker *worker, void *shared, int force)
{
	struct node *node = shared;

	atomic_store(&node->draining, true);
	if (force)
		ev_break(worker->loop, EVBREAK_ALL);
	else if (worker->index > 0)
		fetch_server_drain(worker->context);
}

static void stop_worker(struct worker *worker, void *shared)
{
	struct node *node = shared;
	struct ev_loop *control_loop;

	if (worker->index == 0) {
		ev_async_stop(worker->loop, &node->fetching_ended);
		control_server_stop(worker->context);
		return;
	}
	fetch_server_stop(worker->context);
	atomic_fetch_sub(&node->fetch_workers_left, 1);
	control_loop = atomic_load(&node->control_loop);
	if (control_loop)
		ev_async_send(control_loop, &node->fetching_ended);
}

static const struct worker_program program = {
	.start = start_worker,
	.drain = drain_worker,
	.stop = stop_worker,
};

/* --- the process --- */

static int is_draining(void *context)
{
	struct node *node = context;

	return atomic_load(&node->draining);
}

/* Returns the listening socket, or -1 (logged). */
static int listen_on(const struct address *address, const char *field, int backlog)
{
	char text[ADDRESS_TEXT_MAX];
	int fd = address_listen(address, backlog, SOCKET_MODE);

	if (fd < 0)
		log_error("%s: cannot listen on %s: %s", field, address_format(address, text), strerror(errno));
	else
		log_notice("%s: listening on %s", field, address_format(address, text));
	return fd;
}

static int open_listeners(struct node *node)
{
	const struct node_config *config = node->config;

	node->fetch_listeners = calloc(config->fetch_listen_count, sizeof(*node->fetch_listeners));
	if (!node->fetch_listeners) {
		log_error("fetch.listen: out of memory");
		return -1;
	}
	for (size_t i = 0; i < config->fetch_listen_count; i++)
		node->fetch_listeners[i] = -1;
	for (size_t i = 0; i < config->fetch_listen_count; i++) {
		node->fetch_listeners[i] = listen_on(&config->fetch_listen[i], "fetch.listen", FETCH_BACKLOG);
		if (node->fetch_listeners[i] < 0)
			return -1;
	}
	node->control_listener = listen_on(&config->control_listen, "control.listen", CONTROL_BACKLOG);
	return node->control_listener < 0 ? -1 : 0;
}

static void close_listeners(struct node *node)
{
	for (size_t i = 0; node->fetch_listeners && i < node->config->fetch_listen_count; i++)
		if (node->fetch_listeners[i] >= 0)
			close(node->fetch_listeners[i]);
	free(node->fetch_listeners);
	if (node->control_listener >= 0)
		close(node->control_listener);
}

/* A connection needs its socket and the file it sends. */
static void raise_descriptor_limit(const struct node *node)
{
	const struct node_config *config = node->config;
	struct rlimit limit;
	/* A clone, of which there may be as many as connections, needs the same. */
	rlim_t needed = (node->direct ? 4 : 2) * (rlim_t)config->limits.max_connections * config->workers + 512;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	if (limit.rlim_cur < needed) {
		limit.rlim_cur = limit.rlim_max == RLIM_INFINITY || limit.rlim_max > needed ? needed : limit.rlim_max;
		if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
			log_warning("cannot raise the limit of open files: %s", strerror(errno));
	}
	if (limit.rlim_cur < needed)
		log_warning("fetch.max-connections: %llu open files would be needed, the limit is %llu",
			    (unsigned long long)needed, (unsigned long long)limit.rlim_cur);
}

static int start_admin(struct node *node, const struct admin_source *source)
{
	char text[ADDRESS_TEXT_MAX];

	if (!node->config->has_admin)
		return 0;
	node->admin = admin_start(&node->config->admin_listen, source);
	if (node->admin)
		return 0;
	log_error("admin.listen: cannot listen on %s: %s", address_format(&node->config->admin_listen, text),
		  strerror(errno));
	return -1;
}

/* Before the workers, who seal. Returns 0, or -1 (logged). */
static int choose_library(enum aead_setting setting)
{
	char text[AEAD_CHOICE_TEXT_MAX];
	const char *why = aead_choose(setting);

	if (why) {
		log_error("seal.library: \"ipsec-mb\" cannot be used: %s", why);
		return -1;
	}
	log_notice("seal.library: %s", aead_choice_format(text));
	return 0;
}

/* Makes the direct path ready, if there is one. Returns 0, or -1 (logged). */
static int open_direct(struct node *node)
{
	if (!node->config->has_direct)
		return 0;
	switch (direct_service_open(&node->direct_service, &node->config->direct)) {
	case DIRECT_SERVICE_ON:
		node->direct = &node->direct_service;
		return 0;
	case DIRECT_SERVICE_OFF:
		return 0;
	case DIRECT_SERVICE_FAILED:
		break;
	}
	return -1;
}

/* Returns 0, or -1 (logged). */
static int start_digester(struct node *node)
{
	const struct digester_settings settings = {node->config->files, node->config->digest_rate};

	if (!node->config->digests)
		return 0;
	node->digester = digester_start(&settings);
	if (node->digester)
		return 0;
	log_error("files.etag: digests cannot be computed: %s", strerror(errno));
	return -1;
}

static void prepare(struct node *node)
{
	const struct node_config *config = node->config;

	node->content = (struct fetch_content){config->has_origin ? &config->origin : NULL, config->files,
					       config->types, config->index};
	if (gethostname(node->name, sizeof(node->name) - 1) < 0)
		strcpy(node->name, "node");
	node->control = (struct control_settings){
		.tls = config->tls,
		.agents = config->agents,
		.node_name = node->name,
		.tickets = node->tickets,
		.results = &node->results,
		.draining = &node->draining,
		.direct = node->direct,
	};
	atomic_store(&node->fetch_workers_left, config->workers);
	ev_async_init(&node->fetching_ended, on_fetching_ended);
	node->fetching_ended.data = node;
}

int node_run(const struct node_config *config)
{
	struct node node = {.config = config, .control_listener = -1};
	struct admin_source source = {
		.metrics = node_metrics, .count = NODE_METRIC_COUNT, .draining = is_draining, .context = &node};
	int result = -1;

	node.tickets = ticket_table_new(&config->tickets);
	if (!node.tickets || result_queue_init(&node.results) < 0) {
		log_error("offload.max-waiting: out of memory");
		ticket_table_free(node.tickets);
		return -1;
	}
	if (choose_library(config->seal) == 0 && open_direct(&node) == 0) {
		prepare(&node);
		raise_descriptor_limit(&node);
		if (open_listeners(&node) == 0 && start_admin(&node, &source) == 0 && start_digester(&node) == 0) {
			log_notice("serving with %u workers", config->workers);
			result = worker_run(&program, config->workers + 1, config->grace, &node);
			log_notice("ended");
		}
	}
	digester_stop(node.digester);
	admin_stop(node.admin);
	close_listeners(&node);
	if (node.direct)
		direct_service_close(node.direct);
	result_queue_destroy(&node.results);
	ticket_table_free(node.tickets);
	return result;
}
