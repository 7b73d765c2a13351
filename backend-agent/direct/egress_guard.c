/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "egress_guard.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "capabilities.h"
#include "egress_guard.skel.h"
#include "egress_guard_address.h"
#include "packet_tuple.h"
#include "traffic_filter.h"

#define INTERFACES_MAX 64

struct egress_guard {
	struct egress_guard_bpf *program;
	uint32_t number; /* of the program */
	unsigned interfaces[INTERFACES_MAX];
	size_t count;
};

static int to_key(const struct address *address, struct egress_guard_address *key)
{
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)&address->storage;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&address->storage;

	memset(key, 0, sizeof(*key));
	if (address->storage.ss_family == AF_INET) {
		key->family = PACKET_IPV4;
		memcpy(key->words, &v4->sin_addr, sizeof(v4->sin_addr));
		return 0;
	}
	key->family = PACKET_IPV6;
	memcpy(key->words, &v6->sin6_addr, sizeof(v6->sin6_addr));
	return address->storage.ss_family == AF_INET6 ? 0 : -1;
}

static int add_addresses(struct egress_guard *guard, const struct address *vips, size_t count, char *error,
			 size_t error_size)
{
	struct egress_guard_address key;
	char text[ADDRESS_TEXT_MAX];
	const uint8_t value = 1;

	for (size_t i = 0; i < count; i++) {
		if (to_key(&vips[i], &key) < 0) {
			(void)snprintf(error, error_size, "VIP %s is not an IP address",
				       address_format(&vips[i], text));
			return -1;
		}
		if (bpf_map_update_elem(bpf_map__fd(guard->program->maps.guarded), &key, &value, BPF_ANY) < 0) {
			(void)snprintf(error, error_size, "VIP %s: %s", address_format(&vips[i], text),
				       strerror(errno));
			return -1;
		}
	}
	return 0;
}

static int load(struct egress_guard *guard, size_t addresses, char *error, size_t error_size)
{
	char missing[128];

	if (capabilities_have("cap_sys_admin", missing, sizeof(missing)) < 0 &&
	    capabilities_have("cap_bpf cap_net_admin", missing, sizeof(missing)) < 0) {
		(void)snprintf(error, error_size, "the egress guard needs %s", missing);
		return -1;
	}
	traffic_filter_log();
	guard->program = egress_guard_bpf__open();
	if (!guard->program ||
	    bpf_map__set_max_entries(guard->program->maps.guarded, (uint32_t)(addresses ? addresses : 1)) < 0 ||
	    egress_guard_bpf__load(guard->program) < 0) {
		(void)snprintf(error, error_size, "the kernel does not take the egress guard's program: %s",
			       strerror(errno));
		return -1;
	}
	guard->number = traffic_program_number(bpf_program__fd(guard->program->progs.disc_guard));
	return 0;
}

static int attach(struct egress_guard *guard, const char *const *interfaces, char *error, size_t error_size)
{
	int program = bpf_program__fd(guard->program->progs.disc_guard);
	unsigned found[INTERFACES_MAX];
	size_t count = 0;

	for (; interfaces[count]; count++) {
		if (count == INTERFACES_MAX) {
			(void)snprintf(error, error_size, "the egress guard takes no more than %d interfaces",
				       INTERFACES_MAX);
			return -1;
		}
		found[count] = traffic_interface(interfaces[count], error, error_size);
		if (found[count] == 0)
			return -1;
	}
	/* Only now: a wrong name changes nothing. */
	for (size_t i = 0; i < count; i++) {
		if (traffic_filter_attach(found[i], TRAFFIC_EGRESS, TRAFFIC_FILTER_GUARD, program, error, error_size) <
		    0)
			return -1;
		guard->interfaces[guard->count++] = found[i];
	}
	return 0;
}

struct egress_guard *egress_guard_open(const char *const *interfaces, const struct address *vips, size_t count,
				       char *error, size_t error_size)
{
	struct egress_guard *guard = calloc(1, sizeof(*guard));

	if (!guard) {
		(void)snprintf(error, error_size, "no memory for the egress guard");
		return NULL;
	}
	if (load(guard, count, error, error_size) < 0 || add_addresses(guard, vips, count, error, error_size) < 0 ||
	    attach(guard, interfaces, error, error_size) < 0) {
		egress_guard_close(guard);
		return NULL;
	}
	return guard;
}

void egress_guard_close(struct egress_guard *guard)
{
	if (!guard)
		return;
	for (size_t i = 0; i < guard->count; i++)
		traffic_filter_detach(guard->interfaces[i], TRAFFIC_EGRESS, TRAFFIC_FILTER_GUARD, guard->number);
	egress_guard_leave(guard);
}

void egress_guard_leave(struct egress_guard *guard)
{
	if (!guard)
		return;
	if (guard->program)
		egress_guard_bpf__destroy(guard->program);
	free(guard);
}

uint64_t egress_guard_dropped(const struct egress_guard *guard)
{
	return __atomic_load_n(&guard->program->bss->dropped, __ATOMIC_RELAXED);
}
