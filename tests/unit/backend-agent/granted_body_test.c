/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards the node's side of grants (doc/protocol.md section 6): every answer has exactly the bytes that were granted, in
 * clear and in DATA frames that open in the slots that were granted; ready bytes are reported when the LB needs to know;
 * a void grant's bytes come again; whatever does not fit is refused, and then nothing is sealed any more. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "file_body.h"
#include "granted_body.h"
#include "granting.h"
#include "record_opening.h"
#include "workshop.h"

#define LENGTH (1024u * 1024 + 77)
#define STREAM 7u

/* A source whose bytes come as a test wants them. */
struct scripted {
	struct body_source source; /* first */
	const uint8_t *bytes;
	uint64_t at, come;
	bool failed;
};

/* A granted body and what the LB knows of it. */
struct line {
	struct scripted *scripted; /* NULL: a file is the source */
	struct granted_body *body;
	struct tx_state state;
	struct ticket ticket;
	struct granting_message message; /* the last one */
	uint8_t *payload;                /* its own */
	bool ended;                      /* the last chunk came */
	uint64_t number, slot;           /* of the next grant */
};

static uint8_t *content;

static enum body_source_status scripted_look(struct body_source *source, uint64_t *bytes)
{
	struct scripted *scripted = (struct scripted *)source;

	if (scripted->failed)
		return BODY_SOURCE_FAILED;
	*bytes = scripted->come - scripted->at;
	if (*bytes)
		return BODY_SOURCE_READY;
	return scripted->come == LENGTH ? BODY_SOURCE_END : BODY_SOURCE_WAITING;
}

static enum body_source_status scripted_read(struct body_source *source, const struct iovec *pieces, unsigned count)
{
	struct scripted *scripted = (struct scripted *)source;

	for (unsigned i = 0; i < count; i++) {
		assert_true(pieces[i].iov_len <= scripted->come - scripted->at);
		memcpy(pieces[i].iov_base, scripted->bytes + scripted->at, pieces[i].iov_len);
		scripted->at += pieces[i].iov_len;
	}
	return BODY_SOURCE_READY;
}

static void scripted_free(struct body_source *source)
{
	free(source);
}

static const struct body_source_type scripted_type = {
	.look = scripted_look, .read = scripted_read, .free = scripted_free};

static char root[64];

static int make_content(void **state)
{
	const struct timespec past[2] = {{.tv_sec = 1000000000}, {.tv_sec = 1000000000}};
	char path[80];
	FILE *file;

	(void)state;
	content = malloc(LENGTH);
	assert_non_null(content);
	for (size_t i = 0; i < LENGTH; i++)
		content[i] = (uint8_t)(i * 2246822519u >> 9);
	strcpy(root, "/tmp/disc-granted-XXXXXX");
	assert_non_null(mkdtemp(root));
	(void)snprintf(path, sizeof(path), "%s/file", root);
	file = fopen(path, "w");
	assert_non_null(file);
	assert_int_equal(fwrite(content, 1, LENGTH, file), LENGTH);
	assert_int_equal(fflush(file), 0);
	assert_int_equal(futimens(fileno(file), past), 0);
	assert_int_equal(fclose(file), 0);
	return 0;
}

static int remove_content(void **state)
{
	char path[80];

	(void)state;
	(void)snprintf(path, sizeof(path), "%s/file", root);
	(void)unlink(path);
	(void)rmdir(root);
	free(content);
	return 0;
}

static void open_line(struct line *line, struct body_source *source, struct scripted *scripted)
{
	*line = (struct line){.scripted = scripted, .state = opening_state(0), .number = 1, .slot = 5};
	line->state.use = TX_USE_GRANTS;
	memset(line->ticket.bytes, 0x5a, sizeof(line->ticket.bytes));
	assert_int_equal(granted_body_new(&line->body, source, LENGTH, &line->state, &line->ticket), RECORD_OK);
	line->payload = malloc(GRANT_BYTES_MAX + 4096);
	assert_non_null(line->payload);
}

/* With <come> bytes at first. */
static void open_scripted(struct line *line, uint64_t come)
{
	struct scripted *scripted = calloc(1, sizeof(*scripted));

	assert_non_null(scripted);
	*scripted = (struct scripted){{&scripted_type, NULL}, content, 0, come, false};
	open_line(line, &scripted->source, scripted);
	assert_int_equal(granted_body_ready(line->body), come);
}

