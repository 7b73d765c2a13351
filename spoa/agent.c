/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "agent.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "admin.h"
#include "capabilities.h"
#include "certificate_watch.h"
#include "direct_path.h"
#include "dispatch.h"
#include "log.h"
#include "version.h"
#include "worker.h"

#define SWEEP_S 0.5
#define QUERY_WAIT_S 2 /* for a worker's loop to turn */

/* What the admin's thread asks the first worker: its links and its direct path are that thread's alone. */
struct agent_query {
	const struct explain_question *question;
	char *answer;
	bool done;
};

struct agent_worker {
	struct agent *agent;
	struct ev_loop *loop;
	unsigned index;
	struct certificate_watch certificate; /* the first worker's */
	uint64_t generation;                  /* of the configuration in use */
	const struct spoa_config *origin;     /* of the configuration in use, only to compare it */
	ev_async called;                      /* there is a query, or another configuration */
	struct dispatch *dispatch;
	struct direct_path *direct; /* NULL: every body takes the splice path */
	struct spop_server *server;
	struct spop_service service;
	bool draining, hurried; /* hurried: AGENT_GRACE_S have passed since */
	ev_timer hurry;
};

static enum spop_status worker_notify(void *context, const struct spop_frame *frame, struct spop_writer *ack)
{
	struct agent_worker *self = context;

	return dispatch_notify(self->dispatch, frame, ack);
}

/* A draining worker ends when it has told HAProxy and has the results of its offers: a node drops the tickets that were
 * not fetched yet as soon as the control channel closes. After a while the worker waits for handed-off connections
 * only, because its end would lose them. */
static void worker_settled(void *context)
{
	struct agent_worker *self = context;

	if (!self->draining || (self->direct && direct_path_outstanding(self->direct)))
		return;
	if (self->hurried || (!spop_server_connections(self->server) && !dispatch_outstanding(self->dispatch)))
		ev_break(self->loop, EVBREAK_ALL);
}

static void on_hurry(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct agent_worker *self = timer->data;

	(void)loop;
	(void)events;
	self->hurried = true;
	worker_settled(self);
}

/* The configuration in use, held. */
static struct spoa_config *hold_config(struct agent *agent, uint64_t *generation)
{
	struct spoa_config *config;

	(void)pthread_mutex_lock(&agent->lock);
	config = agent->config;
	*generation = agent->generation;
	spoa_config_hold(config);
	(void)pthread_mutex_unlock(&agent->lock);
	return config;
}

static void answer_query(struct agent_worker *self)
{
	struct agent *agent = self->agent;

	(void)pthread_mutex_lock(&agent->lock);
	if (self->index == 0 && agent->query && !agent->query->done) {
		agent->query->answer = dispatch_explain(self->dispatch, agent->query->question);
		agent->query->done = true;
		(void)pthread_cond_broadcast(&agent->answered);
	}
	(void)pthread_mutex_unlock(&agent->lock);
}

static void watch_certificate(struct agent_worker *self, const struct spoa_config *config)
{
	/* One line for the program. */
	if (self->index == 0)
		certificate_watch_set(&self->certificate, config->tls ? channel_tls_not_after(config->tls) : 0);
}

static void change_config(struct agent_worker *self, struct spoa_config *config)
{
	bool others = config->origin ? config->origin != self->origin : true;

	dispatch_change(self->dispatch, config);
	self->origin = config->origin;
	/* Else only the nodes that DNS has are other ones. */
	if (others)
		watch_certificate(self, config);
}

static void on_called(struct ev_loop *loop, ev_async *async, int events)
{
	struct agent_worker *self = async->data;
	uint64_t generation;
	struct spoa_config *config = hold_config(self->agent, &generation);

	(void)loop;
	(void)events;
	if (generation != self->generation && !self->draining)
		change_config(self, config);
	self->generation = generation;
	spoa_config_drop(config);
	answer_query(self);
}

/* Under the lock. */
static void call_worker(struct agent_worker *worker)
{
	if (worker)
		ev_async_send(worker->loop, &worker->called);
}

