/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Any bytes as a grant whose proof is right: what is accepted encodes to the same bytes, and its records lie within what a
 * node's block has room for. */
#include <stdlib.h>
#include <string.h>

#include "data_record.h"
#include "granting.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int holds)
{
	if (!holds)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t key[PROOF_KEY_LEN] = {1};
	static const struct ticket ticket = {{2}};
	uint8_t wire[GRANT_WIRE_LEN], again[GRANT_WIRE_LEN];
	struct data_layout layout;
	struct grant grant;

	if (size != GRANT_WIRE_LEN - PROOF_LEN)
		return 0;
	memset(wire, 0, sizeof(wire));
	memcpy(wire, data, size);
	require(grant_decode(&grant, wire, &ticket, key) == GRANT_BAD_PROOF);
	granting_prove(wire, &ticket, key);
	if (grant_decode(&grant, wire, &ticket, key) != GRANT_OK)
		return 0;
	granting_encode(again, &grant, &ticket, key);
	require(memcmp(again, wire, sizeof(wire)) == 0);
	layout = data_layout_of(&grant);
	require(layout.records <= DATA_RECORDS_MAX && layout.sealed + grant.clear == grant.bytes);
	require(layout.ciphertext == layout.sealed + layout.records * DATA_RECORD_OVERHEAD);
	require(!layout.records == !grant.slot && grant.slot + layout.records < RECORD_COUNT_MAX);
	return 0;
}
