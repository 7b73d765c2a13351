/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "continuation_fetch.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "announcement.h"
#include "continuation_head.h"
#include "ticket_header.h"

#define MAGIC 0x5e57fe7cu
#define INPUT_SIZE 65536u /* at least CONTINUATION_HEAD_MAX */
#define READS_AT_ONCE 8   /* before others have their turn */
#define FAULT_MAX 160
#define RANGE_MAX 48 /* bytes of the value of Range, with a terminating zero */

enum fetch_state { FETCH_ASKING, FETCH_TAKING, FETCH_ENDED };

struct continuation_fetch {
	unsigned magic;
	enum fetch_state state;
	struct ev_loop *loop;
	const struct continuation_fetch_handlers *handlers;
	void *context;
	int fd;
	ev_io readable, writable;
	ev_timer silence;
	ev_timer resume; /* takes what is here already, from the loop */
	char *request;
	size_t request_len, request_sent;
	char announcement[ANNOUNCEMENT_TEXT_MAX];
	uint64_t left;     /* bytes of records that have not been read */
	size_t begin, end; /* of what was read and not taken */
	char fault[FAULT_MAX];
	uint8_t input[INPUT_SIZE];
};

static struct continuation_fetch *fetch_of(void *data)
{
	struct continuation_fetch *fetch = data;

	assert(fetch && fetch->magic == MAGIC);
	return fetch;
}

static void stop_watching(struct continuation_fetch *fetch)
{
	ev_io_stop(fetch->loop, &fetch->readable);
	ev_io_stop(fetch->loop, &fetch->writable);
	ev_timer_stop(fetch->loop, &fetch->silence);
	ev_timer_stop(fetch->loop, &fetch->resume);
}

static void end(struct continuation_fetch *fetch, const char *fault)
{
	stop_watching(fetch);
	fetch->state = FETCH_ENDED;
	fetch->handlers->ended(fetch->context, fault);
}

static void fail(struct continuation_fetch *fetch, const char *what, int error)
{
	(void)snprintf(fetch->fault, sizeof(fetch->fault), "%s: %s", what, strerror(error));
	end(fetch, fetch->fault);
}

/* --- asking --- */

