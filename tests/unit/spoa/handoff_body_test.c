/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards: a continuation begins at the record that has the byte asked for, under the state that the record has; and
 * nothing is kept that could not be asked for again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "handoff_body.h"

#define TEXT(text) ((struct control_text){text, sizeof(text) - 1})

static struct control_offer offer_of(void)
{
	struct control_offer offer = {.state = {.tls_minor = 4, .suite = 0x1301, .key_len = 16, .seq = 1}};

	offer.state.aead = TX_AEAD_AES_GCM;
	memset(offer.state.key, 0x41, 16);
	offer.host = TEXT("www.example");
	offer.target = TEXT("/a?b");
	offer.lease_id = 7;
	return offer;
}

static void set_up(struct handoff_body *body, struct lease_store **store, uint64_t offset, uint64_t length)
{
	struct control_offer offer = offer_of();
	struct control_prepared prepared = {
		.etag = TEXT("\"x\""), .target = TEXT("/seen"), .offset = offset, .length = length};

	*store = lease_store_new();
	assert_non_null(*store);
	assert_int_equal(handoff_body_init(body, *store, &offer), 0);
	assert_null(handoff_body_prepare(body, &prepared));
	assert_string_equal(body->etag, "\"x\"");
	assert_string_equal(body->target, "/seen"); /* not what HAProxy said: it may have rewritten it */
	assert_true(handoff_body_can_continue(body));
}

static void a_continuation_begins_with_the_record_of_the_byte(void **state)
{
	const uint64_t full = RECORD_PLAIN_MAX + 22;
	struct lease_store *store;
	struct handoff_body body;
	struct continuation_range range;

	(void)state;
	set_up(&body, &store, 1000, 40000);
	assert_int_equal(body.layout.ciphertext, 40066);
	assert_true(continuation_range_init(&range, &body, 0));
	assert_int_equal(range.first, 1000);
	assert_int_equal(range.last, 40999);
	assert_int_equal(range.skip, 0);
	assert_int_equal(range.layout.ciphertext, 40066);
	assert_true(continuation_range_init(&range, &body, full - 1));
	assert_int_equal(range.first, 1000);
	assert_int_equal(range.skip, full - 1);
	assert_true(continuation_range_init(&range, &body, full));
	assert_int_equal(range.state.seq, 2);
	assert_int_equal(range.first, 1000 + RECORD_PLAIN_MAX);
	assert_int_equal(range.layout.records, 2);
	assert_int_equal(range.skip, 0);
	assert_true(continuation_range_init(&range, &body, 40065));
	assert_int_equal(range.state.seq, 3);
	assert_int_equal(range.layout.length, 40000 - 2 * RECORD_PLAIN_MAX);
	assert_int_equal(range.skip, 40065 - 2 * full);
	handoff_body_release(&body);
	lease_store_free(store);
}

static void what_cannot_stand_in_a_request_is_refused(void **state)
{
	static const struct control_text bad[] = {TEXT("a b"), TEXT("a\r\nX: y"), TEXT("a\0b"), TEXT("a\x7f")};
	struct lease_store *store = lease_store_new();
	struct handoff_body body;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct control_offer offer = offer_of();

		offer.host = bad[i];
		assert_int_equal(handoff_body_init(&body, store, &offer), -1);
		offer = offer_of();
		offer.target = bad[i];
		assert_int_equal(handoff_body_init(&body, store, &offer), -1);
	}
	lease_store_free(store);
}

static void prepared_is_checked(void **state)
{
	struct control_offer offer = offer_of();
	struct control_prepared prepared = {.etag = TEXT("\"x\""), .offset = UINT64_MAX - 10, .length = 11};
	struct lease_store *store = lease_store_new();
	struct handoff_body body;

	(void)state;
	assert_int_equal(handoff_body_init(&body, store, &offer), 0);
	assert_non_null(handoff_body_prepare(&body, &prepared));
	prepared = (struct control_prepared){.etag = TEXT("\"x\""), .length = 0};
	assert_non_null(handoff_body_prepare(&body, &prepared));
	assert_false(body.prepared);
	prepared = (struct control_prepared){.etag = TEXT("\"x\""), .target = TEXT("/a"), .length = 1};
	assert_null(handoff_body_prepare(&body, &prepared));
	assert_non_null(handoff_body_prepare(&body, &prepared));
	handoff_body_release(&body);
	lease_store_free(store);
}

static void names_that_cannot_stand_in_a_request_are_refused(void **state)
{
	static const struct control_prepared bad[] = {
		{.etag = TEXT("\"x\r\ny\""), .target = TEXT("/a"), .length = 1},
		{.etag = TEXT("\"x\""), .target = TEXT("/a b"), .length = 1},
	};
	struct lease_store *store = lease_store_new();
	struct handoff_body body;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct control_offer offer = offer_of();

		assert_int_equal(handoff_body_init(&body, store, &offer), 0);
		assert_non_null(handoff_body_prepare(&body, &bad[i]));
		handoff_body_release(&body);
	}
	lease_store_free(store);
}

static void body_without_a_name_is_not_continued(void **state)
{
	struct control_offer offer = offer_of();
	const struct control_prepared prepared = {.etag = TEXT(""), .target = TEXT(""), .length = 10};
	struct lease_store *store = lease_store_new();
	struct handoff_body body;

	(void)state;
	assert_int_equal(handoff_body_init(&body, store, &offer), 0);
	assert_false(body.prepared);
	assert_null(handoff_body_prepare(&body, &prepared));
	assert_true(body.prepared);
	assert_false(handoff_body_can_continue(&body));
	assert_int_equal(body.layout.length, 10);
	assert_non_null(handoff_body_prepare(&body, &prepared));
	handoff_body_release(&body);
	lease_store_free(store);
}

static void leases_are_kept_apart_and_wiped(void **state)
{
	static const struct tx_state none;
	struct lease_store *store = lease_store_new();
	struct tx_state *kept[300], lease = offer_of().state;

	(void)state;
	for (int round = 0; round < 2; round++) {
		for (unsigned i = 0; i < 300; i++) {
			lease.seq = i;
			kept[i] = lease_store_keep(store, &lease);
			assert_non_null(kept[i]);
		}
		for (unsigned i = 0; i < 300; i++) {
			lease.seq = i;
			assert_memory_equal(kept[i], &lease, sizeof(lease));
		}
		for (unsigned i = 0; i < 300; i++) {
			lease_store_drop(store, kept[i]);
			/* but for the chain of free places at its beginning */
			assert_memory_equal(kept[i]->key, none.key, sizeof(none.key));
		}
	}
	lease_store_free(store);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_continuation_begins_with_the_record_of_the_byte),
		cmocka_unit_test(what_cannot_stand_in_a_request_is_refused),
		cmocka_unit_test(prepared_is_checked),
		cmocka_unit_test(names_that_cannot_stand_in_a_request_are_refused),
		cmocka_unit_test(body_without_a_name_is_not_continued),
		cmocka_unit_test(leases_are_kept_apart_and_wiped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
