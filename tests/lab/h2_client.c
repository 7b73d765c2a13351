/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An HTTP/2 client that does, step by step, what others do behind one's back: windows, SETTINGS, PING, RST_STREAM, GOAWAY,
 * KeyUpdate at chosen moments, reading in pieces, going away in the middle. It holds the server to its windows, to the
 * byte (RFC 9113 5.2, 6.9), to the length of frames and to the states of streams.
 *
 *   h2_client [--no-keyupdate] [--ciphers LIST] [--ca FILE] [--rcvbuf BYTES] [--window BYTES] [--header LINE]...
 *             NAME ADDRESS PORT STEP...
 *
 * --no-keyupdate takes a KeyUpdate for a fatal error: prints "refused keyupdate", closes, exit 6.
 * --window is the windows that new streams begin with (SETTINGS_INITIAL_WINDOW_SIZE; 1048576). The connection's grows to 1 MB.
 *
 * Streams are counted from 1 in the order of their requests. What is received is credited to both windows at once, but
 * between "manual" and "auto" only on demand. Steps, done in order:
 *   get:TARGET      request on a new stream            head:TARGET    the same with HEAD
 *   range:A-B       the next request asks for these    post:N:TARGET  with a body of N bytes, sent as windows allow
 *   all             read until all streams have ended  stream:K       until stream K has
 *   headers:K       until its headers are there        data:N         until N more bytes of DATA came, of any stream
 *   ping            PING, and read until it is answered: "pong <ms>"
 *   timed:TARGET    get, and read until its headers are there: "first-byte <ms>"
 *   initial:N       SETTINGS_INITIAL_WINDOW_SIZE, and read until it is acknowledged
 *   initial-now:N   the same without waiting           settled        wait for it
 *   window:K:N      WINDOW_UPDATE of stream K (0: connection)
 *   manual          credit nothing from now on         auto           credit what was received, from now on at once
 *   rst:K:CODE      RST_STREAM                         goaway         GOAWAY, NO_ERROR
 *   frame:HEX       these bytes, as they are           quiet:MS       nothing but frames without DATA for so long
 *   update          KeyUpdate, update_not_requested    update-ask     KeyUpdate, update_requested
 *   abort           reset the connection               close          GOAWAY, close_notify, close
 *   half-close      FIN; reading goes on               eof            read on: says how the connection ends
 *   touch:FILE      create FILE                        wait:FILE      until FILE exists
 *   pause:MS        that many milliseconds without reading
 *
 * "all" and "stream" print for each stream once "stream 1 status 200 length 100 body 100 <sha256> <how>": whole, short
 * (END_STREAM came early), "reset CODE", or how the connection ended: then exit 4 follows. At the end "keyupdates N" and
 * "closes N" (streams that were whole). Exit 0: every step done; 1: usage or set-up; 3: nothing came for 20 s; 4: the
 * connection ended in the middle of a step; 5: what came is not HTTP/2; 6: a KeyUpdate was refused; 7: the server broke
 * a rule.
 */
#include <ctype.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
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
#include <time.h>
#include <unistd.h>

#include <nghttp2/nghttp2.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>

#define PATIENCE_S 20
#define STREAMS_MAX 1000
#define HEADERS_MAX 8
#define FRAME_HEAD 9
#define FRAME_MAX 16384 /* the smallest SETTINGS_MAX_FRAME_SIZE, which is ours */
#define BLOCK_MAX 65536 /* bytes of a header block */
#define DEFAULT_WINDOW 65535
#define CONNECTION_WINDOW 1048576

enum frame_type {
	DATA,
	HEADERS,
	PRIORITY,
	RST_STREAM,
	SETTINGS,
	PUSH_PROMISE,
	PING,
	GOAWAY,
	WINDOW_UPDATE,
	CONTINUATION
};

enum { END_STREAM = 1, ACK = 1, END_HEADERS = 4, PADDED = 8, PRIORITIZED = 0x20 };

struct stream {
	bool head, has_headers, ended, reset, given_up, printed;
	uint32_t reset_code;
	int status;
	int64_t length; /* -1: not said */
	uint64_t received;
	EVP_MD_CTX *digest;
	int64_t window, uncredited;
	int64_t send_window;
	uint64_t upload; /* bytes of the request's body to be sent */
	bool uploading;
};

