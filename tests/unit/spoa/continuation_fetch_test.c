/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards: the agent's own request for a continuation is to the byte what the protocol says, its proof as Python's hmac
 * computes it, and an answer with another announcement than the expected one gives no byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <sys/socket.h>
#include <unistd.h>

#include "continuation_fetch.h"
#include "proof.h"

#define TICKET "00112233445566778899aabbccddeeff"
#define ANNOUNCED \
	"splice; ticket=" TICKET "; seq=3; records=1; length=7232; status=206; first=32768; etag=\"e\"; proof="
#define RIGHT "b14362e5054a2fd9b3a27244e6ac0534"

struct fetcher {
	struct ev_loop *loop;
	struct continuation_fetch *fetch;
	int listener, node;
	char taken[16];
	size_t taken_len;
	bool ended, failed;
};

static size_t on_take(void *context, const uint8_t *bytes, size_t len)
{
	struct fetcher *fetcher = context;

	assert_true(len <= sizeof(fetcher->taken) - fetcher->taken_len);
	memcpy(fetcher->taken + fetcher->taken_len, bytes, len);
	fetcher->taken_len += len;
	return len;
}

static void on_ended(void *context, const char *fault)
{
	struct fetcher *fetcher = context;

	fetcher->ended = true;
	fetcher->failed = fault != NULL;
}

static const struct continuation_fetch_handlers handlers = {on_take, on_ended};

/* Starts a fetch of four bytes of records, and accepts it. */
static void start(struct fetcher *fetcher)
{
	static const uint8_t key[PROOF_KEY_LEN] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
	struct continuation_fetch_request request = {.host = "site:8443",
						     .target = "/a?b",
						     .etag = "\"e\"",
						     .proof_key = key,
						     .first = 32768,
						     .last = 39999,
						     .announcement = ANNOUNCED RIGHT,
						     .length = 4};
	struct address address;
	const char *why;

	*fetcher = (struct fetcher){.loop = ev_loop_new(EVFLAG_AUTO)};
	assert_int_equal(address_parse(&address, "127.0.0.1:0", &why), 0);
	fetcher->listener = address_listen(&address, 16, 0600);
	assert_true(fetcher->listener >= 0);
	address.len = sizeof(address.storage);
	assert_int_equal(getsockname(fetcher->listener, (struct sockaddr *)&address.storage, &address.len), 0);
	assert_true(ticket_parse(&request.ticket, TICKET, TICKET_TEXT_LEN));
	request.node = &address;
	fetcher->fetch = continuation_fetch_start(fetcher->loop, &request, &handlers, fetcher);
	assert_non_null(fetcher->fetch);
	for (;;) {
		fetcher->node = accept(fetcher->listener, NULL, NULL);
		if (fetcher->node >= 0)
			break;
		(void)ev_run(fetcher->loop, EVRUN_ONCE);
	}
}

static void answer(struct fetcher *fetcher, const char *text)
{
	assert_int_equal(send(fetcher->node, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
	while (!fetcher->ended)
		(void)ev_run(fetcher->loop, EVRUN_ONCE);
}

static void stop(struct fetcher *fetcher)
{
	continuation_fetch_free(fetcher->fetch);
	assert_int_equal(close(fetcher->node), 0);
	assert_int_equal(close(fetcher->listener), 0);
	ev_loop_destroy(fetcher->loop);
}

static void answers_with_another_announcement_are_refused(void **state)
{
	static const char *const answers[] = {
		"HTTP/1.1 206 OK\r\nContent-Length: 4\r\nDisc-Body: " ANNOUNCED
		"c14362e5054a2fd9b3a27244e6ac0534\r\n\r\nabcd",
		"HTTP/1.1 206 OK\r\nContent-Length: 4\r\nDisc-Body: none; ticket=" TICKET "; proof=" RIGHT
		"\r\n\r\nabcd",
		"HTTP/1.1 206 OK\r\nContent-Length: 4\r\n\r\nabcd",
	};
	struct fetcher fetcher;

	(void)state;
	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		start(&fetcher);
		answer(&fetcher, answers[i]);
		assert_true(fetcher.failed);
		assert_int_equal(fetcher.taken_len, 0);
		stop(&fetcher);
	}
}

static void request_is_written_and_proven_exactly(void **state)
{
	static const char expected[] = "GET /a?b HTTP/1.1\r\nHost: site:8443\r\nRange: bytes=32768-39999\r\n"
				       "If-Match: \"e\"\r\nDisc-Ticket: " TICKET
				       "; proof=996d9baf737813607ab6be5777291d32\r\nConnection: close\r\n\r\n";
	struct fetcher fetcher;
	char request[1024];
	ssize_t len;

	(void)state;
	start(&fetcher);
	while ((len = recv(fetcher.node, request, sizeof(request), MSG_DONTWAIT)) < 0)
		(void)ev_run(fetcher.loop, EVRUN_ONCE);
	assert_int_equal(len, strlen(expected));
	assert_memory_equal(request, expected, strlen(expected));
	answer(&fetcher, "HTTP/1.1 206 OK\r\nContent-Length: 4\r\nDisc-Body: " ANNOUNCED RIGHT "\r\n\r\nabcd");
	assert_false(fetcher.failed);
	assert_int_equal(fetcher.taken_len, 4);
	assert_memory_equal(fetcher.taken, "abcd", 4);
	stop(&fetcher);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers_with_another_announcement_are_refused),
		cmocka_unit_test(request_is_written_and_proven_exactly),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
