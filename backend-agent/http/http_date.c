/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "http_date.h"

#include <stdio.h>

static const char *const day_names[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
static const char *const month_names[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
					  "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

void http_date_format(char text[static HTTP_DATE_LEN + 1], time_t when)
{
	struct tm tm;
	char whole[96]; /* of whatever the fields may hold, for the compiler's sake */

	if (!gmtime_r(&when, &tm) || tm.tm_year > 8099 || tm.tm_year < -1900) {
		memcpy(text, "Thu, 01 Jan 1970 00:00:00 GMT", HTTP_DATE_LEN + 1);
		return;
	}
	snprintf(whole, sizeof(whole), "%s, %02d %s %04d %02d:%02d:%02d GMT", day_names[tm.tm_wday], tm.tm_mday,
		 month_names[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
	memcpy(text, whole, HTTP_DATE_LEN);
	text[HTTP_DATE_LEN] = '\0';
}

static bool month_from_name(const char *name, int *month)
{
	for (int i = 0; i < 12; i++) {
		if (strcmp(name, month_names[i]) == 0) {
			*month = i;
			return true;
		}
	}
	return false;
}

/* RFC 850 writes two digits of the year: one that would lie more than 50 years ahead belongs to the century before. */
static int full_year(int two_digits)
{
	time_t now = time(NULL);
	struct tm tm;
	int year;

	if (!gmtime_r(&now, &tm))
		return 1900 + two_digits;
	year = (tm.tm_year + 1900) / 100 * 100 + two_digits;
	return year > tm.tm_year + 1900 + 50 ? year - 100 : year;
}

static bool fields_hold(const struct tm *tm)
{
	return tm->tm_mday >= 1 && tm->tm_mday <= 31 && tm->tm_hour >= 0 && tm->tm_hour <= 23 && tm->tm_min >= 0 &&
	       tm->tm_min <= 59 && tm->tm_sec >= 0 && tm->tm_sec <= 60;
}

bool http_date_parse(time_t *when, struct text_span text)
{
	struct tm tm = {0};
	char copy[48], month[4];
	int end = -1, year = 0;

	if (text.len >= sizeof(copy) || memchr(text.data, '\0', text.len))
		return false;
	memcpy(copy, text.data, text.len);
	copy[text.len] = '\0';

	if (sscanf(copy, "%*3[A-Za-z], %2d %3[A-Za-z] %4d %2d:%2d:%2d GMT%n", &tm.tm_mday, month, &year, &tm.tm_hour,
		   &tm.tm_min, &tm.tm_sec, &end) == 6 &&
	    end == (int)text.len) {
		/* IMF-fixdate: nothing more to do */
	} else if (sscanf(copy, "%*9[A-Za-z], %2d-%3[A-Za-z]-%2d %2d:%2d:%2d GMT%n", &tm.tm_mday, month, &year,
			  &tm.tm_hour, &tm.tm_min, &tm.tm_sec, &end) == 6 &&
		   end == (int)text.len) {
		year = full_year(year);
	} else if (sscanf(copy, "%*3[A-Za-z] %3[A-Za-z] %2d %2d:%2d:%2d %4d%n", month, &tm.tm_mday, &tm.tm_hour,
			  &tm.tm_min, &tm.tm_sec, &year, &end) != 6 ||
		   end != (int)text.len) {
		return false;
	}
	if (!month_from_name(month, &tm.tm_mon) || !fields_hold(&tm) || year < 0)
		return false;
	tm.tm_year = year - 1900;
	*when = timegm(&tm);
	return true;
}
