/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The client of the benchmarks: keeps N connections open and fetches one body again and again on each, or the bodies of a
 * list, as fast as it gets them or at a pace, over TLS or in clear.
 *
 * It connects, shakes hands and fetches once on each connection, then prints "ready" and waits for a line on stdin,
 * so that what is measured from there on is transfers alone. After the last body it prints one line of figures: median and
 * 99th percentile of the time from a request to the last byte of its response, and the median until the first byte of the
 * body. Then it keeps the connections open until stdin ends, so that closing is not measured either. With --times each time
 * to the last byte is written to a file, in microseconds, the shortest first. The lines of the file that --mix names are PATH BYTES
 * [SHA256]: the connections take them in turns, each as many as --requests says. Every response must have
 * status 200 and exactly the expected bytes, and with --sha256 the expected content; anything else ends the program
 * with a sentence and status 1.
 *
 * One thread, epoll, OpenSSL: what the client costs is not measured, but it must not be what holds the others up.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { READ_SIZE = 256 * 1024, HEAD_MAX = 8192 };

struct body {
	char *path;
	uint64_t bytes;
	char *sha256; /* lower-case hexadecimal, or NULL: contents are not checked */
};

enum stage { STAGE_HANDSHAKE, STAGE_IDLE, STAGE_HEAD, STAGE_BODY };

struct client_connection {
	int fd;
	SSL *ssl; /* NULL in clear */
	enum stage stage;
	uint64_t due_ns;  /* not before this time the next request leaves */
	uint64_t sent_ns; /* when the present one left */
	uint64_t left;    /* bytes of the body still to come */
	const struct body *body;
	unsigned done; /* responses received, the first one included */
	size_t head_length;
	char head[HEAD_MAX];
	EVP_MD_CTX *digest;
};

struct load {
	const char *address; /* IPv4 */
	uint16_t port;
	struct body *bodies;
	size_t body_count;
	unsigned connections;
	unsigned requests;      /* measured ones of each connection */
	uint64_t period_ns;     /* between two requests of a connection; 0: back to back */
	const char *tls;        /* "1.2", "1.3" or NULL */
	const char *suite;      /* OpenSSL's name, or NULL */
	const char *times_file; /* gets the times, or NULL */
	SSL_CTX *context;
	int epoll;
	unsigned wanted;  /* responses that each connection is to have received when the present phase ends */
	unsigned waiting; /* connections that have not */
	uint64_t *times;  /* nanoseconds of each measured request, until its last byte; NULL until they begin */
	size_t timed;     /* entries of <times> */
	uint64_t *firsts; /* the same until the first byte of the body */
	size_t begun;     /* entries of <firsts> */
	struct client_connection *all;
	unsigned char buffer[READ_SIZE];
};