/* Others can call this worker from now on, or not any more. */
static void set_callable(struct agent_worker *self, bool callable)
{
	struct agent *agent = self->agent;

	(void)pthread_mutex_lock(&agent->lock);
	if (callable)
		ev_async_start(self->loop, &self->called);
	else
		ev_async_stop(self->loop, &self->called);
	agent->workers[self->index] = callable ? self : NULL;
	/* DNS may have had nodes since this worker got its configuration. */
	call_worker(agent->workers[self->index]);
	(void)pthread_mutex_unlock(&agent->lock);
}

static void worker_close(struct agent_worker *self)
{
	if (ev_is_active(&self->called))
		set_callable(self, false);
	ev_timer_stop(self->loop, &self->hurry);
	certificate_watch_stop(&self->certificate, self->loop);
	spop_server_free(self->server);
	/* Before the links that it says farewell on. */
	direct_path_free(self->direct);
	dispatch_free(self->dispatch);
	free(self);
}

/* Without the direct path, which says in the log why, every body takes the splice path. */
static void open_direct_path(struct agent_worker *self, struct spoa_config *config)
{
	const struct direct_path_owner owner = {
		.loop = self->loop,
		.config = config,
		.metrics = &self->agent->metrics,
		.links = dispatch_links(self->dispatch),
		.settled = worker_settled,
		.context = self,
	};

	self->direct = direct_path_new(&owner);
	if (self->direct)
		dispatch_set_direct(self->dispatch, direct_path_offers(self->direct));
}

/* Returns it, or NULL when memory is exhausted. */
static struct agent_worker *worker_open(struct worker *worker, struct agent *agent, struct spoa_config *config)
{
	struct agent_worker *self = calloc(1, sizeof(*self));

	if (!self)
		return NULL;
	self->agent = agent;
	self->loop = worker->loop;
	self->index = worker->index;
	ev_async_init(&self->called, on_called);
	self->called.data = self;
	ev_timer_init(&self->hurry, on_hurry, AGENT_GRACE_S, 0.);
	self->hurry.data = self;
	certificate_watch_start(&self->certificate, self->loop, &agent->metrics.all[SPOA_CERTIFICATE_END]);
	self->service = (struct spop_service){worker_notify, worker_settled, self};
	self->dispatch = dispatch_new(worker->loop, worker->index, config, &agent->metrics, worker_settled, self);
	if (self->dispatch && config->direct.enabled)
		open_direct_path(self, config);
	if (self->dispatch)
		self->server = spop_server_new(worker->loop, &agent->spop, &self->service);
	watch_certificate(self, config);
	if (self->server)
		return self;
	worker_close(self);
	return NULL;
}

static int worker_start(struct worker *worker, void *shared)
{
	struct agent *agent = shared;
	uint64_t generation;
	struct spoa_config *config = hold_config(agent, &generation);
	struct agent_worker *self = worker_open(worker, agent, config);

	if (!self) {
		log_error("cannot start worker %u: out of memory", worker->index);
		spoa_config_drop(config);
		return -1;
	}
	worker->context = self;
	self->generation = generation;
	self->origin = config->origin;
	spoa_config_drop(config);
	set_callable(self, true);
	return 0;
}

static void worker_drain(struct worker *worker, void *shared, int force)
{
	struct agent_worker *self = worker->context;
	struct agent *agent = shared;

	atomic_store(&agent->draining, 1);
	self->draining = true;
	ev_timer_start(self->loop, &self->hurry);
	spop_server_drain(self->server);
	if (self->direct)
		direct_path_drain(self->direct);
	if (force)
		ev_break(worker->loop, EVBREAK_ALL);
	else
		worker_settled(self);
}

static void worker_stop(struct worker *worker, void *shared)
{
	(void)shared;
	worker_close(worker->context);
	worker->context = NULL;
}

static int open_listeners(struct agent *agent)
{
	const struct spoa_config *config = agent->config;

	agent->spop.max_frame_size = config->max_frame_size;
	agent->spop.max_connections = config->max_connections;
	agent->spop.metrics = &agent->metrics;
	agent->spop.listeners = calloc(config->listen_count, sizeof(*agent->spop.listeners));
	if (!agent->spop.listeners) {
		log_error("cannot listen: out of memory");
		return -1;
	}
	for (size_t i = 0; i < config->listen_count; i++) {
		if (listener_open(&agent->spop.listeners[i], &config->listen[i], &config->socket_owner,
				  config->workers) < 0)
			return -1;
		agent->spop.listener_count++;
	}
	return 0;
}