static void open_file(struct line *line)
{
	struct file_source *files = file_source_new(root);
	struct body_source *source;
	struct file_object object;

	assert_non_null(files);
	assert_int_equal(file_source_open(files, "file", &object), FILE_OK);
	source = file_body_new(&object, 0, LENGTH);
	assert_non_null(source);
	open_line(line, source, NULL);
	file_source_free(files);
	assert_int_equal(granted_body_ready(line->body), LENGTH);
}

static void close_line(struct line *line)
{
	granted_body_free(line->body);
	free(line->payload);
}

static struct grant next_grant(const struct line *line, uint64_t first, uint32_t bytes, uint32_t clear)
{
	return (struct grant){
		.last = first + bytes == LENGTH,
		.stream = STREAM,
		.number = line->number,
		.slot = clear < bytes ? line->slot : 0,
		.first = first,
		.bytes = bytes,
		.clear = clear,
	};
}

static const char *take(struct line *line, const struct grant *grant)
{
	uint8_t wire[GRANT_WIRE_LEN];

	granting_encode(wire, grant, &line->ticket, line->state.proof_key);
	return granted_body_take(line->body, wire);
}

/* Sends a block in pieces of at most <piece> bytes. Returns false if there is none. */
static bool read_message(struct line *line, size_t piece)
{
	uint8_t *chunk = malloc(WORKSHOP_LEN);
	size_t have = 0, head, len;
	const uint8_t *bytes;
	char *end;

	assert_non_null(chunk);
	do {
		size_t left;

		if (granted_body_next(line->body, &bytes, &left) != GRANTED_BODY_BLOCK) {
			free(chunk);
			return false;
		}
		len = left < piece ? left : piece;
		memcpy(chunk + have, bytes, len);
		have += len;
		granted_body_sent(line->body, len);
		if (len == left)
			break;
	} while (true);
	len = strtoul((char *)chunk, &end, 16);
	assert_memory_equal(end, "\r\n", 2);
	head = (size_t)((uint8_t *)end + 2 - chunk);
	assert_true(head + len + 2 <= have);
	assert_memory_equal(chunk + head + len, "\r\n", 2);
	if (head + len + 2 < have) {
		assert_int_equal(have - head - len - 2, 5);
		assert_memory_equal(chunk + head + len + 2, "0\r\n\r\n", 5);
		line->ended = true;
	}
	assert_true(granting_read(&line->message, chunk + head, &line->ticket, line->state.proof_key));
	assert_int_equal(line->message.payload, len - GRANTING_HEAD_LEN);
	memcpy(line->payload, chunk + head + GRANTING_HEAD_LEN, line->message.payload);
	free(chunk);
	return true;
}

/* The answer to <grant> has its bytes, in clear and sealed where they belong. */
static void assert_answer(struct line *line, const struct grant *grant)
{
	uint8_t *plain = malloc(2 * GRANT_BYTES_MAX);
	uint64_t records, at = grant->first + grant->clear;
	struct tx_state state = line->state;
	size_t len;

	assert_non_null(plain);
	assert_int_equal(line->message.type, 1);
	assert_int_equal(line->message.number, grant->number);
	assert_memory_equal(line->payload, content + grant->first, grant->clear);
	state.seq = grant->slot;
	assert_true(open_records(&state, line->payload + grant->clear, line->message.payload - grant->clear, plain,
				 2 * (size_t)GRANT_BYTES_MAX, &len, &records));
	assert_int_equal(records, (grant->bytes - grant->clear + 16374) / 16375);
	for (uint8_t *frame = plain; frame < plain + len; frame += 9 + granting_get(frame, 3)) {
		uint32_t payload = (uint32_t)granting_get(frame, 3);
		bool last = frame + 9 + payload == plain + len;

		assert_true(payload == 16375 || last);
		assert_int_equal(frame[3], 0);
		assert_int_equal(frame[4], last && grant->last);
		assert_int_equal(granting_get(frame + 5, 4), STREAM);
		assert_memory_equal(frame + 9, content + at, payload);
		at += payload;
	}
	assert_int_equal(at, grant->first + grant->bytes);
	free(plain);
}

