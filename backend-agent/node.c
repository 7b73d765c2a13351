/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "node.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "admin.h"
#include "aead_choice.h"
#include "config.h"
#include "config_fixed.h"
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

struct node;

/* What one fetch worker runs. */
struct node_worker {
	struct node *node;
	struct worker *worker;
	bool runs; /* others can call it; under node->lock */
	bool idle; /* a drain has come to its end */
	struct fetch_server *fetch;
	struct control_server *lane; /* NULL: there is no direct path */
	ev_async called;             /* there is another configuration */
	ev_async finished;           /* all workers are done with a drain */
};

struct node {
	const char *file;            /* of the configuration; NULL: it is never read again */
	struct node_config *started; /* held to the end: what it was started with */
	struct node_config *config;  /* held: in use; the main thread changes it, under <lock> */
	struct node_config *served;  /* held: of which content is served; the same, but where that needs a restart */
	struct config_fixed fixed;
	pthread_mutex_t lock;
	struct ticket_table *tickets;
	struct result_queue results;
	struct direct_service *direct; /* NULL: none */
	struct direct_service direct_service;
	struct control_settings control;
	struct control_lanes lanes;
	struct node_worker *workers;         /* by number from 1 */
	_Atomic unsigned fetch_workers_busy; /* that a drain has not come to the end of */
	char name[NODE_NAME_MAX];
	int control_listener;
	int *fetch_listeners;
	struct admin *admin;
	struct digester *digester; /* NULL: entity tags are those of files' times */
	_Atomic bool draining;
	_Atomic unsigned fetch_workers_left;  /* whose loops have not ended */
	struct ev_loop *_Atomic control_loop; /* NULL until it is made */
	ev_async fetching_ended;              /* on the control loop: a fetch worker ended */
	ev_async control_called;              /* on the control loop: there is another configuration */
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

/* <*config>, which is node->config or node->served, held. */
static struct node_config *hold_config(struct node *node, struct node_config *const *config)
{
	struct node_config *held;

	(void)pthread_mutex_lock(&node->lock);
	held = *config;
	node_config_hold(held);
	(void)pthread_mutex_unlock(&node->lock);
	return held;
}

static struct control_credentials credentials_of(struct node_config *config)
{
	return (struct control_credentials){.tls = config->tls,
					    .agents = config->agents,
					    .hold = config->content.hold,
					    .drop = config->content.drop,
					    .owner = config};
}

static void on_control_called(struct ev_loop *loop, ev_async *watcher, int events)
{
	struct worker *worker = watcher->data;
	struct node *node = ev_userdata(loop);
	struct node_config *config = hold_config(node, &node->config);
	const struct control_credentials credentials = credentials_of(config);

	(void)events;
	control_server_change(worker->context, &credentials);
	node_config_drop(config);
}

static int start_control(struct worker *worker, struct node *node)
{
	worker->context = control_server_start(worker->loop, node->control_listener, &node->control);
	if (!worker->context) {
		log_error("control.listen: the server could not be started: out of memory");
		return -1;
	}
	ev_set_userdata(worker->loop, node);
	node->control_called.data = worker;
	ev_async_start(worker->loop, &node->control_called);
	ev_async_start(worker->loop, &node->fetching_ended);
	atomic_store(&node->control_loop, worker->loop);
	return 0;
}

static void on_finished(struct ev_loop *loop, ev_async *watcher, int events)
{
	(void)watcher;
	(void)events;
	ev_break(loop, EVBREAK_ALL);
}

/* An agent goes on with all connections of this node when one of its channels closes: so the lanes stay until the last
 * worker has done its work. */
static void on_fetch_idle(void *context)
{
	struct node_worker *own = context;
	struct node *node = own->node;

	if (own->idle)
		return;
	own->idle = true;
	if (atomic_fetch_sub(&node->fetch_workers_busy, 1) > 1)
		return;
	for (unsigned i = 1; i <= node->started->workers; i++)
		ev_async_send(node->workers[i].worker->loop, &node->workers[i].finished);
}

static void on_fetch_called(struct ev_loop *loop, ev_async *watcher, int events)
{
	struct node_worker *own = watcher->data;
	struct node *node = own->node;
	struct node_config *config = hold_config(node, &node->config);
	struct node_config *served = hold_config(node, &node->served);
	const struct control_credentials credentials = credentials_of(config);

	(void)loop;
	(void)events;
	fetch_server_change(own->fetch, &config->limits, &served->content);
	if (own->lane)
		control_server_change(own->lane, &credentials);
	node_config_drop(served);
	node_config_drop(config);
}

/* Others can call this worker from now on, or not any more. */
static void set_callable(struct node_worker *own, bool runs)
{
	(void)pthread_mutex_lock(&own->node->lock);
	own->runs = runs;
	(void)pthread_mutex_unlock(&own->node->lock);
}

static struct fetch_server *open_fetch(struct node_worker *own)
{
	struct worker *worker = own->worker;
	struct node *node = own->node;
	struct node_config *served = hold_config(node, &node->served);
	struct fetch_service service = {
		.loop = worker->loop,
		.limits = served->limits,
		.content = &served->content,
		.tickets = node->tickets,
		.results = &node->results,
		.draining = &node->draining,
		.direct = node->direct,
	};
	struct fetch_server *server = fetch_server_start(&service, node->fetch_listeners,
							 node->started->fetch_listen_count, on_fetch_idle, own);

