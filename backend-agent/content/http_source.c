/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "http_source.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <utlist.h>

#include "http_request_lines.h"
#include "log.h"
#include "node_metrics.h"
#include "origin_sockets.h"
#include "stream_buffer.h"

#define READ_MAX (64u * 1024) /* bytes that libcurl reads at once, and hands out in pieces */

struct http_source {
	struct ev_loop *loop;
	const struct http_source_settings *settings;
	CURLM *multi;
	ev_timer timer;           /* libcurl's */
	struct http_stream *told; /* streams whose callers are to be called */
	struct origin_sockets sockets;
};

struct http_stream {
	struct body_source body; /* first */
	struct http_source *source;
	CURL *easy;
	char *target; /* of the request, and its header lines */
	struct curl_slist *lines;
	struct origin_head head;
	bool head_only;
	bool attached; /* the multi has the easy handle */
	bool ended;    /* the answer is known to be whole */
	bool failed;   /* body.fault says why */
	int failure_status;
	bool paused;       /* the origin waits for room */
	bool sought;       /* see find_connections() */
	curl_socket_t fd;  /* CURL_SOCKET_BAD: not known */
	uint64_t received; /* bytes of body */
	struct stream_buffer buffer;
	ev_timer silence;
	void (*call)(void *context);
	void *context;
	bool is_told;
	struct http_stream *prev, *next; /* in source->told */
	char error[CURL_ERROR_SIZE];
};

/* --- streams --- */

static void tell(struct http_stream *stream)
{
	if (stream->is_told)
		return;
	stream->is_told = true;
	DL_APPEND(stream->source->told, stream);
}

/* Calls the callers of streams that have news. Not from within libcurl: they may free their streams. */
static void call_told(struct http_source *source)
{
	while (source->told) {
		struct http_stream *stream = source->told;

		DL_DELETE(source->told, stream);
		stream->is_told = false;
		stream->call(stream->context);
	}
}

static void detach(struct http_stream *stream)
{
	ev_timer_stop(stream->source->loop, &stream->silence);
	if (stream->attached)
		(void)curl_multi_remove_handle(stream->source->multi, stream->easy);
	stream->attached = false;
	origin_sockets_leave(&stream->source->sockets, stream->fd, stream);
}

static void fail(struct http_stream *stream, int status, const char *fault, const char *detail)
{
	const struct http_source_settings *settings = stream->source->settings;

	/* The head's or body's own fault is the better one: libcurl only knows that we refused it. */
	if (!stream->body.fault)
		stream->body.fault = fault;
	/* Without its query, which may be secret. */
	log_warning("origin %s: %.*s: %s: %s%s%s", settings->unix_path ? settings->unix_path : settings->base,
		    (int)strcspn(stream->target, "?"), stream->target,
		    stream->head.complete ? "an answer broke off" : "no answer", stream->body.fault,
		    detail[0] != '\0' ? ": " : "", detail);
	node_metrics_add(NODE_ORIGIN_FAULTS, 1);
	stream->failed = true;
	stream->failure_status = status;
	detach(stream);
	tell(stream);
}

static bool knows_connection(const struct http_stream *stream)
{
	return origin_sockets_has(&stream->source->sockets, stream->fd, stream);
}

static bool expects_body(const struct http_stream *stream)
{
	return !stream->head_only && stream->head.status != 204 && stream->head.status != 304;
}

static const char *fault_of(CURLcode result)
{
	switch (result) {
	case CURLE_COULDNT_CONNECT:
	case CURLE_COULDNT_RESOLVE_HOST:
		return "it cannot be reached";
	case CURLE_OPERATION_TIMEDOUT:
		return "it did not answer in time";
	case CURLE_PARTIAL_FILE:
	case CURLE_GOT_NOTHING:
		return "it closed the connection early";
	case CURLE_RECV_ERROR:
	case CURLE_SEND_ERROR:
		return "the connection broke";
	case CURLE_OUT_OF_MEMORY:
		return "out of memory";
	default:
		return "its answer is malformed";
	}
}

