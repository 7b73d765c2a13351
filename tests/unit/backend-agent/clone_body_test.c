/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards where a clone's bytes come from: a file that changes ends it without another byte, an origin's answer is sent
 * as it comes, and only bodies that another node could go on with are announced as direct. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "direct_lab.h"
#include "node_metrics.h"
#include "scripted_origin.h"

/* A lab whose node fronts an origin. */
struct fronted {
	struct scripted_origin origin;
	struct http_source_settings settings;
	char base[ADDRESS_TEXT_MAX + 16], head[512];
};

static struct fronted fronted;

static int fronted_lab_open(void **state)
{
	char text[ADDRESS_TEXT_MAX];
	struct direct_lab *lab;

	if (direct_lab_open(state) != 0)
		return -1;
	lab = *state;
	origin_open(&fronted.origin, lab->loop, "127.0.0.1:0");
	(void)snprintf(fronted.base, sizeof(fronted.base), "http://%s/", address_format(&fronted.origin.address, text));
	fronted.settings = (struct http_source_settings){
		.base = fronted.base, .connect_timeout = 5, .timeout = 10, .max_connections = 4};
	fronted.origin.head = fronted.head;
	fronted.origin.body_len = LAB_BODY_SIZE;
	lab_front(lab, &fronted.settings);
	return 0;
}

static int fronted_lab_close(void **state)
{
	origin_close(&fronted.origin);
	return direct_lab_close(state);
}

static void script(const char *status, const char *fields)
{
	(void)snprintf(fronted.head, sizeof(fronted.head), "HTTP/1.1 %s\r\nContent-Length: %u\r\n%s\r\n", status,
		       LAB_BODY_SIZE, fields);
}

/* Up to the node's HandoffReply, for what the origin answers. */
static void transmit(struct direct_lab *lab)
{
	lab_fetch(lab, "/from-origin", "", 1);
	assert_non_null(strstr(lab_response, "Disc-Body: direct;"));
	lab_connect(lab, 4);
	lab_hand_off(lab, true);
}

static void return_connection(struct direct_lab *lab)
{
	lab_client_reads(lab, lab_ciphertext(LAB_BODY_SIZE) - TCP_SEND_TAIL_MAX);
	lab_await(lab, CONTROL_DRAINED, 1);
	lab_recall(lab, false);
	lab_take_back(lab);
	lab_client_reads(lab, lab_ciphertext(LAB_BODY_SIZE));
	lab_assert_received(lab, LAB_BODY_SIZE);
}

/* --- files --- */

/* A replica could not tell another file of this size and time from it. */
static void file_with_a_time_of_whole_seconds_goes_by_splice(void **state)
{
	const struct timespec whole[2] = {{1000000000, 0}, {1000000000, 0}};
	struct direct_lab *lab = *state;
	char path[128];

	lab_write_file("whole", LAB_BODY_SIZE);
	(void)snprintf(path, sizeof(path), "%s/whole", lab_root);
	assert_int_equal(utimensat(AT_FDCWD, path, whole, 0), 0);
	lab_fetch(lab, "/whole", "", 1);
	assert_non_null(strstr(lab_response, "Disc-Body: splice;"));
	assert_int_equal(unlink(path), 0);
}

static void file_that_changes_ends_the_clone_without_another_byte(void **state)
{
	struct direct_lab *lab = *state;
	char path[128];
	uint64_t sealed;
	int fd;

	lab_write_file("changing", LAB_BODY_SIZE);
	lab_fetch(lab, "/changing", "", 1);
	lab_connect(lab, 4);
	lab_hand_off(lab, true);
	lab_client_reads(lab, 100000);
	(void)snprintf(path, sizeof(path), "%s/changing", lab_root);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, "!", 1, LAB_BODY_SIZE - 1), 1);
	assert_int_equal(close(fd), 0);
	ev_io_start(lab->loop, &lab->client_reader);
	lab_await(lab, CONTROL_RESULT, 1);
	assert_int_equal(lab->gone.cause, CONTROL_GONE_NODE);
	assert_string_equal(lab->reason, "the file changed during the transfer");
	assert_int_equal(lab->result.outcome, CONTROL_OUTCOME_FAILED);
	assert_true(lab->result.changed);
	sealed = lab->result.bytes;
	assert_true(sealed < LAB_BODY_SIZE);
	assert_true(lab->received_len <= strlen(LAB_HEAD) + lab_ciphertext(sealed));
	assert_int_equal(lab->client_error, 0);
	assert_int_equal(unlink(path), 0);
}

static void body_beyond_the_nodes_capacity_is_spliced(void **state)
{
	struct direct_lab *lab = *state;

	/* One has its client's connection and needs none to HAProxy any more, so that there is room for one fetch. */
	lab_transmit(lab, 4);
	lab_close_fetch(lab);
	lab->keeps_fetches = true;
	for (unsigned i = 1; i < LAB_CLONES_MAX; i++) {
		lab_fetch(lab, "/body", "", 1);
		assert_non_null(strstr(lab_response, "Disc-Body: direct;"));
	}
	lab_fetch(lab, "/body", "", 1);
	assert_non_null(strstr(lab_response, "Disc-Body: splice;"));
}

