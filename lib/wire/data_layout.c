/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What of data records needs no cipher: where a grant's bytes lie. */
#include "data_record.h"

struct data_layout data_layout_of(const struct grant *grant)
{
	struct data_layout layout = {.sealed = grant->bytes - grant->clear};

	layout.records = (layout.sealed + DATA_PAYLOAD_MAX - 1) / DATA_PAYLOAD_MAX;
	layout.ciphertext = layout.sealed + layout.records * DATA_RECORD_OVERHEAD;
	return layout;
}

size_t data_payload_length(const struct data_layout *layout, unsigned index)
{
	if (index >= layout->records)
		return 0;
	if (index < layout->records - 1)
		return DATA_PAYLOAD_MAX;
	return layout->sealed - index * DATA_PAYLOAD_MAX;
}