static struct client {
	SSL *ssl;
	int fd;
	const char *name;
	const char *headers[HEADERS_MAX];
	unsigned header_count;
	char range[64];
	nghttp2_hd_inflater *inflater;
	struct stream streams[STREAMS_MAX];
	unsigned stream_count;
	int64_t window, uncredited, initial, next_initial;
	int64_t send_window, send_initial;
	bool manual, settings_pending, pong;
	uint64_t data;     /* bytes of DATA that came */
	const char *ended; /* how the connection did; NULL: it has not */
	bool refuses_key_updates;
	unsigned key_updates;
} client;

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

static double now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

/* --- TLS --- */

static void count_key_updates(int write_p, int version, int content_type, const void *buf, size_t len, SSL *ssl,
			      void *arg)
{
	(void)version;
	(void)ssl;
	(void)arg;
	if (!write_p && content_type == SSL3_RT_HANDSHAKE && len > 0 && *(const uint8_t *)buf == SSL3_MT_KEY_UPDATE)
		client.key_updates++;
}

static const char *ending_of(int ret)
{
	int error = SSL_get_error(client.ssl, ret);

	if (error == SSL_ERROR_ZERO_RETURN)
		return "close_notify";
	if ((error == SSL_ERROR_SYSCALL && (errno == EAGAIN || errno == EWOULDBLOCK)) || error == SSL_ERROR_WANT_READ ||
	    error == SSL_ERROR_WANT_WRITE)
		fail(3, "nothing came for %d s", PATIENCE_S);
	if (error == SSL_ERROR_SYSCALL)
		return errno == 0 ? "unclean" : "reset";
	if (ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING)
		return "unclean";
	ERR_print_errors_fp(stderr);
	return "tls-error";
}

/* Returns false at the end of the connection. */
static bool read_bytes(uint8_t *bytes, size_t len)
{
	while (len && !client.ended) {
		int got;

		errno = 0;
		ERR_clear_error();
		got = SSL_read(client.ssl, bytes, (int)len);
		if (client.refuses_key_updates && client.key_updates) {
			printf("refused keyupdate\n");
			fail(6, "the server sent a KeyUpdate");
		}
		if (got <= 0) {
			client.ended = ending_of(got);
			break;
		}
		bytes += got;
		len -= (size_t)got;
	}
	return !len;
}

static void write_bytes(const uint8_t *bytes, size_t len)
{
	while (len && !client.ended) {
		int sent;

		errno = 0;
		ERR_clear_error();
		sent = SSL_write(client.ssl, bytes, (int)len);
		if (sent <= 0) {
			/* What the server sent before is still to be read. */
			(void)ending_of(sent);
			return;
		}
		bytes += sent;
		len -= (size_t)sent;
	}
}

/* --- frames out --- */

static void put(uint8_t *at, uint64_t value, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		at[i] = (uint8_t)(value >> (8 * (bytes - 1 - i)));
}

static uint32_t get(const uint8_t *at, unsigned bytes)
{
	uint32_t value = 0;

	for (unsigned i = 0; i < bytes; i++)
		value = value << 8 | at[i];
	return value;
}

static void send_frame(uint8_t type, uint8_t flags, uint32_t stream, const uint8_t *payload, size_t len)
{
	uint8_t frame[FRAME_HEAD + FRAME_MAX];

	if (len > FRAME_MAX)
		fail(1, "the frame is too long");
	put(frame, len, 3);
	frame[3] = type;
	frame[4] = flags;
	put(frame + 5, stream, 4);
	memcpy(frame + FRAME_HEAD, payload, len);
	write_bytes(frame, FRAME_HEAD + len);
}

static void send_window_update(uint32_t stream, int64_t bytes)
{
	uint8_t payload[4];

	if (bytes <= 0)
		return;
	put(payload, (uint64_t)bytes, 4);
	send_frame(WINDOW_UPDATE, 0, stream, payload, sizeof(payload));
}

static void send_initial_window(int64_t bytes)
{
	uint8_t payload[6];

	put(payload, 4, 2);
	put(payload + 2, (uint64_t)bytes, 4);
	send_frame(SETTINGS, 0, 0, payload, sizeof(payload));
	client.next_initial = bytes;
	client.settings_pending = true;
}

