/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Conditional requests (RFC 9110 13) against the validators of one file. Text in, verdict out. */
#ifndef DISC_CONDITIONAL_H
#define DISC_CONDITIONAL_H

#include <time.h>

#include "text_span.h"

/* What the file at hand is. <etag> is an entity tag with its quotes, and W/ if it is weak; times are in seconds since
 * the epoch. */
struct conditional_validators {
	const char *etag;
	time_t last_modified;
	time_t now;
};

/* The headers of a request for GET or HEAD; those that it did not have are not set. */
struct conditional_headers {
	struct text_span if_match;
	struct text_span if_none_match;
	struct text_span if_modified_since;
	struct text_span if_unmodified_since;
	struct text_span if_range;
};

enum conditional_verdict {
	CONDITIONAL_PROCEED,
	CONDITIONAL_NOT_MODIFIED,        /* answer 304 */
	CONDITIONAL_PRECONDITION_FAILED, /* answer 412 */
};

/* Evaluates the preconditions in the order of RFC 9110 13.2.2, but for If-Range. */
enum conditional_verdict conditional_evaluate(const struct conditional_headers *headers,
					      const struct conditional_validators *validators);

/* True if a Range header holds: there is no If-Range, or its validator is a strong match (RFC 9110 13.1.5). A date is a
 * strong validator only of what has not changed in the last second (8.8.2.2). A caller whose dates say less
 * gives the last modification as <now>. */
bool conditional_range_holds(const struct conditional_headers *headers,
			     const struct conditional_validators *validators);

#endif
