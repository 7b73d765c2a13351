/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards: a descriptor arrives with its PARKED and nowhere else, whatever is malformed closes the connection and leaks
 * nothing, and answers wait for a HAProxy that is slow. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "handoff_server.h"
#include "lib/channel_fixture.h"

struct fixture {
	char folder[64];
	struct address address;
	struct ev_loop *loop;
	struct handoff_server *server;
	struct handoff_connection *connection; /* of the last PARKED */
	unsigned parked, lost, abandoned, recalled, closed;
	struct handoff_message message;
	int haproxy; /* HAProxy's end */
	const char *verdict;
};

static const char *on_parked(void *context, struct handoff_connection *connection,
			     const struct handoff_message *message, int fd)
{
	struct fixture *fixture = context;
	struct stat status;

	if (fd < 0) {
		fixture->lost++;
		fixture->message = *message;
		return fixture->verdict;
	}
	assert_int_equal(fstat(fd, &status), 0);
	assert_true(S_ISSOCK(status.st_mode));
	assert_int_equal(close(fd), 0);
	fixture->parked++;
	fixture->message = *message;
	fixture->connection = connection;
	return fixture->verdict;
}

static void on_abandon(void *context, struct handoff_connection *connection, uint64_t handoff)
{
	struct fixture *fixture = context;

	(void)connection;
	fixture->abandoned++;
	fixture->message.handoff = handoff;
}

static void on_recall(void *context, struct handoff_connection *connection)
{
	(void)connection;
	((struct fixture *)context)->recalled++;
}

static void on_closed(void *context, struct handoff_connection *connection)
{
	(void)connection;
	((struct fixture *)context)->closed++;
}

static const struct handoff_server_events events = {
	.parked = on_parked,
	.abandon = on_abandon,
	.recall = on_recall,
	.closed = on_closed,
};

static void send_message(int fd, const struct handoff_message *message, const int *fds, size_t count);

static const struct handoff_message places = {.type = HANDOFF_MESSAGE_PLACES};

/* Memory for 8 places, which nobody can make smaller if <sealed>. */
static int make_places(bool sealed)
{
	int fd = memfd_create("places", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 64), 0);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, sealed ? F_SEAL_SHRINK : F_SEAL_GROW), 0);
	return fd;
}

static int connect_only(const struct fixture *fixture)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (const struct sockaddr *)&fixture->address.storage, fixture->address.len), 0);
	return fd;
}

static int connect_haproxy(const struct fixture *fixture)
{
	int fd = connect_only(fixture), memory = make_places(true);

	send_message(fd, &places, &memory, 1);
	(void)close(memory);
	return fd;
}

static int set_up(void **state)
{
	static const struct listener_owner owner = {0600, (uid_t)-1, (gid_t)-1};
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	char text[ADDRESS_TEXT_MAX];
	const char *why;

	assert_non_null(fixture);
	(void)snprintf(fixture->folder, sizeof(fixture->folder), "/tmp/disc-handoff-XXXXXX");
	assert_non_null(mkdtemp(fixture->folder));
	(void)snprintf(text, sizeof(text), "unix:%s/handoff.sock", fixture->folder);
	assert_int_equal(address_parse(&fixture->address, text, &why), 0);
	fixture->loop = ev_loop_new(EVFLAG_AUTO);
	assert_non_null(fixture->loop);
	fixture->server = handoff_server_new(fixture->loop, &fixture->address, &owner, &events, fixture);
	assert_non_null(fixture->server);
	fixture->haproxy = connect_haproxy(fixture);
	*state = fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;
	const struct sockaddr_un *path = (const struct sockaddr_un *)&fixture->address.storage;

	handoff_server_free(fixture->server);
	ev_loop_destroy(fixture->loop);
	(void)close(fixture->haproxy);
	(void)unlink(path->sun_path);
	(void)rmdir(fixture->folder);
	free(fixture);
	return 0;
}

static void send_bytes(int fd, const uint8_t *bytes, size_t len, const int *fds, size_t count)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(8 * sizeof(int))];
	} control;
	struct iovec part = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = len};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};

	memset(&control, 0, sizeof(control));
	if (count) {
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(count * sizeof(int));
		memcpy(CMSG_DATA(&control.header), fds, count * sizeof(int));
		message.msg_control = &control;
		message.msg_controllen = CMSG_SPACE(count * sizeof(int));
	}
	assert_int_equal(sendmsg(fd, &message, MSG_NOSIGNAL), len);
}

static void send_message(int fd, const struct handoff_message *message, const int *fds, size_t count)
{
	uint8_t bytes[HANDOFF_MESSAGE_MAX];

	send_bytes(fd, bytes, handoff_message_encode(bytes, message), fds, count);
}

static const struct handoff_message parked = {.type = HANDOFF_MESSAGE_PARKED,
					      .handoff = 7,
					      .ticket = {{1, 2, 3}},
					      .place = 5,
					      .bytes = 99,
					      .announcement = "direct",
					      .announcement_len = 6,
					      .target = "/a",
					      .target_len = 2};

