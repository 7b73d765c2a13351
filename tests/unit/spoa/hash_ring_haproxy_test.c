/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards: for 10,000 paths a pool chooses the node that a real HAProxy chooses with "balance hash path" and "hash-type
 * consistent", with all nodes up, with each of two down, and when it is back. One HAProxy answers itself: each server of
 * its backend is a frontend that says its name. Servers with `hash-key addr-port` are refused connections, and named by
 * HAProxy itself. */
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "node_pool.h"

#ifndef HAPROXY /* tests.mk has the build's */
#define HAPROXY "build/bin/haproxy"
#endif
#define NODES 5
#define PATHS 10000
#define BATCH 200 /* requests on the way: HAProxy reads no more than a buffer of them */
#define PATIENCE_MS 30000

/* As haproxy.cfg has it, but for weights and numbers, which nodes and servers must only have in common. */
static const struct {
	const char *name;
	uint32_t id; /* 0: not set */
	unsigned weight;
} servers[NODES] = {{"n1", 0, 1}, {"n2", 0, 100}, {"n3", 41, 100}, {"n4", 7, 256}, {"n5", 0, 50}};

/* With `hash-key addr-port`; nobody listens there. */
static const char *const addresses[NODES] = {"127.0.0.2:1", "127.0.0.3:1", "127.0.0.3:2", "[::1]:1", "[::1]:2"};

struct fixture {
	char folder[64];
	struct node addressed_nodes[NODES];
	struct node_pool addressed_pool;
	pid_t haproxy;
	struct node nodes[NODES];
	struct node_pool pool;
};

static void write_configuration(const struct fixture *fixture)
{
	char name[128];
	FILE *file;

	(void)snprintf(name, sizeof(name), "%s/haproxy.cfg", fixture->folder);
	file = fopen(name, "w");
	assert_non_null(file);
	(void)fprintf(file,
		      "global\n\tnbthread 1\n\tstats socket %s/stats level admin\n"
		      "defaults\n\tmode http\n\ttimeout connect 30s\n\ttimeout client 30s\n\ttimeout server 30s\n"
		      "frontend in\n\tbind unix@%s/in\n\tdefault_backend nodes\n"
		      "backend nodes\n\tbalance hash path\n\thash-type consistent\n",
		      fixture->folder, fixture->folder);
	for (size_t i = 0; i < NODES; i++) {
		char id[32] = "";

		if (servers[i].id)
			(void)snprintf(id, sizeof(id), " id %u", servers[i].id);
		(void)fprintf(file, "\tserver %s unix@%s/%s weight %u%s\n", servers[i].name, fixture->folder,
			      servers[i].name, servers[i].weight, id);
	}
	for (size_t i = 0; i < NODES; i++)
		(void)fprintf(file, "frontend %s\n\tbind unix@%s/%s\n\thttp-request return status 200 hdr x-node %zu\n",
			      servers[i].name, fixture->folder, servers[i].name, i);
	(void)fprintf(
		file,
		"frontend addressed\n\tbind unix@%s/addressed\n\tdefault_backend addresses\n"
		"backend addresses\n\tbalance hash path\n\thash-type consistent\n\tretries 0\n"
		"\thttp-after-response set-header x-node %%[srv_id,sub(1)]\n\thttp-after-response set-status 200\n",
		fixture->folder);
	for (size_t i = 0; i < NODES; i++)
		(void)fprintf(file, "\tserver a%zu %s weight 100 hash-key addr-port\n", i, addresses[i]);
	assert_int_equal(fclose(file), 0);
}

/* Connects to the socket <name> of <fixture>'s HAProxy. Returns a descriptor, or -1. */
static int connect_to(const struct fixture *fixture, const char *name)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s", fixture->folder, name);
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	(void)close(fd);
	return -1;
}

static void start_haproxy(struct fixture *fixture)
{
	char configuration[128];
	int fd = -1;

	write_configuration(fixture);
	(void)snprintf(configuration, sizeof(configuration), "%s/haproxy.cfg", fixture->folder);
	fixture->haproxy = fork();
	assert_true(fixture->haproxy >= 0);
	if (fixture->haproxy == 0) {
		(void)execl(HAPROXY, HAPROXY, "-db", "-q", "-f", configuration, (char *)NULL);
		_exit(127);
	}
	for (int waited = 0; fd < 0; waited += 10) {
		assert_true(waited < PATIENCE_MS);
		assert_int_equal(waitpid(fixture->haproxy, NULL, WNOHANG), 0);
		(void)poll(NULL, 0, 10); /* nothing tells when its sockets are there */
		fd = connect_to(fixture, "in");
	}
	(void)close(fd);
}

static int open_fixture(void **state)
{
	static struct fixture fixture;

	(void)snprintf(fixture.folder, sizeof(fixture.folder), "/tmp/disc-hash-ring-XXXXXX");
	assert_non_null(mkdtemp(fixture.folder));
	for (size_t i = 0; i < NODES; i++) {
		node_init(&fixture.nodes[i], servers[i].name, i);
		fixture.nodes[i].weight = servers[i].weight;
		if (servers[i].id)
			fixture.nodes[i].server_id = servers[i].id;
		fixture.pool.members[fixture.pool.count++] = &fixture.nodes[i];
	}
	for (size_t i = 0; i < NODES; i++) {
		const char *why;

		node_init(&fixture.addressed_nodes[i], addresses[i], i);
		fixture.addressed_nodes[i].weight = 100;
		fixture.addressed_nodes[i].by_address = true;
		assert_int_equal(address_parse(&fixture.addressed_nodes[i].fetch, addresses[i], &why), 0);
		fixture.addressed_pool.members[fixture.addressed_pool.count++] = &fixture.addressed_nodes[i];
	}
	assert_int_equal(node_pool_prepare(&fixture.addressed_pool), 0);
	assert_int_equal(node_pool_prepare(&fixture.pool), 0);
	start_haproxy(&fixture);
	*state = &fixture;
	return 0;
}

