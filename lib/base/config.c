/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config_scan.h"
#include "log.h"

/* libconfuse keeps only the line where a section ended. So while a file is parsed the line of each option is noted
 * here, by section and name. Configuration is read by one thread at a time: the main one. */
struct noted_line {
	const cfg_t *section;
	const char *field; /* the option's name inside the tree */
	int line;
	struct noted_line *next;
};

static struct noted_line *noted_lines;

/* The file that was read last: libconfuse forgets its name when it has parsed it. */
static char *loaded_file;

static struct config_faults *collected; /* NULL: faults go to stderr */

void config_collect_faults(struct config_faults *faults)
{
	collected = faults;
	if (faults)
		*faults = (struct config_faults){.count = 0};
}

void config_log_refusal(const struct config_faults *faults, const char *program, const char *file)
{
	const char *first = faults->count ? faults->first : "out of memory";

	if (faults->count > 1)
		log_error("the configuration that is in use goes on: %s (%u more: %s -t -c %s)", first,
			  faults->count - 1, program, file);
	else
		log_error("the configuration that is in use goes on: %s", first);
}

/* One fault: <place>, then <format> as vprintf's, both on one line. */
static void report(const char *place, const char *format, va_list arguments)
{
	char line[CONFIG_FAULT_MAX];
	int len = snprintf(line, sizeof(line), "%s", place);

	if (len < 0 || (size_t)len >= sizeof(line))
		len = 0;
	(void)vsnprintf(line + len, sizeof(line) - (size_t)len, format, arguments);
	if (!collected)
		(void)fprintf(stderr, "%s\n", line);
	else if (collected->count++ == 0)
		memcpy(collected->first, line, sizeof(line));
}

/* A fault of a whole <file>, or of its <line>. */
static void report_file(const char *file, int line, const char *format, ...) __attribute__((format(printf, 3, 4)));

static void report_file(const char *file, int line, const char *format, ...)
{
	char place[CONFIG_FAULT_MAX];
	va_list arguments;

	if (line)
		(void)snprintf(place, sizeof(place), "%s:%d: ", file, line);
	else
		(void)snprintf(place, sizeof(place), "%s: ", file);
	va_start(arguments, format);
	report(place, format, arguments);
	va_end(arguments);
}

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
	char place[CONFIG_FAULT_MAX];

	(void)snprintf(place, sizeof(place), "%s:%d: ", loaded_file ? loaded_file : "configuration", section->line);
	report(place, format, arguments);
}

static bool everything_is_closed(const char *file)
{
	FILE *in = fopen(file, "re");
	const char *fault;
	int line = 0;

	if (!in) {
		report_file(file, 0, "cannot be read: %s", strerror(errno));
		return false;
	}
	fault = config_scan(in, &line);
	if (fault)
		report_file(file, line, "%s", fault);
	(void)fclose(in);
	return !fault;
}

/* libconfuse's scanner ends the program when a read fails, as it does with a folder. Pipes and the like may be read. */
static bool is_folder(const char *file)
{
	struct stat found;

	return stat(file, &found) == 0 && S_ISDIR(found.st_mode);
}

/* The state of libconfuse's scanner is one for all trees, and freeing a tree destroys it. */
static pthread_mutex_t scanner = PTHREAD_MUTEX_INITIALIZER;

void config_free(cfg_t *root)
{
	(void)pthread_mutex_lock(&scanner);
	(void)cfg_free(root);
	(void)pthread_mutex_unlock(&scanner);
}

cfg_t *config_load(const char *file, cfg_opt_t *options)
{
	cfg_t *root;
	int result;

	if (is_folder(file)) {
		report_file(file, 0, "cannot be read: %s", strerror(EISDIR));
		return NULL;
	}

	forget_lines();
	prepare_schema(options);
	free(loaded_file);
	loaded_file = strdup(file);
	root = cfg_init(options, CFGF_NONE);
	if (!root || !loaded_file) {
		config_free(root);
		report_file(file, 0, "out of memory");
		return NULL;
	}
	(void)cfg_set_error_function(root, report_parse_fault);
	errno = 0;
	(void)pthread_mutex_lock(&scanner);
	result = cfg_parse(root, file);
	(void)pthread_mutex_unlock(&scanner);
	if (result == CFG_SUCCESS && everything_is_closed(file))
		return root;
	if (result == CFG_FILE_ERROR)
		report_file(file, 0, "cannot be read: %s", errno ? strerror(errno) : "not a file");
	config_free(root);
	forget_lines();
	return NULL;
}

int config_fault(cfg_t *section, const char *field, const char *format, ...)
{
	char place[CONFIG_FAULT_MAX];
	va_list arguments;

	(void)snprintf(place, sizeof(place), "%s:%d: %s: ", loaded_file ? loaded_file : "configuration",
		       line_of(section, field), field);
	va_start(arguments, format);
	report(place, format, arguments);
	va_end(arguments);
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

/* Returns 0, or -1 after config_fault(). */
static int read_log(cfg_t *root, enum log_target *target, enum log_level *level)
{
	cfg_t *section = cfg_getsec(root, "log");
	const char *target_text, *level_text;
	int result = 0;

	if (!section)
		return config_fault(root, "log", "must be set");
	target_text = cfg_getstr(section, "target");
	level_text = cfg_getstr(section, "level");
	*target = LOG_TARGET_STDERR;
	if (strcmp(target_text, "syslog") == 0)
		*target = LOG_TARGET_SYSLOG;
	else if (strcmp(target_text, "stderr") != 0)
		result = config_fault(section, "target", "\"%s\" is neither stderr nor syslog", target_text);
	if (!log_level_parse(level, level_text))
		result = config_fault(section, "level", "\"%s\" is none of error, warning, notice, info, debug",
				      level_text);
	return result;
}

int config_check_log(cfg_t *root)
{
	enum log_target target;
	enum log_level level;

	return read_log(root, &target, &level);
}

void config_apply_log(cfg_t *root, const char *program)
{
	enum log_target target;
	enum log_level level;

	if (read_log(root, &target, &level) == 0)
		log_open(program, target, level);
}
