/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A TLS client that does, step by step, what curl cannot: KeyUpdate at chosen moments, several requests in one write,
 * reading in pieces, going away in the middle, telling a clean end of the stream from a cut one.
 *
 *   tls_client [--tls12] [--no-keyupdate] [--ciphers LIST] [--ca FILE] [--rcvbuf BYTES] [--fragment CODE]
 *              [--session FILE] [--proxy ADDRESS] [--clock SOCKET] [--header LINE]... NAME ADDRESS PORT STEP...
 *
 * --no-keyupdate takes a KeyUpdate for a fatal error, as mbedTLS does: prints "refused keyupdate", closes, exit 6.
 * --fragment asks for short records: a code of RFC 6066 section 4, 1 for 512 bytes to 4 for 4096.
 * --proxy claims to be a proxy for a client at this IPv4 address (the PROXY protocol, version 1).
 * --clock names HAProxy's stats socket, which "pause" needs.
 * --session resumes the session in FILE if there is one ("resumed 1" is printed), and leaves the newest one there.
 *
 * Steps, done in order; each prints one line:
 *   get:TARGET      queue a GET                        head:TARGET    queue a HEAD
 *   raw:TEXT        queue TEXT (\r \n are read)        send           write what is queued, in one SSL_write
 *   update          KeyUpdate, update_not_requested    update-ask     KeyUpdate, update_requested
 *   headers         read one header block, 1xx too     final          read header blocks until one is not 1xx
 *   body:N          read N more bytes of the body      rest           read what is left of the body: its SHA-256
 *   response        final + rest                       eof            read on: says how the stream ends
 *   abort           reset the connection               close          close_notify, then close
 *   touch:FILE      create FILE                        wait:FILE      until FILE exists
 *   pause:MS        that many milliseconds by HAProxy's clock, for what it does by time
 *   notify          close_notify; reading goes on      half-close      FIN; reading goes on
 *   garbage         a record that cannot be decrypted
 *   cork            hold what follows back ...         uncork          ... which leaves in one piece
 *
 * "headers" prints "status 200 length 100", "rest" prints "body 100 <sha256>" or "cut 42 of 100 <sha256> <how>" (and
 * then ends with exit 4), "eof" one of "eof close_notify", "eof unclean", "eof reset", "eof data", "eof tls-error".
 * After the steps "keyupdates N" says how many the server sent. Exit 0: every step done; 1: usage or set-up; 3: nothing
 * came for 20 s; 4: the connection ended or broke in the middle of a step; 5: what came is not HTTP/1.1;
 * 6: a KeyUpdate was refused.
 */
#include <ctype.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>

#define PATIENCE_S 20
#define INPUT_MAX (256 * 1024)
#define OUTPUT_MAX (1024 * 1024)
#define HEADERS_MAX 8

enum ending { ENDING_NONE, ENDING_CLOSE_NOTIFY, ENDING_UNCLEAN, ENDING_RESET, ENDING_TLS_ERROR };

static const char *const ending_texts[] = {"none", "close_notify", "unclean", "reset", "tls-error"};

struct client {
	SSL *ssl;
	int fd;
	const char *name;
	const char *headers[HEADERS_MAX];
	unsigned header_count;
	char output[OUTPUT_MAX]; /* requests queued */
	size_t output_len;
	char input[INPUT_MAX]; /* decrypted, not consumed yet */
	size_t input_len;
	enum ending ending;
	uint64_t body_len, body_read; /* of the response under way */
	EVP_MD_CTX *body_digest;
	bool heads[64]; /* ring: was the request a HEAD? */
	unsigned asked, answered;
	unsigned key_updates; /* seen from the server */
	const char *clock;    /* HAProxy's stats socket, or NULL */
	bool refuses_key_updates;
};

__attribute__((noreturn, format(printf, 2, 3))) static void fail(int code, const char *format, ...)
{
	va_list args;

	fflush(stdout);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(code);
}

