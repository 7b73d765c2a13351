/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards: addresses read and write as operators write them; what is none is refused with a text; listening replaces a
 * dead UNIX socket and never a living one or another file. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "address.h"

static void texts_that_are_no_address_are_refused(void **unused)
{
	static const char *const texts[] = {
		"",
		":",
		":80",
		"127.0.0.1",
		"127.0.0.1:",
		"127.0.0.1:x",
		"127.0.0.1:65536",
		"127.0.0.1:-1",
		"127.0.0.1: 80",
		"127.0.0.1:80 ",
		"127.0.0.1:99999999999999999999",
		"127.0.0.1:+80",
		"[::1]",
		"[::1",
		"[::1]80",
		"[]:80",
		"[127.0.0.1]:80",
		"[localhost]:80",
		"::1:80",
		"unix:",
		"*",
		"*:",
		"300.1.1.1.1:80",
	};
	char too_long[200];

	(void)unused;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct address address;
		const char *why = NULL;

		if (address_parse(&address, texts[i], &why) == 0)
			fail_msg("\"%s\" was taken for an address", texts[i]);
		assert_non_null(why);
		assert_true(strlen(why) > 5);
	}
	memset(too_long, 'x', sizeof(too_long));
	memcpy(too_long, "unix:/", 6);
	for (size_t len = 5 + 107; len <= 5 + 108; len++) {
		struct address address;
		const char *why = NULL;

		too_long[len] = '\0';
		assert_int_equal(address_parse(&address, too_long, &why), len == 5 + 107 ? 0 : -1);
		too_long[len] = 'x';
	}
}

static void addresses_write_as_they_read(void **unused)
{
	static const char *const texts[][2] = {
		{"192.0.2.1:7443", "192.0.2.1:7443"},
		{"127.0.0.1:0", "127.0.0.1:0"},
		{"*:8080", "0.0.0.0:8080"},
		{"[2001:db8::1]:7443", "[2001:db8::1]:7443"},
		{"[2001:0DB8:0:0::1]:65535", "[2001:db8::1]:65535"},
		{"[::]:80", "[::]:80"},
		{"unix:/run/disc/spoa.sock", "unix:/run/disc/spoa.sock"},
		{"unix:relative", "unix:relative"},
	};

	(void)unused;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct address address;
		char text[ADDRESS_TEXT_MAX];
		const char *why = "";

		if (address_parse(&address, texts[i][0], &why) < 0)
			fail_msg("%s: %s", texts[i][0], why);
		assert_string_equal(address_format(&address, text), texts[i][1]);
	}
}

static void families_and_ports_are_right(void **unused)
{
	struct address address;
	const struct sockaddr_in *in = (const struct sockaddr_in *)&address.storage;
	const char *why;

	(void)unused;
	assert_int_equal(address_parse(&address, "192.0.2.1:7443", &why), 0);
	assert_int_equal(in->sin_family, AF_INET);
	assert_int_equal(ntohs(in->sin_port), 7443);
	assert_int_equal(ntohl(in->sin_addr.s_addr), 0xc0000201);
	assert_int_equal(address.len, sizeof(*in));
	assert_int_equal(address_parse(&address, "localhost:1", &why), 0);
	assert_true(address.storage.ss_family == AF_INET || address.storage.ss_family == AF_INET6);
}

static void unnamed_unix_peers_can_be_written(void **unused)
{
	struct address address = {.len = sizeof(sa_family_t)};
	char text[ADDRESS_TEXT_MAX];

	(void)unused;
	address.storage.ss_family = AF_UNIX;
	assert_string_equal(address_format(&address, text), "unix:");
}

/* --- listening --- */

static struct address unix_address(const char *folder, const char *name)
{
	struct address address;
	char text[ADDRESS_TEXT_MAX];
	const char *why;

	(void)snprintf(text, sizeof(text), "unix:%s/%s", folder, name);
	assert_int_equal(address_parse(&address, text, &why), 0);
	return address;
}

static int make_folder(void **state)
{
	char *folder = strdup("/tmp/disc-address-XXXXXX");

	*state = folder;
	return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
	int removed = rmdir(*state);

	free(*state);
	return removed;
}

static const char *path_of(const struct address *address)
{
	return ((const struct sockaddr_un *)&address->storage)->sun_path;
}

static void dead_unix_socket_is_replaced_and_a_living_one_is_not(void **state)
{
	struct address address = unix_address(*state, "socket");
	struct stat status;
	int first = address_listen(&address, 4, 0660), second;

	assert_true(first >= 0);
	assert_int_equal(stat(path_of(&address), &status), 0);
	assert_int_equal(status.st_mode & 07777, 0660);
	errno = 0;
	assert_int_equal(address_listen(&address, 4, 0600), -1);
	assert_int_equal(errno, EADDRINUSE);
	/* The first one goes on working, and when it is gone its file does not stand in the way. */
	assert_int_equal(close(first), 0);
	assert_int_equal(stat(path_of(&address), &status), 0);
	second = address_listen(&address, 4, 0600);
	assert_true(second >= 0);
	assert_int_equal(stat(path_of(&address), &status), 0);
	assert_int_equal(status.st_mode & 07777, 0600);
	assert_int_equal(close(second), 0);
	assert_int_equal(unlink(path_of(&address)), 0);
}

static void other_files_are_never_removed(void **state)
{
	struct address address = unix_address(*state, "precious");
	int fd = open(path_of(&address), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(close(fd), 0);
	errno = 0;
	assert_int_equal(address_listen(&address, 4, 0600), -1);
	assert_int_equal(errno, EADDRINUSE);
	assert_int_equal(access(path_of(&address), F_OK), 0);
	assert_int_equal(unlink(path_of(&address)), 0);
}

static void tcp_port_in_use_is_an_error(void **state)
{
	struct address address;
	const char *why;
	int first, flags;

	(void)state;
	assert_int_equal(address_parse(&address, "127.0.0.1:0", &why), 0);
	first = address_listen(&address, 4, 0);
	assert_true(first >= 0);
	flags = fcntl(first, F_GETFL);
	assert_true(flags & O_NONBLOCK);
	assert_true(fcntl(first, F_GETFD) & FD_CLOEXEC);
	assert_int_equal(getsockname(first, (struct sockaddr *)&address.storage, &address.len), 0);
	errno = 0;
	assert_int_equal(address_listen(&address, 4, 0), -1);
	assert_int_equal(errno, EADDRINUSE);
	assert_int_equal(close(first), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(texts_that_are_no_address_are_refused),
		cmocka_unit_test(addresses_write_as_they_read),
		cmocka_unit_test(families_and_ports_are_right),
		cmocka_unit_test(unnamed_unix_peers_can_be_written),
		cmocka_unit_test_setup_teardown(dead_unix_socket_is_replaced_and_a_living_one_is_not, make_folder,
						remove_folder),
		cmocka_unit_test_setup_teardown(other_files_are_never_removed, make_folder, remove_folder),
		cmocka_unit_test(tcp_port_in_use_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
