/* SPDX-License-Identifier: GPL-2.0-or-later */
/* DNS answer: the records of one type that a DNS message has for the name that it answers about (RFC 1035; AAAA: RFC 3596; SRV: RFC
 * 2782). A codec: bytes in, struct out. Who sent the message, and whether it answers what was asked, is the caller's to know. */
#ifndef DISC_DNS_ANSWER_H
#define DISC_DNS_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DNS_ANSWER_MAX 256u /* addresses of one answer */
#define DNS_ANSWER_SERVICES_MAX 64u
#define DNS_NAME_SIZE 254u /* bytes of a name as text, terminated */

enum dns_type { DNS_TYPE_A = 1, DNS_TYPE_CNAME = 5, DNS_TYPE_AAAA = 28, DNS_TYPE_SRV = 33 };

struct dns_answer {
	uint32_t ttl;   /* seconds: the lowest of the records, and of aliases on the way to them; 0 without records */
	size_t count;   /* records */
	size_t ignored; /* further ones of that type */
	union {
		uint8_t addresses[DNS_ANSWER_MAX][16]; /* of A the first 4 bytes of each */
		struct dns_service {
			char target[DNS_NAME_SIZE]; /* without a dot at its end */
			uint16_t port;
		} services[DNS_ANSWER_SERVICES_MAX]; /* without priority and weight */
	} records;
};

/* Reads the records of <type> (A, AAAA or SRV) from the <len> bytes of <message>, following aliases (CNAME) in the order in which
 * they are there. An SRV record whose target is the root (there is no such service) is none. Returns 0 with <answer> filled; or -1 if
 * the message is malformed, or no answer, or says an error: nothing of it can be used then. */
int dns_answer_read(struct dns_answer *answer, const uint8_t *message, size_t len, enum dns_type type);

#endif