static void count_key_updates(int write_p, int version, int content_type, const void *buf, size_t len, SSL *ssl,
			      void *arg)
{
	struct client *client = arg;

	(void)version;
	(void)ssl;
	if (!write_p && content_type == SSL3_RT_HANDSHAKE && len > 0 && *(const uint8_t *)buf == SSL3_MT_KEY_UPDATE)
		client->key_updates++;
}

static enum ending ending_of(struct client *client, int ret)
{
	int error = SSL_get_error(client->ssl, ret);

	if (error == SSL_ERROR_ZERO_RETURN)
		return ENDING_CLOSE_NOTIFY;
	if (error == SSL_ERROR_SYSCALL && (errno == EAGAIN || errno == EWOULDBLOCK))
		fail(3, "nothing came for %d s", PATIENCE_S);
	if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE)
		fail(3, "nothing came for %d s", PATIENCE_S);
	if (error == SSL_ERROR_SYSCALL)
		return errno == 0 ? ENDING_UNCLEAN : ENDING_RESET;
	if (ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING)
		return ENDING_UNCLEAN;
	ERR_print_errors_fp(stderr);
	return ENDING_TLS_ERROR;
}

/* Reads at most <want> bytes more into the input. Returns false at the end of the stream. */
static bool fill(struct client *client, size_t want)
{
	size_t room = sizeof(client->input) - client->input_len;

	if (client->ending != ENDING_NONE)
		return false;
	errno = 0;
	ERR_clear_error();
	int got = SSL_read(client->ssl, client->input + client->input_len, (int)(want < room ? want : room));
	if (client->refuses_key_updates && client->key_updates > 0) {
		/* What came behind it could not have been read. */
		printf("refused keyupdate\n");
		fail(6, "the server sent a KeyUpdate");
	}
	if (got <= 0) {
		client->ending = ending_of(client, got);
		return false;
	}
	client->input_len += (size_t)got;
	return true;
}

static void consume(struct client *client, size_t len)
{
	memmove(client->input, client->input + len, client->input_len - len);
	client->input_len -= len;
}

static void queue(struct client *client, const char *bytes, size_t len)
{
	if (len > sizeof(client->output) - client->output_len)
		fail(1, "too much queued");
	memcpy(client->output + client->output_len, bytes, len);
	client->output_len += len;
}

static void queue_text(struct client *client, const char *text)
{
	queue(client, text, strlen(text));
}

static void queue_request(struct client *client, const char *method, const char *target)
{
	queue_text(client, method);
	queue_text(client, " ");
	queue_text(client, target);
	queue_text(client, " HTTP/1.1\r\nHost: ");
	queue_text(client, client->name);
	queue_text(client, "\r\n");
	for (unsigned i = 0; i < client->header_count; i++) {
		queue_text(client, client->headers[i]);
		queue_text(client, "\r\n");
	}
	queue_text(client, "\r\n");
	client->heads[client->asked++ % 64] = strcmp(method, "HEAD") == 0;
}

/* Queues <text> with \r and \n read as in C; it counts as one request. */
static void queue_raw(struct client *client, const char *text)
{
	for (; *text != '\0'; text++) {
		char byte = *text;

		if (byte == '\\' && (text[1] == 'r' || text[1] == 'n'))
			byte = *++text == 'r' ? '\r' : '\n';
		queue(client, &byte, 1);
	}
	client->heads[client->asked++ % 64] = false;
}

static void send_queued(struct client *client)
{
	size_t sent = 0;

	while (sent < client->output_len) {
		errno = 0;
		ERR_clear_error();
		int ret = SSL_write(client->ssl, client->output + sent, (int)(client->output_len - sent));
		if (ret <= 0)
			fail(4, "send: %s", ending_texts[ending_of(client, ret)]);
		sent += (size_t)ret;
	}
	printf("sent %zu\n", sent);
	client->output_len = 0;
}

