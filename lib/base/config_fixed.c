/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config_fixed.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "text_stream.h"

#define NAME_MAX_LEN 64

static void put_value(FILE *out, cfg_opt_t *option, unsigned index)
{
	switch (option->type) {
	case CFGT_INT:
		(void)fprintf(out, "%ld", cfg_opt_getnint(option, index));
		break;
	case CFGT_FLOAT:
		(void)fprintf(out, "%g", cfg_opt_getnfloat(option, index));
		break;
	case CFGT_BOOL:
		(void)fputs(cfg_opt_getnbool(option, index) == cfg_true ? "true" : "false", out);
		break;
	default:
		(void)fprintf(out, "\"%s\"", cfg_opt_getnstr(option, index));
		break;
	}
}

/* Writes the values of <field>; nothing if its section is not there. */
static void put_field(FILE *out, cfg_t *root, const char *field)
{
	const char *dot = strchr(field, '.');
	char section[NAME_MAX_LEN];
	cfg_opt_t *option;

	if (dot) {
		(void)snprintf(section, sizeof(section), "%.*s", (int)(dot - field), field);
		root = cfg_size(root, section) ? cfg_getsec(root, section) : NULL;
		field = dot + 1;
	}
	option = root ? cfg_getopt(root, field) : NULL;
	for (unsigned i = 0; option && i < cfg_opt_size(option); i++) {
		if (option->type == CFGT_STR && !cfg_opt_getnstr(option, i))
			continue;
		if (i)
			(void)fputs(", ", out);
		put_value(out, option, i);
	}
}

/* Returns a text to be freed, or NULL when memory is exhausted. */
static char *text_of(cfg_t *root, const char *field)
{
	struct text_stream stream;

	if (text_stream_open(&stream) < 0)
		return NULL;
	put_field(stream.out, root, field);
	return text_stream_close(&stream);
}

int config_fixed_note(struct config_fixed *fixed, cfg_t *root, const char *const *fields, size_t count)
{
	*fixed = (struct config_fixed){.fields = fields, .values = calloc(count + 1, sizeof(*fixed->values))};
	if (!fixed->values)
		return -1;
	for (; fixed->count < count; fixed->count++) {
		fixed->values[fixed->count] = text_of(root, fields[fixed->count]);
		if (!fixed->values[fixed->count]) {
			config_fixed_release(fixed);
			return -1;
		}
	}
	return 0;
}

size_t config_fixed_compare(const struct config_fixed *fixed, cfg_t *root, const char *file)
{
	size_t others = 0;

	for (size_t i = 0; i < fixed->count; i++) {
		const char *before = fixed->values[i];
		char *now = text_of(root, fixed->fields[i]);

		if (now && strcmp(now, before) != 0) {
			others++;
			log_warning("%s: %s = %s needs a restart: until then it is %s", file, fixed->fields[i],
				    *now ? now : "nothing", *before ? before : "nothing");
		}
		free(now);
	}
	return others;
}

void config_fixed_release(struct config_fixed *fixed)
{
	for (size_t i = 0; i < fixed->count; i++)
		free(fixed->values[i]);
	free(fixed->values);
	*fixed = (struct config_fixed){.count = 0};
}
