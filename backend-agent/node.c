/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "node.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "admin.h"
#include "control_server.h"
#include "fetch_server.h"
#include "log.h"
#include "node_metrics.h"
#include "worker.h"

#define FETCH_BACKLOG 4096
#define CONTROL_BACKLOG 128
#define SOCKET_MODE 0660
#define NODE_NAME_MAX 256

struct backend {
	const struct node_config *config;
	struct fetch_content content;
	struct ticket_table *tickets;
	struct result_queue results;
	struct direct_service *direct; /* NULL: none */
	struct direct_service direct_service;
	struct control_settings control;
	char node_name[NODE_NAME_MAX];
	int control_listener;
	int *fetch_listeners;
	struct admin *admin;
	_Atomic bool draining;
	_Atomic unsigned fetch_workers_left;  /* whose loops have not ended */
	struct ev_loop *_Atomic control_loop; /* NULL until it is made */
	ev_async fetching_ended;              /* on the control loop: a fetch worker ended */
};

/* --- workers --- */

/* The control loop outlives the fetch workers, so that agents hear of the drain and of the last results. */
static void on_fetching_ended(struct ev_loop *loop, ev_async *watcher, int events)
{
	struct backend *backend = watcher->data;

	(void)events;
	if (!atomic_load(&backend->fetch_workers_left))
		ev_break(loop, EVBREAK_ALL);
}

static int start_control(struct worker *worker, struct backend *backend)
{
	worker->context = control_server_start(worker->loop, backend->control_listener, &backend->control);
	if (!worker->context) {
		log_error("control.listen: the server could not be started: out of memory");
		return -1;
	}
	ev_async_start(worker->loop, &backend->fetching_ended);
	atomic_store(&backend->control_loop, worker->loop);
	return 0;
}

static void on_fetch_idle(void *context)
{
	struct worker *worker = context;

	ev_break(worker->loop, EVBREAK_ALL);
}

static int start_fetch(struct worker *worker, struct backend *backend)
{
	struct fetch_service service = {
		.loop = worker->loop,
		.limits = backend->config->limits,
		.content = &backend->content,
		.tickets = backend->tickets,
		.results = &backend->results,
		.draining = &backend->draining,
		.direct = backend->direct,
	};

	worker->context = fetch_server_start(&service, backend->fetch_listeners, backend->config->fetch_listen_count,
					     on_fetch_idle, worker);
	if (!worker->context) {
		log_error("fetch.listen: a server could not be started: out of memory");
		return -1;
	}
	return 0;
}

static int start_worker(struct worker *worker, void *shared)
{
	struct backend *backend = shared;

	if (worker->index > 0)
		return start_fetch(worker, backend);
	return start_control(worker, backend);
}

static void drain_worker(struct worker *worker, void *shared, int force)
{
	struct backend *backend = shared;

	atomic_store(&backend->draining, true);
	if (force)
		ev_break(worker->loop, EVBREAK_ALL);
	else if (worker->index > 0)
		fetch_server_drain(worker->context);
}

static void stop_worker(struct worker *worker, void *shared)
{
	struct backend *backend = shared;
	struct ev_loop *control_loop;

	if (worker->index == 0) {
		ev_async_stop(worker->loop, &backend->fetching_ended);
		control_server_stop(worker->context);
		return;
	}
	fetch_server_stop(worker->context);
	atomic_fetch_sub(&backend->fetch_workers_left, 1);
	control_loop = atomic_load(&backend->control_loop);
	if (control_loop)
		ev_async_send(control_loop, &backend->fetching_ended);
}

static const struct worker_program program = {
	.start = start_worker,
	.drain = drain_worker,
	.stop = stop_worker,
};

/* --- the process --- */