static void update_key(struct client *client, bool ask)
{
	if (SSL_version(client->ssl) != TLS1_3_VERSION)
		fail(1, "KeyUpdate needs TLS 1.3");
	if (SSL_key_update(client->ssl, ask ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED) != 1 ||
	    SSL_do_handshake(client->ssl) != 1)
		fail(4, "KeyUpdate could not be sent");
	printf("update%s\n", ask ? "-ask" : "");
}

/* Finds header <name> (with its colon) in the <len> bytes of <block>; returns its value, or NULL. */
static const char *find_header(const char *block, size_t len, const char *name)
{
	const char *end = block + len, *line = block;
	size_t name_len = strlen(name);

	while ((line = memmem(line, (size_t)(end - line), "\r\n", 2)) != NULL) {
		line += 2;
		if ((size_t)(end - line) >= name_len && strncasecmp(line, name, name_len) == 0) {
			line += name_len;
			while (line < end && *line == ' ')
				line++;
			return line;
		}
	}
	return NULL;
}

/* Reads one header block and starts its body. Returns the status. */
static int read_headers(struct client *client)
{
	char *end;

	while ((end = memmem(client->input, client->input_len, "\r\n\r\n", 4)) == NULL) {
		if (client->input_len == sizeof(client->input))
			fail(5, "endless headers");
		if (!fill(client, sizeof(client->input))) {
			printf("no-response %zu %s\n", client->input_len, ending_texts[client->ending]);
			fail(4, "the connection ended before the headers did");
		}
	}
	size_t len = (size_t)(end + 4 - client->input);
	if (client->input_len < 12 || strncmp(client->input, "HTTP/1.1 ", 9) != 0)
		fail(5, "not HTTP/1.1: %.40s", client->input);
	int status = atoi(client->input + 9);
	const char *length = find_header(client->input, len, "content-length:");
	bool bodiless = status < 200 || status == 204 || status == 304;
	if (status >= 200 && client->heads[client->answered++ % 64])
		bodiless = true;
	if (!bodiless && length == NULL)
		fail(5, "no Content-Length: %.*s", (int)len, client->input);
	client->body_len = bodiless ? 0 : strtoull(length, NULL, 10);
	client->body_read = 0;
	if (EVP_DigestInit_ex(client->body_digest, EVP_sha256(), NULL) != 1)
		fail(1, "SHA-256");
	printf("status %d length %llu", status, length ? strtoull(length, NULL, 10) : 0ULL);
	bool leaked = find_header(client->input, len, "disc-") != NULL;
	printf("%s\n", leaked ? " LEAKED-DISC-HEADER" : "");
	consume(client, len);
	return status;
}

static void print_digest(struct client *client)
{
	EVP_MD_CTX *copy = EVP_MD_CTX_new();
	uint8_t digest[EVP_MAX_MD_SIZE];
	unsigned len = 0;

	if (copy == NULL || EVP_MD_CTX_copy_ex(copy, client->body_digest) != 1 ||
	    EVP_DigestFinal_ex(copy, digest, &len) != 1)
		fail(1, "SHA-256");
	for (unsigned i = 0; i < len; i++)
		printf("%02x", digest[i]);
	EVP_MD_CTX_free(copy);
}

/* Reads <count> more bytes of the body, or what is left of it. */
static void read_body(struct client *client, uint64_t count)
{
	uint64_t left = client->body_len - client->body_read;

	for (count = count < left ? count : left; count > 0;) {
		size_t take = client->input_len < count ? client->input_len : (size_t)count;

		if (take == 0 && !fill(client, count < INPUT_MAX ? (size_t)count : INPUT_MAX)) {
			printf("cut %llu of %llu ", (unsigned long long)client->body_read,
			       (unsigned long long)client->body_len);
			print_digest(client);
			printf(" %s\n", ending_texts[client->ending]);
			fail(4, "the connection ended before the body did");
		}
		if (take == 0)
			continue;
		if (EVP_DigestUpdate(client->body_digest, client->input, take) != 1)
			fail(1, "SHA-256");
		consume(client, take);
		client->body_read += take;
		count -= take;
	}
}