/* A literal field without indexing, new name, no Huffman coding (RFC 7541 6.2.2). */
static size_t put_field(uint8_t *block, size_t at, const char *name, const char *value, size_t value_len)
{
	size_t name_len = strlen(name);

	if (name_len > 126 || value_len > 16000 || at + name_len + value_len + 8 > FRAME_MAX)
		fail(1, "a header is too long");
	block[at++] = 0;
	block[at++] = (uint8_t)name_len;
	for (size_t i = 0; i < name_len; i++)
		block[at++] = (uint8_t)tolower((unsigned char)name[i]);
	if (value_len < 127) {
		block[at++] = (uint8_t)value_len;
	} else {
		size_t rest = value_len - 127;

		block[at++] = 127;
		for (; rest >= 128; rest >>= 7)
			block[at++] = (uint8_t)(rest & 127) | 128;
		block[at++] = (uint8_t)rest;
	}
	memcpy(block + at, value, value_len);
	return at + value_len;
}

static size_t put_text(uint8_t *block, size_t at, const char *name, const char *value)
{
	return put_field(block, at, name, value, strlen(value));
}

static uint32_t id_of(unsigned number)
{
	return 2 * number - 1;
}

/* Returns the number of the new stream. */
static unsigned ask(const char *method, const char *target, uint64_t upload)
{
	uint8_t block[FRAME_MAX];
	struct stream *stream;
	size_t len = 0;

	if (client.stream_count == STREAMS_MAX)
		fail(1, "too many requests");
	stream = &client.streams[client.stream_count++];
	*stream = (struct stream){.head = strcmp(method, "HEAD") == 0,
				  .length = -1,
				  .window = client.initial,
				  .send_window = client.send_initial,
				  .upload = upload,
				  .uploading = upload > 0};
	stream->digest = EVP_MD_CTX_new();
	if (!stream->digest || EVP_DigestInit_ex(stream->digest, EVP_sha256(), NULL) != 1)
		fail(1, "SHA-256");
	len = put_text(block, len, ":method", method);
	len = put_text(block, len, ":scheme", "https");
	len = put_text(block, len, ":authority", client.name);
	len = put_text(block, len, ":path", target);
	if (client.range[0] != '\0')
		len = put_text(block, len, "range", client.range);
	client.range[0] = '\0';
	for (unsigned i = 0; i < client.header_count; i++) {
		const char *colon = strstr(client.headers[i], ": ");
		char name[100];

		if (!colon)
			fail(1, "not a header: %s", client.headers[i]);
		(void)snprintf(name, sizeof(name), "%.*s", (int)(colon - client.headers[i]), client.headers[i]);
		len = put_text(block, len, name, colon + 2);
	}
	send_frame(HEADERS, (uint8_t)(END_HEADERS | (upload ? 0 : END_STREAM)), id_of(client.stream_count), block, len);
	return client.stream_count;
}

/* Sends what the server's windows allow of requests' bodies. */
static void upload(void)
{
	static const uint8_t zeros[FRAME_MAX];

	for (unsigned i = 0; i < client.stream_count; i++) {
		struct stream *stream = &client.streams[i];

		while (stream->uploading && !stream->reset) {
			int64_t room =
				stream->send_window < client.send_window ? stream->send_window : client.send_window;
			size_t len = stream->upload < FRAME_MAX ? (size_t)stream->upload : FRAME_MAX;

			if (room <= 0)
				break;
			if (len > (size_t)room)
				len = (size_t)room;
			stream->upload -= len;
			stream->send_window -= (int64_t)len;
			client.send_window -= (int64_t)len;
			stream->uploading = stream->upload > 0;
			send_frame(DATA, stream->uploading ? 0 : END_STREAM, id_of(i + 1), zeros, len);
		}
	}
}

/* --- frames in --- */

static struct stream *stream_of(uint32_t id, const char *what)
{
	if (id % 2 == 0 || id > id_of(client.stream_count))
		fail(7, "%s for stream %u, which does not exist", what, id);
	return &client.streams[id / 2];
}

