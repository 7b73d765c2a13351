/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "continuation.h"

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
#include "log.h"
#include "secret.h"

#define MAGIC 0xc0391e7eu
#define FAULT_MAX 256

enum stage {
	STAGE_COLLECTING,
	STAGE_COLLECTED, /* collected() is due, or continuation_write() after it */
	STAGE_WRITING,
	STAGE_OVER, /* ended() is due */
};

struct continuation {
	unsigned magic;
	enum stage stage;
	struct ev_loop *loop;
	const struct handoff_body *body;
	const struct continuation_handlers *handlers;
	void *context;
	const struct node *node; /* is being asked */
	node_set asked;
	int fd; /* the client's, in WRITING */
	uint64_t position;
	uint64_t skip; /* bytes that still come before <position> */
	uint8_t *apart;
	size_t apart_len, apart_size;
	struct continuation_fetch *fetch;
	bool fetching; /* <fetch> has not ended */
	/* The client's description is HAProxy's too: in libev's own epoll set it would stay, and report, after our
	 * close(). So it has a set to itself, which is readable when the client is writable. */
	int poller;
	ev_io writable;
	ev_timer next; /* what is due, from the loop: collected(), the next node, ended() */
	enum continuation_end end;
	char fault[FAULT_MAX];
};

static struct continuation *continuation_of(void *data)
{
	struct continuation *continuation = data;

	assert(continuation && continuation->magic == MAGIC);
	return continuation;
}

static void soon(struct continuation *continuation)
{
	if (ev_is_active(&continuation->next))
		return;
	ev_timer_set(&continuation->next, 0., 0.);
	ev_timer_start(continuation->loop, &continuation->next);
}

/* <fault> may be NULL: what is there already. */
static void end_soon(struct continuation *continuation, enum continuation_end end, const char *fault)
{
	if (continuation->stage == STAGE_OVER)
		return;
	continuation->stage = STAGE_OVER;
	continuation->end = end;
	if (fault)
		(void)snprintf(continuation->fault, sizeof(continuation->fault), "%s", fault);
	soon(continuation);
}

/* --- what comes from the node --- */

/* Returns how many of the bytes the client's socket took. */
static size_t write_client(struct continuation *continuation, const uint8_t *bytes, size_t len)
{
	size_t done = 0;

	while (done < len) {
		ssize_t put = send(continuation->fd, bytes + done, len - done, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0 && errno == EAGAIN) {
			ev_io_start(continuation->loop, &continuation->writable);
			break;
		}
		if (put < 0) {
			end_soon(continuation, CONTINUATION_CLIENT, strerror(errno));
			break;
		}
		done += (size_t)put;
	}
	return done;
}

static void on_writable(struct ev_loop *loop, ev_io *watcher, int events)
{
	struct continuation *continuation = continuation_of(watcher->data);

	(void)events;
	ev_io_stop(loop, watcher);
	if (continuation->fetching)
		continuation_fetch_resume(continuation->fetch);
}

static size_t collect(struct continuation *continuation, const uint8_t *bytes, size_t len)
{
	size_t room = continuation->apart_size - continuation->apart_len, take = len < room ? len : room;

	memcpy(continuation->apart + continuation->apart_len, bytes, take);
	continuation->apart_len += take;
	if (continuation->apart_len == continuation->apart_size) {
		continuation->stage = STAGE_COLLECTED;
		soon(continuation);
	}
	return take;
}

static size_t on_bytes(void *context, const uint8_t *bytes, size_t len)
{
	struct continuation *continuation = continuation_of(context);
	size_t skipped = len < continuation->skip ? len : (size_t)continuation->skip, done = 0;

	continuation->skip -= skipped;
	if (continuation->stage == STAGE_COLLECTING)
		done = collect(continuation, bytes + skipped, len - skipped);
	else if (continuation->stage == STAGE_WRITING)
		done = write_client(continuation, bytes + skipped, len - skipped);
	continuation->position += done;
	return skipped + done;
}

static void on_fetch_ended(void *context, const char *fault)
{
	struct continuation *continuation = continuation_of(context);

	continuation->fetching = false;
	if (fault) {
		(void)snprintf(continuation->fault, sizeof(continuation->fault), "node %s: %s",
			       continuation->node->name, fault);
		log_info("node %s cannot make the continuation of a body: %s", continuation->node->name, fault);
	}
	soon(continuation);
}

static const struct continuation_fetch_handlers fetch_handlers = {on_bytes, on_fetch_ended};

/* --- asking --- */

static struct control_text text_of(const char *text)
{
	return (struct control_text){text, strlen(text)};
}

/* Sends <node> the Offer of the continuation under <ticket>. Returns 0 or -1. */
static int offer_continuation(struct continuation *continuation, const struct node *node, const struct ticket *ticket,
			      const struct continuation_range *range)
{
	struct control_offer offer = {
		.ticket = *ticket,
		.state = range->state,
		.method = text_of("GET"),
		.host = text_of(continuation->body->host),
		.target = text_of(continuation->body->target),
		.lease_id = continuation->body->lease_id,
		.continuation_etag = text_of(continuation->body->etag),
		.continuation_offset = range->first,
		.continuation_length = range->layout.length,
	};
	int result = continuation->handlers->offer(continuation->context, node, &offer);

	secret_wipe(&offer, sizeof(offer));
	return result;
}