/* Grants and reads the answer. */
static void run_grant(struct line *line, uint64_t first, uint32_t bytes, uint32_t clear)
{
	struct grant grant = next_grant(line, first, bytes, clear);
	const char *why = take(line, &grant);

	if (why)
		fail_msg("refused: %s", why);
	assert_true(read_message(line, SIZE_MAX));
	assert_answer(line, &grant);
	line->number++;
	if (grant.slot)
		line->slot += data_layout_of(&grant).records + 1;
}

static enum granted_body_status status_of(struct line *line)
{
	const uint8_t *bytes;
	size_t len;

	return granted_body_next(line->body, &bytes, &len);
}

static void run_whole_body(struct line *line)
{
	uint64_t at = 0;

	for (unsigned i = 0; at < LENGTH; i++) {
		uint64_t left = LENGTH - at;
		uint32_t bytes = (uint32_t)(left < 262144 ? left : i % 2 ? 65536 : 262144);

		if (line->scripted) {
			line->scripted->come = at + bytes;
			if (i)
				assert_true(read_message(line, SIZE_MAX));
		}
		run_grant(line, at, bytes, i % 3 == 2 ? bytes : 1);
		at += bytes;
	}
	assert_true(line->ended);
	assert_int_equal(status_of(line), GRANTED_BODY_END);
	assert_false(granted_body_is_open(line->body));
}

static void whole_body_comes_by_grants(void **unused)
{
	struct granted_body_count count;
	struct line line;

	(void)unused;
	open_file(&line);
	run_whole_body(&line);
	count = granted_body_count(line.body);
	assert_int_equal(count.bytes + count.clear, LENGTH);
	assert_true(count.records > 0 && count.clear > 65536);
	assert_false(count.changed);
	close_line(&line);
	open_scripted(&line, 262144);
	run_whole_body(&line);
	close_line(&line);
}

static void answer_goes_out_in_any_pieces(void **unused)
{
	static const size_t pieces[] = {1000, 16384, 65536, 100000};
	struct line line;
	uint64_t at = 0;

	(void)unused;
	open_file(&line);
	for (size_t i = 0; i < 4; i++) {
		struct grant grant = next_grant(&line, at, 100000, 1024);

		assert_null(take(&line, &grant));
		assert_true(read_message(&line, pieces[i]));
		assert_answer(&line, &grant);
		at += 100000;
		line.number++;
		line.slot += 8;
	}
	close_line(&line);
}

/* Another body of the thread is sealed while one waits for its socket. */
static void bodies_of_a_thread_do_not_mix(void **unused)
{
	struct grant grants[2];
	struct line lines[2];

	(void)unused;
	for (int i = 0; i < 2; i++) {
		open_file(&lines[i]);
		grants[i] = next_grant(&lines[i], 0, (uint32_t)(200000 + i), 1);
		assert_null(take(&lines[i], &grants[i]));
		assert_int_equal(status_of(&lines[i]), GRANTED_BODY_BLOCK);
	}
	for (int i = 0; i < 2; i++) {
		assert_true(read_message(&lines[i], 5000));
		assert_answer(&lines[i], &grants[i]);
		close_line(&lines[i]);
	}
}

/* The LB did not use the answer: the same bytes come again, in clear or in higher slots, whole or in parts. */
static void void_grants_bytes_come_again(void **unused)
{
	(void)unused;
	for (int with_file = 0; with_file < 2; with_file++) {
		struct line line;

		if (with_file)
			open_file(&line);
		else
			open_scripted(&line, 300000);
		run_grant(&line, 0, 200000, 1);
		run_grant(&line, 0, 5000, 5000);
		run_grant(&line, 0, 65536, 65536);
		run_grant(&line, 30000, 100000, 1000);
		run_grant(&line, 129999, 5, 2);
		run_grant(&line, 130004, 100000, 1);
		if (line.scripted)
			assert_int_equal(line.scripted->at, 230004);
		close_line(&line);
	}
}

