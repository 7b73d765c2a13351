/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Byte range: the Range header of a request against the size of a file (RFC 9110 14.1.2, 14.2). Text in, numbers
 * out. */
#ifndef DISC_BYTE_RANGE_H
#define DISC_BYTE_RANGE_H

#include <stdint.h>

#include "text_span.h"

enum byte_range_status {
	BYTE_RANGE_IGNORED, /* another unit, malformed, several ranges, or an empty file: answer with the whole file */
	BYTE_RANGE_SATISFIABLE,
	BYTE_RANGE_UNSATISFIABLE, /* answer 416 */
};

struct byte_range {
	uint64_t offset; /* of the first byte */
	uint64_t length; /* bytes, at least 1 */
};

/* Reads the value of a Range header for a representation of <size> bytes. A set of several ranges is ignored, as RFC
 * 9110 14.2 allows: a multipart body would be framing around final data. So is any range of an empty file: a downloader that asks for all of
 * it as "0-" takes 416 for a failure. Fills <range> only with
 * BYTE_RANGE_SATISFIABLE. */
enum byte_range_status byte_range_parse(struct byte_range *range, struct text_span value, uint64_t size);

#endif