static void close_listeners(struct agent *agent)
{
	for (size_t i = 0; i < agent->spop.listener_count; i++)
		listener_close(&agent->spop.listeners[i]);
	free(agent->spop.listeners);
}

/* A node gets its place among the metrics: that of one of the same name, or a free one. */
static void node_joins(void *context, struct node *node)
{
	struct agent *agent = context;
	bool taken[SPOA_METRICS_NODES] = {false};
	const struct node *same = NULL;

	for (size_t i = 0; i < NODE_MAX; i++) {
		const struct node *other = agent->roster.nodes[i];

		if (!other || other == node || !other->up)
			continue;
		taken[other->place] = true;
		if (strcmp(other->name, node->name) == 0)
			same = other;
	}
	while (!same && taken[node->place])
		node->place++;
	if (same)
		node->place = same->place;
	else if (spoa_metrics_name_node(&agent->metrics, node->place, node->name) < 0)
		return;
	node->up = spoa_metrics_node_up(&agent->metrics, node->place);
	node->active = spoa_metrics_node_active(&agent->metrics, node->place);
	node->spills = spoa_metrics_node_spills(&agent->metrics, node->place);
	node->draining = spoa_metrics_node_draining(&agent->metrics, node->place);
	node->failures = spoa_metrics_node_failures(&agent->metrics, node->place);
}

static void node_left(void *context, struct node *node)
{
	struct agent *agent = context;

	if (!node->up)
		return;
	for (size_t i = 0; i < NODE_MAX; i++)
		if (agent->roster.nodes[i] && agent->roster.nodes[i]->up == node->up)
			return;
	(void)spoa_metrics_name_node(&agent->metrics, node->place, NULL);
}

static int agent_draining(void *context)
{
	struct agent *agent = context;

	return atomic_load(&agent->draining);
}

/* Has the first worker answer <query>. Returns false if it did not in time. */
static bool ask_worker(struct agent *agent, struct agent_query *query)
{
	struct timespec until;

	(void)clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += QUERY_WAIT_S;
	(void)pthread_mutex_lock(&agent->lock);
	if (agent->workers[0]) {
		agent->query = query;
		call_worker(agent->workers[0]);
		while (!query->done && pthread_cond_timedwait(&agent->answered, &agent->lock, &until) == 0)
			;
		agent->query = NULL;
	}
	(void)pthread_mutex_unlock(&agent->lock);
	return query->done;
}

/* Text of the page: the arguments "request" and others, written NAME=VALUE. */
static char *explain_arguments(struct agent *agent, const struct admin_argument *arguments, size_t count,
			       char **settings, unsigned *status)
{
	const char *request = NULL;
	struct explain_question question;
	struct agent_query query = {.question = &question};
	char error[EXPLAIN_ERROR_MAX], *text;
	size_t used = 0;

	for (size_t i = 0; i < count; i++) {
		if (strcmp(arguments[i].name, "request") == 0)
			request = arguments[i].value;
		else if (asprintf(&settings[used], "%s=%s", arguments[i].name, arguments[i].value) >= 0)
			used++;
		else
			return NULL;
	}
	*status = 400;
	if (!request)
		return strdup("the argument request is missing: \"GET https://HOST/PATH\"\n");
	if (explain_read(&question, request, (const char *const *)settings, used, error) < 0)
		return asprintf(&text, "%s\n", error) < 0 ? NULL : text;
	*status = ask_worker(agent, &query) ? 200 : 503;
	return query.done ? query.answer : strdup("no worker answers: this agent starts, ends, or has no processor\n");
}

static char *render_explain(void *context, const struct admin_argument *arguments, size_t count, unsigned *status)
{
	char **settings = calloc(count + 1, sizeof(*settings));
	char *text = settings ? explain_arguments(context, arguments, count, settings, status) : NULL;

	for (size_t i = 0; settings && i < count && settings[i]; i++)
		free(settings[i]);
	free(settings);
	return text;
}

static char *render_metrics(void *context, const struct admin_argument *arguments, size_t count, unsigned *status)
{
	struct agent *agent = context;

	(void)arguments;
	(void)count;
	(void)status;
	return spoa_metrics_render(&agent->metrics);
}

static const struct admin_page pages[] = {
	{"/explain", "text/plain; charset=utf-8", render_explain},
	{"/metrics", "text/plain; version=0.0.4; charset=utf-8", render_metrics},
};