static void read_rest(struct client *client)
{
	read_body(client, UINT64_MAX);
	printf("body %llu ", (unsigned long long)client->body_len);
	print_digest(client);
	putchar('\n');
}

static void read_eof(struct client *client)
{
	if (client->input_len > 0 || fill(client, 1))
		printf("eof data\n");
	else
		printf("eof %s\n", ending_texts[client->ending]);
}

static void reset(struct client *client)
{
	struct linger linger = {.l_onoff = 1, .l_linger = 0};

	if (setsockopt(client->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)) != 0)
		fail(1, "SO_LINGER: %s", strerror(errno));
	close(client->fd);
	printf("abort\n");
	fflush(stdout);
	_exit(0);
}

static void notify(struct client *client)
{
	if (SSL_shutdown(client->ssl) < 0)
		fail(4, "close_notify could not be sent");
	printf("notify\n");
}

static void send_garbage(struct client *client)
{
	static const uint8_t record[5 + 64] = {SSL3_RT_APPLICATION_DATA, 3, 3, 0, 64};

	if (write(client->fd, record, sizeof(record)) != (ssize_t)sizeof(record))
		fail(4, "garbage: %s", strerror(errno));
	printf("garbage\n");
}

static void cork(struct client *client, int on)
{
	if (setsockopt(client->fd, IPPROTO_TCP, TCP_CORK, &on, sizeof(on)) != 0)
		fail(1, "TCP_CORK: %s", strerror(errno));
	printf("%s\n", on ? "cork" : "uncork");
}

static void half_close(struct client *client)
{
	if (shutdown(client->fd, SHUT_WR) != 0)
		fail(1, "shutdown: %s", strerror(errno));
	printf("half-close\n");
}

/* By these two the test and this client wait for each other. */
static void touch_file(const char *file)
{
	FILE *touched = fopen(file, "w");

	if (touched == NULL || fclose(touched) != 0)
		fail(1, "%s: %s", file, strerror(errno));
}

static void wait_file(const char *file)
{
	const struct timespec interval = {.tv_nsec = 10 * 1000 * 1000};

	for (int looks = 0; access(file, F_OK) != 0; looks++) {
		if (looks == 100 * PATIENCE_S)
			fail(3, "%s did not appear within %d s", file, PATIENCE_S);
		nanosleep(&interval, NULL);
	}
}

/* Waits by HAProxy's clock, which falls behind ours: HAProxy takes it for a jump of the clock if it did not get to run for
 * more than 100 ms, and leaves that time out.
 */
static void pause_for(const char *stats_socket, const char *milliseconds)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char answer[64];
	ssize_t got;

	if (stats_socket == NULL || strlen(stats_socket) >= sizeof(address.sun_path))
		fail(1, "pause needs --clock SOCKET");
	strcpy(address.sun_path, stats_socket);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0 ||
	    dprintf(fd, "wait %sms\n", milliseconds) < 0)
		fail(1, "--clock %s: %s", stats_socket, strerror(errno));
	got = read(fd, answer, sizeof(answer));
	if (got < 0)
		fail(1, "--clock %s: %s", stats_socket, strerror(errno));
	if (got < 5 || memcmp(answer, "Done.", 5) != 0)
		fail(1, "--clock %s: %.*s", stats_socket, (int)got, answer);
	close(fd);
}

