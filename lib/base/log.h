/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Logging: to stderr with sd-daemon priority prefixes ("<4>message"), or to syslog (RFC 5424 severities). Safe from any
 * thread. Key material, tickets in full and request bodies never go through here. */
#ifndef DISC_LOG_H
#define DISC_LOG_H

#include <stdbool.h>

enum log_level {
	LOG_LEVEL_ERROR = 3,
	LOG_LEVEL_WARNING = 4,
	LOG_LEVEL_NOTICE = 5,
	LOG_LEVEL_INFO = 6,
	LOG_LEVEL_DEBUG = 7
};

enum log_target { LOG_TARGET_STDERR, LOG_TARGET_SYSLOG };

/* Sets where messages go and up to which level. <program> must outlive all logging. Before it is called messages up to
 * NOTICE go to stderr. */
void log_open(const char *program, enum log_target target, enum log_level level);

/* Reads "error", "warning", "notice", "info" or "debug". Returns true, or false if <text> is none of these. */
bool log_level_parse(enum log_level *level, const char *text);

/* True if a message of <level> would be written: lets callers skip costly arguments. */
bool log_enabled(enum log_level level);

/* Writes one line; <format> as printf's, without a newline. */
void log_write(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_write(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_notice(...) log_write(LOG_LEVEL_NOTICE, __VA_ARGS__)
#define log_info(...) log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)                                           \
	do {                                                     \
		if (log_enabled(LOG_LEVEL_DEBUG))                \
			log_write(LOG_LEVEL_DEBUG, __VA_ARGS__); \
	} while (0)

#endif