static void on_writable(struct ev_loop *loop, ev_io *watcher, int events)
{
	struct continuation_fetch *fetch = fetch_of(watcher->data);
	ssize_t sent;

	(void)loop;
	(void)events;
	sent = send(fetch->fd, fetch->request + fetch->request_sent, fetch->request_len - fetch->request_sent,
		    MSG_DONTWAIT | MSG_NOSIGNAL);
	if (sent < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (sent < 0) {
		fail(fetch, "its fetch address", errno);
		return;
	}
	fetch->request_sent += (size_t)sent;
	if (fetch->request_sent == fetch->request_len)
		ev_io_stop(fetch->loop, &fetch->writable);
}

/* Looks for the end of the head in what has come. Returns false if the fetch ended. */
static bool take_head(struct continuation_fetch *fetch)
{
	const char *fault;
	size_t head_len;

	switch (continuation_head_judge((const char *)fetch->input, fetch->end, fetch->announcement, fetch->left,
					&head_len, &fault)) {
	case CONTINUATION_HEAD_INCOMPLETE:
		return true;
	case CONTINUATION_HEAD_REFUSED:
		end(fetch, fault);
		return false;
	case CONTINUATION_HEAD_EXPECTED:
		break;
	}
	fetch->begin = head_len;
	fetch->state = FETCH_TAKING;
	if (fetch->end - fetch->begin > fetch->left) {
		end(fetch, "it sent more than was announced");
		return false;
	}
	fetch->left -= fetch->end - fetch->begin;
	return true;
}

/* --- taking --- */

/* Hands on what was read. Returns false if there is nothing to read any more, or not now. */
static bool hand_on(struct continuation_fetch *fetch)
{
	size_t len = fetch->end - fetch->begin;

	if (len)
		fetch->begin += fetch->handlers->take(fetch->context, fetch->input + fetch->begin, len);
	if (fetch->begin < fetch->end) {
		ev_io_stop(fetch->loop, &fetch->readable);
		ev_timer_stop(fetch->loop, &fetch->silence);
		return false;
	}
	fetch->begin = fetch->end = 0;
	if (fetch->left)
		return true;
	end(fetch, NULL);
	return false;
}

static size_t room(const struct continuation_fetch *fetch)
{
	size_t space = INPUT_SIZE - fetch->end;

	/* What comes behind the last record is not ours, and nobody should send it. */
	return fetch->state == FETCH_TAKING && space > fetch->left ? (size_t)fetch->left : space;
}

static void on_readable(struct ev_loop *loop, ev_io *watcher, int events)
{
	struct continuation_fetch *fetch = fetch_of(watcher->data);

	(void)events;
	for (int i = 0; i < READS_AT_ONCE; i++) {
		ssize_t got = recv(fetch->fd, fetch->input + fetch->end, room(fetch), MSG_DONTWAIT);

		if (got < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (got < 0) {
			fail(fetch, "its fetch address", errno);
			return;
		}
		if (got == 0) {
			end(fetch, "it closed the connection too early");
			return;
		}
		ev_timer_again(loop, &fetch->silence);
		fetch->end += (size_t)got;
		if (fetch->state == FETCH_TAKING)
			fetch->left -= (uint64_t)got;
		else if (!take_head(fetch))
			return;
		if (fetch->state == FETCH_TAKING && !hand_on(fetch))
			return;
	}
}

static void on_resume(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct continuation_fetch *fetch = fetch_of(timer->data);

	(void)events;
	if (!hand_on(fetch))
		return;
	ev_io_start(loop, &fetch->readable);
	ev_timer_again(loop, &fetch->silence);
}

void continuation_fetch_resume(struct continuation_fetch *fetch)
{
	if (fetch->state == FETCH_TAKING && fetch->begin < fetch->end && !ev_is_active(&fetch->resume)) {
		ev_timer_set(&fetch->resume, 0., 0.);
		ev_timer_start(fetch->loop, &fetch->resume);
	}
}

static void on_silence(struct ev_loop *loop, ev_timer *timer, int events)
{
	(void)loop;
	(void)events;
	end(fetch_of(timer->data), "nothing came from it for 5 s");
}

/* --- life --- */

static struct text_span span_of(const char *text)
{
	return (struct text_span){text, strlen(text)};
}

/* Returns 0, or -1 with errno set. */
static int write_request(struct continuation_fetch *fetch, const struct continuation_fetch_request *request)
{
	struct ticket_header header = {.ticket = request->ticket};
	char range[RANGE_MAX], ticket[TICKET_HEADER_LEN + 1];
	struct proven_request proven = {.method = span_of("GET"), .target = span_of(request->target)};
	int len;

	(void)snprintf(range, sizeof(range), "bytes=%" PRIu64 "-%" PRIu64, request->first, request->last);
	proven.range = span_of(range);
	proven.if_match = span_of(request->etag);
	if (!ticket_header_prove(&header, request->proof_key, &proven)) {
		errno = ENOMEM;
		return -1;
	}
	ticket_header_format(ticket, &header);
	len = asprintf(&fetch->request,
		       "GET %s HTTP/1.1\r\nHost: %s\r\nRange: %s\r\nIf-Match: %s\r\nDisc-Ticket: %s\r\n"
		       "Connection: close\r\n\r\n",
		       request->target, request->host, range, request->etag, ticket);
	if (len < 0) {
		fetch->request = NULL;
		return -1;
	}
	fetch->request_len = (size_t)len;
	return 0;
}

static int connect_to(const struct address *address)
{
	int fd = socket(address->storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;

	if (fd < 0)
		return -1;
	if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) == 0 &&
	    (connect(fd, (const struct sockaddr *)&address->storage, address->len) == 0 || errno == EINPROGRESS))
		return fd;
	on = errno;
	(void)close(fd);
	errno = on;
	return -1;
}

struct continuation_fetch *continuation_fetch_start(struct ev_loop *loop,
						    const struct continuation_fetch_request *request,
						    const struct continuation_fetch_handlers *handlers, void *context)
{
	struct continuation_fetch *fetch = calloc(1, sizeof(*fetch));

	if (!fetch)
		return NULL;
	fetch->fd = write_request(fetch, request) == 0 ? connect_to(request->node) : -1;
	if (fetch->fd < 0) {
		int error = errno;

		free(fetch->request);
		free(fetch);
		errno = error;
		return NULL;
	}
	fetch->magic = MAGIC;
	fetch->loop = loop;
	fetch->handlers = handlers;
	fetch->context = context;
	fetch->left = request->length;
	(void)snprintf(fetch->announcement, sizeof(fetch->announcement), "%s", request->announcement);
	ev_io_init(&fetch->readable, on_readable, fetch->fd, EV_READ);
	ev_io_init(&fetch->writable, on_writable, fetch->fd, EV_WRITE);
	ev_timer_init(&fetch->silence, on_silence, 0., CONTINUATION_FETCH_SILENCE_S);
	ev_init(&fetch->resume, on_resume);
	fetch->readable.data = fetch->writable.data = fetch->silence.data = fetch->resume.data = fetch;
	ev_io_start(loop, &fetch->readable);
	ev_io_start(loop, &fetch->writable);
	ev_timer_again(loop, &fetch->silence);
	return fetch;
}

void continuation_fetch_free(struct continuation_fetch *fetch)
{
	if (!fetch)
		return;
	stop_watching(fetch);
	(void)close(fetch->fd);
	free(fetch->request);
	fetch->magic = 0;
	free(fetch);
}