static void __attribute__((noreturn, format(printf, 1, 2))) die(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	fputs("load_client: ", stderr);
	vfprintf(stderr, format, arguments);
	fputc('\n', stderr);
	va_end(arguments);
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec now;

	if (clock_gettime(CLOCK_MONOTONIC, &now) != 0)
		die("no monotonic clock");
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void make_context(struct load *load)
{
	int version = strcmp(load->tls, "1.2") == 0 ? TLS1_2_VERSION : TLS1_3_VERSION;
	bool ok;

	load->context = SSL_CTX_new(TLS_client_method());
	if (load->context == NULL)
		die("OpenSSL cannot be initialised");
	ok = SSL_CTX_set_min_proto_version(load->context, version) == 1 &&
	     SSL_CTX_set_max_proto_version(load->context, version) == 1;
	if (load->suite != NULL && version == TLS1_2_VERSION)
		ok = ok && SSL_CTX_set_cipher_list(load->context, load->suite) == 1;
	else if (load->suite != NULL)
		ok = ok && SSL_CTX_set_ciphersuites(load->context, load->suite) == 1;
	if (!ok)
		die("TLS %s or suite %s is not to be had", load->tls, load->suite);
	/* Many records a read, or the client's system calls would pace the benchmark. */
	SSL_CTX_set_read_ahead(load->context, 1);
	SSL_CTX_set_default_read_buffer_len(load->context, READ_SIZE);
}

static void watch(const struct load *load, struct client_connection *connection, uint32_t events, int operation)
{
	struct epoll_event event = {.events = events, .data.ptr = connection};

	if (epoll_ctl(load->epoll, operation, connection->fd, &event) != 0)
		die("epoll_ctl: %s", strerror(errno));
}

static void open_connection(struct load *load, struct client_connection *connection)
{
	struct sockaddr_in peer = {.sin_family = AF_INET, .sin_port = htons(load->port)};
	int yes = 1;

	if (inet_pton(AF_INET, load->address, &peer.sin_addr) != 1)
		die("%s is no IPv4 address", load->address);
	connection->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (connection->fd < 0 || connect(connection->fd, (struct sockaddr *)&peer, sizeof(peer)) != 0)
		die("cannot connect to %s:%u: %s", load->address, load->port, strerror(errno));
	if (setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes)) != 0 ||
	    fcntl(connection->fd, F_SETFL, O_NONBLOCK) != 0)
		die("cannot set up a socket: %s", strerror(errno));
	connection->stage = STAGE_IDLE;
	if (load->context != NULL) {
		connection->ssl = SSL_new(load->context);
		if (connection->ssl == NULL || SSL_set_fd(connection->ssl, connection->fd) != 1 ||
		    SSL_set_tlsext_host_name(connection->ssl, "localhost") != 1)
			die("no TLS session");
		SSL_set_connect_state(connection->ssl);
		connection->stage = STAGE_HANDSHAKE;
	}
	connection->digest = EVP_MD_CTX_new();
	if (connection->digest == NULL)
		die("no memory");
	watch(load, connection, EPOLLIN, EPOLL_CTL_ADD);
}

/* Returns true once the handshake is over. */
static bool shake_hands(const struct load *load, struct client_connection *connection)
{
	int result = SSL_do_handshake(connection->ssl);
	int error = result == 1 ? SSL_ERROR_NONE : SSL_get_error(connection->ssl, result);

	if (error == SSL_ERROR_NONE) {
		connection->stage = STAGE_IDLE;
		watch(load, connection, EPOLLIN, EPOLL_CTL_MOD);
		return true;
	}
	if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE)
		die("handshake failed: %s", ERR_reason_error_string(ERR_get_error()));
	watch(load, connection, error == SSL_ERROR_WANT_WRITE ? EPOLLOUT : EPOLLIN, EPOLL_CTL_MOD);
	return false;
}

/* The body that is <connection>'s turn. The first one of each connection is not measured, and comes twice. */
static const struct body *next_body(const struct load *load, const struct client_connection *connection)
{
	size_t round = connection->done > 0 ? connection->done - 1 : 0;

	return &load->bodies[(round * load->connections + (size_t)(connection - load->all)) % load->body_count];
}

static void send_request(const struct load *load, struct client_connection *connection)
{
	char request[1024];
	ssize_t sent;
	int length;

	connection->body = next_body(load, connection);
	length = snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n",
			  connection->body->path);
	if (length < 0 || (size_t)length >= sizeof(request))
		die("the path is too long");
	connection->sent_ns = now_ns();
	/* A request is far shorter than an empty send buffer, so it leaves as a whole. */
	if (connection->ssl != NULL)
		sent = SSL_write(connection->ssl, request, length);
	else
		sent = send(connection->fd, request, (size_t)length, MSG_NOSIGNAL);
	if (sent != length)
		die("a request could not be sent");
	connection->stage = STAGE_HEAD;
	connection->head_length = 0;
	connection->due_ns += load->period_ns;
	if (connection->due_ns < now_ns() + load->period_ns)
		connection->due_ns = now_ns() + load->period_ns;
	if (connection->body->sha256 != NULL && EVP_DigestInit_ex(connection->digest, EVP_sha256(), NULL) != 1)
		die("no SHA-256");
}