/* The connection of a transfer for which libcurl never waited was not told: only now that the transfer is over can it
 * be asked for. Unless another one has it already, it is idle. */
static void watch_idle(const struct http_stream *stream)
{
	curl_socket_t fd;

	if (!knows_connection(stream) && curl_easy_getinfo(stream->easy, CURLINFO_ACTIVESOCKET, &fd) == CURLE_OK)
		origin_sockets_leave(&stream->source->sockets, fd, NULL);
}

/* The transfer is over for libcurl. */
static void finish(struct http_stream *stream, CURLcode result)
{
	if (result != CURLE_OK) {
		fail(stream, result == CURLE_OPERATION_TIMEDOUT ? 504 : 502, fault_of(result), stream->error);
	} else if (stream->body.fault) {
		fail(stream, 502, stream->body.fault, "");
	} else if (!stream->head.complete) {
		fail(stream, 502, "its answer has no head", "");
	} else if (expects_body(stream) && stream->head.has_length && !stream->head.has_transfer_encoding &&
		   stream->received != stream->head.length) {
		fail(stream, 502, "it closed the connection early", "");
	} else {
		stream->ended = true;
		watch_idle(stream);
		detach(stream);
		tell(stream);
	}
}

static void on_silence(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct http_stream *stream = timer->data;
	struct http_source *source = stream->source;

	(void)loop;
	(void)events;
	fail(stream, 504, "it was silent for too long", "");
	call_told(source);
}

/* --- what libcurl calls --- */

static size_t on_header(char *line, size_t size, size_t count, void *data)
{
	struct http_stream *stream = data;
	size_t len = size * count;

	ev_timer_again(stream->source->loop, &stream->silence);
	if (stream->head.complete)
		return len; /* trailers are ignored */
	switch (origin_head_take(&stream->head, line, len)) {
	case ORIGIN_HEAD_INCOMPLETE:
		return len;
	case ORIGIN_HEAD_COMPLETE:
		tell(stream);
		return len;
	case ORIGIN_HEAD_REFUSED:
		break;
	}
	stream->body.fault = stream->head.fault;
	return 0;
}

