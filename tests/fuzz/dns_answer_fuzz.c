/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Any message as the answer of a DNS server, about each type of record: what is accepted has names that end, and no more records than
 * there is room for. */
#include <stdlib.h>
#include <string.h>

#include "dns_answer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int holds)
{
	if (!holds)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct dns_answer answer;

	if (dns_answer_read(&answer, data, size, DNS_TYPE_A) == 0)
		require(answer.count <= DNS_ANSWER_MAX && (answer.count || !answer.ttl));
	if (dns_answer_read(&answer, data, size, DNS_TYPE_AAAA) == 0)
		require(answer.count <= DNS_ANSWER_MAX && answer.ttl <= INT32_MAX);
	if (dns_answer_read(&answer, data, size, DNS_TYPE_SRV) == 0) {
		require(answer.count <= DNS_ANSWER_SERVICES_MAX);
		for (size_t i = 0; i < answer.count; i++)
			require(memchr(answer.records.services[i].target, '\0', DNS_NAME_SIZE) != NULL);
	}
	return 0;
}
