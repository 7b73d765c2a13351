/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards: a channel opens only for a certificate of the configured CA that is valid now and bears one of the expected
 * names as a dNSName, on both sides, and the log says why not; credentials that do not load name their file. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "channel.h"
#include "channel_fixture.h"

#include <wolfssl/options.h>
#include <wolfssl/ssl.h>

static const char *const expected_agents[] = {"agent.test", NULL};
static const char *const expected_nodes[] = {"node.test", NULL};

/* A client with certificate <client> meets a server with certificate <server>; both trust "ca". */
struct meeting {
	struct end client, server;
};

static bool both_closed(void *data)
{
	struct meeting *meeting = data;

	return meeting->client.closed && meeting->server.closed;
}

static void meet(struct meeting *meeting, const char *client, const char *const *clients, const char *server,
		 const char *const *servers)
{
	struct channel_tls *client_tls = credentials(certificate_folder, "ca", client),
			   *server_tls = credentials(certificate_folder, "ca", server);
	struct ev_loop *loop = ev_loop_new(EVFLAG_AUTO);
	struct acceptor acceptor;

	*meeting = (struct meeting){0};
	assert_non_null(loop);
	acceptor_open(&acceptor, loop, "127.0.0.1:0", server_tls, clients, &meeting->server);
	meeting->client.channel =
		channel_connect(loop, client_tls, &acceptor.address, servers, &end_handlers, &meeting->client);
	assert_non_null(meeting->client.channel);
	run_until(loop, both_closed, meeting, "both ends close");
	assert_int_equal(meeting->client.closed, 1);
	assert_int_equal(meeting->server.closed, 1);
	acceptor_close(&acceptor);
	ev_loop_destroy(loop);
	channel_tls_free(client_tls);
	channel_tls_free(server_tls);
}

static void expect_reason(const struct end *end, const char *part)
{
	if (!strstr(end->reason, part))
		fail_msg("\"%s\" does not say \"%s\"", end->reason, part);
}

/* --- the server's certificate --- */

static void server_of_another_ca_is_refused(void **state)
{
	struct meeting meeting;

	(void)state;
	meet(&meeting, "agent", expected_agents, "stranger", expected_nodes);
	assert_false(meeting.client.opened);
	assert_false(meeting.server.opened);
	expect_reason(&meeting.client, "certificate of 127.0.0.1:");
	expect_reason(&meeting.client, "is not of the configured CA: ");
	expect_reason(&meeting.server, "refused our certificate");
}

static void expired_server_is_refused(void **state)
{
	struct meeting meeting;

	(void)state;
	meet(&meeting, "agent", expected_agents, "expired", expected_nodes);
	assert_false(meeting.client.opened);
	expect_reason(&meeting.client, "has expired");
}

static void server_without_an_expected_name_is_refused(void **state)
{
	static const char *const certificates[] = {"wrong", "cn", "mail"};

	(void)state;
	for (size_t i = 0; i < sizeof(certificates) / sizeof(certificates[0]); i++) {
		struct meeting meeting;

		meet(&meeting, "agent", expected_agents, certificates[i], expected_nodes);
		assert_false(meeting.client.opened);
		expect_reason(&meeting.client, "bears none of the expected names");
	}
}

/* --- the client's certificate --- */

static void client_of_another_ca_is_refused(void **state)
{
	struct meeting meeting;

	(void)state;
	meet(&meeting, "stranger", expected_nodes, "node", expected_nodes);
	assert_false(meeting.server.opened);
	expect_reason(&meeting.server, "is not of the configured CA: ");
	expect_reason(&meeting.client, "refused our certificate");
}

static void expired_client_is_refused(void **state)
{
	struct meeting meeting;

	(void)state;
	meet(&meeting, "expired", expected_nodes, "node", expected_nodes);
	assert_false(meeting.server.opened);
	expect_reason(&meeting.server, "has expired");
	expect_reason(&meeting.client, "refused our certificate");
}

static void client_without_an_expected_name_is_refused(void **state)
{
	static const char *const certificates[] = {"wrong", "cn", "mail"};

	(void)state;
	for (size_t i = 0; i < sizeof(certificates) / sizeof(certificates[0]); i++) {
		struct meeting meeting;

		meet(&meeting, certificates[i], expected_nodes, "node", expected_nodes);
		assert_false(meeting.server.opened);
		expect_reason(&meeting.server, "bears none of the expected names");
	}
}

