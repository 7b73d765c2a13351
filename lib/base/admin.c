/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "admin.h"

#include <errno.h>
#include <microhttpd.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CONNECTIONS_MAX 16u
#define IDLE_TIMEOUT_S 10u
#define BACKLOG 16
#define ARGUMENTS_MAX 32u

struct admin {
	struct MHD_Daemon *daemon;
	struct admin_source source;
};

/* Answers with <text>; <mode> says who owns it. */
static enum MHD_Result answer(struct MHD_Connection *connection, unsigned status, const char *type, char *text,
			      enum MHD_ResponseMemoryMode mode)
{
	struct MHD_Response *response = MHD_create_response_from_buffer(strlen(text), text, mode);
	enum MHD_Result result = MHD_NO;

	if (!response) {
		if (mode == MHD_RESPMEM_MUST_FREE)
			free(text);
		return MHD_NO;
	}
	if (MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type) == MHD_YES &&
	    MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store") == MHD_YES &&
	    (status != MHD_HTTP_METHOD_NOT_ALLOWED ||
	     MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD") == MHD_YES))
		result = MHD_queue_response(connection, status, response);
	MHD_destroy_response(response);
	return result;
}

static enum MHD_Result answer_plain(struct MHD_Connection *connection, unsigned status, const char *text)
{
	return answer(connection, status, "text/plain; charset=utf-8", (char *)text, MHD_RESPMEM_PERSISTENT);
}

static enum MHD_Result answer_metrics(struct MHD_Connection *connection, const struct admin_source *source)
{
	char *text = metrics_render(source->metrics, source->count);

	if (!text)
		return answer_plain(connection, MHD_HTTP_INTERNAL_SERVER_ERROR, "out of memory\n");
	return answer(connection, MHD_HTTP_OK, "text/plain; version=0.0.4; charset=utf-8", text, MHD_RESPMEM_MUST_FREE);
}

struct arguments {
	struct admin_argument all[ARGUMENTS_MAX];
	size_t count;
};

static enum MHD_Result add_argument(void *context, enum MHD_ValueKind kind, const char *name, const char *value)
{
	struct arguments *arguments = context;

	(void)kind;
	if (arguments->count == ARGUMENTS_MAX)
		return MHD_NO;
	arguments->all[arguments->count++] = (struct admin_argument){name, value ? value : ""};
	return MHD_YES;
}

static enum MHD_Result answer_page(struct MHD_Connection *connection, const struct admin_source *source,
				   const struct admin_page *page)
{
	struct arguments arguments = {.count = 0};
	unsigned status = MHD_HTTP_OK;
	char *text;

	(void)MHD_get_connection_values(connection, MHD_GET_ARGUMENT_KIND, add_argument, &arguments);
	text = page->render(source->context, arguments.all, arguments.count, &status);
	if (!text)
		return answer_plain(connection, MHD_HTTP_INTERNAL_SERVER_ERROR, "out of memory\n");
	return answer(connection, status, page->type, text, MHD_RESPMEM_MUST_FREE);
}

static enum MHD_Result answer_health(struct MHD_Connection *connection, const struct admin_source *source)
{
	if (source->draining && source->draining(source->context))
		return answer_plain(connection, MHD_HTTP_SERVICE_UNAVAILABLE, "draining\n");
	return answer_plain(connection, MHD_HTTP_OK, "ok\n");
}

static enum MHD_Result handle_request(void *context, struct MHD_Connection *connection, const char *url,
				      const char *method, const char *version, const char *upload, size_t *upload_size,
				      void **request)
{
	const struct admin *admin = context;
	static int headers_seen;

	(void)version;
	(void)upload;
	/* The library calls once with the headers alone and only takes an answer afterwards, bodies are passed over. */
	if (!*request) {
		*request = &headers_seen;
		return MHD_YES;
	}
	if (*upload_size) {
		*upload_size = 0;
		return MHD_YES;
	}
	if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
		return answer_plain(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET and HEAD\n");
	for (size_t i = 0; i < admin->source.page_count; i++)
		if (strcmp(url, admin->source.pages[i].path) == 0)
			return answer_page(connection, &admin->source, &admin->source.pages[i]);
	if (strcmp(url, "/metrics") == 0)
		return answer_metrics(connection, &admin->source);
	if (strcmp(url, "/health") == 0)
		return answer_health(connection, &admin->source);
	return answer_plain(connection, MHD_HTTP_NOT_FOUND, "not found: /metrics and /health are here\n");
}

/* The library's thread must not take the signals that the main thread waits for. */
static struct MHD_Daemon *start_daemon(struct admin *admin, int fd)
{
	struct MHD_Daemon *daemon;
	sigset_t all, before;

	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	daemon = MHD_start_daemon(MHD_USE_AUTO | MHD_USE_INTERNAL_POLLING_THREAD, 0, NULL, NULL, handle_request, admin,
				  MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS_MAX,
				  MHD_OPTION_CONNECTION_TIMEOUT, IDLE_TIMEOUT_S, MHD_OPTION_END);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	return daemon;
}

struct admin *admin_start(const struct address *address, const struct admin_source *source)
{
	struct admin *admin = calloc(1, sizeof(*admin));
	int fd;

	if (!admin)
		return NULL;
	admin->source = *source;
	fd = address_listen(address, BACKLOG, 0660);
	if (fd < 0) {
		int error = errno;

		free(admin);
		errno = error;
		return NULL;
	}
	admin->daemon = start_daemon(admin, fd);
	if (!admin->daemon) {
		/* Whether the library closed <fd> depends on how far it came; a second close could hit another's. */
		free(admin);
		errno = ENOMEM;
		return NULL;
	}
	return admin;
}

void admin_stop(struct admin *admin)
{
	if (!admin)
		return;
	MHD_stop_daemon(admin->daemon);
	free(admin);
}
