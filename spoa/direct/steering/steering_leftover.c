/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "steering_leftover.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "traffic_filter.h"

#define MAPS_MAX 16
#define PROGRAMS_MAX 16 /* different ones on this network's interfaces: usually one */

struct findings {
	struct steering_leftover *flows;
	size_t count, room;
};

static bool append(struct findings *findings, const struct packet_tuple *tuple, const struct flow_slot *slot)
{
	if (findings->count == findings->room) {
		size_t room = findings->room ? findings->room * 2 : 64;
		struct steering_leftover *flows = realloc(findings->flows, room * sizeof(*flows));

		if (!flows)
			return false;
		findings->flows = flows;
		findings->room = room;
	}
	findings->flows[findings->count++] = (struct steering_leftover){.tuple = *tuple, .slot = *slot};
	return true;
}

static void copy_flows(struct findings *findings, int flows, int slots)
{
	struct packet_tuple tuple, next;
	const struct packet_tuple *previous = NULL;
	struct flow_slot slot;
	uint32_t number;

	while (bpf_map_get_next_key(flows, previous, &next) == 0) {
		tuple = next;
		previous = &tuple;
		if (bpf_map_lookup_elem(flows, &tuple, &number) < 0 || bpf_map_lookup_elem(slots, &number, &slot) < 0)
			continue;
		if (!append(findings, &tuple, &slot)) {
			log_error("steering: no memory for the flows that were left over; some are forgotten");
			return;
		}
	}
}

/* Returns a descriptor of the map number <id> if it has this name and sizes, or -1. */
static int open_map(uint32_t id, const char *name, size_t key_size, size_t value_size)
{
	struct bpf_map_info map = {0};
	uint32_t len = sizeof(map);
	int fd = bpf_map_get_fd_by_id(id);

	if (fd < 0)
		return -1;
	if (bpf_obj_get_info_by_fd(fd, &map, &len) == 0 && strcmp(map.name, name) == 0 && map.key_size == key_size &&
	    map.value_size == value_size)
		return fd;
	(void)close(fd);
	return -1;
}

static void search_program(struct findings *findings, int program)
{
	uint32_t maps[MAPS_MAX] = {0};
	struct bpf_prog_info information = {.nr_map_ids = MAPS_MAX, .map_ids = (uintptr_t)maps};
	uint32_t len = sizeof(information);
	int flows = -1, slots = -1;

	if (bpf_obj_get_info_by_fd(program, &information, &len) < 0 || strcmp(information.name, "disc_steer_in") != 0)
		return;
	for (uint32_t i = 0; i < information.nr_map_ids && i < MAPS_MAX; i++) {
		if (flows < 0)
			flows = open_map(maps[i], "flows", sizeof(struct packet_tuple), sizeof(uint32_t));
		if (slots < 0)
			slots = open_map(maps[i], "slots", sizeof(uint32_t), sizeof(struct flow_slot));
	}
	if (flows >= 0 && slots >= 0)
		copy_flows(findings, flows, slots);
	else
		log_warning("steering: an earlier version's table is dropped unread");
	if (flows >= 0)
		(void)close(flows);
	if (slots >= 0)
		(void)close(slots);
}

struct steering_leftover *steering_leftover_find(size_t *count)
{
	struct if_nameindex *interfaces = if_nameindex();
	struct findings findings = {0};
	uint32_t searched[PROGRAMS_MAX];
	size_t programs = 0;

	for (size_t i = 0; interfaces && interfaces[i].if_index != 0 && programs < PROGRAMS_MAX; i++) {
		uint32_t id = traffic_filter_find(interfaces[i].if_index, TRAFFIC_INGRESS, TRAFFIC_FILTER_STEERING);
		bool is_new = id != 0;
		int program;

		for (size_t j = 0; j < programs; j++)
			is_new = is_new && searched[j] != id;
		if (!is_new)
			continue;
		searched[programs++] = id;
		program = bpf_prog_get_fd_by_id(id);
		if (program < 0) {
			log_warning("steering: connections that an earlier process steered on %s are not found, and "
				    "reset only when their clients next send something: %s",
				    interfaces[i].if_name,
				    errno == EPERM ? "to read its table takes cap_sys_admin" : strerror(errno));
			continue;
		}
		search_program(&findings, program);
		(void)close(program);
	}
	if (interfaces)
		if_freenameindex(interfaces);
	*count = findings.count;
	return findings.flows;
}

static void detach_unless(unsigned interface, enum traffic_direction direction, uint32_t ours)
{
	uint32_t program = traffic_filter_find(interface, direction, TRAFFIC_FILTER_STEERING);

	if (program != 0 && program != ours)
		traffic_filter_detach(interface, direction, TRAFFIC_FILTER_STEERING, program);
}

void steering_leftover_detach(uint32_t in, uint32_t out)
{
	struct if_nameindex *interfaces = if_nameindex();

	for (size_t i = 0; interfaces && interfaces[i].if_index != 0; i++) {
		detach_unless(interfaces[i].if_index, TRAFFIC_INGRESS, in);
		detach_unless(interfaces[i].if_index, TRAFFIC_EGRESS, out);
	}
	if (interfaces)
		if_freenameindex(interfaces);
}
