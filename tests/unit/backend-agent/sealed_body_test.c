/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards record production: the bytes are the file's, memory does not grow with a slow reader, and a file that changes
 * breaks the body before one wrong byte leaves. */
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "fetch_transfer.h"
#include "file_body.h"
#include "record_opening.h"

#define SIZE (5u * 1024 * 1024 + 333)

static char root[64];
static struct file_source *source;
static uint8_t *content, *plain, *received;

/* Its modification time lies in the past, so that every write shows, however coarse the kernel's file times are. */
static int make_file(void **state)
{
	const struct timespec past[2] = {{.tv_sec = 1000000000}, {.tv_sec = 1000000000}};
	char path[80];
	int fd;

	(void)state;
	(void)snprintf(path, sizeof(path), "%s/file", root);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, content, SIZE), SIZE);
	assert_int_equal(futimens(fd, past), 0);
	assert_int_equal(close(fd), 0);
	return 0;
}

static int make_all(void **state)
{
	(void)state;
	strcpy(root, "/tmp/disc-sealed-XXXXXX");
	assert_non_null(mkdtemp(root));
	source = file_source_new(root);
	content = malloc(SIZE);
	plain = malloc(SIZE);
	received = malloc(2 * (size_t)SIZE);
	assert_true(source && content && plain && received);
	for (size_t i = 0; i < SIZE; i++)
		content[i] = (uint8_t)(i * 2246822519u >> 9);
	return 0;
}

static int remove_all(void **state)
{
	char path[80];

	(void)state;
	(void)snprintf(path, sizeof(path), "%s/file", root);
	(void)unlink(path);
	(void)rmdir(root);
	file_source_free(source);
	free(content);
	free(plain);
	free(received);
	return 0;
}

static struct body_source *source_of(uint64_t offset, uint64_t length)
{
	struct file_object object;
	struct body_source *bytes;

	assert_int_equal(file_source_open(source, "file", &object), FILE_OK);
	bytes = file_body_new(&object, offset, length);
	assert_non_null(bytes);
	assert_int_equal(object.fd, -1);
	return bytes;
}

/* Whether bodies are sealed from the file's own pages: all tests run both ways. */
static bool viewing;

static struct sealed_body *body_of(uint64_t offset, uint64_t length, const struct tx_state *state)
{
	struct sealed_body *body;

	assert_int_equal(sealed_body_new(&body, source_of(offset, length), length, state), RECORD_OK);
	if (viewing)
		sealed_body_allow_view(body);
	return body;
}

/* Takes all that <body> gives into <received>, at most <step> bytes at a time. Returns how it ended. */
static enum sealed_body_status take_all(struct sealed_body *body, size_t step, size_t *len)
{
	enum sealed_body_status status;
	const uint8_t *bytes;
	size_t given;

	*len = 0;
	while ((status = sealed_body_next(body, &bytes, &given)) == SEALED_BODY_BLOCK) {
		size_t take = given < step ? given : step;

		assert_true(given && given <= SEALED_BODY_BLOCK_MAX);
		memcpy(received + *len, bytes, take);
		*len += take;
		sealed_body_sent(body, take);
	}
	return status;
}

/* What was received opens, and is what the file held from <offset>. */
static void assert_prefix(const struct tx_state *state, size_t len, uint64_t offset, size_t *plain_len)
{
	uint64_t records;

	assert_true(open_records(state, received, len, plain, SIZE, plain_len, &records));
	assert_memory_equal(plain, content + offset, *plain_len);
}

/* --- what must not be begun --- */

static void refused_bodies_leave_the_source_to_the_caller(void **state)
{
	struct tx_state tx = opening_state(1), late = opening_state(UINT64_MAX - 1);
	struct body_source *bytes = source_of(0, SIZE);
	struct sealed_body *body;
	uint64_t ready;

	(void)state;
	assert_int_equal(sealed_body_new(&body, bytes, 0, &tx), RECORD_EMPTY);
	assert_null(body);
	assert_int_equal(sealed_body_new(&body, bytes, ((uint64_t)RECORD_COUNT_MAX << 14) + 1, &tx), RECORD_TOO_LONG);
	assert_int_equal(sealed_body_new(&body, bytes, SIZE, &late), RECORD_SEQ_EXHAUSTED);
	assert_null(body);
	assert_int_equal(body_source_look(bytes, &ready), BODY_SOURCE_READY);
	assert_int_equal(ready, SIZE);
	body_source_free(bytes);
}

