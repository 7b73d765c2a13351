/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "byte_range.h"

/* Takes the decimal number at the front of <text>. A number too large for 64 bits is as good as the largest one, since
 * no file reaches it. Returns false if there is no digit. */
static bool take_number(struct text_span *text, uint64_t *number)
{
	size_t digits = 0;

	*number = 0;
	while (text->len && text->data[0] >= '0' && text->data[0] <= '9') {
		uint64_t digit = (uint64_t)(text->data[0] - '0');

		*number = *number > (UINT64_MAX - digit) / 10 ? UINT64_MAX : *number * 10 + digit;
		text->data++;
		text->len--;
		digits++;
	}
	return digits > 0;
}

static bool take_char(struct text_span *text, char expected)
{
	if (!text->len || text->data[0] != expected)
		return false;
	text->data++;
	text->len--;
	return true;
}

/* "-N": the last N bytes. */
static enum byte_range_status suffix_range(struct byte_range *range, struct text_span text, uint64_t size)
{
	uint64_t count;

	if (!take_char(&text, '-') || !take_number(&text, &count) || text.len)
		return BYTE_RANGE_IGNORED;
	if (!count)
		return BYTE_RANGE_UNSATISFIABLE;
	range->length = count < size ? count : size;
	range->offset = size - range->length;
	return BYTE_RANGE_SATISFIABLE;
}

/* "A-B" or "A-". */
static enum byte_range_status int_range(struct byte_range *range, struct text_span text, uint64_t size)
{
	uint64_t first, last = UINT64_MAX;

	if (!take_number(&text, &first) || !take_char(&text, '-'))
		return BYTE_RANGE_IGNORED;
	if (text.len && (!take_number(&text, &last) || text.len))
		return BYTE_RANGE_IGNORED;
	if (last < first)
		return BYTE_RANGE_IGNORED;
	if (first >= size)
		return BYTE_RANGE_UNSATISFIABLE;
	if (last > size - 1)
		last = size - 1;
	range->offset = first;
	range->length = last - first + 1;
	return BYTE_RANGE_SATISFIABLE;
}

enum byte_range_status byte_range_parse(struct byte_range *range, struct text_span value, uint64_t size)
{
	static const char unit[] = "bytes=";
	struct text_span text;

	/* "-N" is satisfiable then, but no Content-Range could express it; "0-" is not. */
	if (!size)
		return BYTE_RANGE_IGNORED;
	if (value.len < sizeof(unit) - 1 || strncasecmp(value.data, unit, sizeof(unit) - 1) != 0)
		return BYTE_RANGE_IGNORED;
	text = text_span_trim((struct text_span){value.data + sizeof(unit) - 1, value.len - (sizeof(unit) - 1)});
	if (!text.len)
		return BYTE_RANGE_IGNORED;
	return text.data[0] == '-' ? suffix_range(range, text, size) : int_range(range, text, size);
}
