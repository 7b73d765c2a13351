/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "certificate_watch.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

#define DAY_S 86400

enum log_level certificate_watch_describe(int64_t not_after, int64_t now, char text[static CERTIFICATE_WATCH_TEXT_MAX])
{
	const time_t end = (time_t)not_after;
	char date[32] = "";
	struct tm parts;

	if (gmtime_r(&end, &parts))
		(void)strftime(date, sizeof(date), "%Y-%m-%d %H:%M UTC", &parts);
	if (now > not_after) {
		(void)snprintf(
			text, CERTIFICATE_WATCH_TEXT_MAX,
			"tls: the certificate, or its CA's, ended on %s: no new channel opens; replace it and reload",
			date);
		return LOG_LEVEL_ERROR;
	}
	(void)snprintf(text, CERTIFICATE_WATCH_TEXT_MAX,
		       "tls: the certificate, or its CA's, ends on %s, in %" PRId64 " days: replace it and reload",
		       date, (not_after - now) / DAY_S);
	return not_after - now < CERTIFICATE_WATCH_DAYS * (int64_t)DAY_S ? LOG_LEVEL_WARNING : LOG_LEVEL_DEBUG;
}

static void say(const struct certificate_watch *watch)
{
	char text[CERTIFICATE_WATCH_TEXT_MAX];
	enum log_level level;

	if (!watch->not_after)
		return;
	level = certificate_watch_describe(watch->not_after, (int64_t)time(NULL), text);
	log_write(level, "%s", text);
}

static void on_look(struct ev_loop *loop, ev_timer *timer, int events)
{
	(void)loop;
	(void)events;
	say(timer->data);
}

void certificate_watch_start(struct certificate_watch *watch, struct ev_loop *loop, struct metric *metric)
{
	watch->metric = metric;
	ev_timer_init(&watch->look, on_look, DAY_S, DAY_S);
	watch->look.data = watch;
	ev_timer_start(loop, &watch->look);
}

void certificate_watch_stop(struct certificate_watch *watch, struct ev_loop *loop)
{
	ev_timer_stop(loop, &watch->look);
}

void certificate_watch_set(struct certificate_watch *watch, int64_t not_after)
{
	watch->not_after = not_after;
	atomic_store_explicit(&watch->metric->value, not_after, memory_order_relaxed);
	say(watch);
}
