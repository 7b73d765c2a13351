/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Configuration files in libconfuse's syntax, with every fault reported as "FILE:LINE: FIELD: what is wrong". */
#ifndef DISC_CONFIG_H
#define DISC_CONFIG_H

#include <confuse.h>
#include <stdbool.h>
#include <stdint.h>

#include "address.h"

#define CONFIG_FAULT_MAX 512u

/* Faults that are not for a terminal: of a file that is read while the program runs. */
struct config_faults {
	char first[CONFIG_FAULT_MAX]; /* "FILE:LINE: FIELD: message" */
	unsigned count;
};

/* Logs that the configuration in use goes on because of <faults> of <file> (none: memory was exhausted); <program> names what
 * "-t -c FILE" shows the others. */
void config_log_refusal(const struct config_faults *faults, const char *program, const char *file);

/* From now on faults go to <faults>, which is emptied; with NULL, as at first, to stderr. */
void config_collect_faults(struct config_faults *faults);

/* Reads <file> by the schema <options>. Returns the tree, to be freed with config_free(), or NULL after having written the
 * fault to stderr (file, line, field). Unknown options and sections are faults. Of one thread at a time. */
cfg_t *config_load(const char *file, cfg_opt_t *options);

/* Frees a tree; NULL is none. Of any thread, also while another one loads. */
void config_free(cfg_t *root);

/* Writes "FILE:LINE: FIELD: message" to stderr, where the line is that of <section>'s option <field> as far as
 * libconfuse knows it. Always returns -1, so that checks can end with it. */
int config_fault(cfg_t *section, const char *field, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Checks of one option each: 0 if it holds, -1 after config_fault(). */
int config_need_string(cfg_t *section, const char *field, const char **value);     /* set and not empty */
int config_need_address(cfg_t *section, const char *field, struct address *value); /* address_parse() */
int config_need_range(cfg_t *section, const char *field, long min, long max, long *value);
int config_need_file(cfg_t *section, const char *field, const char **value); /* set and readable */

/* The log section { target = "stderr" | "syslog", level = "info" } that both programs share: its schema, checking it (0, or
 * -1 after config_fault()), and applying one that was checked. <program> as in log_open(). */
extern cfg_opt_t config_log_options[];
int config_check_log(cfg_t *root);
void config_apply_log(cfg_t *root, const char *program);

#endif