static void credit(void)
{
	if (client.manual)
		return;
	send_window_update(0, client.uncredited);
	client.window += client.uncredited;
	client.uncredited = 0;
	for (unsigned i = 0; i < client.stream_count; i++) {
		struct stream *stream = &client.streams[i];

		if (!stream->ended && !stream->reset && !stream->given_up && stream->uncredited) {
			send_window_update(id_of(i + 1), stream->uncredited);
			stream->window += stream->uncredited;
		}
		stream->uncredited = 0;
	}
}

/* Credits when a quarter of the window is used: as browsers do. */
static void credit_in_time(const struct stream *stream)
{
	if (client.uncredited > CONNECTION_WINDOW / 4 || stream->uncredited >= client.initial / 4)
		credit();
}

static void take_data(uint32_t id, uint8_t flags, const uint8_t *payload, size_t len)
{
	struct stream *stream = stream_of(id, "DATA");
	int64_t counted = (int64_t)len;

	if (flags & PADDED) {
		if (!len || payload[0] >= len)
			fail(7, "DATA whose padding is too long");
		len -= 1 + payload[0];
		payload++;
	}
	if (counted > client.window)
		fail(7, "DATA of %lld bytes on stream %u, the connection's window is %lld", (long long)counted, id,
		     (long long)client.window);
	client.window -= counted;
	client.uncredited += counted;
	client.data += len;
	if (stream->given_up) {
		credit_in_time(stream);
		return;
	}
	if (!stream->has_headers || stream->ended || stream->reset)
		fail(7, "DATA on stream %u, %s", id, stream->has_headers ? "which has ended" : "before its headers");
	if (counted > stream->window)
		fail(7, "DATA of %lld bytes on stream %u, whose window is %lld", (long long)counted, id,
		     (long long)stream->window);
	stream->window -= counted;
	stream->uncredited += counted;
	stream->received += len;
	if (EVP_DigestUpdate(stream->digest, payload, len) != 1)
		fail(1, "SHA-256");
	stream->ended = flags & END_STREAM;
	credit_in_time(stream);
}

static void take_field(struct stream *stream, const nghttp2_nv *field)
{
	char value[64];

	(void)snprintf(value, sizeof(value), "%.*s", (int)field->valuelen, (const char *)field->value);
	if (field->namelen == 7 && memcmp(field->name, ":status", 7) == 0)
		stream->status = atoi(value);
	else if (field->namelen == 14 && memcmp(field->name, "content-length", 14) == 0)
		stream->length = strtoll(value, NULL, 10);
	else if (field->namelen > 5 && memcmp(field->name, "disc-", 5) == 0)
		fail(7, "LEAKED-DISC-HEADER %.*s", (int)field->namelen, field->name);
}

static void take_headers(uint32_t id, bool end_stream, const uint8_t *block, size_t len)
{
	struct stream *stream = stream_of(id, "HEADERS");
	int flags = 0;

	do {
		nghttp2_nv field;
		ssize_t used = nghttp2_hd_inflate_hd2(client.inflater, &field, &flags, block, len, 1);

		if (used < 0)
			fail(7, "a header block of stream %u cannot be decoded", id);
		block += used;
		len -= (size_t)used;
		if (flags & NGHTTP2_HD_INFLATE_EMIT)
			take_field(stream, &field);
	} while (!(flags & NGHTTP2_HD_INFLATE_FINAL));
	nghttp2_hd_inflate_end_headers(client.inflater);
	if (stream->given_up)
		return;
	if (stream->ended || stream->reset)
		fail(7, "HEADERS on stream %u, which has ended", id);
	if (stream->status >= 200)
		stream->has_headers = true;
	stream->ended = end_stream;
}

static void take_settings(uint8_t flags, const uint8_t *payload, size_t len)
{
	if (flags & ACK) {
		if (!client.settings_pending)
			return; /* of the first ones */
		for (unsigned i = 0; i < client.stream_count; i++)
			client.streams[i].window += client.next_initial - client.initial;
		client.initial = client.next_initial;
		client.settings_pending = false;
		return;
	}
	for (; len >= 6; payload += 6, len -= 6) {
		int64_t value = get(payload + 2, 4);

		if (get(payload, 2) != 4)
			continue;
		for (unsigned i = 0; i < client.stream_count; i++)
			client.streams[i].send_window += value - client.send_initial;
		client.send_initial = value;
	}
	send_frame(SETTINGS, ACK, 0, NULL, 0);
}

