/* SPDX-License-Identifier: GPL-2.0-or-later */
/* HTTP dates (RFC 9110 5.6.7), always GMT, independent of locale. */
#ifndef DISC_HTTP_DATE_H
#define DISC_HTTP_DATE_H

#include <time.h>

#include "text_span.h"

#define HTTP_DATE_LEN 29 /* bytes of an IMF-fixdate */

/* Writes <when> as IMF-fixdate ("Sun, 06 Nov 1994 08:49:37 GMT") with a terminating zero. */
void http_date_format(char text[static HTTP_DATE_LEN + 1], time_t when);

/* Reads any of the three forms that a recipient must accept: IMF-fixdate, RFC 850's and asctime()'s. The name of the
 * weekday is not checked. Returns true, or false if <text> is none of them. */
bool http_date_parse(time_t *when, struct text_span text);

#endif
