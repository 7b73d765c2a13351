/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Digester: the thread that computes SHA-256 of the files below a root, for their entity tags. It has the lowest priority and
 * reads no faster than files.digest-rate. Files that were asked for come first. Then it walks the folders, and again every hour,
 * so that a replica knows the digests of files that nobody asked it for.
 *
 *   file_source_open() --> look() --> digest table, or the file's attribute
 *                              | unknown                        ^
 *                              v                                |
 *                            queue --> thread: reads the file --+
 *
 * A digest is only used for the file as it was when it was read: change time and all else are the same before and after,
 * and it is not read in the tick of a change. So whatever is written to the file from the first byte read on moves its
 * change time, except through a mapping that was dirty before.
 */
#ifndef DISC_DIGESTER_H
#define DISC_DIGESTER_H

#include <stdbool.h>
#include <stdint.h>

#include "file_source.h"

struct digester;

struct digester_settings {
	struct file_source *files; /* file_source_open() will ask for digests */
	uint64_t rate;             /* bytes a second that are read */
};

/* Starts the thread. Returns the digester, or NULL with errno set. */
struct digester *digester_start(const struct digester_settings *settings);

/* Has file_source_open() of <files>, another source of the same root folder, ask for digests too. */
void digester_serve(struct digester *digester, struct file_source *files);

/* Ends the thread and frees <digester>, which may be NULL. No other thread may use its files any more. */
void digester_stop(struct digester *digester);

#endif