static void take_frame(uint8_t type, uint8_t flags, uint32_t id, uint8_t *payload, size_t len)
{
	static uint8_t block[BLOCK_MAX];
	static size_t block_len;
	static uint32_t block_of;
	static bool block_ends;
	size_t skip = 0, padding = 0;

	if (block_of && (type != CONTINUATION || id != block_of))
		fail(7, "a header block of stream %u is interrupted", block_of);
	switch (type) {
	case DATA:
		take_data(id, flags, payload, len);
		break;
	case HEADERS:
	case CONTINUATION:
		if (type == HEADERS) {
			block_len = 0;
			block_ends = flags & END_STREAM;
			if (flags & PADDED)
				padding = payload[skip++];
			if (flags & PRIORITIZED)
				skip += 5;
		} else if (!block_of) {
			fail(7, "CONTINUATION of nothing");
		}
		if (skip + padding > len || block_len + len > sizeof(block))
			fail(7, "a header block that is too long");
		memcpy(block + block_len, payload + skip, len - skip - padding);
		block_len += len - skip - padding;
		block_of = flags & END_HEADERS ? 0 : id;
		if (!block_of)
			take_headers(id, block_ends, block, block_len);
		break;
	case RST_STREAM:
		stream_of(id, "RST_STREAM")->reset = true;
		stream_of(id, "RST_STREAM")->reset_code = get(payload, 4);
		break;
	case SETTINGS:
		take_settings(flags, payload, len);
		break;
	case PING:
		if (flags & ACK)
			client.pong = true;
		else
			send_frame(PING, ACK, 0, payload, len);
		break;
	case GOAWAY:
		printf("goaway %u %u\n", get(payload, 4), get(payload + 4, 4));
		break;
	case WINDOW_UPDATE:
		if (id)
			stream_of(id, "WINDOW_UPDATE")->send_window += get(payload, 4);
		else
			client.send_window += get(payload, 4);
		break;
	case PUSH_PROMISE:
		fail(7, "PUSH_PROMISE");
	default:
		break;
	}
}

/* Returns false at the end of the connection. */
static bool read_frame(void)
{
	uint8_t head[FRAME_HEAD];
	static uint8_t payload[FRAME_MAX];
	size_t len;

	upload();
	if (!read_bytes(head, sizeof(head)))
		return false;
	len = get(head, 3);
	if (len > sizeof(payload))
		fail(7, "a frame of %zu bytes", len);
	if (!read_bytes(payload, len))
		return false;
	take_frame(head[3], head[4], get(head + 5, 4) & 0x7fffffff, payload, len);
	return true;
}

/* --- steps --- */

static void print_stream(unsigned number)
{
	struct stream *stream = &client.streams[number - 1];
	uint8_t digest[EVP_MAX_MD_SIZE];
	unsigned len = 0;

	if (stream->printed || stream->given_up)
		return;
	stream->printed = true;
	if (EVP_DigestFinal_ex(stream->digest, digest, &len) != 1)
		fail(1, "SHA-256");
	printf("stream %u status %d length %lld body %llu ", number, stream->status, (long long)stream->length,
	       (unsigned long long)stream->received);
	for (unsigned i = 0; i < len; i++)
		printf("%02x", digest[i]);
	if (stream->reset)
		printf(" reset %u\n", stream->reset_code);
	else if (!stream->ended)
		printf(" %s\n", client.ended);
	else if (!stream->head && stream->status != 304 && stream->length >= 0 &&
		 stream->received != (uint64_t)stream->length)
		printf(" short\n");
	else
		printf(" whole\n");
}

static bool is_over(const struct stream *stream)
{
	return stream->ended || stream->reset || stream->given_up;
}

static struct stream *stream_numbered(const char *text)
{
	unsigned long number = strtoul(text, NULL, 10);

	if (!number || number > client.stream_count)
		fail(1, "there is no stream %s", text);
	return &client.streams[number - 1];
}

static void end_in_a_step(void)
{
	for (unsigned i = 1; i <= client.stream_count; i++)
		print_stream(i);
	printf("ended %s\n", client.ended);
	fail(4, "the connection ended: %s", client.ended);
}

