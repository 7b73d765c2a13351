/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "completion.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "announcement.h"
#include "continuation_fetch.h"
#include "handoff.h"
#include "log.h"
#include "secret.h"

#define MAGIC 0xc0391e7eu
#define FAULT_MAX 256

struct completion {
	unsigned magic;
	struct handoff_environment *environment;
	const struct handoff_body *body;
	const struct node_pool *pool;
	const struct node *last, *node; /* <node> is being asked */
	const struct completion_handlers *handlers;
	void *context;
	node_set asked;
	int fd; /* the client's; -1 while collecting */
	uint64_t position;
	uint64_t skip; /* bytes that still come before <position> */
	uint8_t *apart;
	size_t apart_len, apart_size;
	struct continuation_fetch *fetch;
	/* The client's description is HAProxy's too: in libev's own epoll set it would stay, and report, after our
	 * close(). So it has a set to itself, which is readable when the client is writable. */
	int poller;
	ev_io writable;
	ev_timer next; /* asks the next node, or ends, from the loop */
	bool over;
	enum completion_end end;
	char fault[FAULT_MAX];
};

static struct completion *completion_of(void *data)
{
	struct completion *completion = data;

	assert(completion && completion->magic == MAGIC);
	return completion;
}

static void soon(struct completion *completion)
{
	if (ev_is_active(&completion->next))
		return;
	ev_timer_set(&completion->next, 0., 0.);
	ev_timer_start(completion->environment->loop, &completion->next);
}

static void end_soon(struct completion *completion, enum completion_end end, const char *fault)
{
	if (completion->over)
		return;
	completion->over = true;
	completion->end = end;
	if (fault)
		(void)snprintf(completion->fault, sizeof(completion->fault), "%s", fault);
	soon(completion);
}

/* --- writing --- */

static int watch_client(struct completion *completion)
{
	struct epoll_event event = {.events = EPOLLOUT};

	return epoll_ctl(completion->poller, EPOLL_CTL_ADD, completion->fd, &event);
}

/* Returns how many of the bytes the client's socket took. */
static size_t write_client(struct completion *completion, const uint8_t *bytes, size_t len)
{
	size_t done = 0;

	while (done < len) {
		ssize_t put = send(completion->fd, bytes + done, len - done, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0 && errno == EAGAIN) {
			ev_io_start(completion->environment->loop, &completion->writable);
			break;
		}
		if (put < 0) {
			end_soon(completion, COMPLETION_CLIENT, strerror(errno));
			break;
		}
		done += (size_t)put;
	}
	completion->position += done;
	return done;
}

static void on_writable(struct ev_loop *loop, ev_io *watcher, int events)
{
	struct completion *completion = completion_of(watcher->data);

	(void)events;
	ev_io_stop(loop, watcher);
	if (completion->fetch)
		continuation_fetch_resume(completion->fetch);
}

/* --- collecting --- */

static void finish_collecting(struct completion *completion)
{
	completion->fd = completion->handlers->collected(completion->context, completion->apart, completion->apart_len);
	free(completion->apart);
	completion->apart = NULL;
	completion->environment->collected -= completion->apart_size;
	completion->apart_size = 0;
	if (completion->fd < 0)
		end_soon(completion, COMPLETION_CLIENT, "the connection could not be restored");
	else if (watch_client(completion) < 0)
		end_soon(completion, COMPLETION_CLIENT, strerror(errno));
}

static size_t collect(struct completion *completion, const uint8_t *bytes, size_t len)
{
	size_t room = completion->apart_size - completion->apart_len, take = len < room ? len : room;

	memcpy(completion->apart + completion->apart_len, bytes, take);
	completion->apart_len += take;
	completion->position += take;
	if (completion->apart_len == completion->apart_size)
		finish_collecting(completion);
	return take;
}

/* --- what comes from the node --- */

static size_t on_bytes(void *context, const uint8_t *bytes, size_t len)
{
	struct completion *completion = completion_of(context);
	size_t done = len < completion->skip ? len : (size_t)completion->skip;

	completion->skip -= done;
	if (completion->apart_size && done < len)
		done += collect(completion, bytes + done, len - done);
	if (!completion->apart_size && done < len && !completion->over)
		done += write_client(completion, bytes + done, len - done);
	return done;
}

static void on_fetch_ended(void *context, const char *fault)
{
	struct completion *completion = completion_of(context);

	if (!fault) {
		end_soon(completion, COMPLETION_DONE, NULL);
		return;
	}
	(void)snprintf(completion->fault, sizeof(completion->fault), "node %s: %s", completion->node->name, fault);
	log_info("node %s cannot make the continuation of a body: %s", completion->node->name, fault);
	soon(completion);
}

static const struct continuation_fetch_handlers fetch_handlers = {on_bytes, on_fetch_ended};

/* --- asking --- */

static const struct node *choose_node(struct completion *completion)
{
	const char *query = strchr(completion->body->target, '?');
	struct control_text path = {completion->body->target, query ? (size_t)(query - completion->body->target)
								    : strlen(completion->body->target)};
	node_set ready = 0;

	for (size_t i = 0; i < completion->pool->count; i++) {
		const struct node *node = completion->pool->members[i];

		if (node->fetch.len && !(completion->asked & node_bit(node)) &&
		    node_link_readiness(completion->environment->links[node->index]) == NODE_LINK_READY)
			ready |= node_bit(node);
	}
	if (completion->last && (ready & ~node_bit(completion->last)))
		ready &= ~node_bit(completion->last);
	return node_pool_choose(completion->pool, path, ready);
}