/* True if the origin sent more than it announced: nobody knows then which of it was meant. */
static bool has_excess(const struct http_stream *stream)
{
	char byte;

	return stream->received > stream->head.length ||
	       (stream->received == stream->head.length && stream->fd != CURL_SOCKET_BAD &&
		recv(stream->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0);
}

/* What libcurl has read but not handed out yet still fits when its connection is sought. */
static bool has_room(const struct http_stream *stream, size_t len)
{
	size_t spared = stream->sought || knows_connection(stream) ? 0 : READ_MAX;

	return stream_buffer_length(&stream->buffer) + len <= HTTP_STREAM_BUFFER - spared;
}

static size_t on_body(char *bytes, size_t size, size_t count, void *data)
{
	struct http_stream *stream = data;
	size_t len = size * count;

	if (!stream->head.complete) {
		stream->body.fault = "its answer has no head";
		return 0;
	}
	if (!has_room(stream, len)) {
		stream->paused = true;
		ev_timer_stop(stream->source->loop, &stream->silence);
		return CURL_WRITEFUNC_PAUSE;
	}
	if (!stream_buffer_put(&stream->buffer, bytes, len)) {
		stream->body.fault = "out of memory";
		return 0;
	}
	ev_timer_again(stream->source->loop, &stream->silence);
	stream->received += len;
	if (stream->head.has_length && !stream->head.has_transfer_encoding && has_excess(stream)) {
		stream->body.fault = "it sent more than it announced";
		return 0;
	}
	tell(stream);
	return len;
}

/* libcurl cuts what exceeds Content-Length without a word, but shows it here first. */
static int on_debug(CURL *easy, curl_infotype type, char *bytes, /* NOLINT(readability-non-const-parameter) */
		    size_t len, void *data)
{
	struct http_stream *stream = data;

	(void)easy;
	(void)bytes;
	if (type == CURLINFO_DATA_IN && stream->head.complete && stream->head.has_length &&
	    !stream->head.has_transfer_encoding && len > stream->head.length - stream->received)
		stream->body.fault = "it sent more than it announced";
	return 0;
}

static void act(struct http_source *source, curl_socket_t fd, int events);

static void on_socket_ready(void *context, int fd, int events)
{
	act(context, fd, ((events & EV_READ) ? CURL_CSELECT_IN : 0) | ((events & EV_WRITE) ? CURL_CSELECT_OUT : 0));
}

static curl_socket_t on_open(void *data, curlsocktype purpose, struct curl_sockaddr *address)
{
	struct http_source *source = data;

	(void)purpose;
	return origin_sockets_open(&source->sockets, address->family, address->socktype, address->protocol);
}

static int on_close(void *data, curl_socket_t fd)
{
	return origin_sockets_close(&((struct http_source *)data)->sockets, fd);
}

static int on_socket_wanted(CURL *easy, curl_socket_t fd, int what, void *data, void *assigned)
{
	struct http_source *source = data;
	struct http_stream *stream = NULL;

	(void)assigned;
	if (what == CURL_POLL_REMOVE) {
		origin_sockets_unwatch(&source->sockets, fd);
		return 0;
	}
	if (curl_easy_getinfo(easy, CURLINFO_PRIVATE, &stream) != CURLE_OK || !stream)
		return -1;
	stream->fd = fd;
	origin_sockets_watch(&source->sockets, fd,
			     ((what & CURL_POLL_IN) ? EV_READ : 0) | ((what & CURL_POLL_OUT) ? EV_WRITE : 0), stream);
	return 0;
}

static void on_timer_over(struct ev_loop *loop, ev_timer *timer, int events)
{
	(void)loop;
	(void)events;
	act(timer->data, CURL_SOCKET_TIMEOUT, 0);
}

static int on_timer_wanted(CURLM *multi, long milliseconds, void *data)
{
	struct http_source *source = data;

	(void)multi;
	ev_timer_stop(source->loop, &source->timer);
	if (milliseconds >= 0) {
		ev_timer_set(&source->timer, (double)milliseconds / 1000, 0.);
		ev_timer_start(source->loop, &source->timer);
	}
	return 0;
}

/* May call on_body() at once. act() reports what becomes of the transfer. */
static void resume(struct http_stream *stream)
{
	stream->paused = false;
	ev_timer_again(stream->source->loop, &stream->silence);
	if (curl_easy_pause(stream->easy, CURLPAUSE_CONT) != CURLE_OK && stream->attached)
		fail(stream, 502, "it closed the connection early", stream->error);
}

/* libcurl tells which connection a transfer has when it begins to wait for it. With a kept connection whose answer is
 * there at once, libcurl does not wait: it reads until the stream is full and is paused. The connection would then seem
 * idle, and the remaining body would be read away. So libcurl is made to wait. Such a stream is in source->told. */
static void find_connections(struct http_source *source)
{
	struct http_stream *stream;

	DL_FOREACH (source->told, stream) {
		if (!stream->paused || knows_connection(stream))
			continue;
		stream->sought = true;
		resume(stream);
		stream->sought = false;
	}
}

/* Lets libcurl work, then tells what came of it. */
static void act(struct http_source *source, curl_socket_t fd, int events)
{
	CURLMcode result;
	CURLMsg *message;
	int left;

	result = curl_multi_socket_action(source->multi, fd, events, &left);
	if (result != CURLM_OK)
		log_error("origin: %s", curl_multi_strerror(result));
	find_connections(source);
	while ((message = curl_multi_info_read(source->multi, &left))) {
		struct http_stream *stream = NULL;

		if (message->msg == CURLMSG_DONE &&
		    curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &stream) == CURLE_OK)
			finish(stream, message->data.result);
	}
	call_told(source);
}