static void read_until_over(struct stream *stream)
{
	while (!is_over(stream))
		if (!read_frame())
			end_in_a_step();
	print_stream((unsigned)(stream - client.streams) + 1);
}

static void read_until_headers(struct stream *stream)
{
	while (!stream->has_headers && !is_over(stream))
		if (!read_frame())
			end_in_a_step();
}

static void read_data(uint64_t bytes)
{
	uint64_t wanted = client.data + bytes;

	while (client.data < wanted)
		if (!read_frame())
			end_in_a_step();
	printf("data %llu\n", (unsigned long long)client.data);
}

static void ping(void)
{
	static const uint8_t payload[8] = {1};
	double begun = now_ms();

	client.pong = false;
	send_frame(PING, 0, 0, payload, sizeof(payload));
	while (!client.pong)
		if (!read_frame())
			end_in_a_step();
	printf("pong %.3f\n", now_ms() - begun);
}

static void ask_timed(const char *target)
{
	double begun = now_ms();
	unsigned number = ask("GET", target, 0);

	read_until_headers(&client.streams[number - 1]);
	printf("first-byte %.3f\n", now_ms() - begun);
}

static void settle(void)
{
	while (client.settings_pending)
		if (!read_frame())
			end_in_a_step();
	printf("settled\n");
}

/* The server has nothing more to send, by its windows. */
static void stay_quiet(long milliseconds)
{
	double until = now_ms() + (double)milliseconds;
	uint64_t before = client.data;

	for (;;) {
		struct pollfd ready = {.fd = client.fd, .events = POLLIN};
		int left = (int)(until - now_ms());

		if (left <= 0)
			break;
		if (!SSL_pending(client.ssl) && poll(&ready, 1, left) == 0)
			break;
		if (!read_frame())
			end_in_a_step();
		if (client.data != before)
			fail(7, "DATA came where there is no window");
	}
	printf("quiet\n");
}

static void grant_window(const char *step)
{
	uint32_t number = (uint32_t)strtoul(step, NULL, 10);
	int64_t bytes = strtoll(strchr(step, ':') + 1, NULL, 10);

	if (number) {
		struct stream *stream = stream_numbered(step);

		stream->window += bytes;
		stream->uncredited -= stream->uncredited < bytes ? stream->uncredited : bytes;
	} else {
		client.window += bytes;
		client.uncredited -= client.uncredited < bytes ? client.uncredited : bytes;
	}
	send_window_update(number ? id_of(number) : 0, bytes);
}

static void reset_stream(const char *step)
{
	struct stream *stream = stream_numbered(step);
	uint8_t code[4];

	put(code, strtoul(strchr(step, ':') + 1, NULL, 10), 4);
	send_frame(RST_STREAM, 0, id_of((unsigned)(stream - client.streams) + 1), code, sizeof(code));
	stream->given_up = true;
}

static void go_away(void)
{
	static const uint8_t payload[8];

	send_frame(GOAWAY, 0, 0, payload, sizeof(payload));
}

static void send_hex(const char *hex)
{
	uint8_t bytes[FRAME_HEAD + FRAME_MAX];
	size_t len = strlen(hex) / 2;

	if (len > sizeof(bytes))
		fail(1, "too many bytes");
	for (size_t i = 0; i < len; i++) {
		unsigned byte;

		if (sscanf(hex + 2 * i, "%2x", &byte) != 1)
			fail(1, "not hexadecimal: %s", hex);
		bytes[i] = (uint8_t)byte;
	}
	write_bytes(bytes, len);
}

static void update_key(bool requested)
{
	if (SSL_key_update(client.ssl, requested ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED) != 1 ||
	    SSL_do_handshake(client.ssl) != 1)
		fail(4, "KeyUpdate could not be sent");
	printf("update%s\n", requested ? "-ask" : "");
}

static void reset_connection(void)
{
	struct linger linger = {.l_onoff = 1, .l_linger = 0};

	if (setsockopt(client.fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)) != 0)
		fail(1, "SO_LINGER: %s", strerror(errno));
	close(client.fd);
	printf("abort\n");
	fflush(stdout);
	_exit(0);
}

static void touch_file(const char *file)
{
	FILE *touched = fopen(file, "w");

	if (!touched || fclose(touched) != 0)
		fail(1, "%s: %s", file, strerror(errno));
}

