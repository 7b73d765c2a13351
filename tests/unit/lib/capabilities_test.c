/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards: a process that gives up capabilities really has no more than those named, nor has any thread or program that
 * it starts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdbool.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "capabilities.h"

/* Runs <function> in a child, which keeps the losses to itself. Returns its result. */
static int in_child(int (*function)(void))
{
	pid_t child = fork();
	int status = -1;

	assert_true(child >= 0);
	if (child == 0)
		_exit(function());
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static bool can_test(void)
{
	char missing[64];

	if (capabilities_have("cap_net_admin cap_net_raw cap_net_bind_service", missing, sizeof(missing)) == 0)
		return true;
	print_message("skipped: needs root\n");
	return false;
}

static void unknown_names_are_missing(void **state)
{
	char missing[64], error[128];

	(void)state;
	assert_int_equal(capabilities_have("cap_to_fly", missing, sizeof(missing)), -1);
	assert_string_equal(missing, "cap_to_fly");
	assert_int_equal(capabilities_keep("cap_to_fly", error, sizeof(error)), -1);
	assert_non_null(strstr(error, "no such name: cap_to_fly"));
	assert_int_equal(capabilities_have("", missing, sizeof(missing)), 0);
	assert_int_equal(capabilities_have("cap_to_fly cap_to_swim", missing, 12), -1);
	assert_string_equal(missing, "cap_to_fly ");
}

static void *look_in_thread(void *result)
{
	char missing[64];

	*(int *)result = capabilities_have("cap_net_raw", missing, sizeof(missing)) < 0 &&
			 capabilities_have("cap_net_admin", missing, sizeof(missing)) == 0;
	return NULL;
}

static int keep_two(void)
{
	char missing[64], error[128];
	pthread_t thread;
	int is_less = 0;

	if (capabilities_keep("cap_net_admin cap_net_bind_service", error, sizeof(error)) < 0)
		return 1;
	if (capabilities_have("cap_net_admin cap_net_bind_service", missing, sizeof(missing)) < 0)
		return 2;
	if (capabilities_have("cap_net_raw cap_net_admin cap_sys_admin", missing, sizeof(missing)) == 0 ||
	    strcmp(missing, "cap_net_raw cap_sys_admin") != 0)
		return 3;
	if (pthread_create(&thread, NULL, look_in_thread, &is_less) != 0 || pthread_join(thread, NULL) != 0 || !is_less)
		return 4;
	return cap_get_bound(CAP_SYS_ADMIN) == 0 && cap_get_bound(CAP_NET_ADMIN) == 1 ? 0 : 5;
}

static void only_what_is_named_is_kept(void **state)
{
	(void)state;
	if (!can_test())
		skip();
	assert_int_equal(in_child(keep_two), 0);
}

static int keep_then_want_more(void)
{
	cap_value_t raw = CAP_NET_RAW;
	char missing[64], error[128];
	cap_t own;

	if (capabilities_keep("cap_net_admin", error, sizeof(error)) < 0)
		return 1;
	own = cap_get_proc();
	if (!own || cap_set_flag(own, CAP_PERMITTED, 1, &raw, CAP_SET) < 0 ||
	    cap_set_flag(own, CAP_EFFECTIVE, 1, &raw, CAP_SET) < 0)
		return 2;
	if (cap_set_proc(own) == 0)
		return 3;
	/* What is gone is not given back by naming it. */
	if (capabilities_keep("cap_net_admin cap_net_raw", error, sizeof(error)) < 0)
		return 4;
	if (capabilities_have("cap_net_raw", missing, sizeof(missing)) == 0)
		return 5;
	(void)cap_free(own);
	return capabilities_have("cap_net_admin", missing, sizeof(missing)) == 0 ? 0 : 6;
}

static void what_is_gone_does_not_come_back(void **state)
{
	(void)state;
	if (!can_test())
		skip();
	assert_int_equal(in_child(keep_then_want_more), 0);
}

static int keep_then_execute(void)
{
	char error[128];

	if (capabilities_keep("cap_net_admin", error, sizeof(error)) < 0)
		return 1;
	/* Root's programs would have them all again. */
	(void)execl("/bin/sh", "sh", "-c", "grep -q '^CapEff:.*0000000000001000$' /proc/self/status", (char *)NULL);
	return 2;
}

static void programs_started_later_have_no_more(void **state)
{
	(void)state;
	if (!can_test())
		skip();
	assert_int_equal(in_child(keep_then_execute), 0);
}

/* Becomes what a unit of systemd with User= and AmbientCapabilities= starts. */
static int be_a_service(void)
{
	static const cap_value_t own[] = {CAP_NET_ADMIN, CAP_NET_BIND_SERVICE, CAP_NET_RAW, CAP_SYS_ADMIN};
	cap_t sets = cap_init();
	int result = 0;

	if (!sets || prctl(PR_SET_KEEPCAPS, 1L, 0L, 0L, 0L) < 0 || setresuid(65534, 65534, 65534) < 0)
		return -1;
	for (int flag = 0; flag < 3; flag++)
		result |= cap_set_flag(sets, (cap_flag_t)flag, 4, own, CAP_SET);
	result |= cap_set_proc(sets);
	for (size_t i = 0; i < 4; i++)
		result |= cap_set_ambient(own[i], CAP_SET);
	(void)cap_free(sets);
	return result;
}

/* The set in the line that begins with <name> of /proc/self/status. */
static unsigned long long set_of(const char *name)
{
	FILE *file = fopen("/proc/thread-self/status", "re");
	unsigned long long set = ~0ull;
	char line[256];

	while (file && fgets(line, sizeof(line), file))
		if (strncmp(line, name, strlen(name)) == 0)
			set = strtoull(line + strlen(name), NULL, 16);
	if (file)
		(void)fclose(file);
	return set;
}

static int keep_of_a_service(void)
{
	static const unsigned long long kept = 1ull << CAP_NET_ADMIN | 1ull << CAP_NET_BIND_SERVICE;
	char error[128];

	if (be_a_service() < 0 || !(set_of("CapAmb:") & 1ull << CAP_SYS_ADMIN))
		return 1;
	if (capabilities_keep("cap_net_admin cap_net_bind_service", error, sizeof(error)) < 0)
		return 2;
	if (set_of("CapPrm:") != kept || set_of("CapEff:") != kept)
		return 3;
	if (set_of("CapInh:") != 0 || set_of("CapAmb:") != 0)
		return 4;
	/* The bounding set needs CAP_SETPCAP, which no unit of ours has: nothing comes back by it, see below. */
	(void)execl("/bin/sh", "sh", "-c",
		    "grep -q '^CapEff:.*0000000000000000$' /proc/self/status && "
		    "grep -q '^NoNewPrivs:.*1$' /proc/self/status",
		    (char *)NULL);
	return 5;
}

static void a_service_loses_what_it_had_for_its_start(void **state)
{
	(void)state;
	if (!can_test())
		skip();
	assert_int_equal(in_child(keep_of_a_service), 0);
}

static int keep_nothing(void)
{
	char missing[64], error[128];

	if (capabilities_keep("", error, sizeof(error)) < 0)
		return 1;
	return capabilities_have("cap_net_admin", missing, sizeof(missing)) < 0 &&
			       prctl(PR_GET_NO_NEW_PRIVS, 0L, 0L, 0L, 0L) == 1
		       ? 0
		       : 2;
}

static void nothing_can_be_kept(void **state)
{
	(void)state;
	assert_int_equal(in_child(keep_nothing), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(unknown_names_are_missing),
		cmocka_unit_test(only_what_is_named_is_kept),
		cmocka_unit_test(what_is_gone_does_not_come_back),
		cmocka_unit_test(programs_started_later_have_no_more),
		cmocka_unit_test(a_service_loses_what_it_had_for_its_start),
		cmocka_unit_test(nothing_can_be_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
