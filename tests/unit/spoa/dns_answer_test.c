/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards: an answer that is cut, loops, lies about a length or is no answer is refused whole; of others the records of the asked type
 * are read, by way of aliases, with the lowest TTL. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dns_answer.h"

/* A message that a test writes. */
static struct {
	uint8_t bytes[65536];
	size_t len;
} message;

static struct dns_answer result;

static void put(const void *bytes, size_t len)
{
	assert_true(message.len + len <= sizeof(message.bytes));
	memcpy(message.bytes + message.len, bytes, len);
	message.len += len;
}

static void put_u16(unsigned value)
{
	const uint8_t bytes[] = {(uint8_t)(value >> 8), (uint8_t)value};

	put(bytes, sizeof(bytes));
}

static void put_u32(uint32_t value)
{
	put_u16(value >> 16);
	put_u16(value & 0xffff);
}

/* "a.b" in labels. */
static void put_name(const char *name)
{
	while (*name) {
		size_t len = strcspn(name, ".");
		const uint8_t count = (uint8_t)len;

		put(&count, 1);
		put(name, len);
		name += len + (name[len] == '.');
	}
	put("", 1);
}

/* A response with <answers> records about www.test, which is at 12. */
static void begin_message(unsigned answers)
{
	message.len = 0;
	put_u16(77);
	put_u16(0x8180);
	put_u16(1);
	put_u16(answers);
	put_u32(0);
	put_name("www.test");
	put_u32(0x00010001);
}

#define OWNER 0xc00cu

static void put_head(unsigned owner, unsigned type, uint32_t ttl, unsigned len)
{
	put_u16(owner);
	put_u16(type);
	put_u16(1);
	put_u32(ttl);
	put_u16(len);
}

static void put_a(uint32_t ttl, uint8_t last)
{
	const uint8_t bytes[] = {10, 0, 0, last};

	put_head(OWNER, DNS_TYPE_A, ttl, 4);
	put(bytes, 4);
}

static void put_srv(uint32_t ttl, unsigned port, const char *target)
{
	put_head(OWNER, DNS_TYPE_SRV, ttl, (unsigned)(6 + strlen(target) + 2 - (*target == '\0')));
	put_u16(10);
	put_u16(20);
	put_u16(port);
	put_name(target);
}

/* Reads it from memory of its own length, so that a sanitizer sees what goes past the end. */
static int read_message(enum dns_type type)
{
	uint8_t *copy = malloc(message.len ? message.len : 1);
	int status;

	assert_non_null(copy);
	memcpy(copy, message.bytes, message.len);
	status = dns_answer_read(&result, copy, message.len, type);
	free(copy);
	return status;
}

static void addresses_are_read_with_the_lowest_ttl(void **state)
{
	static const uint8_t v6[16] = {0xfd, [15] = 9};

	(void)state;
	begin_message(4);
	put_a(30, 1);
	put_a(5, 2);
	/* Of another type, and another owner: "test" at 16. */
	put_head(OWNER, 16, 1, 1);
	put("", 1);
	put_head(0xc010, DNS_TYPE_A, 1, 4);
	put("\x0a\0\0\3", 4);
	assert_int_equal(read_message(DNS_TYPE_A), 0);
	assert_int_equal(result.count, 2);
	assert_int_equal(result.ttl, 5);
	assert_memory_equal(result.records.addresses[1], "\x0a\0\0\2", 4);
	begin_message(1);
	put_head(OWNER, DNS_TYPE_AAAA, 7, 16);
	put(v6, sizeof(v6));
	assert_int_equal(read_message(DNS_TYPE_AAAA), 0);
	assert_int_equal(result.count, 1);
	assert_memory_equal(result.records.addresses[0], v6, 16);
}

static void aliases_are_followed(void **state)
{
	(void)state;
	begin_message(2);
	put_head(OWNER, DNS_TYPE_CNAME, 3, 12);
	put_name("other.TEST");
	put_name("OTHER.test");
	put_u16(DNS_TYPE_A);
	put_u16(1);
	put_u32(100);
	put_u16(4);
	put("\x0a\0\0\4", 4);
	assert_int_equal(read_message(DNS_TYPE_A), 0);
	assert_int_equal(result.count, 1);
	assert_int_equal(result.ttl, 3);
}

static void an_answer_without_records_is_empty(void **state)
{
	(void)state;
	begin_message(0);
	assert_int_equal(read_message(DNS_TYPE_A), 0);
	assert_int_equal(result.count, 0);
	assert_int_equal(result.ttl, 0);
	/* An alias to nothing. */
	begin_message(1);
	put_head(OWNER, DNS_TYPE_CNAME, 3, 12);
	put_name("other.test");
	assert_int_equal(read_message(DNS_TYPE_A), 0);
	assert_int_equal(result.count, 0);
}

static void a_ttl_with_its_highest_bit_is_none(void **state)
{
	(void)state;
	begin_message(2);
	put_a(30, 1);
	put_a(0x80000000u, 2);
	assert_int_equal(read_message(DNS_TYPE_A), 0);
	assert_int_equal(result.ttl, 0);
	begin_message(1);
	put_a(INT32_MAX, 1);
	assert_int_equal(read_message(DNS_TYPE_A), 0);
	assert_int_equal(result.ttl, INT32_MAX);
}