static void reports_come_when_the_lb_has_little_left(void **unused)
{
	struct line line;

	(void)unused;
	open_scripted(&line, 70000);
	assert_int_equal(status_of(&line), GRANTED_BODY_WAITING);
	assert_true(granted_body_awaits_grant(line.body));
	line.scripted->come = 200000;
	assert_int_equal(status_of(&line), GRANTED_BODY_WAITING); /* 70000 bytes are not granted yet */
	run_grant(&line, 0, 5000, 1);
	assert_int_equal(line.message.ready, 200000);
	run_grant(&line, 5000, 195000, 1);
	assert_false(granted_body_awaits_grant(line.body));
	line.scripted->come = 216383;
	assert_int_equal(status_of(&line), GRANTED_BODY_WAITING);
	line.scripted->come++;
	assert_true(read_message(&line, SIZE_MAX));
	assert_int_equal(line.message.type, 2);
	assert_int_equal(line.message.payload, 0);
	assert_int_equal(line.message.number, 2);
	assert_int_equal(line.message.ready, 216384);
	assert_true(granted_body_awaits_grant(line.body));
	assert_int_equal(status_of(&line), GRANTED_BODY_WAITING);
	/* The end is always told. */
	line.scripted->come = LENGTH;
	assert_true(read_message(&line, SIZE_MAX));
	assert_int_equal(line.message.ready, LENGTH);
	assert_int_equal(status_of(&line), GRANTED_BODY_WAITING);
	close_line(&line);
}

static void source_that_fails_breaks_the_body(void **unused)
{
	struct line line;

	(void)unused;
	open_scripted(&line, 100000);
	run_grant(&line, 0, 50000, 1);
	line.scripted->failed = true;
	assert_int_equal(status_of(&line), GRANTED_BODY_READ_FAILED);
	assert_string_equal(granted_body_fault(line.body), "the body ended early");
	assert_false(granted_body_is_open(line.body));
	line.scripted->failed = false;
	assert_int_equal(status_of(&line), GRANTED_BODY_READ_FAILED);
	close_line(&line);
}

static void changed_file_breaks_the_body_before_a_byte_is_sealed(void **unused)
{
	struct grant grant;
	struct line line;
	char path[80];

	(void)unused;
	open_file(&line);
	run_grant(&line, 0, 50000, 1);
	(void)snprintf(path, sizeof(path), "%s/file", root);
	assert_int_equal(utimensat(AT_FDCWD, path, (const struct timespec[2]){{.tv_sec = 5}, {.tv_sec = 5}}, 0), 0);
	grant = next_grant(&line, 50000, 50000, 1);
	assert_null(take(&line, &grant));
	assert_int_equal(status_of(&line), GRANTED_BODY_CHANGED);
	assert_true(granted_body_count(line.body).changed);
	assert_int_equal(granted_body_count(line.body).bytes, 49999);
	close_line(&line);
	assert_int_equal(utimensat(AT_FDCWD, path,
				   (const struct timespec[2]){{.tv_sec = 1000000000}, {.tv_sec = 1000000000}}, 0),
			 0);
}

/* After one good grant of 0..50000 in slots 5 to 8, of 900000 ready bytes. */
static void grants_that_do_not_fit_are_refused(void **unused)
{
	static const struct {
		struct grant grant;
		const char *why; /* begins with; NULL: it is taken */
	} cases[] = {
		{{false, STREAM, 2, 9, 50000, 1000, 1}, NULL},
		{{false, STREAM, 2, 1000, 0, 262144, 1024}, NULL},
		{{false, STREAM, 2, 0, 49999, 1000, 1000}, NULL},
		{{false, STREAM, 1, 9, 50000, 1000, 1}, "number"},
		{{false, STREAM, 3, 9, 50000, 1000, 1}, "number"},
		{{false, STREAM, 2, 8, 50000, 1000, 1}, "slot"},
		{{false, STREAM, 2, 5, 0, 50000, 1}, "slot"}, /* the very same, again */
		{{false, STREAM, 2, 9, 50001, 1000, 1}, "first"},
		{{false, STREAM, 2, 9, 700000, 262144, 1}, "first"},
		{{false, STREAM + 2, 2, 9, 50000, 1000, 1}, "stream"},
		{{true, STREAM, 2, 9, 50000, 1000, 1}, "last"},
		{{false, STREAM, 2, 9, 50000, 262145, 1}, "bytes"},
		{{false, STREAM, 2, 9, 50000, 1000, 1001}, "clear"},
	};

	(void)unused;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct line line;
		const char *why;

		open_scripted(&line, 900000);
		run_grant(&line, 0, 50000, 1);
		why = take(&line, &cases[i].grant);
		if (!cases[i].why) {
			assert_null(why);
			assert_true(read_message(&line, SIZE_MAX));
			assert_answer(&line, &cases[i].grant);
		} else if (!why || strncmp(why, cases[i].why, strlen(cases[i].why)) != 0) {
			fail_msg("case %zu: \"%s\"", i, why ? why : "taken");
		} else {
			assert_false(granted_body_is_open(line.body));
			assert_int_equal(status_of(&line), GRANTED_BODY_READ_FAILED);
			assert_string_equal(granted_body_fault(line.body), why);
		}
		close_line(&line);
	}
}

