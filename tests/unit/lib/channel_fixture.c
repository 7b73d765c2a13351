/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "channel_fixture.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

/* $1 is the folder. */
static const char script[] =
	"set -eu; umask 077; cd \"$1\"\n"
	"exec 2>openssl.log\n"
	"key() { openssl ecparam -name prime256v1 -genkey -noout -out \"$1.key\"; }\n"
	"ca() { key \"$1\"; openssl req -x509 -new -key \"$1.key\" -days 2 -subj \"/CN=$1\" -out \"$1.pem\" \\\n"
	"  -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign; }\n"
	"leaf() { key \"$1\"; openssl req -new -key \"$1.key\" -subj \"/CN=$3\" -out \"$1.csr\"\n"
	"  printf '%s\\n' \"$4\" >\"$1.ext\"\n"
	"  openssl x509 -req -in \"$1.csr\" -CA \"$2.pem\" -CAkey \"$2.key\" -CAcreateserial -days \"$5\" \\\n"
	"    -extfile \"$1.ext\" -out \"$1.pem\"; }\n"
	"ca ca; ca other-ca\n"
	"leaf agent ca agent subjectAltName=DNS:agent.test 2\n"
	"leaf node ca node subjectAltName=DNS:other.test,DNS:node.test 2\n"
	"leaf wrong ca node.test subjectAltName=DNS:wrong.test 2\n"
	"leaf cn ca node.test basicConstraints=CA:FALSE 2\n"
	"leaf mail ca node.test subjectAltName=email:node.test 2\n"
	"leaf expired ca node subjectAltName=DNS:node.test -1\n"
	"leaf stranger other-ca node subjectAltName=DNS:node.test 2\n";

static int run_shell(const char *text, const char *argument)
{
	char command[256];

	/* The script has quotes of its own, so it travels in the environment. */
	if (setenv("FIXTURE_SCRIPT", text, 1) < 0)
		return -1;
	(void)snprintf(command, sizeof(command), "sh -c \"$FIXTURE_SCRIPT\" sh '%s'", argument);
	return system(command) == 0 ? 0 : -1;
}

int certificates_make(char folder[static 64])
{
	const char *base = getenv("TMPDIR");

	(void)snprintf(folder, 64, "%s/disc-certificates-XXXXXX", base && strlen(base) < 30 ? base : "/tmp");
	if (!mkdtemp(folder))
		return -1;
	return run_shell(script, folder);
}

void certificates_remove(const char *folder)
{
	(void)run_shell("rm -rf \"$1\"", folder);
}

char certificate_folder[64];

int certificates_set_up(void **state)
{
	(void)state;
	return certificates_make(certificate_folder);
}

int certificates_tear_down(void **state)
{
	(void)state;
	certificates_remove(certificate_folder);
	return 0;
}

struct channel_tls *credentials(const char *folder, const char *ca, const char *name)
{
	char ca_file[128], certificate[128], key[128], error[256] = "";
	struct channel_tls *tls;

	(void)snprintf(ca_file, sizeof(ca_file), "%s/%s.pem", folder, ca);
	(void)snprintf(certificate, sizeof(certificate), "%s/%s.pem", folder, name);
	(void)snprintf(key, sizeof(key), "%s/%s.key", folder, name);
	tls = channel_tls_new(ca_file, certificate, key, error, sizeof(error));
	if (!tls)
		fail_msg("credentials of %s: %s", name, error);
	return tls;
}

static void end_opened(struct channel *channel, void *context, const char *peer_name)
{
	struct end *end = context;

	assert_false(end->opened);
	assert_int_equal(end->closed, 0);
	end->channel = channel;
	end->opened = true;
	(void)snprintf(end->peer_name, sizeof(end->peer_name), "%s", peer_name);
	if (end->on_opened)
		end->on_opened(end);
}

static void end_received(struct channel *channel, void *context, const uint8_t *frame, size_t len)
{
	struct end *end = context;

	assert_true(end->opened);
	assert_int_equal(end->closed, 0);
	assert_ptr_equal(end->channel, channel);
	end->frames++;
	end->bytes += len;
	if (end->on_frame)
		end->on_frame(end, frame, len);
}

static void end_closed(struct channel *channel, void *context, const char *reason)
{
	struct end *end = context;

	(void)channel;
	end->closed++;
	end->channel = NULL;
	(void)snprintf(end->reason, sizeof(end->reason), "%s", reason);
}

static void end_departed(struct channel *channel, void *context)
{
	struct end *end = context;

	assert_ptr_equal(channel, end->channel);
	end->departed = true;
}

const struct channel_handlers end_handlers = {
	.opened = end_opened, .received = end_received, .closed = end_closed, .departed = end_departed};

static void acceptor_ready(struct ev_loop *loop, ev_io *watcher, int events)
{
	struct acceptor *acceptor = watcher->data;
	int fd = accept4(watcher->fd, NULL, NULL, SOCK_CLOEXEC);

	(void)events;
	assert_true(fd >= 0);
	acceptor->end->channel = channel_accept(loop, acceptor->tls, fd, acceptor->names, &end_handlers, acceptor->end);
	assert_non_null(acceptor->end->channel);
}

void acceptor_open(struct acceptor *acceptor, struct ev_loop *loop, const char *where, struct channel_tls *tls,
		   const char *const *names, struct end *end)
{
	const char *why = "";

	if (address_parse(&acceptor->address, where, &why) < 0)
		fail_msg("%s: %s", where, why);
	acceptor->fd = address_listen(&acceptor->address, 8, 0600);
	assert_true(acceptor->fd >= 0);
	acceptor->address.len = sizeof(acceptor->address.storage);
	assert_int_equal(
		getsockname(acceptor->fd, (struct sockaddr *)&acceptor->address.storage, &acceptor->address.len), 0);
	acceptor->loop = loop;
	acceptor->tls = tls;
	acceptor->names = names;
	acceptor->end = end;
	ev_io_init(&acceptor->watcher, acceptor_ready, acceptor->fd, EV_READ);
	acceptor->watcher.data = acceptor;
	ev_io_start(loop, &acceptor->watcher);
}

void acceptor_close(struct acceptor *acceptor)
{
	ev_io_stop(acceptor->loop, &acceptor->watcher);
	assert_int_equal(close(acceptor->fd), 0);
}

int connect_raw(const struct acceptor *acceptor)
{
	int fd = socket(acceptor->address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (const struct sockaddr *)&acceptor->address.storage, acceptor->address.len), 0);
	return fd;
}

static void patience_ended(struct ev_loop *loop, ev_timer *timer, int events)
{
	(void)events;
	timer->data = NULL;
	ev_break(loop, EVBREAK_ALL);
}

void run_until(struct ev_loop *loop, bool (*condition)(void *), void *data, const char *what)
{
	ev_timer patience;

	ev_timer_init(&patience, patience_ended, PATIENCE_S, 0.);
	patience.data = &patience;
	ev_now_update(loop);
	ev_timer_start(loop, &patience);
	while (!condition(data) && patience.data)
		(void)ev_run(loop, EVRUN_ONCE);
	ev_timer_stop(loop, &patience);
	if (!condition(data))
		fail_msg("in %.0f s it did not happen: %s", PATIENCE_S, what);
}

bool end_is_open(void *end)
{
	return ((struct end *)end)->opened;
}

bool end_is_closed(void *end)
{
	return ((struct end *)end)->closed > 0;
}
