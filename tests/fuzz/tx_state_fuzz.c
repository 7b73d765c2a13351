/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Any bytes as TX state: what is accepted must encode to the same bytes and can be sealed with. */
#include <stdlib.h>
#include <string.h>

#include "data_record.h"
#include "record.h"
#include "tx_state.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int holds)
{
	if (!holds)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t plain[100], out[RECORD_SEALED_MAX];
	uint8_t wire[TX_STATE_WIRE_LEN];
	struct record_sealer *sealer;
	enum record_error error;
	struct tx_state state;
	size_t len;

	if (tx_state_decode(&state, data, size) != TX_STATE_OK)
		return 0;
	tx_state_encode(wire, &state);
	require(size == sizeof(wire) && memcmp(wire, data, size) == 0);
	if (state.use == TX_USE_GRANTS) {
		struct data_sealer *data_sealer;

		require(record_sealer_new(&sealer, &state, sizeof(plain), 0) == RECORD_WRONG_USE);
		require(data_sealer_new(&data_sealer, &state) == RECORD_OK);
		require(data_seal(data_sealer, 1, 1, true, 100, out) == RECORD_OK);
		data_sealer_free(data_sealer);
		return 0;
	}
	error = record_sealer_new(&sealer, &state, sizeof(plain), 0);
	require(error == RECORD_OK || error == RECORD_SEQ_EXHAUSTED);
	if (error == RECORD_OK)
		require(record_seal_next(sealer, plain, sizeof(plain), out, &len) == RECORD_OK);
	record_sealer_free(sealer);
	return 0;
}