static int tcp_socket(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	return fd;
}

static unsigned descriptors(void)
{
	DIR *folder = opendir("/proc/self/fd");
	unsigned count = 0;

	assert_non_null(folder);
	while (readdir(folder))
		count++;
	(void)closedir(folder);
	return count;
}

static bool was_parked(void *data)
{
	return ((struct fixture *)data)->parked > 0;
}

static bool was_abandoned(void *data)
{
	return ((struct fixture *)data)->abandoned > 0;
}

static bool was_closed(void *data)
{
	return ((struct fixture *)data)->closed > 0;
}

static bool was_recalled(void *data)
{
	return ((struct fixture *)data)->recalled > 0;
}

static void parked_brings_a_descriptor_and_abandon_a_number(void **state)
{
	struct fixture *fixture = *state;
	const struct handoff_message abandon = {.type = HANDOFF_MESSAGE_ABANDON, .handoff = 8};
	int fd = tcp_socket();

	send_message(fixture->haproxy, &parked, &fd, 1);
	(void)close(fd);
	run_until(fixture->loop, was_parked, fixture, "PARKED");
	assert_int_equal(fixture->message.handoff, 7);
	assert_int_equal(fixture->message.bytes, 99);
	assert_memory_equal(&fixture->message.ticket, &parked.ticket, sizeof(parked.ticket));
	send_message(fixture->haproxy, &abandon, NULL, 0);
	run_until(fixture->loop, was_abandoned, fixture, "ABANDON");
	send_message(fixture->haproxy, &(struct handoff_message){.type = HANDOFF_MESSAGE_RECALL}, NULL, 0);
	run_until(fixture->loop, was_recalled, fixture, "RECALL");
	assert_int_equal(fixture->message.handoff, 8);
	assert_int_equal(fixture->closed, 0);
}

static void what_is_malformed_closes_and_leaks_nothing(void **state)
{
	struct fixture *fixture = *state;
	const struct handoff_message abandon = {.type = HANDOFF_MESSAGE_ABANDON, .handoff = 8};
	const struct handoff_message returned = {.type = HANDOFF_MESSAGE_RETURNED, .handoff = 8};
	int tcp = tcp_socket(), pair[2], many[6];
	unsigned before = descriptors();

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	for (size_t i = 0; i < 6; i++)
		many[i] = tcp;
	for (int i = 0; i < 7; i++) {
		fixture->closed = 0;
		switch (i) {
		case 0:
			send_message(fixture->haproxy, &parked, NULL, 0);
			break;
		case 1:
			send_message(fixture->haproxy, &parked, many, 2);
			break;
		case 2:
			send_message(fixture->haproxy, &parked, pair, 1);
			break;
		case 3:
			send_message(fixture->haproxy, &abandon, &tcp, 1);
			break;
		case 4:
			send_message(fixture->haproxy, &returned, NULL, 0);
			break;
		case 5:
			send_bytes(fixture->haproxy, (const uint8_t *)"garbage", 7, &tcp, 1);
			break;
		case 6:
			send_message(fixture->haproxy, &parked, many, 6);
			break;
		}
		run_until(fixture->loop, was_closed, fixture, "the end of the connection");
		assert_int_equal(fixture->parked + fixture->abandoned, 0);
		(void)close(fixture->haproxy);
		fixture->haproxy = connect_haproxy(fixture);
	}
	(void)close(pair[0]);
	(void)close(pair[1]);
	/* The server's end of the new connection may be open, or not yet. */
	assert_in_range(descriptors(), before - 1, before + 1);
	(void)close(tcp);
}

/* HAProxy reads it when this process is gone: the memory outlives it. */
static void what_is_taken_stands_at_its_place(void **state)
{
	struct fixture *fixture = *state;
	int fd = tcp_socket(), memory = make_places(true), haproxy = connect_only(fixture);
	uint64_t read[8];

	send_message(haproxy, &places, &memory, 1);
	send_message(haproxy, &parked, &fd, 1);
	(void)close(fd);
	run_until(fixture->loop, was_parked, fixture, "PARKED");
	handoff_connection_take(fixture->connection, parked.place, parked.handoff);
	handoff_server_free(fixture->server);
	fixture->server = NULL;
	assert_int_equal(pread(memory, read, sizeof(read), 0), sizeof(read));
	for (size_t i = 0; i < 8; i++)
		assert_int_equal(read[i], i == parked.place ? parked.handoff : 0);
	(void)close(memory);
	(void)close(haproxy);
}