/* --- as a body source --- */

static enum body_source_status look(struct body_source *body, uint64_t *bytes)
{
	struct http_stream *stream = (struct http_stream *)body;

	if (stream->failed)
		return BODY_SOURCE_FAILED;
	*bytes = stream_buffer_length(&stream->buffer);
	/* Whether this is really the end shows only when libcurl is done. */
	if (!stream->ended && *bytes && stream->head.has_length && stream->received == stream->head.length)
		(*bytes)--;
	if (*bytes)
		return BODY_SOURCE_READY;
	return stream->ended ? BODY_SOURCE_END : BODY_SOURCE_WAITING;
}

static enum body_source_status read_body(struct body_source *body, const struct iovec *pieces, unsigned count)
{
	struct http_stream *stream = (struct http_stream *)body;

	for (unsigned i = 0; i < count; i++)
		stream_buffer_take(&stream->buffer, pieces[i].iov_base, pieces[i].iov_len);
	if (stream->paused && stream_buffer_length(&stream->buffer) <= HTTP_STREAM_BUFFER / 2)
		resume(stream);
	return BODY_SOURCE_READY;
}

static void free_stream(struct body_source *body)
{
	struct http_stream *stream = (struct http_stream *)body;

	detach(stream);
	if (stream->is_told)
		DL_DELETE(stream->source->told, stream);
	curl_easy_cleanup(stream->easy);
	free(stream->target);
	curl_slist_free_all(stream->lines);
	origin_head_release(&stream->head);
	stream_buffer_release(&stream->buffer);
	free(stream);
}

static const struct body_source_type http_body_type = {.look = look, .read = read_body, .free = free_stream};

/* --- requests --- */

static CURLcode set_request(struct http_stream *stream)
{
	const struct http_source_settings *settings = stream->source->settings;
	CURL *easy = stream->easy;
	CURLcode result = CURLE_OK;

#define SET(option, value)                                              \
	do {                                                            \
		if (result == CURLE_OK)                                 \
			result = curl_easy_setopt(easy, option, value); \
	} while (0)
	SET(CURLOPT_URL, settings->base);
	SET(CURLOPT_REQUEST_TARGET, stream->target);
	SET(CURLOPT_PATH_AS_IS, 1L);
	if (settings->unix_path)
		SET(CURLOPT_UNIX_SOCKET_PATH, settings->unix_path);
	SET(CURLOPT_PROTOCOLS_STR, "http");
	SET(CURLOPT_PROXY, ""); /* whatever the environment says */
	SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	SET(CURLOPT_NOSIGNAL, 1L);
	SET(CURLOPT_NOBODY, stream->head_only ? 1L : 0L);
	SET(CURLOPT_HTTPHEADER, stream->lines);
	SET(CURLOPT_BUFFERSIZE, (long)READ_MAX);
	SET(CURLOPT_CONNECTTIMEOUT_MS, (long)(settings->connect_timeout * 1000));
	SET(CURLOPT_HEADERFUNCTION, on_header);
	SET(CURLOPT_HEADERDATA, stream);
	SET(CURLOPT_WRITEFUNCTION, on_body);
	SET(CURLOPT_WRITEDATA, stream);
	SET(CURLOPT_OPENSOCKETFUNCTION, on_open);
	SET(CURLOPT_OPENSOCKETDATA, stream->source);
	SET(CURLOPT_CLOSESOCKETFUNCTION, on_close);
	SET(CURLOPT_CLOSESOCKETDATA, stream->source);
	SET(CURLOPT_DEBUGFUNCTION, on_debug);
	SET(CURLOPT_DEBUGDATA, stream);
	SET(CURLOPT_VERBOSE, 1L); /* to on_debug() */
	SET(CURLOPT_ERRORBUFFER, stream->error);
	SET(CURLOPT_PRIVATE, stream);
#undef SET
	return result;
}