static int start_admin(struct agent *agent)
{
	const struct spoa_config *config = agent->config;
	const struct admin_source source = {
		.metrics = agent->metrics.all,
		.count = agent->metrics.count,
		.draining = agent_draining,
		.context = agent,
		.pages = pages,
		.page_count = sizeof(pages) / sizeof(pages[0]),
	};
	char text[ADDRESS_TEXT_MAX];

	if (!config->has_admin)
		return 0;
	agent->admin = admin_start(&config->admin, &source);
	if (agent->admin)
		return 0;
	log_error("cannot listen on %s for admin: %s", address_format(&config->admin, text), strerror(errno));
	return -1;
}

/* The direct path's worker has its own; this thread waits for signals, and the admin's serves numbers. */
static void drop_capabilities(const char *kept)
{
	char error[256];

	if (capabilities_keep(kept, error, sizeof(error)) < 0)
		log_warning("the capabilities that are not needed any more cannot be given up: %s", error);
}

static void records_changed(void *context);

/* Names are resolved from here on, on this thread's loop. */
static int start_resolver(struct agent *agent)
{
	const struct resolver_owner owner = {
		.loop = ev_default_loop(0),
		.metrics = &agent->metrics,
		.changed = records_changed,
		.context = agent,
	};

	agent->resolver = resolver_new(&owner);
	if (agent->resolver)
		return resolver_change(agent->resolver, agent->loaded);
	log_error("cannot start: out of memory");
	return -1;
}

static int agent_started(void *shared)
{
	struct agent *agent = shared;

	if (agent->config->direct.enabled)
		drop_capabilities("cap_net_bind_service");
	if (start_admin(agent) < 0 || start_resolver(agent) < 0)
		return -1;
	if (agent->config->direct.enabled)
		drop_capabilities("");
	log_notice("disc-spoa %s is ready: %u workers, %zu nodes, %zu routes", DISC_VERSION, agent->config->workers,
		   agent->config->node_count, agent->config->policy.count);
	return 0;
}

/* --- another configuration --- */

/* What is read when the program starts. */
static const char *const fixed_fields[] = {
	"workers",          "spop.listen",   "spop.mode",
	"spop.user",        "spop.group",    "spop.max-frame-size",
	"admin.listen",     "direct.socket", "direct.mode",
	"direct.user",      "direct.group",  "direct.interface",
	"direct.max-flows", "direct.grace",  "direct.connection-tracking",
};

/* Operators see no node any more that has left for good; and what DNS has, and was too much, may fit now. */
static void on_sweep(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct agent *agent = timer->data;
	size_t nodes = node_roster_sweep(&agent->roster);

	(void)events;
	if (agent->behind)
		records_changed(agent);
	else if (nodes <= agent->config->node_count)
		ev_timer_stop(loop, timer);
}

/* Returns <loaded> with the nodes that DNS has now, held, or NULL when memory is exhausted. */
static struct spoa_config *with_records(struct agent *agent, struct spoa_config *loaded)
{
	const struct node_record *(*records)[NODE_MAX];
	struct spoa_config *config = NULL;
	size_t *counts;

	if (!loaded->template_count) {
		spoa_config_hold(loaded);
		return loaded;
	}
	records = calloc(loaded->pool_count, sizeof(*records));
	counts = calloc(loaded->pool_count, sizeof(*counts));
	for (size_t i = 0; records && counts && agent->resolver && i < loaded->pool_count; i++)
		counts[i] = resolver_members(agent->resolver, i, records[i]);
	if (records && counts)
		config =
			spoa_config_with_records(loaded, (const struct node_record *const(*)[NODE_MAX])records, counts);
	free(records);
	free(counts);
	return config;
}

/* Has all workers use <config>. */
static void use_config(struct agent *agent, struct spoa_config *config)
{
	struct spoa_config *before = agent->config;

	atomic_store(&agent->spop.max_connections, config->max_connections);
	(void)pthread_mutex_lock(&agent->lock);
	agent->config = config;
	agent->generation++;
	for (size_t i = 0; i < SPOA_WORKERS_MAX; i++)
		call_worker(agent->workers[i]);
	(void)pthread_mutex_unlock(&agent->lock);
	spoa_config_drop(before);
	ev_timer_again(ev_default_loop(0), &agent->sweep);
}

