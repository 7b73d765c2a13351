/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Fixed fields: what a program reads from its configuration when it starts, and a reload cannot change. They are remembered as they
 * were then; a file that has others is taken all the same, with a line for each that waits for a restart. */
#ifndef DISC_CONFIG_FIXED_H
#define DISC_CONFIG_FIXED_H

#include <confuse.h>
#include <stddef.h>

struct config_fixed {
	const char *const *fields; /* <count> of them: "workers", "spop.listen" */
	size_t count;
	char **values; /* as text, owned */
};

/* Remembers the <count> <fields> of <root>, which are options of one level of sections at most; <fields> must outlive <fixed>.
 * Returns 0, or -1 when memory is exhausted. To be given to config_fixed_release(). */
int config_fixed_note(struct config_fixed *fixed, cfg_t *root, const char *const *fields, size_t count);

/* Logs each field that is another one in <root>, read from <file>. Returns how many these are. */
size_t config_fixed_compare(const struct config_fixed *fixed, cfg_t *root, const char *file);

/* Frees what <fixed>, which may be all zero, holds. */
void config_fixed_release(struct config_fixed *fixed);

#endif