static void first_grant_begins_the_body_and_only_what_is_ready_is_granted(void **unused)
{
	static const struct {
		struct grant grant;
		const char *why;
	} cases[] = {
		{{false, STREAM, 1, 1, 0, 1000, 1}, NULL},    {{false, STREAM, 1, 1, 1, 999, 1}, "first"},
		{{false, STREAM, 1, 1, 0, 1001, 1}, "bytes"}, {{false, STREAM, 2, 1, 0, 1000, 1}, "number"},
		{{true, STREAM, 1, 1, 0, 1000, 1}, "last"},
	};

	(void)unused;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct line line;
		const char *why;

		open_scripted(&line, 1000);
		/* More came, but the LB does not know. */
		line.scripted->come = 2000;
		why = take(&line, &cases[i].grant);
		if (cases[i].why ? !why || strncmp(why, cases[i].why, strlen(cases[i].why)) != 0 : why != NULL)
			fail_msg("case %zu: \"%s\"", i, why ? why : "taken");
		close_line(&line);
	}
}

static void forged_grant_is_refused_and_nothing_sealed_afterwards(void **unused)
{
	struct line line;
	struct grant grant;
	uint8_t wire[GRANT_WIRE_LEN];
	const char *why;

	(void)unused;
	open_file(&line);
	run_grant(&line, 0, 50000, 1);
	grant = next_grant(&line, 50000, 1000, 1);
	granting_encode(wire, &grant, &line.ticket, line.state.proof_key);
	wire[63] ^= 1;
	why = granted_body_take(line.body, wire);
	assert_non_null(why);
	assert_memory_equal(why, "proof", 5);
	assert_int_equal(granted_body_count(line.body).records, 4);
	assert_int_equal(status_of(&line), GRANTED_BODY_READ_FAILED);
	close_line(&line);
}

static void few_grants_may_wait(void **unused)
{
	struct line line;
	struct grant grant;

	(void)unused;
	open_file(&line);
	for (unsigned i = 0; i < GRANTED_BODY_WAITING_MAX + 1; i++) {
		grant = next_grant(&line, 1000 * i, 1000, 1);
		assert_null(take(&line, &grant));
		line.number++;
		line.slot++;
	}
	grant = next_grant(&line, 1000 * 5, 1000, 1);
	assert_string_equal(take(&line, &grant), "too many grants wait for their answers");
	close_line(&line);
}

static void only_bodies_with_bytes_and_states_for_grants(void **unused)
{
	struct tx_state state = opening_state(1);
	struct scripted scripted = {{&scripted_type, NULL}, content, 0, 0, false};
	struct ticket ticket = {{0}};
	struct granted_body *body;

	(void)unused;
	assert_int_equal(granted_body_new(&body, &scripted.source, LENGTH, &state, &ticket), RECORD_WRONG_USE);
	assert_null(body);
	state.seq = 0;
	state.use = TX_USE_GRANTS;
	assert_int_equal(granted_body_new(&body, &scripted.source, 0, &state, &ticket), RECORD_EMPTY);
	assert_null(body);
	granted_body_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_bodies_with_bytes_and_states_for_grants),
		cmocka_unit_test(grants_that_do_not_fit_are_refused),
		cmocka_unit_test(first_grant_begins_the_body_and_only_what_is_ready_is_granted),
		cmocka_unit_test(forged_grant_is_refused_and_nothing_sealed_afterwards),
		cmocka_unit_test(few_grants_may_wait),
		cmocka_unit_test(whole_body_comes_by_grants),
		cmocka_unit_test(answer_goes_out_in_any_pieces),
		cmocka_unit_test(bodies_of_a_thread_do_not_mix),
		cmocka_unit_test(void_grants_bytes_come_again),
		cmocka_unit_test(reports_come_when_the_lb_has_little_left),
		cmocka_unit_test(source_that_fails_breaks_the_body),
		cmocka_unit_test(changed_file_breaks_the_body_before_a_byte_is_sealed),
	};

	return cmocka_run_group_tests(tests, make_content, remove_content);
}