/* --- an origin --- */

static void origins_body_reaches_the_client_as_it_comes(void **state)
{
	struct direct_lab *lab = *state;

	script("200 OK", "ETag: \"v1\"\r\n");
	fronted.origin.hold = 1000000;
	transmit(lab);
	assert_non_null(strstr(lab_response, "; etag=; proof=")); /* no other node may go on with it */
	/* The whole records of what the origin gave, and no byte more. */
	lab_client_reads(lab, lab_ciphertext(1000000 / 16384 * 16384));
	assert_int_equal(lab->counts[CONTROL_DRAINED], 0);
	origin_release(&fronted.origin);
	return_connection(lab);
	assert_int_equal(lab->counts[CONTROL_GONE], 0);
}

static void origin_that_breaks_off_ends_the_clone(void **state)
{
	struct direct_lab *lab = *state;

	script("200 OK", "ETag: \"v1\"\r\n");
	fronted.origin.hold = 1000000;
	transmit(lab);
	lab_client_reads(lab, 500000);
	origin_drop(&fronted.origin);
	lab_await(lab, CONTROL_RESULT, 1);
	assert_int_equal(lab->gone.cause, CONTROL_GONE_NODE);
	assert_string_equal(lab->reason, "it closed the connection early");
	assert_int_equal(lab->client_error, 0);
}

static void origin_that_broke_off_before_the_handoff_ends_the_clone(void **state)
{
	struct direct_lab *lab = *state;

	script("200 OK", "ETag: \"v1\"\r\n");
	fronted.origin.hold = 100;
	lab_fetch(lab, "/from-origin", "", 1);
	origin_drop(&fronted.origin);
	lab_connect(lab, 4);
	lab_hand_off(lab, true);
	lab_await(lab, CONTROL_RESULT, 1);
	assert_int_equal(lab->gone.cause, CONTROL_GONE_NODE);
	assert_int_equal(lab->result.records, 0);
}

static void origins_body_goes_on_on_the_fetch_hop(void **state)
{
	struct direct_lab *lab = *state;

	script("200 OK", "ETag: \"v1\"\r\n");
	fronted.origin.hold = 1000000;
	lab_fetch(lab, "/from-origin", "", 1);
	assert_non_null(strstr(lab_response, "Disc-Body: direct;"));
	lab_recall(lab, false);
	lab_await(lab, CONTROL_GONE, 1);
	origin_release(&fronted.origin);
	lab_fetch_ends_with_records(lab, LAB_BODY_SIZE);
	lab_await(lab, CONTROL_RESULT, 1);
	assert_int_equal(lab->result.outcome, CONTROL_OUTCOME_SEALED);
}

static void origin_that_breaks_off_then_breaks_the_fetch_hop_off(void **state)
{
	struct direct_lab *lab = *state;

	script("200 OK", "ETag: \"v1\"\r\n");
	fronted.origin.hold = 1000000;
	lab_fetch(lab, "/from-origin", "", 1);
	lab_recall(lab, false);
	lab_await(lab, CONTROL_GONE, 1);
	origin_drop(&fronted.origin);
	lab_await(lab, CONTROL_RESULT, 1);
	assert_int_equal(lab->result.outcome, CONTROL_OUTCOME_FAILED);
	lab_fetch_is_cut(lab);
}

/* An origin may give everything the same entity tag, so that nothing names the bytes to another node. */
static void origins_range_has_no_name(void **state)
{
	struct direct_lab *lab = *state;

	script("206 Partial Content", "ETag: \"v1\"\r\nContent-Range: bytes 123456-6414988/9999999\r\n");
	lab_fetch(lab, "/from-origin", "Range: bytes=123456-\r\n", 1);
	assert_non_null(strstr(lab_response, "Disc-Body: direct;"));
	assert_non_null(strstr(lab_response, "; length=6291533; status=206; first=123456; etag=; proof="));
}

int main(void)
{
#define LAB_TEST(name) cmocka_unit_test_setup_teardown(name, direct_lab_open, direct_lab_close)
#define FRONTED_TEST(name) cmocka_unit_test_setup_teardown(name, fronted_lab_open, fronted_lab_close)
	const struct CMUnitTest tests[] = {
		LAB_TEST(file_with_a_time_of_whole_seconds_goes_by_splice),
		LAB_TEST(file_that_changes_ends_the_clone_without_another_byte),
		LAB_TEST(body_beyond_the_nodes_capacity_is_spliced),
		FRONTED_TEST(origin_that_breaks_off_ends_the_clone),
		FRONTED_TEST(origin_that_broke_off_before_the_handoff_ends_the_clone),
		FRONTED_TEST(origins_body_goes_on_on_the_fetch_hop),
		FRONTED_TEST(origin_that_breaks_off_then_breaks_the_fetch_hop_off),
		FRONTED_TEST(origins_body_reaches_the_client_as_it_comes),
		FRONTED_TEST(origins_range_has_no_name),
	};
	char why[200];

	if (!netns_usable(why, sizeof(why))) {
		fprintf(stderr, "skipped: %s\n", why);
		return 0;
	}
	return cmocka_run_group_tests(tests, direct_lab_prepare, direct_lab_clean_up);
}
