/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards: a continuation begins at the record that has the byte asked for, under the state that the record has; and
 * nothing is kept that could not be asked for again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "announcement.h"
#include "handoff_body.h"

#define TEXT(text) ((struct control_text){text, sizeof(text) - 1})

static struct control_offer offer_of(void)
{
	struct control_offer offer = {.state = {.tls_minor = 4, .suite = 0x1301, .key_len = 16, .seq = 1}};

	offer.state.aead = TX_AEAD_AES_GCM;
	memset(offer.state.key, 0x41, 16);
	memset(offer.state.proof_key, 0x42, PROOF_KEY_LEN);
	offer.host = TEXT("www.example");
	offer.target = TEXT("/a?b");
	offer.lease_id = 7;
	return offer;
}

/* What a node announces, proven under <key>, and HAProxy passes on. <text> holds the announcement. */
static struct handoff_message park(char text[static ANNOUNCEMENT_TEXT_MAX], struct announcement announcement,
				   const char *target, const uint8_t *key)
{
	struct handoff_message parked = {.type = HANDOFF_MESSAGE_PARKED, .ticket = announcement.ticket};

	announcement.seq = announcement.seq ? announcement.seq : 1;
	announcement.status = announcement.first ? 206 : 200;
	announcement.records = (announcement.length + RECORD_PLAIN_MAX - 1) / RECORD_PLAIN_MAX;
	parked.bytes = announcement.length + 22 * announcement.records;
	parked.announcement_len = announcement_format(text, &announcement, key);
	assert_true(parked.announcement_len > 0);
	parked.announcement = text;
	parked.target = target;
	parked.target_len = strlen(target);
	return parked;
}

static const struct announcement whole = {.kind = ANNOUNCEMENT_DIRECT, .length = 40000, .etag = "\"x\""};

static void set_up(struct handoff_body *body, struct lease_store **store, uint64_t offset, uint64_t length)
{
	struct control_offer offer = offer_of();
	struct announcement announcement = whole;
	char text[ANNOUNCEMENT_TEXT_MAX];
	struct handoff_message parked;

	announcement.first = offset;
	announcement.length = length;
	parked = park(text, announcement, "/seen", offer.state.proof_key);
	*store = lease_store_new();
	assert_non_null(*store);
	assert_int_equal(handoff_body_init(body, *store, &offer), 0);
	assert_null(handoff_body_announce(body, &parked));
	assert_string_equal(body->etag, "\"x\"");
	assert_string_equal(body->target, "/seen"); /* not that of the Offer: HAProxy's rules may have rewritten it */
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

/* Else an attacker on the fetch hop could have another node seal other bytes in used slots. */
static void what_is_not_proven_is_refused(void **state)
{
	static const uint8_t another[PROOF_KEY_LEN] = {1};
	struct control_offer offer = offer_of();
	struct lease_store *store = lease_store_new();
	char text[ANNOUNCEMENT_TEXT_MAX];
	struct handoff_message parked;
	struct handoff_body body;

	(void)state;
	assert_int_equal(handoff_body_init(&body, store, &offer), 0);
	parked = park(text, whole, "/a", another);
	assert_string_equal(handoff_body_announce(&body, &parked), "its announcement is not proven");
	parked = park(text, whole, "/a", offer.state.proof_key);
	for (size_t i = 0; i < parked.announcement_len; i++) {
		text[i] ^= 1;
		assert_non_null(handoff_body_announce(&body, &parked));
		text[i] ^= 1;
		parked.announcement_len--;
		assert_non_null(handoff_body_announce(&body, &parked));
		parked.announcement_len++;
	}
	assert_false(body.announced);
	assert_null(body.etag);
	assert_string_equal(body.target, "/a?b");
	assert_null(handoff_body_announce(&body, &parked));
	handoff_body_release(&body);
	lease_store_free(store);
}

/* Proven, but of another lease's slots, ticket or size, or of another kind. */
static void what_is_of_another_body_is_refused(void **state)
{
	struct control_offer offer = offer_of();
	struct lease_store *store = lease_store_new();
	struct handoff_body body;

	(void)state;
	assert_int_equal(handoff_body_init(&body, store, &offer), 0);
	for (int i = 0; i < 6; i++) {
		struct announcement announcement = whole;
		char text[ANNOUNCEMENT_TEXT_MAX];
		struct handoff_message parked;

		announcement.seq = i == 0 ? 2 : 1;
		announcement.kind = i == 1 ? ANNOUNCEMENT_SPLICE : ANNOUNCEMENT_DIRECT;
		if (i == 2)
			announcement.first = UINT64_MAX - 10;
		parked = park(text, announcement, i == 3 ? "/a b" : "/a", offer.state.proof_key);
		if (i == 4)
			parked.bytes++;
		if (i == 5)
			parked.ticket.bytes[3] ^= 1;
		assert_non_null(handoff_body_announce(&body, &parked));
		assert_false(body.announced);
	}
	handoff_body_release(&body);
	lease_store_free(store);
}

static void body_without_a_name_is_not_continued(void **state)
{
	struct control_offer offer = offer_of();
	struct announcement announcement = whole;
	struct lease_store *store = lease_store_new();
	char text[ANNOUNCEMENT_TEXT_MAX];
	struct handoff_message parked;
	struct handoff_body body;

	(void)state;
	announcement.etag = NULL;
	announcement.length = 10;
	parked = park(text, announcement, "/a", offer.state.proof_key);
	assert_int_equal(handoff_body_init(&body, store, &offer), 0);
	assert_null(handoff_body_announce(&body, &parked));
	assert_true(body.announced);
	assert_false(handoff_body_can_continue(&body));
	assert_int_equal(body.layout.length, 10);
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
		cmocka_unit_test(what_is_not_proven_is_refused),
		cmocka_unit_test(what_is_of_another_body_is_refused),
		cmocka_unit_test(body_without_a_name_is_not_continued),
		cmocka_unit_test(leases_are_kept_apart_and_wiped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
