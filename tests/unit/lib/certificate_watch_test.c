/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards: the end of a certificate is read from its file, shown in a metric, and said two weeks before. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "certificate_watch.h"
#include "channel.h"
#include "channel_fixture.h"

#define DAY 86400

static void the_end_is_said_in_time(void **state)
{
	static const struct {
		int64_t now;
		enum log_level level;
		const char *says;
	} cases[] = {
		{1797811200 - 300 * DAY, LOG_LEVEL_DEBUG, "in 300 days"},
		{1797811200 - 14 * DAY, LOG_LEVEL_DEBUG, "in 14 days"},
		{1797811200 - 14 * DAY + 1, LOG_LEVEL_WARNING,
		 "ends on 2026-12-21 00:00 UTC, in 13 days: replace it and reload"},
		{1797811200, LOG_LEVEL_WARNING, "in 0 days"},
		{1797811200 + 1, LOG_LEVEL_ERROR, "ended on 2026-12-21 00:00 UTC: no new channel opens"},
	};
	char text[CERTIFICATE_WATCH_TEXT_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(certificate_watch_describe(1797811200, cases[i].now, text), cases[i].level);
		if (!strstr(text, cases[i].says))
			fail_msg("\"%s\" is not in \"%s\"", cases[i].says, text);
	}
}

/* openssl says how long the earlier one of the two lasts, to the minute. */
static int lasts(const char *name, int64_t seconds)
{
	char command[256];

	(void)snprintf(command, sizeof(command), "openssl x509 -checkend %lld -noout -in %s/%s.pem >/dev/null",
		       (long long)seconds, certificate_folder, name);
	return system(command) == 0;
}

static void the_end_is_that_of_the_file(void **state)
{
	struct channel_tls *tls = credentials(certificate_folder, "ca", "agent");
	struct ev_loop *loop = ev_loop_new(EVFLAG_AUTO);
	struct certificate_watch watch = {.not_after = 0};
	struct metric metric = {.name = "m", .kind = METRIC_GAUGE};
	int64_t left = channel_tls_not_after(tls) - (int64_t)time(NULL);

	(void)state;
	assert_true(lasts("agent", left - 60) && lasts("ca", left - 60));
	assert_false(lasts("agent", left + 60) && lasts("ca", left + 60));
	certificate_watch_start(&watch, loop, &metric);
	certificate_watch_set(&watch, channel_tls_not_after(tls));
	assert_int_equal(metric.value, channel_tls_not_after(tls));
	certificate_watch_set(&watch, 0);
	assert_int_equal(metric.value, 0);
	certificate_watch_stop(&watch, loop);
	channel_tls_free(tls);
	ev_loop_destroy(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_end_is_said_in_time),
		cmocka_unit_test(the_end_is_that_of_the_file),
	};

	return cmocka_run_group_tests(tests, certificates_set_up, certificates_tear_down);
}
