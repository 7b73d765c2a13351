/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What libconfuse does not report: a section or a comment that the file's end closes. Both would drop the rest of a
 * configuration in silence. Private to config.c. */
#ifndef DISC_CONFIG_SCAN_H
#define DISC_CONFIG_SCAN_H

#include <stdio.h>

/* Scans <in>, a file in libconfuse's syntax, to its end. Returns NULL if everything is closed, else a text, with the
 * line where the unclosed thing begins in <*line>. */
const char *config_scan(FILE *in, int *line);

#endif