/* Takes what belongs to the head from <data>; returns how many bytes that were. */
static size_t take_head(struct client_connection *connection, const unsigned char *data, size_t length)
{
	static const char name[] = "\r\ncontent-length: ";
	size_t before = connection->head_length;
	size_t room = HEAD_MAX - 1 - before;
	char *end;
	char *field;

	memcpy(connection->head + before, data, length < room ? length : room);
	connection->head_length += length < room ? length : room;
	connection->head[connection->head_length] = '\0';
	end = strstr(connection->head, "\r\n\r\n");
	if (end == NULL) {
		if (length >= room)
			die("a response's head is too long");
		return length;
	}
	end[2] = '\0';
	if (strncmp(connection->head, "HTTP/1.1 200 ", 13) != 0)
		die("a response began with %.40s", connection->head);
	field = strcasestr(connection->head, name);
	if (field == NULL || strtoull(field + sizeof(name) - 1, NULL, 10) != connection->body->bytes)
		die("a response did not announce %llu bytes", (unsigned long long)connection->body->bytes);
	connection->stage = STAGE_BODY;
	connection->left = connection->body->bytes;
	return (size_t)(end + 4 - connection->head) - before;
}

static void check_content(struct client_connection *connection)
{
	unsigned char sum[EVP_MAX_MD_SIZE];
	char text[2 * EVP_MAX_MD_SIZE + 1] = "";
	unsigned length = 0;

	if (connection->body->sha256 == NULL)
		return;
	if (EVP_DigestFinal_ex(connection->digest, sum, &length) != 1)
		die("no SHA-256");
	for (unsigned i = 0; i < length; i++)
		sprintf(text + 2 * i, "%02x", sum[i]);
	if (strcmp(text, connection->body->sha256) != 0)
		die("a body is not what it should be: SHA-256 %s", text);
}

static void take_bytes(struct load *load, struct client_connection *connection, size_t length)
{
	const unsigned char *data = load->buffer;

	if (connection->stage == STAGE_IDLE && length > 0)
		die("bytes that nobody asked for");
	if (connection->stage == STAGE_HEAD) {
		size_t head = take_head(connection, data, length);

		data += head;
		length -= head;
	}
	if (connection->stage != STAGE_BODY)
		return;
	if (length > connection->left)
		die("more bytes than announced");
	if (length > 0 && connection->left == connection->body->bytes && load->firsts != NULL)
		load->firsts[load->begun++] = now_ns() - connection->sent_ns;
	if (connection->body->sha256 != NULL && EVP_DigestUpdate(connection->digest, data, length) != 1)
		die("no SHA-256");
	connection->left -= length;
	if (connection->left > 0)
		return;
	if (load->times != NULL)
		load->times[load->timed++] = now_ns() - connection->sent_ns;
	check_content(connection);
	connection->stage = STAGE_IDLE;
	if (++connection->done == load->wanted)
		load->waiting--;
}

/* Reads what has arrived; returns 0 when there is nothing more for now. */
static size_t receive(struct load *load, struct client_connection *connection)
{
	ssize_t length;

	if (connection->ssl != NULL) {
		length = SSL_read(connection->ssl, load->buffer, READ_SIZE);
		if (length <= 0 && SSL_get_error(connection->ssl, (int)length) == SSL_ERROR_WANT_READ)
			return 0;
	} else {
		length = recv(connection->fd, load->buffer, READ_SIZE, 0);
		if (length < 0 && errno == EAGAIN)
			return 0;
	}
	if (length <= 0)
		die("a connection was closed after %u responses, %llu bytes before the end of the next",
		    connection->done, (unsigned long long)connection->left);
	return (size_t)length;
}

