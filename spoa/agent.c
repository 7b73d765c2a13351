/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "agent.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "admin.h"
#include "capabilities.h"
#include "direct_path.h"
#include "dispatch.h"
#include "log.h"
#include "version.h"
#include "worker.h"

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
	ev_async asked; /* there is a query */
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

static void on_asked(struct ev_loop *loop, ev_async *async, int events)
{
	struct agent_worker *self = async->data;
	struct agent *agent = self->agent;
	struct agent_query *query;

	(void)loop;
	(void)events;
	(void)pthread_mutex_lock(&agent->lock);
	query = agent->query;
	if (query && !query->done) {
		query->answer = dispatch_explain(self->dispatch, query->question);
		query->done = true;
		(void)pthread_cond_broadcast(&agent->answered);
	}
	(void)pthread_mutex_unlock(&agent->lock);
}

/* The first worker answers queries from now on, or not any more. */
static void set_answering(struct agent_worker *self, bool answering)
{
	struct agent *agent = self->agent;

	(void)pthread_mutex_lock(&agent->lock);
	if (answering)
		ev_async_start(self->loop, &self->asked);
	else
		ev_async_stop(self->loop, &self->asked);
	agent->first = answering ? self : NULL;
	(void)pthread_mutex_unlock(&agent->lock);
}

static void worker_close(struct agent_worker *self)
{
	if (ev_is_active(&self->asked))
		set_answering(self, false);
	ev_timer_stop(self->loop, &self->hurry);
	spop_server_free(self->server);
	/* Before the links that it says farewell on. */
	direct_path_free(self->direct);
	dispatch_free(self->dispatch);
	free(self);
}

/* Without the direct path, which says in the log why, every body takes the splice path. */
static void open_direct_path(struct agent_worker *self, struct agent *agent)
{
	const struct direct_path_owner owner = {
		.loop = self->loop,
		.config = agent->config,
		.metrics = &agent->metrics,
		.links = dispatch_links(self->dispatch),
		.settled = worker_settled,
		.context = self,
	};

	self->direct = direct_path_new(&owner);
	if (self->direct)
		dispatch_set_direct(self->dispatch, direct_path_offers(self->direct));
}

static int worker_start(struct worker *worker, void *shared)
{
	struct agent *agent = shared;
	struct agent_worker *self = calloc(1, sizeof(*self));

	if (self) {
		self->agent = agent;
		self->loop = worker->loop;
		ev_async_init(&self->asked, on_asked);
		self->asked.data = self;
		ev_timer_init(&self->hurry, on_hurry, AGENT_GRACE_S, 0.);
		self->hurry.data = self;
		self->service = (struct spop_service){worker_notify, worker_settled, self};
		self->dispatch =
			dispatch_new(worker->loop, worker->index, agent->config, &agent->metrics, worker_settled, self);
		if (self->dispatch && agent->config->direct.enabled)
			open_direct_path(self, agent);
		if (self->dispatch)
			self->server = spop_server_new(worker->loop, &agent->spop, &self->service);
		if (self->server) {
			worker->context = self;
			if (worker->index == 0)
				set_answering(self, true);
			return 0;
		}
		worker_close(self);
	}
	log_error("cannot start worker %u: out of memory", worker->index);
	return -1;
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

static int make_metrics(struct agent *agent)
{
	const char *names[NODE_MAX];
	struct spoa_config *config = agent->config;

	for (size_t i = 0; i < config->node_count; i++)
		names[i] = config->nodes[i].name;
	if (spoa_metrics_init(&agent->metrics, names, config->node_count) < 0) {
		log_error("cannot make the metrics: out of memory");
		return -1;
	}
	for (size_t i = 0; i < config->node_count; i++) {
		config->nodes[i].up = spoa_metrics_node_up(&agent->metrics, i);
		config->nodes[i].active = spoa_metrics_node_active(&agent->metrics, i);
		config->nodes[i].spills = spoa_metrics_node_spills(&agent->metrics, i);
		config->nodes[i].draining = spoa_metrics_node_draining(&agent->metrics, i);
		config->nodes[i].failures = spoa_metrics_node_failures(&agent->metrics, i);
	}
	return 0;
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
	if (agent->first) {
		agent->query = query;
		ev_async_send(agent->first->loop, &agent->first->asked);
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

static const struct admin_page pages[] = {{"/explain", "text/plain; charset=utf-8", render_explain}};

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

static int agent_started(void *shared)
{
	struct agent *agent = shared;

	if (agent->config->direct.enabled)
		drop_capabilities("cap_net_bind_service");
	if (start_admin(agent) < 0)
		return -1;
	if (agent->config->direct.enabled)
		drop_capabilities("");
	log_notice("disc-spoa %s is ready: %u workers, %zu nodes, %zu routes", DISC_VERSION, agent->config->workers,
		   agent->config->node_count, agent->config->policy.count);
	return 0;
}

static int run_workers(struct agent *agent)
{
	static const struct worker_program program = {worker_start, worker_drain, worker_stop, agent_started};
	const struct spoa_config_direct *direct = &agent->config->direct;
	int result =
		worker_run(&program, agent->config->workers, direct->enabled ? direct->grace : AGENT_GRACE_S, agent);

	log_notice("disc-spoa ended");
	admin_stop(agent->admin);
	return result;
}

int agent_run(struct spoa_config *config)
{
	struct agent agent = {
		.config = config, .lock = PTHREAD_MUTEX_INITIALIZER, .answered = PTHREAD_COND_INITIALIZER};
	int result = make_metrics(&agent);

	if (result < 0)
		return -1;
	result = open_listeners(&agent);
	if (result == 0)
		result = run_workers(&agent);
	close_listeners(&agent);
	spoa_metrics_release(&agent.metrics);
	return result;
}