/* Hands the stream to libcurl. Returns false when memory is exhausted. */
static bool start(struct http_stream *stream, const struct fetch_request *request)
{
	bool ok;

	stream->target = http_request_target(request);
	stream->lines = http_request_lines(request);
	stream->easy = curl_easy_init();
	ok = stream->target && stream->lines && stream->easy && set_request(stream) == CURLE_OK;
	if (!ok || curl_multi_add_handle(stream->source->multi, stream->easy) != CURLM_OK)
		return false;
	stream->attached = true;
	ev_timer_again(stream->source->loop, &stream->silence);
	return true;
}

struct http_stream *http_source_fetch(struct http_source *source, const struct fetch_request *request,
				      void (*call)(void *context), void *context)
{
	struct http_stream *stream = calloc(1, sizeof(*stream));

	if (!stream)
		return NULL;
	stream->body.type = &http_body_type;
	stream->source = source;
	stream->head_only = request->method == FETCH_HEAD;
	stream->fd = CURL_SOCKET_BAD;
	stream->call = call;
	stream->context = context;
	stream_buffer_init(&stream->buffer, HTTP_STREAM_BUFFER);
	ev_init(&stream->silence, on_silence);
	stream->silence.repeat = source->settings->timeout;
	stream->silence.data = stream;
	if (!start(stream, request)) {
		free_stream(&stream->body);
		return NULL;
	}
	node_metrics_add(NODE_ORIGIN_REQUESTS, 1);
	return stream;
}

enum http_stream_state http_stream_state(const struct http_stream *stream)
{
	if (stream->failed)
		return HTTP_STREAM_FAILED;
	return stream->head.complete ? HTTP_STREAM_ANSWERED : HTTP_STREAM_ASKING;
}

const struct origin_head *http_stream_head(const struct http_stream *stream)
{
	return &stream->head;
}

int http_stream_failure_status(const struct http_stream *stream)
{
	return stream->failure_status;
}

void http_stream_redirect(struct http_stream *stream, void (*call)(void *context), void *context)
{
	stream->call = call;
	stream->context = context;
}

struct body_source *http_stream_body(struct http_stream *stream)
{
	return &stream->body;
}

/* --- the source --- */

static bool set_multi(struct http_source *source)
{
	CURLM *multi = source->multi;
	long connections = source->settings->max_connections;

	return curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_socket_wanted) == CURLM_OK &&
	       curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, source) == CURLM_OK &&
	       curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, on_timer_wanted) == CURLM_OK &&
	       curl_multi_setopt(multi, CURLMOPT_TIMERDATA, source) == CURLM_OK &&
	       curl_multi_setopt(multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, connections) == CURLM_OK &&
	       curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, connections) == CURLM_OK;
}

struct http_source *http_source_new(struct ev_loop *loop, const struct http_source_settings *settings)
{
	struct http_source *source = calloc(1, sizeof(*source));

	if (!source)
		return NULL;
	/* Counted by libcurl. Nothing of it: no TLS is ever spoken here. */
	if (curl_global_init(CURL_GLOBAL_NOTHING) != CURLE_OK) {
		free(source);
		return NULL;
	}
	source->loop = loop;
	source->sockets = (struct origin_sockets){.loop = loop, .ready = on_socket_ready, .context = source};
	source->settings = settings;
	ev_init(&source->timer, on_timer_over);
	source->timer.data = source;
	source->multi = curl_multi_init();
	if (!source->multi || !set_multi(source)) {
		http_source_free(source);
		return NULL;
	}
	return source;
}

void http_source_change(struct http_source *source, const struct http_source_settings *settings)
{
	source->settings = settings;
	if (!set_multi(source))
		log_warning("origin %s: its max-connections stays as it is: out of memory",
			    settings->unix_path ? settings->unix_path : settings->base);
}

void http_source_free(struct http_source *source)
{
	if (!source)
		return;
	if (source->multi)
		(void)curl_multi_cleanup(source->multi);
	ev_timer_stop(source->loop, &source->timer);
	curl_global_cleanup();
	free(source);
}