/* Sends what is due; returns the milliseconds until the next request is, or -1. */
static int send_due(struct load *load)
{
	uint64_t now = now_ns();
	uint64_t next = UINT64_MAX;

	for (unsigned i = 0; i < load->connections; i++) {
		struct client_connection *connection = &load->all[i];

		if (connection->stage != STAGE_IDLE || connection->done >= load->wanted)
			continue;
		if (connection->due_ns <= now)
			send_request(load, connection);
		else if (connection->due_ns < next)
			next = connection->due_ns;
	}
	return next == UINT64_MAX ? -1 : (int)((next - now) / 1000000u) + 1;
}

static void serve_event(struct load *load, struct client_connection *connection)
{
	size_t length;

	if (connection->stage == STAGE_HANDSHAKE && !shake_hands(load, connection))
		return;
	while ((length = receive(load, connection)) > 0)
		take_bytes(load, connection, length);
}

/* Goes on until every connection has received <wanted> responses in all. */
static void run_phase(struct load *load, unsigned wanted)
{
	struct epoll_event events[64];
	uint64_t start = now_ns();

	load->wanted = wanted;
	load->waiting = load->connections;
	/* Spread over the period, so that the pace is even. */
	for (unsigned i = 0; i < load->connections; i++)
		if (load->all[i].due_ns < start)
			load->all[i].due_ns = start + load->period_ns * i / load->connections;
	while (load->waiting > 0) {
		int timeout = send_due(load);
		int count = epoll_wait(load->epoll, events, 64, timeout);

		if (count < 0 && errno != EINTR)
			die("epoll_wait: %s", strerror(errno));
		for (int i = 0; i < count; i++)
			serve_event(load, events[i].data.ptr);
	}
}

static int compare_times(const void *a, const void *b)
{
	uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

	return left < right ? -1 : left > right;
}

/* Writes the time of each request, in microseconds, a line each. */
static void save_times(const struct load *load)
{
	FILE *file = fopen(load->times_file, "w");

	if (file == NULL)
		die("%s: %s", load->times_file, strerror(errno));
	for (size_t i = 0; i < load->timed; i++)
		fprintf(file, "%.1f\n", (double)load->times[i] / 1e3);
	if (fclose(file) != 0)
		die("%s: %s", load->times_file, strerror(errno));
}

/* The measured requests, which took <elapsed_ns> together. */
static void print_figures(struct load *load, uint64_t elapsed_ns)
{
	qsort(load->times, load->timed, sizeof(*load->times), compare_times);
	qsort(load->firsts, load->begun, sizeof(*load->firsts), compare_times);
	if (load->times_file != NULL)
		save_times(load);
	printf("requests=%zu seconds=%.3f p50_us=%.1f p99_us=%.1f first_us=%.1f\n", load->timed,
	       (double)elapsed_ns / 1e9, (double)load->times[load->timed / 2] / 1e3,
	       (double)load->times[load->timed * 99 / 100] / 1e3, (double)load->firsts[load->begun / 2] / 1e3);
	fflush(stdout);
}

static unsigned number(const char *text)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	if (*text < '0' || *text > '9' || *end != '\0' || value > 1000000000)
		die("not a number: %s", text);
	return (unsigned)value;
}

static void add_body(struct load *load, const char *path, uint64_t bytes, const char *sha256)
{
	struct body *bodies = realloc(load->bodies, (load->body_count + 1) * sizeof(*bodies));

	if (bodies == NULL)
		die("no memory");
	load->bodies = bodies;
	bodies[load->body_count] = (struct body){strdup(path), bytes, sha256 != NULL ? strdup(sha256) : NULL};
	if (bodies[load->body_count].path == NULL)
		die("no memory");
	load->body_count++;
}

static void read_mix(struct load *load, const char *name)
{
	FILE *file = fopen(name, "r");
	char line[1024];

	if (file == NULL)
		die("%s: %s", name, strerror(errno));
	while (fgets(line, sizeof(line), file) != NULL) {
		char path[512], sha256[2 * EVP_MAX_MD_SIZE + 1];
		unsigned long long bytes;
		int words = sscanf(line, "%511s %llu %128s", path, &bytes, sha256);

		if (words < 2)
			die("%s: a line is not PATH BYTES [SHA256]", name);
		add_body(load, path, bytes, words == 3 ? sha256 : NULL);
	}
	fclose(file);
	if (load->body_count == 0)
		die("%s: no lines", name);
}