/* --- a file that changes --- */

/* Takes one block, lets <change> happen to the file, and takes what is left. */
static void assert_change_breaks(void (*change)(int fd), enum sealed_body_status expected)
{
	struct tx_state tx = opening_state(3);
	struct sealed_body *body = body_of(0, SIZE, &tx);
	const uint8_t *bytes;
	size_t given, len, plain_len, first;
	char path[80];
	int fd;

	assert_int_equal(sealed_body_next(body, &bytes, &given), SEALED_BODY_BLOCK);
	first = (size_t)sealed_body_bytes(body);
	(void)snprintf(path, sizeof(path), "%s/file", root);
	fd = open(path, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	change(fd);
	assert_int_equal(close(fd), 0);
	assert_int_equal(take_all(body, SIZE, &len), expected);
	/* Only the block that was there before; and asking again changes nothing. */
	assert_prefix(&tx, len, 0, &plain_len);
	assert_int_equal(plain_len, first);
	assert_int_equal(sealed_body_bytes(body), first);
	assert_int_equal(sealed_body_next(body, &bytes, &given), expected);
	sealed_body_free(body);
}

static void rewrite(int fd)
{
	assert_int_equal(pwrite(fd, "changed", 7, 3 * 1024 * 1024), 7);
}

static void cut(int fd)
{
	assert_int_equal(ftruncate(fd, 1024 * 1024), 0);
}

static void grow(int fd)
{
	assert_int_equal(ftruncate(fd, SIZE + 1), 0);
}

static void empty(int fd)
{
	assert_int_equal(ftruncate(fd, 0), 0);
}

static void rewritten_file_breaks_the_body(void **state)
{
	(void)state;
	assert_change_breaks(rewrite, SEALED_BODY_CHANGED);
}

static void truncated_file_breaks_the_body(void **state)
{
	(void)state;
	assert_change_breaks(cut, SEALED_BODY_CHANGED);
}

static void emptied_file_breaks_the_body(void **state)
{
	(void)state;
	assert_change_breaks(empty, SEALED_BODY_CHANGED);
}

static void grown_file_breaks_the_body(void **state)
{
	(void)state;
	assert_change_breaks(grow, SEALED_BODY_CHANGED);
}

/* A source whose file shrinks at the worst moment: after the look for changes, before its bytes are sealed. */
static const struct body_source_type *file_type;

static enum body_source_status view_then_cut(struct body_source *from, size_t len, const uint8_t **bytes)
{
	enum body_source_status status = file_type->view(from, len, bytes);
	char path[80];

	(void)snprintf(path, sizeof(path), "%s/file", root);
	assert_int_equal(truncate(path, 300000), 0);
	return status;
}

static void file_that_shrinks_while_it_is_sealed_breaks_the_body(void **state)
{
	struct tx_state tx = opening_state(3);
	struct body_source *from = source_of(0, SIZE);
	struct body_source_type cutting = *from->type;
	struct sealed_body *body;
	const uint8_t *bytes;
	size_t given, records = 0;

	(void)state;
	assert_int_equal(sealed_body_new(&body, from, SIZE, &tx), RECORD_OK);
	sealed_body_allow_view(body);
	while (sealed_body_bytes(body) < 1024 * 1024) {
		assert_int_equal(sealed_body_next(body, &bytes, &given), SEALED_BODY_BLOCK);
		sealed_body_sent(body, given);
		records = (size_t)sealed_body_records(body);
	}
	file_type = from->type;
	cutting.view = view_then_cut;
	from->type = &cutting;
	/* Without a handler of its own the process would be gone by now. */
	assert_int_equal(sealed_body_next(body, &bytes, &given), SEALED_BODY_CHANGED);
	assert_string_equal(sealed_body_fault(body), "the file changed during the transfer");
	assert_int_equal(sealed_body_records(body), records);
	assert_int_equal(sealed_body_next(body, &bytes, &given), SEALED_BODY_CHANGED);
	sealed_body_free(body);
}

/* The same where all signals are blocked, as in the threads of a program that keeps them for its main thread. */
static void *seal_a_shrinking_file(void *verdict)
{
	struct tx_state tx = opening_state(3);
	struct body_source *from = source_of(0, SIZE);
	struct body_source_type cutting = *from->type;
	struct sealed_body *body;
	const uint8_t *bytes;
	size_t given;

	if (sealed_body_new(&body, from, SIZE, &tx) != RECORD_OK)
		return NULL;
	sealed_body_allow_view(body);
	while (sealed_body_bytes(body) < 1024 * 1024 && sealed_body_next(body, &bytes, &given) == SEALED_BODY_BLOCK)
		sealed_body_sent(body, given);
	file_type = from->type;
	cutting.view = view_then_cut;
	from->type = &cutting;
	*(enum sealed_body_status *)verdict = sealed_body_next(body, &bytes, &given);
	sealed_body_free(body);
	return NULL;
}

static void file_that_shrinks_under_a_thread_without_signals_breaks_the_body(void **state)
{
	enum sealed_body_status verdict = SEALED_BODY_BLOCK;
	sigset_t all, before;
	pthread_t thread;

	(void)state;
	(void)sigfillset(&all);
	assert_int_equal(pthread_sigmask(SIG_SETMASK, &all, &before), 0);
	assert_int_equal(pthread_create(&thread, NULL, seal_a_shrinking_file, &verdict), 0);
	assert_int_equal(pthread_sigmask(SIG_SETMASK, &before, NULL), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(verdict, SEALED_BODY_CHANGED);
}

static void bus_error_elsewhere_still_kills(void **state)
{
	pid_t child;
	int status;

	(void)state;
	child = fork();
	assert_true(child >= 0);
	if (!child) {
		struct tx_state tx = opening_state(3);
		struct rlimit no_core = {0, 0};
		volatile uint8_t *bytes;
		const uint8_t *block;
		size_t given;
		char path[80];
		int fd;

		(void)setrlimit(RLIMIT_CORE, &no_core);
		/* Not cmocka's, under which this would be the test's end. */
		(void)signal(SIGBUS, SIG_DFL);
		(void)sealed_body_next(body_of(0, SIZE, &tx), &block, &given);
		(void)snprintf(path, sizeof(path), "%s/file", root);
		fd = open(path, O_RDWR | O_CLOEXEC);
		bytes = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
		if (fd >= 0 && bytes != MAP_FAILED && ftruncate(fd, 0) == 0 && bytes[0] == 0)
			_exit(0);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	/* AddressSanitizer ends the process with a report instead. */
	assert_true((WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS) ||
		    (WIFEXITED(status) && WEXITSTATUS(status) != 0));
}

static void replaced_file_does_not_disturb_the_body(void **state)
{
	struct tx_state tx = opening_state(3);
	struct sealed_body *body = body_of(0, SIZE, &tx);
	const uint8_t *bytes;
	size_t given, len, plain_len;
	char path[80], other[80];

	(void)state;
	assert_int_equal(sealed_body_next(body, &bytes, &given), SEALED_BODY_BLOCK);
	(void)snprintf(path, sizeof(path), "%s/file", root);
	(void)snprintf(other, sizeof(other), "%s/other", root);
	assert_int_equal(close(open(other, O_WRONLY | O_CREAT | O_CLOEXEC, 0644)), 0);
	assert_int_equal(rename(other, path), 0);
	assert_int_equal(take_all(body, SIZE, &len), SEALED_BODY_END);
	assert_prefix(&tx, len, 0, &plain_len);
	assert_int_equal(plain_len, SIZE);
	sealed_body_free(body);
}

/* --- bodies that stay --- */

static void every_length_round_a_record_and_a_block_is_whole(void **state)
{
	static const uint64_t lengths[] = {1, 2, 16383, 16384, 16385, 262143, 262144, 262145, 262144 + 16384, SIZE};
	static const uint64_t offsets[] = {0, 1, 16384, 100000};
	struct tx_state tx = opening_state(0);

	(void)state;
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		for (size_t j = 0; j < sizeof(offsets) / sizeof(offsets[0]); j++) {
			uint64_t length = lengths[i] < SIZE - offsets[j] ? lengths[i] : SIZE - offsets[j];
			struct sealed_body *body = body_of(offsets[j], length, &tx);
			size_t len, plain_len;

			assert_int_equal(take_all(body, 100000, &len), SEALED_BODY_END);
			assert_int_equal(len, sealed_body_layout(body)->ciphertext);
			assert_prefix(&tx, len, offsets[j], &plain_len);
			assert_int_equal(plain_len, length);
			assert_int_equal(sealed_body_bytes(body), length);
			assert_int_equal(sealed_body_records(body), sealed_body_layout(body)->records);
			sealed_body_free(body);
		}
	}
}

/* Bodies that wait for their sockets keep what these did not take, and no more; each gets its own bytes. */
static void bodies_that_wait_keep_their_own_records(void **state)
{
	enum { BODIES = 20, TAKEN = 1000 };
	struct tx_state tx[BODIES];
	struct sealed_body *bodies[BODIES];
	static uint8_t first[BODIES][TAKEN];
	struct mallinfo2 before = mallinfo2(), now;

	(void)state;
	for (unsigned i = 0; i < BODIES; i++) {
		tx[i] = opening_state(i);
		bodies[i] = body_of(i, SIZE - i, &tx[i]);
	}
	for (unsigned i = 0; i < BODIES; i++) {
		const uint8_t *bytes;
		size_t given;

		assert_int_equal(sealed_body_next(bodies[i], &bytes, &given), SEALED_BODY_BLOCK);
		/* Of each second one the socket takes nothing, and the body is not even asked to keep its block. */
		if (i % 2)
			continue;
		memcpy(first[i], bytes, TAKEN);
		sealed_body_sent(bodies[i], TAKEN);
	}
	now = mallinfo2();
	assert_true(now.uordblks + now.hblkhd <
		    before.uordblks + before.hblkhd + (BODIES + 3) * (size_t)SEALED_BODY_BLOCK_MAX / 2);
	for (unsigned i = 0; i < BODIES; i++) {
		size_t taken = i % 2 ? 0 : TAKEN, len, plain_len;
		enum sealed_body_status status = take_all(bodies[i], 100000, &len);

		assert_int_equal(status, SEALED_BODY_END);
		memmove(received + taken, received, len);
		memcpy(received, first[i], taken);
		assert_prefix(&tx[i], len + taken, i, &plain_len);
		assert_int_equal(plain_len, SIZE - i);
		sealed_body_free(bodies[i]);
	}
}

/* A socket that takes little is offered little: what a body keeps of a block shrinks. */
static void slow_socket_gets_small_blocks(void **state)
{
	struct tx_state tx = opening_state(5);
	struct sealed_body *body = body_of(0, SIZE, &tx);
	size_t largest = 0;

	(void)state;
	for (unsigned i = 0; i < 40; i++) {
		const uint8_t *bytes;
		size_t given;

		assert_int_equal(sealed_body_next(body, &bytes, &given), SEALED_BODY_BLOCK);
		if (i >= 4 && given > largest)
			largest = given;
		/* It takes a record and a bit, then there is no room; later the rest. */
		sealed_body_sent(body, given < 20000 ? given : 20000);
		if (given > 20000) {
			assert_int_equal(sealed_body_next(body, &bytes, &given), SEALED_BODY_BLOCK);
			sealed_body_sent(body, given);
		}
	}
	assert_true(largest <= 2 * (size_t)RECORD_SEALED_MAX);
	sealed_body_free(body);
}

/* The first block is as large as its socket is said to take, between one record and a whole block. */
static void first_block_has_what_the_socket_takes(void **state)
{
	static const struct {
		size_t expected;
		unsigned records;
	} cases[] = {{1, 1}, {4 * RECORD_SEALED_MAX, 4}, {1u << 20, SEALED_BODY_BLOCK_RECORDS}};
	struct tx_state tx = opening_state(5);

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct sealed_body *body = body_of(0, SIZE, &tx);
		const uint8_t *bytes;
		size_t given;

		sealed_body_expect(body, cases[i].expected);
		assert_int_equal(sealed_body_next(body, &bytes, &given), SEALED_BODY_BLOCK);
		assert_int_equal(sealed_body_records(body), cases[i].records);
		sealed_body_free(body);
	}
}

/* Sends a body over a socket pair whose reader takes a little now and then. However slow it is, no more is sealed than
 * one block beyond what the socket took. */
static void slow_reader_costs_one_block(void **state)
{
	struct tx_state tx = opening_state(11);
	struct sealed_body *body = body_of(0, SIZE, &tx);
	enum fetch_transfer_status status;
	struct fetch_transfer transfer;
	size_t len = 0, plain_len;
	const char *why = "";
	int pair[2], blocked = 0;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(fetch_transfer_init(&transfer, "HEAD", 4), 0);
	fetch_transfer_set_sealed(&transfer, body);
	do {
		ssize_t n;

		status = fetch_transfer_send(&transfer, pair[0], 1u << 20, &why);
		assert_true(status == FETCH_TRANSFER_BLOCKED || status == FETCH_TRANSFER_YIELDED ||
			    status == FETCH_TRANSFER_DONE);
		blocked += status == FETCH_TRANSFER_BLOCKED;
		assert_true(sealed_body_bytes(body) <= transfer.sent + SEALED_BODY_BLOCK_MAX);
		n = read(pair[1], received + len, 30000);
		assert_true(n > 0);
		len += (size_t)n;
	} while (status != FETCH_TRANSFER_DONE);
	assert_true(blocked > 10);
	for (ssize_t n; (n = read(pair[1], received + len, SIZE)) > 0;)
		len += (size_t)n;
	assert_memory_equal(received, "HEAD", 4);
	memmove(received, received + 4, len - 4);
	assert_prefix(&tx, len - 4, 0, &plain_len);
	assert_int_equal(plain_len, SIZE);
	fetch_transfer_release(&transfer);
	assert_int_equal(close(pair[0]) + close(pair[1]), 0);
}

static void change_under_a_slow_reader_breaks_the_transfer(void **state)
{
	struct tx_state tx = opening_state(11);
	struct fetch_transfer transfer;
	enum fetch_transfer_status status;
	size_t len = 0, plain_len;
	const char *why = "";
	char path[80];
	int pair[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(fetch_transfer_init(&transfer, "H", 1), 0);
	fetch_transfer_set_sealed(&transfer, body_of(0, SIZE, &tx));
	assert_int_equal(fetch_transfer_send(&transfer, pair[0], SIZE, &why), FETCH_TRANSFER_BLOCKED);
	(void)snprintf(path, sizeof(path), "%s/file", root);
	assert_int_equal(truncate(path, 700000), 0);
	do {
		ssize_t n = read(pair[1], received + len, 30000);

		if (n > 0)
			len += (size_t)n;
		status = fetch_transfer_send(&transfer, pair[0], SIZE, &why);
	} while (status == FETCH_TRANSFER_BLOCKED);
	assert_int_equal(status, FETCH_TRANSFER_BROKEN);
	assert_string_equal(why, "the file changed during the transfer");
	for (ssize_t n; (n = read(pair[1], received + len, SIZE)) > 0;)
		len += (size_t)n;
	assert_prefix(&tx, (memmove(received, received + 1, len - 1), len - 1), 0, &plain_len);
	assert_true(plain_len < SIZE);
	fetch_transfer_release(&transfer);
	assert_int_equal(close(pair[0]) + close(pair[1]), 0);
}

/* Sends <transfer>'s head of one byte and its body. Returns how many bytes of the body arrived. */
static size_t send_plain_whole(struct fetch_transfer *transfer, const int pair[2])
{
	enum fetch_transfer_status status;
	const char *why = "";
	size_t len = 0;

	do {
		ssize_t n;

		status = fetch_transfer_send(transfer, pair[0], SIZE, &why);
		while ((n = read(pair[1], received + len, SIZE)) > 0)
			len += (size_t)n;
	} while (status == FETCH_TRANSFER_BLOCKED || status == FETCH_TRANSFER_YIELDED);
	assert_int_equal(status, FETCH_TRANSFER_DONE);
	return len - 1;
}

/* Without a lease what was announced is sent, as other servers do: a log that grows can be downloaded. */
static void plain_body_of_a_file_that_grows_is_sent_as_announced(void **state)
{
	struct fetch_transfer transfer;
	struct file_object object;
	char path[80];
	int pair[2], fd;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(file_source_open(source, "file", &object), FILE_OK);
	assert_int_equal(fetch_transfer_init(&transfer, "H", 1), 0);
	fetch_transfer_set_plain(&transfer, &object, 0, SIZE);
	(void)snprintf(path, sizeof(path), "%s/file", root);
	fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
	assert_int_equal(write(fd, "more", 4), 4);
	assert_int_equal(futimens(fd, NULL) + close(fd), 0);
	assert_int_equal(send_plain_whole(&transfer, pair), SIZE);
	assert_memory_equal(received + 1, content, SIZE);
	fetch_transfer_release(&transfer);
	assert_int_equal(close(pair[0]) + close(pair[1]), 0);
}

static void plain_body_of_a_truncated_file_breaks(void **state)
{
	enum fetch_transfer_status status;
	struct fetch_transfer transfer;
	struct file_object object;
	const char *why = "";
	char path[80];
	int pair[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(file_source_open(source, "file", &object), FILE_OK);
	assert_int_equal(fetch_transfer_init(&transfer, "H", 1), 0);
	fetch_transfer_set_plain(&transfer, &object, 0, SIZE);
	(void)snprintf(path, sizeof(path), "%s/file", root);
	assert_int_equal(truncate(path, 700000), 0);
	do {
		status = fetch_transfer_send(&transfer, pair[0], SIZE, &why);
		while (read(pair[1], received, SIZE) > 0)
			;
	} while (status == FETCH_TRANSFER_BLOCKED || status == FETCH_TRANSFER_YIELDED);
	assert_int_equal(status, FETCH_TRANSFER_BROKEN);
	assert_string_equal(why, "the file was truncated during the transfer");
	fetch_transfer_release(&transfer);
	assert_int_equal(close(pair[0]) + close(pair[1]), 0);
}

static void peer_that_left_is_told_apart(void **state)
{
	struct tx_state tx = opening_state(1);
	struct fetch_transfer transfer;
	const char *why = "";
	int pair[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(fetch_transfer_init(&transfer, "H", 1), 0);
	fetch_transfer_set_sealed(&transfer, body_of(0, SIZE, &tx));
	assert_int_equal(close(pair[1]), 0);
	assert_int_equal(fetch_transfer_send(&transfer, pair[0], SIZE, &why), FETCH_TRANSFER_PEER_GONE);
	fetch_transfer_release(&transfer);
	assert_int_equal(close(pair[0]), 0);
}

int main(void)
{
#define FILE_TEST(name) cmocka_unit_test_setup(name, make_file)
	const struct CMUnitTest tests[] = {
		FILE_TEST(refused_bodies_leave_the_source_to_the_caller),
		FILE_TEST(rewritten_file_breaks_the_body),
		FILE_TEST(truncated_file_breaks_the_body),
		FILE_TEST(emptied_file_breaks_the_body),
		FILE_TEST(grown_file_breaks_the_body),
		FILE_TEST(file_that_shrinks_while_it_is_sealed_breaks_the_body),
		FILE_TEST(file_that_shrinks_under_a_thread_without_signals_breaks_the_body),
		FILE_TEST(bus_error_elsewhere_still_kills),
		FILE_TEST(replaced_file_does_not_disturb_the_body),
		FILE_TEST(every_length_round_a_record_and_a_block_is_whole),
		FILE_TEST(bodies_that_wait_keep_their_own_records),
		FILE_TEST(slow_socket_gets_small_blocks),
		FILE_TEST(first_block_has_what_the_socket_takes),
		FILE_TEST(slow_reader_costs_one_block),
		FILE_TEST(change_under_a_slow_reader_breaks_the_transfer),
		FILE_TEST(plain_body_of_a_file_that_grows_is_sent_as_announced),
		FILE_TEST(plain_body_of_a_truncated_file_breaks),
		FILE_TEST(peer_that_left_is_told_apart),
	};

	int failed = cmocka_run_group_tests_name("read", tests, make_all, remove_all);

	viewing = true;
	return failed + cmocka_run_group_tests_name("viewed", tests, make_all, remove_all);
}