static void services_are_read_and_the_root_is_none(void **state)
{
	(void)state;
	begin_message(3);
	put_srv(9, 8080, "n1.test");
	put_srv(8, 0, "");
	put_srv(9, 8081, "n2.test");
	assert_int_equal(read_message(DNS_TYPE_SRV), 0);
	assert_int_equal(result.count, 2);
	assert_int_equal(result.ttl, 8);
	assert_string_equal(result.records.services[0].target, "n1.test");
	assert_int_equal(result.records.services[1].port, 8081);
}

static void more_records_than_there_is_room_for_are_counted(void **state)
{
	(void)state;
	begin_message(DNS_ANSWER_MAX + 3);
	for (unsigned i = 0; i < DNS_ANSWER_MAX + 3; i++)
		put_a(9, (uint8_t)i);
	assert_int_equal(read_message(DNS_TYPE_A), 0);
	assert_int_equal(result.count, DNS_ANSWER_MAX);
	assert_int_equal(result.ignored, 3);
	begin_message(DNS_ANSWER_SERVICES_MAX + 1);
	for (unsigned i = 0; i < DNS_ANSWER_SERVICES_MAX + 1; i++)
		put_srv(9, i, "n.test");
	assert_int_equal(read_message(DNS_TYPE_SRV), 0);
	assert_int_equal(result.count, DNS_ANSWER_SERVICES_MAX);
	assert_int_equal(result.ignored, 1);
}

static void every_cut_is_refused(void **state)
{
	size_t whole;

	(void)state;
	begin_message(2);
	put_srv(9, 8080, "n1.test");
	put_srv(9, 8080, "n2.test");
	assert_int_equal(read_message(DNS_TYPE_SRV), 0);
	whole = message.len;
	for (message.len = 0; message.len < whole; message.len++)
		assert_int_equal(read_message(DNS_TYPE_SRV), -1);
}

static void what_is_no_answer_is_refused(void **state)
{
	static const struct {
		size_t at;
		uint8_t value;
	} cases[] = {
		{2, 0x01}, /* a question */
		{2, 0x83}, /* truncated */
		{3, 0x83}, /* an error */
		{5, 0},    /* no question */
		{5, 2},    /* two */
		{7, 9},    /* more records than there are */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		begin_message(1);
		put_a(9, 1);
		message.bytes[cases[i].at] = cases[i].value;
		assert_int_equal(read_message(DNS_TYPE_A), -1);
	}
}

static void lengths_that_do_not_fit_are_refused(void **state)
{
	(void)state;
	begin_message(1);
	put_head(OWNER, DNS_TYPE_A, 9, 5);
	put("\x0a\0\0\1\1", 5);
	assert_int_equal(read_message(DNS_TYPE_A), -1);
	begin_message(1);
	put_head(OWNER, DNS_TYPE_AAAA, 9, 4);
	put("\x0a\0\0\1", 4);
	assert_int_equal(read_message(DNS_TYPE_AAAA), -1);
	/* A target that ends before its record, or behind it. */
	for (unsigned len = 14; len <= 16; len += 2) {
		begin_message(1);
		put_head(OWNER, DNS_TYPE_SRV, 9, len);
		put("\0\1\0\1\0\1", 6);
		put_name("n1.test");
		put("\0\0", 2);
		assert_int_equal(read_message(DNS_TYPE_SRV), -1);
	}
}

static void names_that_loop_or_are_too_long_are_refused(void **state)
{
	static const uint8_t reserved[] = {0x41, 'a', 0}, dot[] = {1, '.', 0}, nul[] = {1, 0, 0}, space[] = {1, ' ', 0};
	static const struct {
		const uint8_t *bytes;
		size_t len;
	} cases[] = {{reserved, 3}, {dot, 3}, {nul, 3}, {space, 3}};
	char name[400] = "";

	(void)state;
	/* A pointer to itself, forward, and to the label before it. */
	begin_message(1);
	put_u16(0xc000u | (unsigned)message.len);
	put_u32(0);
	assert_int_equal(read_message(DNS_TYPE_A), -1);
	begin_message(1);
	put_u16(0xc000u | (unsigned)(message.len + 2));
	put_u32(0);
	assert_int_equal(read_message(DNS_TYPE_A), -1);
	begin_message(1);
	put("\1a", 2);
	put_u16(0xc000u | (unsigned)(message.len - 2));
	put_u32(0);
	assert_int_equal(read_message(DNS_TYPE_A), -1);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		begin_message(1);
		put(cases[i].bytes, cases[i].len);
		put_u32(0x00010001);
		put_u32(1);
		put_u16(0);
		assert_int_equal(read_message(DNS_TYPE_A), -1);
	}
	for (unsigned i = 0; i < 127; i++)
		strcat(name, i ? ".a" : "a");
	begin_message(1);
	put_srv(9, 1, name);
	assert_int_equal(read_message(DNS_TYPE_SRV), 0);
	assert_string_equal(result.records.services[0].target, name);
	strcat(name, ".a");
	begin_message(1);
	put_srv(9, 1, name);
	assert_int_equal(read_message(DNS_TYPE_SRV), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_are_read_with_the_lowest_ttl),
		cmocka_unit_test(aliases_are_followed),
		cmocka_unit_test(an_answer_without_records_is_empty),
		cmocka_unit_test(a_ttl_with_its_highest_bit_is_none),
		cmocka_unit_test(services_are_read_and_the_root_is_none),
		cmocka_unit_test(more_records_than_there_is_room_for_are_counted),
		cmocka_unit_test(every_cut_is_refused),
		cmocka_unit_test(what_is_no_answer_is_refused),
		cmocka_unit_test(lengths_that_do_not_fit_are_refused),
		cmocka_unit_test(names_that_loop_or_are_too_long_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
