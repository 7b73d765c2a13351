/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

/* One line with its prefix; longer messages are cut. */
#define LINE_MAX_BYTES 2048

static _Atomic int maximum_level = LOG_LEVEL_NOTICE;
static _Atomic int current_target = LOG_TARGET_STDERR;

static const struct {
	const char *name;
	enum log_level level;
} level_names[] = {
	{"error", LOG_LEVEL_ERROR}, {"warning", LOG_LEVEL_WARNING}, {"notice", LOG_LEVEL_NOTICE},
	{"info", LOG_LEVEL_INFO},   {"debug", LOG_LEVEL_DEBUG},
};

void log_open(const char *program, enum log_target target, enum log_level level)
{
	if (target == LOG_TARGET_SYSLOG)
		openlog(program, LOG_PID | LOG_NDELAY, LOG_DAEMON);
	atomic_store(&current_target, (int)target);
	atomic_store(&maximum_level, (int)level);
}

bool log_level_parse(enum log_level *level, const char *text)
{
	for (size_t i = 0; i < sizeof(level_names) / sizeof(level_names[0]); i++) {
		if (strcmp(text, level_names[i].name) == 0) {
			*level = level_names[i].level;
			return true;
		}
	}
	return false;
}

bool log_enabled(enum log_level level)
{
	return (int)level <= atomic_load_explicit(&maximum_level, memory_order_relaxed);
}

/* Parts of a message come from peers: a line feed among them would forge a line, an escape would reach a terminal. */
static void replace_controls(char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
			text[i] = '?';
	}
}

void log_write(enum log_level level, const char *format, ...)
{
	char line[LINE_MAX_BYTES];
	size_t prefix, len;
	va_list arguments;
	int printed;

	if (!log_enabled(level))
		return;
	prefix = (size_t)snprintf(line, sizeof(line), "<%d>", (int)level);
	va_start(arguments, format);
	printed = vsnprintf(line + prefix, sizeof(line) - prefix, format, arguments);
	va_end(arguments);
	if (printed < 0)
		return;
	len = prefix + (size_t)printed;
	if (len > sizeof(line) - 1)
		len = sizeof(line) - 1;
	replace_controls(line + prefix, len - prefix);

	if (atomic_load_explicit(&current_target, memory_order_relaxed) == LOG_TARGET_SYSLOG) {
		syslog((int)level, "%s", line + prefix);
		return;
	}
	/* The terminating zero's place takes the line feed, so that one write() carries the line and threads do not
	 * mix. */
	line[len++] = '\n';
	if (write(STDERR_FILENO, line, len) < 0) {
		/* Nobody is left to tell. */
	}
}
