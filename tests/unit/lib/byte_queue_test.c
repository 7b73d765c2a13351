/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards: bytes leave in the order they came whatever the sizes, and none stays behind where it was. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "byte_queue.h"

static uint8_t nth(size_t n)
{
	return (uint8_t)(n % 250 + 1);
}

static void append_next(struct byte_queue *queue, size_t *appended, size_t len)
{
	assert_true(byte_queue_reserve(queue, len));
	for (size_t i = 0; i < len; i++) {
		uint8_t byte = nth((*appended)++);

		byte_queue_append(queue, &byte, 1);
	}
}

static void consume_next(struct byte_queue *queue, size_t *consumed, size_t len)
{
	for (size_t i = 0; i < len; i++)
		assert_int_equal(byte_queue_head(queue)[i], nth(*consumed + i));
	*consumed += len;
	byte_queue_consume(queue, len);
}

/* No byte of nth() outside the filled part; what was never written may hold anything, so the caller zeroed it first. */
static void expect_wiped_outside(const struct byte_queue *queue, size_t written)
{
	for (size_t i = 0; i < queue->head; i++)
		assert_int_equal(queue->bytes[i], 0);
	for (size_t i = queue->tail; i < written; i++)
		assert_int_equal(queue->bytes[i], 0);
}

static void bytes_leave_in_order(void **unused)
{
	struct byte_queue queue = {0};
	size_t appended = 0, consumed = 0;

	(void)unused;
	for (size_t round = 0; round < 2000; round++) {
		append_next(&queue, &appended, round * 37 % 501);
		consume_next(&queue, &consumed, round * 53 % (byte_queue_length(&queue) + 1));
		assert_int_equal(byte_queue_length(&queue), appended - consumed);
	}
	consume_next(&queue, &consumed, byte_queue_length(&queue));
	assert_int_equal(consumed, appended);
	assert_int_equal(queue.head, 0);
	byte_queue_clear(&queue);
	assert_null(queue.bytes);
}

static void consumed_bytes_are_wiped(void **unused)
{
	struct byte_queue queue = {0};
	size_t appended = 0, consumed = 0;

	(void)unused;
	append_next(&queue, &appended, 3000);
	consume_next(&queue, &consumed, 2900);
	expect_wiped_outside(&queue, 3000);
	/* Fits only when the rest is moved to the front. */
	assert_true(byte_queue_reserve(&queue, queue.size - 100));
	assert_int_equal(queue.head, 0);
	expect_wiped_outside(&queue, 3000);
	consume_next(&queue, &consumed, 100);
	expect_wiped_outside(&queue, 3000);
	byte_queue_clear(&queue);
}

static void impossible_sizes_are_refused(void **unused)
{
	struct byte_queue queue = {0};
	size_t appended = 0, consumed = 0;

	(void)unused;
	assert_false(byte_queue_reserve(&queue, SIZE_MAX));
	append_next(&queue, &appended, 10);
	assert_false(byte_queue_reserve(&queue, SIZE_MAX - 5));
	consume_next(&queue, &consumed, 10);
	byte_queue_clear(&queue);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes_leave_in_order),
		cmocka_unit_test(consumed_bytes_are_wiped),
		cmocka_unit_test(impossible_sizes_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