static void do_step(struct client *client, const char *step)
{
	if (strncmp(step, "get:", 4) == 0)
		queue_request(client, "GET", step + 4);
	else if (strncmp(step, "head:", 5) == 0)
		queue_request(client, "HEAD", step + 5);
	else if (strncmp(step, "raw:", 4) == 0)
		queue_raw(client, step + 4);
	else if (strcmp(step, "send") == 0)
		send_queued(client);
	else if (strcmp(step, "update") == 0 || strcmp(step, "update-ask") == 0)
		update_key(client, step[6] != '\0');
	else if (strcmp(step, "headers") == 0)
		read_headers(client);
	else if (strcmp(step, "final") == 0 || strcmp(step, "response") == 0) {
		while (read_headers(client) < 200)
			continue;
		if (step[0] == 'r')
			read_rest(client);
	} else if (strncmp(step, "body:", 5) == 0) {
		read_body(client, strtoull(step + 5, NULL, 10));
		printf("read %llu\n", (unsigned long long)client->body_read);
	} else if (strcmp(step, "rest") == 0)
		read_rest(client);
	else if (strcmp(step, "eof") == 0)
		read_eof(client);
	else if (strcmp(step, "abort") == 0)
		reset(client);
	else if (strcmp(step, "notify") == 0)
		notify(client);
	else if (strcmp(step, "garbage") == 0)
		send_garbage(client);
	else if (strcmp(step, "cork") == 0)
		cork(client, 1);
	else if (strcmp(step, "uncork") == 0)
		cork(client, 0);
	else if (strcmp(step, "half-close") == 0)
		half_close(client);
	else if (strncmp(step, "touch:", 6) == 0)
		touch_file(step + 6);
	else if (strncmp(step, "wait:", 5) == 0)
		wait_file(step + 5);
	else if (strncmp(step, "pause:", 6) == 0)
		pause_for(client->clock, step + 6);
	else if (strcmp(step, "close") == 0) {
		SSL_shutdown(client->ssl);
		printf("close\n");
	} else
		fail(1, "unknown step: %s", step);
	fflush(stdout);
}

static int connect_to(const char *address, const char *port, int rcvbuf)
{
	struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM}, *to;
	struct timeval patience = {.tv_sec = PATIENCE_S};
	int one = 1, fd;

	if (getaddrinfo(address, port, &hints, &to) != 0)
		fail(1, "%s, %s: not an address and a port", address, port);
	fd = socket(to->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		fail(1, "socket: %s", strerror(errno));
	if (rcvbuf > 0 && setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &rcvbuf, sizeof(rcvbuf)) != 0)
		fail(1, "SO_RCVBUF: %s", strerror(errno));
	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) != 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) != 0 ||
	    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) != 0)
		fail(1, "setsockopt: %s", strerror(errno));
	if (connect(fd, to->ai_addr, to->ai_addrlen) != 0)
		fail(4, "connect: %s", strerror(errno));
	freeaddrinfo(to);
	return fd;
}

static SSL_CTX *make_context(int version, const char *ciphers, const char *ca)
{
	SSL_CTX *context = SSL_CTX_new(TLS_client_method());

	if (context == NULL || SSL_CTX_set_min_proto_version(context, version) != 1 ||
	    SSL_CTX_set_max_proto_version(context, version) != 1)
		fail(1, "TLS context");
	if (ciphers != NULL && (version == TLS1_3_VERSION ? SSL_CTX_set_ciphersuites(context, ciphers)
							  : SSL_CTX_set_cipher_list(context, ciphers)) != 1)
		fail(1, "%s: no such cipher suites", ciphers);
	if (ca != NULL) {
		if (SSL_CTX_load_verify_locations(context, ca, NULL) != 1)
			fail(1, "%s: cannot be read", ca);
		SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
	}
	return context;
}

/* Offers the session in <file>, if there is that file. */
static void offer_session(struct client *client, const char *file)
{
	FILE *stored = fopen(file, "r");
	SSL_SESSION *session;

	if (stored == NULL)
		return;
	session = PEM_read_SSL_SESSION(stored, NULL, NULL, NULL);
	fclose(stored);
	if (session == NULL || SSL_set_session(client->ssl, session) != 1)
		fail(1, "%s: holds no session", file);
	SSL_SESSION_free(session);
}

