/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config_scan.h"
#include "log.h"

/* libconfuse keeps only the line where a section ended. So while a file is parsed the line of each option is noted
 * here, by section and name. Configuration is read by one thread, before any other is started. */
struct noted_line {
	const cfg_t *section;
	const char *field; /* the option's name inside the tree */
	int line;
	struct noted_line *next;
};

static struct noted_line *noted_lines;

/* The file that was read last: libconfuse forgets its name when it has parsed it. */
static char *loaded_file;

static void forget_lines(void)
{
	while (noted_lines) {
		struct noted_line *first = noted_lines;

		noted_lines = first->next;
		free(first);
	}
}

static const struct noted_line *find_line(const cfg_t *section, const char *field)
{
	for (const struct noted_line *noted = noted_lines; noted; noted = noted->next) {
		if (noted->section == section && strcmp(noted->field, field) == 0)
			return noted;
	}
	return NULL;
}

/* Called by libconfuse after each value that it has read. A second value would silently take the first one's place. */
static int note_line(cfg_t *section, cfg_opt_t *option)
{
	const struct noted_line *earlier = find_line(section, option->name);
	struct noted_line *noted;

	if (earlier && !(option->flags & CFGF_LIST)) {
		cfg_error(section, "option '%s' was set in line %d already", option->name, earlier->line);
		return -1;
	}
	noted = malloc(sizeof(*noted));
	if (!noted) {
		cfg_error(section, "%s: out of memory", option->name);
		return -1;
	}
	*noted = (struct noted_line){.section = section, .field = option->name, .line = section->line};
	noted->next = noted_lines;
	noted_lines = noted;
	return 0;
}

static int line_of(const cfg_t *section, const char *field)
{
	const struct noted_line *noted = find_line(section, field);

	return noted ? noted->line : section->line;
}

/* Prepares a schema: lines are noted, and two sections of one title are a fault instead of being merged. */
static void prepare_schema(cfg_opt_t *options)
{
	for (cfg_opt_t *option = options; option->type != CFGT_NONE; option++) {
		if (option->type == CFGT_SEC) {
			prepare_schema(option->subopts);
			if ((option->flags & CFGF_MULTI) && (option->flags & CFGF_TITLE))
				option->flags |= CFGF_NO_TITLE_DUPES;
		}
		if (!option->validcb && option->type != CFGT_SEC && option->type != CFGT_FUNC)
			option->validcb = note_line;
	}
}

/* libconfuse's own messages (syntax, unknown options, values of the wrong type) name the option, not the place. */
static void report_parse_fault(cfg_t *section, const char *format, va_list arguments)
{
	(void)fprintf(stderr, "%s:%d: ", loaded_file ? loaded_file : "configuration", section->line);
	(void)vfprintf(stderr, format, arguments);
	(void)fputc('\n', stderr);
}

static bool everything_is_closed(const char *file)
{
	FILE *in = fopen(file, "re");
	const char *fault;
	int line = 0;

	if (!in) {
		(void)fprintf(stderr, "%s: cannot be read: %s\n", file, strerror(errno));
		return false;
	}
	fault = config_scan(in, &line);
	if (fault)
		(void)fprintf(stderr, "%s:%d: %s\n", file, line, fault);
	(void)fclose(in);
	return !fault;
}

/* libconfuse's scanner ends the program when a read fails, as it does with a folder. Pipes and the like may be read. */
static bool is_folder(const char *file)
{
	struct stat found;

	return stat(file, &found) == 0 && S_ISDIR(found.st_mode);
}

cfg_t *config_load(const char *file, cfg_opt_t *options)
{
	cfg_t *root;
	int result;

	if (is_folder(file)) {
		(void)fprintf(stderr, "%s: cannot be read: %s\n", file, strerror(EISDIR));
		return NULL;
	}

	forget_lines();
	prepare_schema(options);
	free(loaded_file);
	loaded_file = strdup(file);
	root = cfg_init(options, CFGF_NONE);
	if (!root || !loaded_file) {
		cfg_free(root);
		(void)fprintf(stderr, "%s: out of memory\n", file);
		return NULL;
	}
	(void)cfg_set_error_function(root, report_parse_fault);
	errno = 0;
	result = cfg_parse(root, file);
	if (result == CFG_SUCCESS && everything_is_closed(file))
		return root;
	if (result == CFG_FILE_ERROR)
		(void)fprintf(stderr, "%s: cannot be read: %s\n", file, errno ? strerror(errno) : "not a file");
	cfg_free(root);
	forget_lines();
	return NULL;
}

int config_fault(cfg_t *section, const char *field, const char *format, ...)
{
	va_list arguments;

	(void)fprintf(stderr, "%s:%d: %s: ", loaded_file ? loaded_file : "configuration", line_of(section, field),
		      field);
	va_start(arguments, format);
	(void)vfprintf(stderr, format, arguments);
	va_end(arguments);
	(void)fputc('\n', stderr);
	return -1;
}

int config_need_string(cfg_t *section, const char *field, const char **value)
{
	const char *text = cfg_getstr(section, field);

	if (!text || *text == '\0') {
		(void)config_fault(section, field, "must be set");
		return -1;
	}
	*value = text;
	return 0;
}

int config_need_address(cfg_t *section, const char *field, struct address *value)
{
	const char *text, *why;

	if (config_need_string(section, field, &text) < 0)
		return -1;
	if (address_parse(value, text, &why) < 0)
		return config_fault(section, field, "\"%s\": %s", text, why);
	return 0;
}

int config_need_range(cfg_t *section, const char *field, long min, long max, long *value)
{
	long number = cfg_getint(section, field);

	if (number < min || number > max)
		return config_fault(section, field, "%ld is not between %ld and %ld", number, min, max);
	*value = number;
	return 0;
}

int config_need_file(cfg_t *section, const char *field, const char **value)
{
	const char *path;

	if (config_need_string(section, field, &path) < 0)
		return -1;
	if (access(path, R_OK) < 0)
		return config_fault(section, field, "%s: %s", path, strerror(errno));
	*value = path;
	return 0;
}

cfg_opt_t config_log_options[] = {
	CFG_STR("target", "stderr", CFGF_NONE),
	CFG_STR("level", "info", CFGF_NONE),
	CFG_END(),
};

int config_apply_log(cfg_t *root, const char *program)
{
	cfg_t *section = cfg_getsec(root, "log");
	const char *target_text, *level_text;
	enum log_target target;
	enum log_level level;

	if (!section)
		return config_fault(root, "log", "must be set");
	target_text = cfg_getstr(section, "target");
	level_text = cfg_getstr(section, "level");
	if (strcmp(target_text, "stderr") == 0)
		target = LOG_TARGET_STDERR;
	else if (strcmp(target_text, "syslog") == 0)
		target = LOG_TARGET_SYSLOG;
	else
		return config_fault(section, "target", "\"%s\" is neither stderr nor syslog", target_text);
	if (!log_level_parse(&level, level_text))
		return config_fault(section, "level", "\"%s\" is none of error, warning, notice, info, debug",
				    level_text);
	log_open(program, target, level);
	return 0;
}
