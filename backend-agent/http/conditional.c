/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conditional.h"

#include "http_date.h"

/* Takes the next entity tag off a list (RFC 9110 8.8.3): fills <tag> with the opaque part, quotes included, and <weak>.
 * Returns false at the end of the list or at the first thing that is no entity tag. */
static bool take_entity_tag(struct text_span *list, struct text_span *tag, bool *weak)
{
	const char *end;

	while (list->len && (list->data[0] == ',' || list->data[0] == ' ' || list->data[0] == '\t')) {
		list->data++;
		list->len--;
	}
	*weak = list->len >= 2 && list->data[0] == 'W' && list->data[1] == '/';
	if (*weak) {
		list->data += 2;
		list->len -= 2;
	}
	if (list->len < 2 || list->data[0] != '"')
		return false;
	end = memchr(list->data + 1, '"', list->len - 1);
	if (!end)
		return false;
	tag->data = list->data;
	tag->len = (size_t)(end + 1 - list->data);
	list->data += tag->len;
	list->len -= tag->len;
	return true;
}

static bool is_weak(const char *etag)
{
	return etag[0] == 'W';
}

/* True if <list> is "*" or names <etag>. Weak comparison disregards W/; strong comparison never matches a weak tag. */
static bool list_names(struct text_span list, const char *etag, bool weak_comparison)
{
	const char *opaque = is_weak(etag) ? etag + 2 : etag;
	struct text_span tag;
	bool weak;

	list = text_span_trim(list);
	if (text_span_equals(list, "*"))
		return true;
	while (take_entity_tag(&list, &tag, &weak))
		if ((weak_comparison || !(weak || is_weak(etag))) && text_span_equals(tag, opaque))
			return true;
	return false;
}

enum conditional_verdict conditional_evaluate(const struct conditional_headers *headers,
					      const struct conditional_validators *validators)
{
	time_t when;

	if (text_span_is_set(headers->if_match)) {
		if (!list_names(headers->if_match, validators->etag, false))
			return CONDITIONAL_PRECONDITION_FAILED;
	} else if (text_span_is_set(headers->if_unmodified_since)) {
		if (http_date_parse(&when, headers->if_unmodified_since) && validators->last_modified > when)
			return CONDITIONAL_PRECONDITION_FAILED;
	}
	if (text_span_is_set(headers->if_none_match)) {
		if (list_names(headers->if_none_match, validators->etag, true))
			return CONDITIONAL_NOT_MODIFIED;
	} else if (text_span_is_set(headers->if_modified_since)) {
		if (http_date_parse(&when, headers->if_modified_since) && validators->last_modified <= when)
			return CONDITIONAL_NOT_MODIFIED;
	}
	return CONDITIONAL_PROCEED;
}

bool conditional_range_holds(const struct conditional_headers *headers, const struct conditional_validators *validators)
{
	struct text_span value = headers->if_range;
	time_t when;

	if (!text_span_is_set(value))
		return true;
	value = text_span_trim(value);
	if (http_date_parse(&when, value))
		return when == validators->last_modified && validators->last_modified < validators->now - 1;
	return !is_weak(validators->etag) && text_span_equals(value, validators->etag);
}