/* Sends <node> the Offer of the continuation under <ticket>. Returns 0 or -1. */
static int offer_continuation(struct completion *completion, const struct node *node, const struct ticket *ticket,
			      const struct continuation_range *range)
{
	struct handoff_environment *environment = completion->environment;
	struct control_message message = {.type = CONTROL_OFFER};
	struct control_offer *offer = &message.u.offer;
	size_t len = 0;
	int result = -1;

	offer->ticket = *ticket;
	offer->state = range->state;
	offer->method = (struct control_text){"GET", 3};
	offer->host = (struct control_text){completion->body->host, strlen(completion->body->host)};
	offer->target = (struct control_text){completion->body->target, strlen(completion->body->target)};
	offer->lease_id = completion->body->lease_id;
	offer->continuation_etag = (struct control_text){completion->body->etag, strlen(completion->body->etag)};
	offer->continuation_offset = range->first;
	offer->continuation_length = range->layout.length;
	if (control_encode(&message, environment->frame, CONTROL_MESSAGE_MAX, &len) == CONTROL_OK)
		result = node_link_offer(environment->links[node->index], ticket, offer->lease_id, environment->frame,
					 len);
	secret_wipe(&message, sizeof(message));
	secret_wipe(environment->frame, len);
	return result;
}

static int fetch_continuation(struct completion *completion, const struct node *node,
			      const struct continuation_range *range)
{
	struct continuation_fetch_request request = {.node = &node->fetch,
						     .host = completion->body->host,
						     .target = completion->body->target,
						     .etag = completion->body->etag,
						     .proof_key = range->state.proof_key,
						     .first = range->first,
						     .last = range->last,
						     .length = range->layout.ciphertext};
	char announcement[ANNOUNCEMENT_TEXT_MAX];
	struct announcement expected = {.kind = ANNOUNCEMENT_SPLICE,
					.seq = range->state.seq,
					.records = range->layout.records,
					.length = range->layout.length,
					.status = 206,
					.first = range->first,
					.etag = completion->body->etag};

	if (ticket_generate(&request.ticket) < 0 || offer_continuation(completion, node, &request.ticket, range) < 0)
		return -1;
	expected.ticket = request.ticket;
	if (!announcement_format(announcement, &expected, range->state.proof_key))
		return -1;
	request.announcement = announcement;
	completion->skip = range->skip;
	completion->fetch =
		continuation_fetch_start(completion->environment->loop, &request, &fetch_handlers, completion);
	return completion->fetch ? 0 : -1;
}

static void ask_next(struct completion *completion)
{
	const struct node *node;
	struct continuation_range range;
	int result;

	while ((node = choose_node(completion))) {
		completion->asked |= node_bit(node);
		completion->node = node;
		if (!continuation_range_init(&range, completion->body, completion->position)) {
			end_soon(completion, COMPLETION_NODE, "the lease ends before the body");
			return;
		}
		result = fetch_continuation(completion, node, &range);
		secret_wipe(&range.state, sizeof(range.state));
		if (result == 0)
			return;
		(void)snprintf(completion->fault, sizeof(completion->fault), "node %s cannot be asked", node->name);
	}
	end_soon(completion, COMPLETION_NODE, completion->fault[0] ? NULL : "no other node of its pool is ready");
}

static void on_next(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct completion *completion = completion_of(timer->data);

	(void)loop;
	(void)events;
	continuation_fetch_free(completion->fetch);
	completion->fetch = NULL;
	ev_io_stop(loop, &completion->writable);
	if (!completion->over)
		ask_next(completion);
	else
		completion->handlers->ended(completion->context, completion->end, completion->fault);
}

/* --- life --- */

struct completion *completion_start(struct handoff_environment *environment, const struct completion_job *job,
				    const struct completion_handlers *handlers, void *context)
{
	struct completion *completion = calloc(1, sizeof(*completion));

	if (!completion)
		return NULL;
	completion->magic = MAGIC;
	completion->environment = environment;
	completion->body = job->body;
	completion->pool = job->pool;
	completion->last = job->last;
	completion->handlers = handlers;
	completion->context = context;
	completion->position = job->from;
	completion->fd = job->apart ? -1 : job->fd;
	completion->apart = job->apart ? malloc(job->apart) : NULL;
	completion->poller = epoll_create1(EPOLL_CLOEXEC);
	if ((job->apart && !completion->apart) || completion->poller < 0 ||
	    (completion->fd >= 0 && watch_client(completion) < 0)) {
		completion_free(completion);
		return NULL;
	}
	completion->apart_size = job->apart;
	environment->collected += job->apart;
	ev_io_init(&completion->writable, on_writable, completion->poller, EV_READ);
	ev_init(&completion->next, on_next);
	completion->writable.data = completion->next.data = completion;
	soon(completion);
	return completion;
}

uint64_t completion_position(const struct completion *completion)
{
	return completion->position;
}

void completion_free(struct completion *completion)
{
	if (!completion)
		return;
	ev_io_stop(completion->environment->loop, &completion->writable);
	ev_timer_stop(completion->environment->loop, &completion->next);
	continuation_fetch_free(completion->fetch);
	if (completion->poller >= 0)
		(void)close(completion->poller);
	completion->environment->collected -= completion->apart_size;
	free(completion->apart);
	completion->magic = 0;
	free(completion);
}