static void read_options(struct load *load, int count, char **words)
{
	static const struct option options[] = {
		{"connections", required_argument, NULL, 'c'},
		{"requests", required_argument, NULL, 'n'},
		{"period-ms", required_argument, NULL, 'p'},
		{"tls", required_argument, NULL, 't'},
		{"suite", required_argument, NULL, 's'},
		{"sha256", required_argument, NULL, 'h'},
		{"times", required_argument, NULL, 'f'},
		{"mix", required_argument, NULL, 'm'},
		{NULL, 0, NULL, 0},
	};
	const char *sha256 = NULL;
	int option, operands;

	while ((option = getopt_long(count, words, "", options, NULL)) != -1)
		switch (option) {
		case 'c':
			load->connections = number(optarg);
			break;
		case 'n':
			load->requests = number(optarg);
			break;
		case 'p':
			load->period_ns = (uint64_t)number(optarg) * 1000000u;
			break;
		case 't':
			load->tls = optarg;
			break;
		case 's':
			load->suite = optarg;
			break;
		case 'h':
			sha256 = optarg;
			break;
		case 'f':
			load->times_file = optarg;
			break;
		case 'm':
			read_mix(load, optarg);
			break;
		default:
			exit(1);
		}
	operands = load->body_count > 0 ? 2 : 4;
	if (count - optind != operands || load->connections == 0 || load->requests == 0)
		die("usage: load_client --connections N --requests N [--period-ms N] [--tls 1.2|1.3 [--suite NAME]] "
		    "[--times FILE] ADDRESS PORT {PATH BYTES [--sha256 HEX] | --mix FILE}");
	load->address = words[optind];
	load->port = (uint16_t)number(words[optind + 1]);
	if (operands == 4)
		add_body(load, words[optind + 2], number(words[optind + 3]), sha256);
}

static void free_connections(struct load *load)
{
	for (unsigned i = 0; i < load->connections; i++) {
		SSL_free(load->all[i].ssl);
		EVP_MD_CTX_free(load->all[i].digest);
		close(load->all[i].fd);
	}
	for (size_t i = 0; i < load->body_count; i++) {
		free(load->bodies[i].path);
		free(load->bodies[i].sha256);
	}
	free(load->bodies);
	free(load->all);
	free(load->times);
	free(load->firsts);
	SSL_CTX_free(load->context);
}

int main(int count, char **words)
{
	static struct load load = {.connections = 1, .requests = 1};
	char line[16];
	uint64_t start;

	read_options(&load, count, words);
	if (load.tls != NULL)
		make_context(&load);
	load.epoll = epoll_create1(EPOLL_CLOEXEC);
	load.all = calloc(load.connections, sizeof(*load.all));
	if (load.epoll < 0 || load.all == NULL)
		die("no memory or descriptors");
	for (unsigned i = 0; i < load.connections; i++) {
		open_connection(&load, &load.all[i]);
		if (load.all[i].ssl != NULL)
			shake_hands(&load, &load.all[i]);
	}
	run_phase(&load, 1);
	puts("ready");
	fflush(stdout);
	if (fgets(line, sizeof(line), stdin) == NULL)
		return 1;
	load.times = calloc((size_t)load.connections * load.requests, sizeof(*load.times));
	load.firsts = calloc((size_t)load.connections * load.requests, sizeof(*load.firsts));
	if (load.times == NULL || load.firsts == NULL)
		die("no memory");
	start = now_ns();
	run_phase(&load, 1 + load.requests);
	print_figures(&load, now_ns() - start);
	if (fgets(line, sizeof(line), stdin) != NULL)
		return 1;
	free_connections(&load);
	return 0;
}