static int is_draining(void *context)
{
	struct backend *backend = context;

	return atomic_load(&backend->draining);
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

static int open_listeners(struct backend *backend)
{
	const struct node_config *config = backend->config;

	backend->fetch_listeners = calloc(config->fetch_listen_count, sizeof(*backend->fetch_listeners));
	if (!backend->fetch_listeners) {
		log_error("fetch.listen: out of memory");
		return -1;
	}
	for (size_t i = 0; i < config->fetch_listen_count; i++)
		backend->fetch_listeners[i] = -1;
	for (size_t i = 0; i < config->fetch_listen_count; i++) {
		backend->fetch_listeners[i] = listen_on(&config->fetch_listen[i], "fetch.listen", FETCH_BACKLOG);
		if (backend->fetch_listeners[i] < 0)
			return -1;
	}
	backend->control_listener = listen_on(&config->control_listen, "control.listen", CONTROL_BACKLOG);
	return backend->control_listener < 0 ? -1 : 0;
}

static void close_listeners(struct backend *backend)
{
	for (size_t i = 0; backend->fetch_listeners && i < backend->config->fetch_listen_count; i++)
		if (backend->fetch_listeners[i] >= 0)
			close(backend->fetch_listeners[i]);
	free(backend->fetch_listeners);
	if (backend->control_listener >= 0)
		close(backend->control_listener);
}

/* A connection needs its socket and the file it sends. */
static void raise_descriptor_limit(const struct backend *backend)
{
	const struct node_config *config = backend->config;
	struct rlimit limit;
	/* A clone, of which there may be as many as connections, needs the same. */
	rlim_t needed = (backend->direct ? 4 : 2) * (rlim_t)config->limits.max_connections * config->workers + 512;

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

static int start_admin(struct backend *backend, const struct admin_source *source)
{
	char text[ADDRESS_TEXT_MAX];

	if (!backend->config->has_admin)
		return 0;
	backend->admin = admin_start(&backend->config->admin_listen, source);
	if (backend->admin)
		return 0;
	log_error("admin.listen: cannot listen on %s: %s", address_format(&backend->config->admin_listen, text),
		  strerror(errno));
	return -1;
}

/* Makes the direct path ready, if there is one. Returns 0, or -1 (logged). */
static int open_direct(struct backend *backend)
{
	if (!backend->config->has_direct)
		return 0;
	switch (direct_service_open(&backend->direct_service, &backend->config->direct)) {
	case DIRECT_SERVICE_ON:
		backend->direct = &backend->direct_service;
		return 0;
	case DIRECT_SERVICE_OFF:
		return 0;
	case DIRECT_SERVICE_FAILED:
		break;
	}
	return -1;
}

static void prepare(struct backend *backend)
{
	const struct node_config *config = backend->config;

	backend->content = (struct fetch_content){config->has_origin ? &config->origin : NULL, config->files,
						  config->types, config->index};
	if (gethostname(backend->node_name, sizeof(backend->node_name) - 1) < 0)
		strcpy(backend->node_name, "node");
	backend->control = (struct control_settings){
		.tls = config->tls,
		.agents = config->agents,
		.node_name = backend->node_name,
		.tickets = backend->tickets,
		.results = &backend->results,
		.draining = &backend->draining,
		.direct = backend->direct,
	};
	atomic_store(&backend->fetch_workers_left, config->workers);
	ev_async_init(&backend->fetching_ended, on_fetching_ended);
	backend->fetching_ended.data = backend;
}

int node_run(const struct node_config *config)
{
	struct backend backend = {.config = config, .control_listener = -1};
	struct admin_source source = {node_metrics, NODE_METRIC_COUNT, is_draining, &backend};
	int result = -1;

	backend.tickets = ticket_table_new(&config->tickets);
	if (!backend.tickets || result_queue_init(&backend.results) < 0) {
		log_error("offload.max-waiting: out of memory");
		ticket_table_free(backend.tickets);
		return -1;
	}
	if (open_direct(&backend) == 0) {
		prepare(&backend);
		raise_descriptor_limit(&backend);
		if (open_listeners(&backend) == 0 && start_admin(&backend, &source) == 0) {
			log_notice("serving with %u workers", config->workers);
			result = worker_run(&program, config->workers + 1, config->grace, &backend);
			log_notice("ended");
		}
	}
	admin_stop(backend.admin);
	close_listeners(&backend);
	if (backend.direct)
		direct_service_close(backend.direct);
	result_queue_destroy(&backend.results);
	ticket_table_free(backend.tickets);
	return result;
}