static void pause_for(long milliseconds)
{
	const struct timespec interval = {.tv_sec = milliseconds / 1000, .tv_nsec = milliseconds % 1000 * 1000000};

	nanosleep(&interval, NULL);
}

static void wait_file(const char *file)
{
	for (int looks = 0; access(file, F_OK) != 0; looks++) {
		if (looks == 100 * PATIENCE_S)
			fail(3, "%s did not appear within %d s", file, PATIENCE_S);
		pause_for(10);
	}
}

/* The rest of <step> behind <name> and ':'; NULL if it is another step. */
static const char *argument(const char *step, const char *name)
{
	size_t len = strlen(name);

	return strncmp(step, name, len) == 0 && step[len] == ':' ? step + len + 1 : NULL;
}

static void read_all(void)
{
	for (unsigned i = 0; i < client.stream_count; i++)
		read_until_over(&client.streams[i]);
}

static bool do_request(const char *step)
{
	const char *of;

	if ((of = argument(step, "get")))
		ask("GET", of, 0);
	else if ((of = argument(step, "head")))
		ask("HEAD", of, 0);
	else if ((of = argument(step, "timed")))
		ask_timed(of);
	else if ((of = argument(step, "post")) && strchr(of, ':'))
		ask("POST", strchr(of, ':') + 1, strtoull(of, NULL, 10));
	else if ((of = argument(step, "range")))
		(void)snprintf(client.range, sizeof(client.range), "bytes=%s", of);
	else
		return false;
	return true;
}

static bool do_reading(const char *step)
{
	const char *of;

	if (strcmp(step, "all") == 0)
		read_all();
	else if ((of = argument(step, "stream")))
		read_until_over(stream_numbered(of));
	else if ((of = argument(step, "headers")))
		read_until_headers(stream_numbered(of));
	else if ((of = argument(step, "data")))
		read_data(strtoull(of, NULL, 10));
	else if ((of = argument(step, "quiet")))
		stay_quiet(atol(of));
	else if (strcmp(step, "ping") == 0)
		ping();
	else if (strcmp(step, "settled") == 0)
		settle();
	else if (strcmp(step, "eof") == 0) {
		while (read_frame())
			continue;
		printf("eof %s\n", client.ended);
	} else
		return false;
	return true;
}

static bool do_writing(const char *step)
{
	const char *of;

	if ((of = argument(step, "initial"))) {
		send_initial_window(strtoll(of, NULL, 10));
		settle();
	} else if ((of = argument(step, "initial-now")))
		send_initial_window(strtoll(of, NULL, 10));
	else if ((of = argument(step, "window")) && strchr(of, ':'))
		grant_window(of);
	else if ((of = argument(step, "rst")) && strchr(of, ':'))
		reset_stream(of);
	else if ((of = argument(step, "frame")))
		send_hex(of);
	else if (strcmp(step, "goaway") == 0)
		go_away();
	else if (strcmp(step, "update") == 0 || strcmp(step, "update-ask") == 0)
		update_key(step[6] != '\0');
	else
		return false;
	return true;
}

static bool do_other(const char *step)
{
	const char *of;

	if (strcmp(step, "manual") == 0)
		client.manual = true;
	else if (strcmp(step, "auto") == 0) {
		client.manual = false;
		credit();
	} else if (strcmp(step, "abort") == 0)
		reset_connection();
	else if (strcmp(step, "half-close") == 0)
		(void)shutdown(client.fd, SHUT_WR);
	else if ((of = argument(step, "touch")))
		touch_file(of);
	else if ((of = argument(step, "wait")))
		wait_file(of);
	else if ((of = argument(step, "pause")))
		pause_for(atol(of));
	else if (strcmp(step, "close") == 0) {
		go_away();
		SSL_shutdown(client.ssl);
		printf("close\n");
	} else
		return false;
	return true;
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
	if ((rcvbuf > 0 && setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &rcvbuf, sizeof(rcvbuf)) != 0) ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) != 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) != 0 ||
	    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) != 0)
		fail(1, "setsockopt: %s", strerror(errno));
	if (connect(fd, to->ai_addr, to->ai_addrlen) != 0)
		fail(4, "connect: %s", strerror(errno));
	freeaddrinfo(to);
	return fd;
}