static void store_session(struct client *client, const char *file)
{
	FILE *stored = fopen(file, "w");

	if (stored == NULL || PEM_write_SSL_SESSION(stored, SSL_get_session(client->ssl)) != 1 || fclose(stored) != 0)
		fail(1, "%s: cannot be written", file);
}

int main(int argc, char **argv)
{
	static struct client client;
	int version = TLS1_3_VERSION, rcvbuf = 0, i = 1;
	const char *ciphers = NULL, *ca = NULL, *session = NULL, *proxied = NULL;
	uint8_t fragment = TLSEXT_max_fragment_length_DISABLED;

	for (; i < argc && strncmp(argv[i], "--", 2) == 0; i++) {
		if (strcmp(argv[i], "--tls12") == 0)
			version = TLS1_2_VERSION;
		else if (strcmp(argv[i], "--no-keyupdate") == 0)
			client.refuses_key_updates = true;
		else if (strcmp(argv[i], "--ciphers") == 0 && i + 1 < argc)
			ciphers = argv[++i];
		else if (strcmp(argv[i], "--ca") == 0 && i + 1 < argc)
			ca = argv[++i];
		else if (strcmp(argv[i], "--rcvbuf") == 0 && i + 1 < argc)
			rcvbuf = atoi(argv[++i]);
		else if (strcmp(argv[i], "--session") == 0 && i + 1 < argc)
			session = argv[++i];
		else if (strcmp(argv[i], "--proxy") == 0 && i + 1 < argc)
			proxied = argv[++i];
		else if (strcmp(argv[i], "--clock") == 0 && i + 1 < argc)
			client.clock = argv[++i];
		else if (strcmp(argv[i], "--fragment") == 0 && i + 1 < argc)
			fragment = (uint8_t)atoi(argv[++i]);
		else if (strcmp(argv[i], "--header") == 0 && i + 1 < argc && client.header_count < HEADERS_MAX)
			client.headers[client.header_count++] = argv[++i];
		else
			fail(1, "unknown option: %s", argv[i]);
	}
	if (argc - i < 3)
		fail(1, "usage: tls_client [OPTION]... NAME ADDRESS PORT STEP...");
	signal(SIGPIPE, SIG_IGN);
	client.name = argv[i];
	SSL_CTX *context = make_context(version, ciphers, ca);
	if (SSL_CTX_set_tlsext_max_fragment_length(context, fragment) != 1)
		fail(1, "--fragment: no such code");
	client.fd = connect_to(argv[i + 1], argv[i + 2], rcvbuf);
	if (proxied != NULL && dprintf(client.fd, "PROXY TCP4 %s 192.0.2.100 40000 443\r\n", proxied) < 0)
		fail(1, "--proxy: %s", strerror(errno));
	client.ssl = SSL_new(context);
	client.body_digest = EVP_MD_CTX_new();
	if (client.ssl == NULL || client.body_digest == NULL || SSL_set_fd(client.ssl, client.fd) != 1 ||
	    SSL_set_tlsext_host_name(client.ssl, client.name) != 1 ||
	    (ca != NULL && SSL_set1_host(client.ssl, client.name) != 1))
		fail(1, "TLS set-up");
	SSL_set_msg_callback(client.ssl, count_key_updates);
	SSL_set_msg_callback_arg(client.ssl, &client);
	if (session != NULL)
		offer_session(&client, session);
	if (SSL_connect(client.ssl) != 1) {
		ERR_print_errors_fp(stderr);
		fail(4, "handshake failed");
	}
	printf("suite %s\n", SSL_get_cipher_name(client.ssl));
	if (session != NULL)
		printf("resumed %d\n", SSL_session_reused(client.ssl));
	for (i += 3; i < argc; i++)
		do_step(&client, argv[i]);
	if (session != NULL)
		store_session(&client, session);
	printf("keyupdates %u\n", client.key_updates);
	SSL_free(client.ssl);
	close(client.fd);
	EVP_MD_CTX_free(client.body_digest);
	SSL_CTX_free(context);
	return 0;
}