/* --- clients that channel_connect() would not be --- */

struct plain_meeting {
	WOLFSSL *client;
	struct end server;
};

/* The client takes a step whenever the server has had its turn. */
static bool server_closed_on_client(void *data)
{
	struct plain_meeting *meeting = data;
	char answer;

	if (wolfSSL_connect(meeting->client) == WOLFSSL_SUCCESS)
		(void)wolfSSL_read(meeting->client, &answer, sizeof(answer));
	return meeting->server.closed > 0;
}

/* Connects with wolfSSL as <method> says, without a certificate, to a server that must refuse. */
static void meet_plain_client(struct plain_meeting *meeting, WOLFSSL_METHOD *method)
{
	struct channel_tls *tls = credentials(certificate_folder, "ca", "node");
	struct ev_loop *loop = ev_loop_new(EVFLAG_AUTO);
	WOLFSSL_CTX *context = wolfSSL_CTX_new(method);
	struct acceptor acceptor;
	int fd;

	*meeting = (struct plain_meeting){0};
	assert_non_null(context);
	wolfSSL_CTX_set_verify(context, WOLFSSL_VERIFY_NONE, NULL);
	meeting->client = wolfSSL_new(context);
	assert_non_null(meeting->client);
	acceptor_open(&acceptor, loop, "127.0.0.1:0", tls, expected_agents, &meeting->server);
	fd = connect_raw(&acceptor);
	assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	assert_int_equal(wolfSSL_set_fd(meeting->client, fd), WOLFSSL_SUCCESS);
	run_until(loop, server_closed_on_client, meeting, "the server closes");
	assert_false(meeting->server.opened);
	wolfSSL_free(meeting->client);
	wolfSSL_CTX_free(context);
	(void)close(fd);
	acceptor_close(&acceptor);
	ev_loop_destroy(loop);
	channel_tls_free(tls);
}

static void client_without_certificate_is_refused(void **state)
{
	struct plain_meeting meeting;

	(void)state;
	meet_plain_client(&meeting, wolfTLSv1_3_client_method());
	expect_reason(&meeting.server, "presented no certificate");
}

static void older_tls_is_refused(void **state)
{
	struct plain_meeting meeting;

	(void)state;
	meet_plain_client(&meeting, wolfTLSv1_2_client_method());
	expect_reason(&meeting.server, "TLS with 127.0.0.1:");
}

/* --- credentials --- */

static void expect_fault(const char *ca, const char *certificate, const char *key, const char *file, const char *what)
{
	char paths[3][128], error[256] = "";

	(void)snprintf(paths[0], sizeof(paths[0]), "%s/%s", certificate_folder, ca);
	(void)snprintf(paths[1], sizeof(paths[1]), "%s/%s", certificate_folder, certificate);
	(void)snprintf(paths[2], sizeof(paths[2]), "%s/%s", certificate_folder, key);
	assert_null(channel_tls_new(paths[0], paths[1], paths[2], error, sizeof(error)));
	if (!strstr(error, file) || !strstr(error, what))
		fail_msg("\"%s\" does not name %s with \"%s\"", error, file, what);
}

static void credentials_that_do_not_load_name_their_file(void **state)
{
	(void)state;
	expect_fault("missing.pem", "node.pem", "node.key", "missing.pem", "no CA certificate");
	expect_fault("openssl.log", "node.pem", "node.key", "openssl.log", "no CA certificate");
	expect_fault("ca.pem", "node.key", "node.key", "node.key", "no certificate");
	expect_fault("ca.pem", "node.pem", "node.pem", "node.pem", "no private key");
	expect_fault("ca.pem", "node.pem", "agent.key", "agent.key", "does not belong");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(server_of_another_ca_is_refused),
		cmocka_unit_test(expired_server_is_refused),
		cmocka_unit_test(server_without_an_expected_name_is_refused),
		cmocka_unit_test(client_of_another_ca_is_refused),
		cmocka_unit_test(expired_client_is_refused),
		cmocka_unit_test(client_without_an_expected_name_is_refused),
		cmocka_unit_test(client_without_certificate_is_refused),
		cmocka_unit_test(older_tls_is_refused),
		cmocka_unit_test(credentials_that_do_not_load_name_their_file),
	};

	return cmocka_run_group_tests(tests, certificates_set_up, certificates_tear_down);
}