static void begin_tls(const char *ciphers, const char *ca)
{
	SSL_CTX *context = SSL_CTX_new(TLS_client_method());
	const uint8_t *protocol;
	unsigned len;

	if (!context || SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) != 1 ||
	    (ciphers && SSL_CTX_set_ciphersuites(context, ciphers) != 1) ||
	    (ca && SSL_CTX_load_verify_locations(context, ca, NULL) != 1) ||
	    SSL_CTX_set_alpn_protos(context, (const uint8_t *)"\2h2", 3) != 0)
		fail(1, "TLS context");
	if (ca)
		SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
	client.ssl = SSL_new(context);
	if (!client.ssl || SSL_set_fd(client.ssl, client.fd) != 1 ||
	    SSL_set_tlsext_host_name(client.ssl, client.name) != 1 ||
	    (ca && SSL_set1_host(client.ssl, client.name) != 1))
		fail(1, "TLS set-up");
	SSL_CTX_free(context);
	SSL_set_msg_callback(client.ssl, count_key_updates);
	if (SSL_connect(client.ssl) != 1) {
		ERR_print_errors_fp(stderr);
		fail(4, "handshake failed");
	}
	SSL_get0_alpn_selected(client.ssl, &protocol, &len);
	if (len != 2 || memcmp(protocol, "h2", 2) != 0)
		fail(5, "the server does not speak HTTP/2");
	printf("suite %s\n", SSL_get_cipher_name(client.ssl));
}

static void begin_http(int64_t window)
{
	static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

	if (nghttp2_hd_inflate_new(&client.inflater) != 0)
		fail(1, "HPACK");
	client.initial = client.window = client.send_initial = client.send_window = DEFAULT_WINDOW;
	write_bytes((const uint8_t *)preface, sizeof(preface) - 1);
	send_initial_window(window);
	send_window_update(0, CONNECTION_WINDOW - DEFAULT_WINDOW);
	client.window = CONNECTION_WINDOW;
	while (client.settings_pending)
		if (!read_frame())
			end_in_a_step();
}

int main(int argc, char **argv)
{
	const char *ciphers = NULL, *ca = NULL;
	int64_t window = 1048576;
	unsigned whole = 0;
	int rcvbuf = 0, i = 1;

	for (; i < argc && strncmp(argv[i], "--", 2) == 0; i++) {
		if (strcmp(argv[i], "--no-keyupdate") == 0)
			client.refuses_key_updates = true;
		else if (strcmp(argv[i], "--ciphers") == 0 && i + 1 < argc)
			ciphers = argv[++i];
		else if (strcmp(argv[i], "--ca") == 0 && i + 1 < argc)
			ca = argv[++i];
		else if (strcmp(argv[i], "--rcvbuf") == 0 && i + 1 < argc)
			rcvbuf = atoi(argv[++i]);
		else if (strcmp(argv[i], "--window") == 0 && i + 1 < argc)
			window = atoll(argv[++i]);
		else if (strcmp(argv[i], "--header") == 0 && i + 1 < argc && client.header_count < HEADERS_MAX)
			client.headers[client.header_count++] = argv[++i];
		else
			fail(1, "unknown option: %s", argv[i]);
	}
	if (argc - i < 3)
		fail(1, "usage: h2_client [OPTION]... NAME ADDRESS PORT STEP...");
	signal(SIGPIPE, SIG_IGN);
	client.name = argv[i];
	client.fd = connect_to(argv[i + 1], argv[i + 2], rcvbuf);
	begin_tls(ciphers, ca);
	begin_http(window);
	for (i += 3; i < argc; i++) {
		if (!do_request(argv[i]) && !do_reading(argv[i]) && !do_writing(argv[i]) && !do_other(argv[i]))
			fail(1, "unknown step: %s", argv[i]);
		fflush(stdout);
	}
	for (unsigned k = 0; k < client.stream_count; k++) {
		whole += client.streams[k].ended;
		EVP_MD_CTX_free(client.streams[k].digest);
	}
	printf("keyupdates %u\ncloses %u\n", client.key_updates, whole);
	nghttp2_hd_inflate_del(client.inflater);
	SSL_free(client.ssl);
	close(client.fd);
	return 0;
}