/* DNS has other nodes. */
static void records_changed(void *context)
{
	struct agent *agent = context;
	struct spoa_config *config = with_records(agent, agent->loaded);
	bool behind = agent->behind;

	agent->behind = !config || spoa_config_adopt(config, agent->config, &agent->roster) < 0;
	if (!agent->behind) {
		use_config(agent, config);
		return;
	}
	if (config)
		spoa_config_drop(config);
	if (!behind)
		log_error("the nodes that are in use go on: those that DNS has are too many, together with those that "
			  "left and still have bodies under way");
	ev_timer_again(ev_default_loop(0), &agent->sweep);
}

/* Has all that was read from the file, <loaded>, be used. Returns 0, or -1 after a log line: what was in use goes on. */
static int use_loaded(struct agent *agent, struct spoa_config *loaded)
{
	struct spoa_config *config;

	if (resolver_change(agent->resolver, loaded) < 0)
		return -1;
	config = with_records(agent, loaded);
	if (!config || spoa_config_adopt(config, agent->config, &agent->roster) < 0) {
		log_error("the configuration that is in use goes on: too many nodes, together with those that left and "
			  "still have bodies under way");
		if (config)
			spoa_config_drop(config);
		(void)resolver_change(agent->resolver, agent->loaded);
		return -1;
	}
	agent->behind = false;
	(void)config_fixed_compare(&agent->fixed, loaded->tree, agent->file);
	spoa_config_apply_log(loaded);
	use_config(agent, config);
	return 0;
}

static void agent_reload(void *shared)
{
	struct agent *agent = shared;
	struct spoa_config *loaded;
	struct config_faults faults;

	config_collect_faults(&faults);
	loaded = spoa_config_new(agent->file);
	config_collect_faults(NULL);
	if (!loaded) {
		config_log_refusal(&faults, "disc-spoa", agent->file);
		return;
	}
	if (use_loaded(agent, loaded) < 0) {
		spoa_config_drop(loaded);
		return;
	}
	spoa_config_drop(agent->loaded);
	agent->loaded = loaded;
	log_info("%s was read", agent->file);
}

static int run_workers(struct agent *agent)
{
	static const struct worker_program program = {worker_start, worker_drain, worker_stop, agent_started,
						      agent_reload};
	const struct spoa_config_direct *direct = &agent->config->direct;
	int result =
		worker_run(&program, agent->config->workers, direct->enabled ? direct->grace : AGENT_GRACE_S, agent);

	log_notice("disc-spoa ended");
	admin_stop(agent->admin);
	return result;
}

/* Without the nodes of DNS, which come when there are answers. Returns 0, or -1 when memory is exhausted. */
static int use_first(struct agent *agent)
{
	agent->config = with_records(agent, agent->loaded);
	return agent->config ? spoa_config_adopt(agent->config, NULL, &agent->roster) : -1;
}

/* Returns 0, or -1 after a log line. */
static int prepare(struct agent *agent)
{
	ev_timer_init(&agent->sweep, on_sweep, 0., SWEEP_S);
	agent->sweep.data = agent;
	agent->roster.events = (struct node_roster_events){node_joins, node_left, agent};
	if (spoa_metrics_init(&agent->metrics, NULL, 0) < 0 ||
	    config_fixed_note(&agent->fixed, agent->loaded->tree, fixed_fields,
			      sizeof(fixed_fields) / sizeof(fixed_fields[0])) < 0 ||
	    use_first(agent) < 0) {
		log_error("cannot start: out of memory");
		return -1;
	}
	return open_listeners(agent);
}

int agent_run(const char *file, struct spoa_config *config)
{
	struct agent agent = {.file = file,
			      .loaded = config,
			      .lock = PTHREAD_MUTEX_INITIALIZER,
			      .answered = PTHREAD_COND_INITIALIZER};
	int result = prepare(&agent);

	if (result == 0)
		result = run_workers(&agent);
	close_listeners(&agent);
	resolver_free(agent.resolver);
	ev_timer_stop(ev_default_loop(0), &agent.sweep);
	if (agent.config)
		spoa_config_drop(agent.config);
	spoa_config_drop(agent.loaded);
	node_roster_clear(&agent.roster);
	config_fixed_release(&agent.fixed);
	spoa_metrics_release(&agent.metrics);
	return result;
}