	node_config_drop(served);
	return server;
}

static struct control_server *open_lane(struct node_worker *own)
{
	struct node *node = own->node;
	struct node_config *config = hold_config(node, &node->config);
	const struct control_credentials credentials = credentials_of(config);
	struct control_server *server =
		control_server_start_lane(own->worker->loop, own->worker->index, &node->control, &credentials);

	node_config_drop(config);
	return server;
}

static int start_fetch(struct worker *worker, struct node *node)
{
	struct node_worker *own = &node->workers[worker->index];

	own->worker = worker;
	own->fetch = open_fetch(own);
	if (!own->fetch) {
		log_error("fetch.listen: a server could not be started: out of memory");
		return -1;
	}
	own->lane = node->direct ? open_lane(own) : NULL;
	if (node->direct && !own->lane) {
		log_error("direct: a worker's control channels could not be started: out of memory");
		fetch_server_stop(own->fetch);
		return -1;
	}
	ev_async_start(worker->loop, &own->called);
	ev_async_start(worker->loop, &own->finished);
	set_callable(own, true);
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
		fetch_server_drain(node->workers[worker->index].fetch);
}

static void stop_worker(struct worker *worker, void *shared)
{
	struct node *node = shared;
	struct node_worker *own = &node->workers[worker->index];
	struct ev_loop *control_loop;

	if (worker->index == 0) {
		atomic_store(&node->control_loop, NULL);
		ev_async_stop(worker->loop, &node->control_called);
		ev_async_stop(worker->loop, &node->fetching_ended);
		control_server_stop(worker->context);
		return;
	}
	set_callable(own, false);
	ev_async_stop(worker->loop, &own->called);
	fetch_server_stop(own->fetch);
	/* After the clones, whose last words its channels carry. */
	if (own->lane)
		control_server_stop(own->lane);
	ev_async_stop(worker->loop, &own->finished);
	atomic_fetch_sub(&node->fetch_workers_left, 1);
	control_loop = atomic_load(&node->control_loop);
	if (control_loop)
		ev_async_send(control_loop, &node->fetching_ended);
}

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
	const struct node_config *config = node->started;

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
	for (size_t i = 0; node->fetch_listeners && i < node->started->fetch_listen_count; i++)
		if (node->fetch_listeners[i] >= 0)
			close(node->fetch_listeners[i]);
	free(node->fetch_listeners);
	if (node->control_listener >= 0)
		close(node->control_listener);
}