static void places_that_do_not_hold_close_the_connection(void **state)
{
	struct fixture *fixture = *state;
	struct handoff_message beyond = parked;
	int fd = tcp_socket(), memory = make_places(true), shrinking = make_places(false);

	beyond.place = 8;
	for (int i = 0; i < 5; i++) {
		int haproxy = connect_only(fixture);

		fixture->closed = 0;
		if (i == 0) /* before PLACES */
			send_message(haproxy, &parked, &fd, 1);
		else
			send_message(haproxy, &places, i == 1 ? &shrinking : i == 2 ? &fd : &memory, 1);
		if (i == 3)
			send_message(haproxy, &places, &memory, 1);
		else if (i == 4)
			send_message(haproxy, &beyond, &fd, 1);
		run_until(fixture->loop, was_closed, fixture, "the end of the connection");
		assert_int_equal(fixture->parked, 0);
		(void)close(haproxy);
	}
	(void)close(fd);
	(void)close(memory);
	(void)close(shrinking);
}

static bool was_lost(void *data)
{
	const struct fixture *fixture = data;

	return fixture->lost || fixture->closed;
}

/* Below this no descriptor is free. */
static rlim_t used_descriptors(void)
{
	int free_one = dup(STDERR_FILENO);

	assert_true(free_one >= 0);
	(void)close(free_one);
	return (rlim_t)free_one;
}

static void without_a_free_descriptor_one_handoff_is_lost(void **state)
{
	struct fixture *fixture = *state;
	struct handoff_message other = parked;
	int fd = tcp_socket(), two[2] = {fd, fd};
	struct rlimit limit, none;

	other.handoff = 8;
	send_message(fixture->haproxy, &parked, &fd, 1);
	run_until(fixture->loop, was_parked, fixture, "PARKED");
	send_message(fixture->haproxy, &other, &fd, 1);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	none = (struct rlimit){.rlim_cur = used_descriptors(), .rlim_max = limit.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	run_until(fixture->loop, was_lost, fixture, "PARKED without a descriptor");
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_int_equal(fixture->closed, 0);
	assert_int_equal(fixture->lost, 1);
	assert_int_equal(fixture->message.handoff, 8);
	/* The next one is parked as before; a message with too many descriptors, or without one, is malformed still. */
	fixture->parked = 0;
	send_message(fixture->haproxy, &parked, &fd, 1);
	run_until(fixture->loop, was_parked, fixture, "PARKED");
	send_message(fixture->haproxy, &other, two, 2);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &(struct rlimit){none.rlim_cur + 1, limit.rlim_max}), 0);
	run_until(fixture->loop, was_closed, fixture, "the end of the connection");
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_int_equal(fixture->lost, 1);
	(void)close(fd);
}

static void a_receiver_may_refuse(void **state)
{
	struct fixture *fixture = *state;
	int fd = tcp_socket();

	fixture->verdict = "not today";
	send_message(fixture->haproxy, &parked, &fd, 1);
	(void)close(fd);
	run_until(fixture->loop, was_closed, fixture, "the end of the connection");
	assert_int_equal(fixture->parked, 1);
}

static void answers_wait_until_haproxy_reads(void **state)
{
	struct fixture *fixture = *state;
	struct handoff_message answer = {.type = HANDOFF_MESSAGE_RETURNED};
	uint8_t bytes[HANDOFF_MESSAGE_MAX + 1];
	int fd = tcp_socket();

	send_message(fixture->haproxy, &parked, &fd, 1);
	(void)close(fd);
	run_until(fixture->loop, was_parked, fixture, "PARKED");
	for (answer.handoff = 0; answer.handoff < 5000; answer.handoff++)
		handoff_connection_send(fixture->connection, &answer);
	for (uint64_t i = 0; i < 5000;) {
		ssize_t len = recv(fixture->haproxy, bytes, sizeof(bytes), MSG_DONTWAIT);

		if (len < 0) {
			assert_int_equal(errno, EAGAIN);
			(void)ev_run(fixture->loop, EVRUN_NOWAIT);
			continue;
		}
		assert_int_equal(handoff_message_decode(&answer, bytes, (size_t)len), HANDOFF_MESSAGE_OK);
		assert_int_equal(answer.handoff, i++);
	}
	assert_int_equal(fixture->closed, 0);
}

static void a_second_server_finds_the_socket_in_use(void **state)
{
	static const struct listener_owner owner = {0600, (uid_t)-1, (gid_t)-1};
	struct fixture *fixture = *state;

	assert_null(handoff_server_new(fixture->loop, &fixture->address, &owner, &events, fixture));
	handoff_server_drain(fixture->server);
	handoff_server_free(fixture->server);
	fixture->server = handoff_server_new(fixture->loop, &fixture->address, &owner, &events, fixture);
	assert_non_null(fixture->server);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(parked_brings_a_descriptor_and_abandon_a_number, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_malformed_closes_and_leaks_nothing, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_taken_stands_at_its_place, set_up, tear_down),
		cmocka_unit_test_setup_teardown(places_that_do_not_hold_close_the_connection, set_up, tear_down),
		cmocka_unit_test_setup_teardown(without_a_free_descriptor_one_handoff_is_lost, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_receiver_may_refuse, set_up, tear_down),
		cmocka_unit_test_setup_teardown(answers_wait_until_haproxy_reads, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_second_server_finds_the_socket_in_use, set_up, tear_down),
	};

	(void)alarm(280); /* whatever hangs fails */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
