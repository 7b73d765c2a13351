/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Any text as configuration, for the scan that finds what is not closed. libconfuse itself is not fuzzed here. */
#include <stdint.h>
#include <stdlib.h>

#include "config_scan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	FILE *in;
	int line = 0;

	if (!size)
		return 0;
	in = fmemopen((void *)(uintptr_t)data, size, "r");
	if (!in)
		abort();
	if (config_scan(in, &line) && line < 1)
		abort();
	(void)fclose(in);
	return 0;
}