/* A connection needs its socket and the file it sends. */
static void raise_descriptor_limit(const struct node *node)
{
	struct rlimit limit;
	/* A clone, of which there may be as many as connections, needs the same. */
	rlim_t needed = (node->direct ? 4 : 2) * (rlim_t)node->config->max_connections + 512;

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

	if (!node->started->has_admin)
		return 0;
	node->admin = admin_start(&node->started->admin_listen, source);
	if (node->admin)
		return 0;
	log_error("admin.listen: cannot listen on %s: %s", address_format(&node->started->admin_listen, text),
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
	if (!node->started->has_direct)
		return 0;
	switch (direct_service_open(&node->direct_service, &node->started->direct, &node->results,
				    node->started->workers)) {
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
	const struct digester_settings settings = {node->started->files, node->started->digest_rate};

	if (!node->started->digests)
		return 0;
	node->digester = digester_start(&settings);
	if (node->digester)
		return 0;
	log_error("files.etag: digests cannot be computed: %s", strerror(errno));
	return -1;
}

/* --- another configuration --- */

/* What is read when the program starts. */
static const char *const fixed_fields[] = {
	"workers",
	"grace",
	"fetch.listen",
	"control.listen",
	"admin.listen",
	"seal.library",
	"offload.ticket-wait",
	"offload.max-waiting",
	"files.etag",
	"files.digest-rate",
	"direct.vip",
	"direct.interface",
	"direct.congestion-control",
	"direct.send-buffer",
	"direct.handoff-wait",
	"direct.client-timeout",
	"direct.connection-tracking",
};

/* Whether what <config> serves can take the place of what is served. */
static bool can_serve(const struct node *node, const struct node_config *config)
{
	if (config->has_origin != node->started->has_origin) {
		log_warning("%s: files instead of an origin, or the other way round, need a restart", node->file);
		return false;
	}
	if (node->digester && strcmp(config->root, node->started->root) != 0) {
		log_warning("%s: files.root = \"%s\" needs a restart, for the digests: until then it is \"%s\"",
			    node->file, config->root, node->started->root);
		return false;
	}
	return true;
}

/* Has all workers use <config>. */
static void use_config(struct node *node, struct node_config *config)
{
	struct node_config *before = node->config, *served_before = node->served, *served = node->served;
	struct ev_loop *control_loop;

	node_config_share(config, node->started->workers);
	node_config_make_content(config);
	if (can_serve(node, config))
		served = config;
	if (node->digester && served == config)
		digester_serve(node->digester, config->files);
	node_config_hold(served);
	node_config_apply_log(config, "disc-backend");
	(void)pthread_mutex_lock(&node->lock);
	node->config = config;
	node->served = served;
	for (unsigned i = 1; i <= node->started->workers; i++)
		if (node->workers[i].runs)
			ev_async_send(node->workers[i].worker->loop, &node->workers[i].called);
	control_loop = atomic_load(&node->control_loop);
	if (control_loop)
		ev_async_send(control_loop, &node->control_called);
	(void)pthread_mutex_unlock(&node->lock);
	node_config_drop(served_before);
	node_config_drop(before);
	raise_descriptor_limit(node);
}

static void reload(void *shared)
{
	struct node *node = shared;
	struct node_config *config;
	struct config_faults faults;

	if (!node->file)
		return;
	config_collect_faults(&faults);
	config = node_config_new(node->file);
	config_collect_faults(NULL);
	if (!config) {
		config_log_refusal(&faults, "disc-backend", node->file);
		return;
	}
	(void)config_fixed_compare(&node->fixed, config->tree, node->file);
	use_config(node, config);
	log_notice("%s is in use", node->file);
}

static const struct worker_program program = {
	.start = start_worker,
	.drain = drain_worker,
	.stop = stop_worker,
	.reload = reload,
};

static void prepare(struct node *node)
{
	struct node_config *config = node->config;

	node_config_make_content(config);
	if (gethostname(node->name, sizeof(node->name) - 1) < 0)
		strcpy(node->name, "node");
	node->control = (struct control_settings){
		.credentials = credentials_of(config),
		.node_name = node->name,
		.tickets = node->tickets,
		.results = &node->results,
		.draining = &node->draining,
		.direct = node->direct,
		.lanes = node->direct ? &node->lanes : NULL,
	};
	atomic_store(&node->fetch_workers_left, config->workers);
	ev_async_init(&node->control_called, on_control_called);
	atomic_store(&node->fetch_workers_busy, config->workers);
	for (unsigned i = 1; i <= config->workers; i++) {
		node->workers[i].node = node;
		ev_async_init(&node->workers[i].called, on_fetch_called);
		node->workers[i].called.data = &node->workers[i];
		ev_async_init(&node->workers[i].finished, on_finished);
	}
	ev_async_init(&node->fetching_ended, on_fetching_ended);
	node->fetching_ended.data = node;
}

static void drop_configs(struct node *node)
{
	node_config_drop(node->served);
	node_config_drop(node->config);
	node_config_drop(node->started);
}

/* What its threads tell each other by. Returns 0, or -1 if memory is exhausted. */
static int open_queues(struct node *node)
{
	const struct node_config *config = node->started;

	if (!node->tickets || !node->workers)
		return -1;
	if (config->tree && config_fixed_note(&node->fixed, config->tree, fixed_fields,
					      sizeof(fixed_fields) / sizeof(fixed_fields[0])) < 0)
		return -1;
	if (control_lanes_init(&node->lanes, config->workers) < 0)
		return -1;
	if (result_queue_init(&node->results, config->workers) == 0)
		return 0;
	control_lanes_destroy(&node->lanes);
	return -1;
}

int node_run(const char *file, struct node_config *config)
{
	struct node node = {.file = file,
			    .started = config,
			    .config = config,
			    .served = config,
			    .lock = PTHREAD_MUTEX_INITIALIZER,
			    .control_listener = -1};
	struct admin_source source = {
		.metrics = node_metrics, .count = NODE_METRIC_COUNT, .draining = is_draining, .context = &node};
	int result = -1;

	node_config_hold(config); /* as <config> */
	node_config_hold(config); /* as <served> */
	node.tickets = ticket_table_new(&config->tickets);
	node.workers = calloc(config->workers + 1, sizeof(*node.workers));
	if (open_queues(&node) < 0) {
		log_error("offload.max-waiting: out of memory");
		ticket_table_free(node.tickets);
		free(node.workers);
		config_fixed_release(&node.fixed);
		drop_configs(&node);
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
	control_lanes_destroy(&node.lanes);
	free(node.workers);
	if (node.direct)
		direct_service_close(node.direct);
	result_queue_destroy(&node.results);
	ticket_table_free(node.tickets);
	config_fixed_release(&node.fixed);
	drop_configs(&node);
	return result;
}