static int close_fixture(void **state)
{
	static const char *const names[] = {"haproxy.cfg", "stats", "in", "addressed", "n1", "n2", "n3", "n4", "n5"};
	struct fixture *fixture = *state;
	char name[128];

	(void)kill(fixture->haproxy, SIGKILL);
	(void)waitpid(fixture->haproxy, NULL, 0);
	node_pool_release(&fixture->pool);
	node_pool_release(&fixture->addressed_pool);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		(void)snprintf(name, sizeof(name), "%s/%s", fixture->folder, names[i]);
		(void)unlink(name);
	}
	return rmdir(fixture->folder);
}

static void send_all(int fd, const char *bytes, size_t len)
{
	while (len) {
		ssize_t sent = send(fd, bytes, len, MSG_NOSIGNAL);

		assert_true(sent > 0);
		bytes += sent;
		len -= (size_t)sent;
	}
}

/* Gives HAProxy <command>, and waits until it has answered. */
static void command(const struct fixture *fixture, const char *text)
{
	int fd = connect_to(fixture, "stats");
	char answer[512];
	ssize_t got;

	assert_true(fd >= 0);
	send_all(fd, text, strlen(text));
	got = recv(fd, answer, sizeof(answer), MSG_WAITALL);
	/* An empty line: no complaint. */
	assert_int_equal(got, 1);
	(void)close(fd);
}

/* Paths of many lengths and kinds, some with a query, which no side may look at. Returns the path's length. */
static size_t make_target(char target[static 256], unsigned number)
{
	static const char *const forms[] = {
		"/videos/%u.mp4",           "/%u", "/a/b/c/%u/index.html?number=%u", "/internal/100%%25%%20real-%u.pdf",
		"/%x/..;/%%2F%%c3%%a9?a/b",
	};
	int len = snprintf(target, 256, forms[number % 5], number, number);

	if (number < 200)
		len = snprintf(target, 256, "/%0*d?", (int)number + 1, 0);
	assert_in_range(len, 1, 255);
	return strcspn(target, "?");
}

/* Reads the next response's X-Node. */
static size_t read_node(FILE *stream)
{
	char line[512];
	size_t node = NODES;

	while (fgets(line, sizeof(line), stream)) {
		if (strncmp(line, "HTTP/", 5) == 0)
			assert_non_null(strstr(line, " 200 "));
		else if (strncasecmp(line, "x-node: ", 8) == 0)
			node = strtoul(line + 8, NULL, 10);
		else if (strcmp(line, "\r\n") == 0)
			break;
	}
	assert_in_range(node, 0, NODES - 1);
	return node;
}

/* HAProxy and the pool agree about all paths while the nodes <up> are up. Counts each node's paths. */
static void assert_agreement(struct fixture *fixture, const char *frontend, const struct node_pool *pool, node_set up,
			     unsigned counts[static NODES])
{
	int fd = connect_to(fixture, frontend);
	FILE *stream = fdopen(fd, "r+");

	assert_non_null(stream);
	memset(counts, 0, NODES * sizeof(*counts));
	for (unsigned from = 0; from < PATHS; from += BATCH) {
		char target[256], request[512];

		for (unsigned i = from; i < from + BATCH; i++) {
			int len;

			(void)make_target(target, i);
			len = snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: h\r\n\r\n", target);
			send_all(fd, request, (size_t)len);
		}
		for (unsigned i = from; i < from + BATCH; i++) {
			size_t len = make_target(target, i), seen = read_node(stream);
			struct node *node = node_pool_choose(pool, (struct control_text){target, len}, up);

			assert_non_null(node);
			if (node->index != seen)
				fail_msg("%.*s: HAProxy chooses %s, the pool %s", (int)len, target,
					 pool->members[seen]->name, node->name);
			counts[seen]++;
		}
	}
	(void)fclose(stream);
}

static void all_nodes_up(void **state)
{
	unsigned counts[NODES];

	assert_agreement(*state, "in", &((struct fixture *)*state)->pool, ~(node_set)0, counts);
	for (size_t i = 0; i < NODES; i++)
		assert_true(counts[i] > 0);
}

static void servers_are_placed_by_their_addresses(void **state)
{
	struct fixture *fixture = *state;
	unsigned counts[NODES];

	assert_agreement(fixture, "addressed", &fixture->addressed_pool, ~(node_set)0, counts);
	for (size_t i = 0; i < NODES; i++)
		assert_true(counts[i] > 0);
}

static void one_node_down(void **state)
{
	static const unsigned victims[] = {1, 3};
	unsigned counts[NODES];
	char text[64];

	for (size_t i = 0; i < sizeof(victims) / sizeof(victims[0]); i++) {
		unsigned victim = victims[i];

		(void)snprintf(text, sizeof(text), "set server nodes/%s state maint\n", servers[victim].name);
		command(*state, text);
		assert_agreement(*state, "in", &((struct fixture *)*state)->pool, ~((node_set)1 << victim), counts);
		assert_int_equal(counts[victim], 0);
		(void)snprintf(text, sizeof(text), "set server nodes/%s state ready\n", servers[victim].name);
		command(*state, text);
	}
	assert_agreement(*state, "in", &((struct fixture *)*state)->pool, ~(node_set)0, counts);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_nodes_up),
		cmocka_unit_test(servers_are_placed_by_their_addresses),
		cmocka_unit_test(one_node_down),
	};

	return cmocka_run_group_tests(tests, open_fixture, close_fixture);
}