/* Begins to fetch <range> from <node>. Returns 0 or -1. */
static int fetch_from(struct continuation *continuation, const struct node *node,
		      const struct continuation_range *range)
{
	const struct handoff_body *body = continuation->body;
	struct continuation_fetch_request request = {.node = &node->fetch,
						     .host = body->host,
						     .target = body->target,
						     .etag = body->etag,
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
					.etag = body->etag};

	if (ticket_generate(&request.ticket) < 0 || offer_continuation(continuation, node, &request.ticket, range) < 0)
		return -1;
	expected.ticket = request.ticket;
	if (!announcement_format(announcement, &expected, range->state.proof_key))
		return -1;
	request.announcement = announcement;
	continuation->skip = range->skip;
	continuation->fetch = continuation_fetch_start(continuation->loop, &request, &fetch_handlers, continuation);
	continuation->fetching = continuation->fetch != NULL;
	return continuation->fetching ? 0 : -1;
}

static void ask_next(struct continuation *continuation)
{
	const struct node *node;
	struct continuation_range range;
	int result;

	while ((node = continuation->handlers->choose(continuation->context, continuation->asked))) {
		continuation->asked |= node_bit(node);
		continuation->node = node;
		if (!continuation_range_init(&range, continuation->body, continuation->position)) {
			end_soon(continuation, CONTINUATION_NODE, "the lease ends before the body");
			return;
		}
		result = fetch_from(continuation, node, &range);
		secret_wipe(&range.state, sizeof(range.state));
		if (result == 0)
			return;
		(void)snprintf(continuation->fault, sizeof(continuation->fault), "node %s cannot be asked", node->name);
	}
	end_soon(continuation, CONTINUATION_NODE, continuation->fault[0] ? NULL : "no other node of its pool is ready");
}

static void on_next(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct continuation *continuation = continuation_of(timer->data);

	(void)events;
	if (continuation->stage == STAGE_COLLECTED) {
		continuation->handlers->collected(continuation->context);
		return;
	}
	if (continuation->fetching && continuation->stage != STAGE_OVER)
		return;
	continuation_fetch_free(continuation->fetch);
	continuation->fetch = NULL;
	continuation->fetching = false;
	ev_io_stop(loop, &continuation->writable);
	if (continuation->stage != STAGE_OVER && continuation->position == continuation->body->layout.ciphertext)
		end_soon(continuation, CONTINUATION_DONE, NULL);
	else if (continuation->stage != STAGE_OVER)
		ask_next(continuation);
	else
		continuation->handlers->ended(continuation->context, continuation->end, continuation->fault);
}

/* --- life --- */

struct continuation *continuation_start(struct ev_loop *loop, const struct handoff_body *body, uint64_t from,
					size_t apart, int fd, const struct continuation_handlers *handlers,
					void *context)
{
	struct continuation *continuation = calloc(1, sizeof(*continuation));

	if (!continuation)
		return NULL;
	continuation->magic = MAGIC;
	continuation->loop = loop;
	continuation->body = body;
	continuation->handlers = handlers;
	continuation->context = context;
	continuation->position = from;
	continuation->apart = apart ? malloc(apart) : NULL;
	continuation->apart_size = apart;
	continuation->poller = epoll_create1(EPOLL_CLOEXEC);
	ev_io_init(&continuation->writable, on_writable, continuation->poller, EV_READ);
	ev_init(&continuation->next, on_next);
	continuation->writable.data = continuation->next.data = continuation;
	if (continuation->poller < 0 || (apart && !continuation->apart)) {
		continuation_free(continuation);
		return NULL;
	}
	if (!apart)
		continuation_write(continuation, fd);
	soon(continuation);
	return continuation;
}

const uint8_t *continuation_collected(const struct continuation *continuation, size_t *len)
{
	*len = continuation->apart_len;
	return continuation->apart;
}

void continuation_write(struct continuation *continuation, int fd)
{
	struct epoll_event event = {.events = EPOLLOUT};

	free(continuation->apart);
	continuation->apart = NULL;
	continuation->fd = fd;
	continuation->stage = STAGE_WRITING;
	if (epoll_ctl(continuation->poller, EPOLL_CTL_ADD, fd, &event) < 0)
		end_soon(continuation, CONTINUATION_CLIENT, strerror(errno));
	else if (continuation->fetching)
		continuation_fetch_resume(continuation->fetch);
	else
		soon(continuation);
}

uint64_t continuation_position(const struct continuation *continuation)
{
	return continuation->position;
}

void continuation_free(struct continuation *continuation)
{
	if (!continuation)
		return;
	ev_io_stop(continuation->loop, &continuation->writable);
	ev_timer_stop(continuation->loop, &continuation->next);
	continuation_fetch_free(continuation->fetch);
	if (continuation->poller >= 0)
		(void)close(continuation->poller);
	free(continuation->apart);
	continuation->magic = 0;
	free(continuation);
}
