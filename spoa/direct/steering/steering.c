/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "steering.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "log.h"
#include "steering_flow.h"
#include "steering_held.h"
#include "steering_leftover.h"
#include "steering_program.h"
#include "steering_table.h"

#define DRAIN_ROUNDS 8 /* then the loop puts back what keeps coming */
#define SWEEP_PERIOD 1.0
/* A program on another CPU that saw a flow HELD may take its time to hold a packet: the entry stays so long, so that
 * those that come next are held, too, and do not overtake it. */
#define ENDING_SECONDS 0.05
#define NANOSECONDS 1000000000u

struct steering {
	struct ev_loop *loop;
	struct steering_program program;
	struct steering_table table;
	struct held_injector injector;
	struct ring_buffer *ring;
	TAILQ_HEAD(, steering_flow) ending; /* oldest first */
	uint32_t ending_count;
	ev_timer end;
	ev_io readable;
	ev_timer reach; /* never runs: it is fed */
	TAILQ_HEAD(, steering_flow) reached;
	void (*acknowledged)(void *owner);
	ev_timer sweep;
	double max_age;
	uint32_t swept, sweep_step;
};

static uint64_t now_ns(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * NANOSECONDS + (uint64_t)now.tv_nsec;
}

/* --- packets that the kernel hands over --- */

static void put_back(struct steering *steering, struct steering_flow *flow)
{
	slot_drained_add(flow->slot, held_queue_inject(&steering->injector, &flow->queue));
}

/* --- a goal that is acknowledged --- */

static void forget_reached(struct steering *steering, struct steering_flow *flow)
{
	if (flow->is_reached)
		TAILQ_REMOVE(&steering->reached, flow, reached);
	flow->is_reached = false;
}

static void disown(struct steering *steering, struct steering_flow *flow)
{
	forget_reached(steering, flow);
	flow->owner = NULL;
	flow->slot->armed = 0;
}

/* The owner hears of it from the loop. */
static void note_reached(struct steering *steering, struct steering_flow *flow)
{
	if (!flow->owner || flow->is_reached)
		return;
	flow->is_reached = true;
	TAILQ_INSERT_TAIL(&steering->reached, flow, reached);
	ev_feed_event(steering->loop, &steering->reach, EV_CUSTOM);
}

static void on_reached(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct steering *steering = timer->data;
	struct steering_flow *flow;
	void *owner;

	(void)loop;
	(void)events;
	while ((flow = TAILQ_FIRST(&steering->reached))) {
		owner = flow->owner;
		disown(steering, flow);
		steering->acknowledged(owner);
	}
}

/* The kernel holds <flow> since <packet>, or one before that was lost, acknowledged its goal. The kernel does not look at
 * checksums, nor whether what is acknowledged was ever sent: a packet that our own stack would drop (RFC 9293 3.10.7.4) proves
 * nothing, and what it said is forgotten. */
static void judge(struct steering *steering, struct steering_flow *flow, const struct held_packet *packet)
{
	struct held_segment segment;
	bool is_read = held_read(packet, &segment);
	int32_t beyond =
		is_read && (segment.flags & HELD_FLAG_ACK) ? (int32_t)(segment.acknowledged - flow->slot->end) : -1;

	if (!is_read || beyond > 0) {
		steering_table_forget_seen(flow);
		(void)flow_action_change(flow, FLOW_HOLD, FLOW_REDIRECT);
	} else if (beyond == 0) {
		note_reached(steering, flow);
	}
}

static int take_held(void *context, void *data, size_t size)
{
	struct steering *steering = context;
	const struct held_packet *packet = data;
	struct steering_flow *flow;
	struct flow_slot *slot;

	if (size < sizeof(*packet) || packet->len > size - sizeof(*packet) || packet->number >= steering->table.max) {
		log_error("steering: the kernel handed over what is not a packet");
		return 0;
	}
	slot = &steering->table.slots[packet->number];
	flow = steering->table.by_number[packet->number];
	/* The flow has ended while its packet was on its way to us. */
	if (!flow || slot->generation != packet->generation) {
		held_inject(&steering->injector, packet);
		slot_drained_add(slot, 1);
		return 0;
	}
	if (held_queue_append(&steering->injector, &flow->queue, packet) < 0)
		slot_drained_add(slot, 1);
	if (flow->owner && flow_action(flow) == FLOW_HOLD && flow_is_acknowledged(flow))
		judge(steering, flow, packet);
	if (flow_action(flow) == FLOW_REDIRECT || flow_action(flow) == FLOW_PASS)
		put_back(steering, flow);
	return 0;
}

static void on_readable(struct ev_loop *loop, ev_io *watcher, int events)
{
	struct steering *steering = watcher->data;

	(void)loop;
	(void)events;
	(void)ring_buffer__consume(steering->ring);
}

/* After a change of <flow>'s action: puts back what is held, and what comes meanwhile. */
static void drain(struct steering *steering, struct steering_flow *flow)
{
	for (int i = 0; i < DRAIN_ROUNDS && !flow_is_drained(flow); i++) {
		/* What is in the queue came before what is in the ring. */
		put_back(steering, flow);
		(void)ring_buffer__consume(steering->ring);
	}
}

/* --- flows --- */

static void remove_flow(struct steering *steering, struct steering_flow *flow)
{
	disown(steering, flow);
	if (flow->is_ending) {
		TAILQ_REMOVE(&steering->ending, flow, ending);
		steering->ending_count--;
	}
	steering_table_remove(&steering->table, flow);
}

static void on_end(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct steering *steering = timer->data;
	struct steering_flow *flow, *next;
	uint64_t now = now_ns();

	(void)events;
	for (flow = TAILQ_FIRST(&steering->ending); flow && (double)(now - flow->ended) >= ENDING_SECONDS * NANOSECONDS;
	     flow = next) {
		next = TAILQ_NEXT(flow, ending);
		if (flow_is_drained(flow))
			remove_flow(steering, flow);
	}
	if (TAILQ_EMPTY(&steering->ending))
		ev_timer_stop(loop, timer);
}

static struct steering_flow *find_any(struct steering *steering, const struct tcp_state *state)
{
	struct packet_tuple tuple;
	struct steering_flow *flow;

	steering_tuple_of(state, &tuple);
	flow = steering_table_find(&steering->table, &tuple);
	if (flow)
		flow->asked = now_ns();
	return flow;
}

static struct steering_flow *find(struct steering *steering, const struct tcp_state *state)
{
	struct steering_flow *flow = find_any(steering, state);

	if (!flow || !flow->is_ending)
		return flow;
	errno = ENOENT;
	return NULL;
}

static struct steering_flow *add(struct steering *steering, const struct tcp_state *state)
{
	struct steering_flow *oldest = TAILQ_FIRST(&steering->ending), *flow;
	struct packet_tuple tuple;

	if (!steering->table.free_count && oldest && flow_is_drained(oldest))
		remove_flow(steering, oldest);
	steering_tuple_of(state, &tuple);
	flow = steering_table_add(&steering->table, &tuple);
	if (flow)
		flow->asked = now_ns();
	return flow;
}

int steering_hold(struct steering *steering, const struct tcp_state *state)
{
	struct steering_flow *flow = find_any(steering, state);

	if (!flow)
		return add(steering, state) ? 0 : -1;
	if (flow->is_ending) {
		TAILQ_REMOVE(&steering->ending, flow, ending);
		steering->ending_count--;
		flow->is_ending = false;
		steering_table_forget_seen(flow);
	}
	disown(steering, flow);
	flow_action_set(flow, FLOW_HOLD);
	return 0;
}

static int set_node(struct flow_slot *slot, const struct steering_route *route, uint32_t flow_family)
{
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)&route->node.storage;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&route->node.storage;
	sa_family_t family = route->node.storage.ss_family;

	/* The kernel sends IPv4 by an IPv6 neighbour, but not the other way. */
	if (family != AF_INET6 && (family != AF_INET || flow_family != PACKET_IPV4)) {
		errno = EAFNOSUPPORT;
		return -1;
	}
	memset(slot->node, 0, sizeof(slot->node));
	if (family == AF_INET)
		memcpy(slot->node, &v4->sin_addr, sizeof(v4->sin_addr));
	else
		memcpy(slot->node, &v6->sin6_addr, sizeof(v6->sin6_addr));
	slot->family = family;
	slot->interface = route->interface;
	return 0;
}

static void set_goal(struct steering_flow *flow, const struct steering_goal *goal)
{
	struct flow_slot *slot = flow->slot;

	slot->begin = goal->begin;
	slot->end = goal->end;
	slot->forwarded = FORWARDED_NOTHING;
	slot->armed = goal->armed;
	flow->owner = goal->owner;
}

int steering_redirect(struct steering *steering, const struct tcp_state *state, const struct steering_route *route,
		      const struct steering_goal *goal)
{
	struct steering_flow *flow = find(steering, state);

	if (!flow)
		return -1;
	/* From node to node only by way of HELD: a packet must not meet half an address. */
	if (flow_action(flow) != FLOW_HOLD) {
		errno = EBUSY;
		return -1;
	}
	if (set_node(flow->slot, route, flow->tuple.family) < 0)
		return -1;
	disown(steering, flow);
	if (goal) {
		set_goal(flow, goal);
		/* What is in the ring comes into the queue; what comes later is no concern of ours any more. */
		(void)ring_buffer__consume(steering->ring);
		slot_drained_add(flow->slot, held_queue_sift(&steering->injector, &flow->queue));
		flow_action_set(flow, FLOW_PROVE);
		return 0;
	}
	flow_action_set(flow, FLOW_REDIRECT);
	drain(steering, flow);
	return 0;
}

void steering_arm(struct steering *steering, const struct tcp_state *state)
{
	struct steering_flow *flow = find(steering, state);

	if (!flow || !flow->owner || flow->slot->armed)
		return;
	__atomic_store_n(&flow->slot->armed, 1u, __ATOMIC_RELEASE);
	if (!flow_is_acknowledged(flow))
		return;
	if (flow->slot->acknowledged != flow->slot->end)
		steering_table_forget_seen(flow); /* see judge() */
	else if (flow_action_change(flow, FLOW_REDIRECT, FLOW_HOLD))
		note_reached(steering, flow);
}

void steering_collect(struct steering *steering, const struct tcp_state *state, uint32_t *sequence,
		      struct byte_queue *input, size_t max)
{
	struct steering_flow *flow = find(steering, state);

	if (!flow || flow_action(flow) != FLOW_HOLD)
		return;
	(void)ring_buffer__consume(steering->ring);
	slot_drained_add(flow->slot, held_queue_collect(&steering->injector, &flow->queue, sequence, input, max));
}

void steering_release(struct steering *steering, const struct tcp_state *state)
{
	struct steering_flow *flow = find(steering, state);

	if (!flow)
		return;
	disown(steering, flow);
	flow_action_set(flow, FLOW_PASS);
	drain(steering, flow);
	flow->is_ending = true;
	flow->ended = now_ns();
	TAILQ_INSERT_TAIL(&steering->ending, flow, ending);
	steering->ending_count++;
	if (!ev_is_active(&steering->end))
		ev_timer_again(steering->loop, &steering->end);
}

static void drop(struct steering *steering, struct steering_flow *flow)
{
	/* Still HELD, so that what is in the ring comes into the queue; of what is held later, while the entry goes,
	 * our own stack takes care. */
	flow_action_set(flow, FLOW_HOLD);
	(void)ring_buffer__consume(steering->ring);
	slot_drained_add(flow->slot, held_queue_drop(&steering->injector, &flow->queue));
	remove_flow(steering, flow);
}

void steering_drop(struct steering *steering, const struct tcp_state *state)
{
	struct steering_flow *flow = find(steering, state);

	if (flow)
		drop(steering, flow);
}

static void read_seen(const struct flow_slot *slot, struct steering_seen *seen)
{
	uint64_t now = now_ns();

	*seen = (struct steering_seen){.any = slot->any != 0,
				       .tcp_flags = (uint8_t)slot->tcp_flags,
				       .forwarded = slot->forwarded != FORWARDED_NOTHING,
				       .forwarded_hidden = slot->forwarded == FORWARDED_HIDDEN,
				       .forwarded_end = slot->forwarded_end};
	if (!seen->any)
		return;
	seen->acknowledged = slot->acknowledged;
	seen->window = slot->window;
	seen->timestamp = slot->timestamp;
	seen->timestamp_echo = slot->timestamp_echo;
	seen->sequence_end = slot->sequence_end;
	seen->packets = slot->packets;
	seen->bytes = slot->bytes;
	seen->age = now > slot->last ? (double)(now - slot->last) / NANOSECONDS : 0;
}

int steering_seen(struct steering *steering, const struct tcp_state *state, struct steering_seen *seen)
{
	struct steering_flow *flow = find(steering, state);

	if (!flow)
		return -1;
	read_seen(flow->slot, seen);
	return 0;
}

void steering_count(struct steering *steering, struct steering_counters *counters)
{
	const volatile struct steering_totals *totals = steering->program.totals;

	*counters = (struct steering_counters){
		.flows = steering->table.max - steering->table.free_count - steering->ending_count,
		.redirected = totals->redirected,
		.held = totals->held,
		.hold_overflows = totals->hold_overflows + steering->injector.lost,
		.reinjected = steering->injector.reinjected,
		.muted = totals->muted,
		.fragments = totals->fragments,
	};
}

/* --- ageing --- */

static bool is_forgotten(const struct steering *steering, const struct steering_flow *flow, uint64_t now)
{
	uint64_t last = flow->slot->last > flow->asked ? flow->slot->last : flow->asked;

	return now > last && (double)(now - last) > steering->max_age * NANOSECONDS;
}

static void on_sweep(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct steering *steering = timer->data;
	struct tcp_state state;
	char text[TCP_STATE_TEXT_MAX];
	uint64_t now = now_ns();

	(void)loop;
	(void)events;
	for (uint32_t i = 0; i < steering->sweep_step; i++) {
		struct steering_flow *flow = steering->table.by_number[steering->swept];

		steering->swept = (steering->swept + 1) % steering->table.max;
		if (!flow || flow->is_ending || !is_forgotten(steering, flow, now))
			continue;
		steering_tuple_state(&flow->tuple, &state);
		log_warning("steering: %s: nothing heard of it for %g s, and nobody asked: dropped",
			    tcp_state_format(&state, text), steering->max_age);
		drop(steering, flow);
	}
}

/* The whole table is looked at four times in <max_age>. */
static void start_sweeping(struct steering *steering)
{
	double round = steering->max_age / 4, period = round < SWEEP_PERIOD ? round : SWEEP_PERIOD;
	double step = (double)steering->table.max * period / round + 1;

	steering->sweep_step = step < steering->table.max ? (uint32_t)step : steering->table.max;
	ev_timer_init(&steering->sweep, on_sweep, period, period);
	steering->sweep.data = steering;
	ev_timer_start(steering->loop, &steering->sweep);
}

/* --- opening and closing --- */

const unsigned *steering_interfaces(const struct steering *steering, size_t *count)
{
	*count = steering->program.interface_count;
	return steering->program.interfaces;
}

static int fail(char *error, size_t error_size, const char *what)
{
	(void)snprintf(error, error_size, "steering: %s: %s", what, strerror(errno));
	return -1;
}

static int share(struct steering *steering, uint32_t max, char *error, size_t error_size)
{
	const struct steering_program *program = &steering->program;

	if (steering_table_open(&steering->table, program->flows, program->labels, program->slots, max) < 0)
		return fail(error, error_size, "cannot share the table with the kernel");
	if (held_injector_open(&steering->injector) < 0)
		return fail(error, error_size, "no packet socket");
	steering->ring = ring_buffer__new(program->held, take_held, steering, NULL);
	return steering->ring ? 0 : fail(error, error_size, "no ring for held packets");
}

static void tell_leftovers(const struct steering_leftover *flows, size_t count, steering_leftover_function *leftover,
			   void *context)
{
	struct steering_seen seen;
	struct tcp_state state;

	for (size_t i = 0; leftover && i < count; i++) {
		steering_tuple_state(&flows[i].tuple, &state);
		read_seen(&flows[i].slot, &seen);
		leftover(context, &state, &seen);
	}
}

static struct steering *create(struct ev_loop *loop, const struct steering_settings *settings, char *error,
			       size_t error_size)
{
	struct steering *steering = calloc(1, sizeof(*steering));

	if (!steering) {
		(void)snprintf(error, error_size, "no memory for steering");
		return NULL;
	}
	steering->loop = loop;
	steering->max_age = settings->max_age;
	steering->acknowledged = settings->acknowledged;
	steering->injector.fd = -1;
	TAILQ_INIT(&steering->ending);
	ev_timer_init(&steering->end, on_end, ENDING_SECONDS, ENDING_SECONDS);
	steering->end.data = steering;
	TAILQ_INIT(&steering->reached);
	ev_init(&steering->reach, on_reached);
	steering->reach.data = steering;
	return steering;
}

struct steering *steering_open(struct ev_loop *loop, const struct steering_settings *settings,
			       steering_leftover_function *leftover, void *context, char *error, size_t error_size)
{
	uint32_t max = settings->max_flows < 1 ? 1 : (uint32_t)settings->max_flows;
	struct steering *steering = create(loop, settings, error, error_size);
	struct steering_leftover *leftovers;
	size_t count = 0;

	if (!steering)
		return NULL;
	if (steering_program_open(&steering->program, settings->interfaces, max, error, error_size) < 0 ||
	    share(steering, max, error, error_size) < 0) {
		steering_close(steering);
		return NULL;
	}
	leftovers = steering_leftover_find(&count);
	if (steering_program_attach(&steering->program, error, error_size) < 0) {
		free(leftovers);
		steering_close(steering);
		return NULL;
	}
	steering_leftover_detach(steering->program.in, steering->program.out);
	tell_leftovers(leftovers, count, leftover, context);
	free(leftovers);
	ev_io_init(&steering->readable, on_readable, ring_buffer__epoll_fd(steering->ring), EV_READ);
	steering->readable.data = steering;
	ev_io_start(loop, &steering->readable);
	if (steering->max_age > 0)
		start_sweeping(steering);
	return steering;
}

/* Of what was released nothing is lost, even now. */
static void end_flow(struct steering *steering, struct steering_flow *flow)
{
	if (flow->is_ending)
		drain(steering, flow);
	if (flow->is_ending && flow_is_drained(flow))
		remove_flow(steering, flow);
	else
		drop(steering, flow);
}

void steering_close(struct steering *steering)
{
	if (!steering)
		return;
	for (uint32_t i = 0; steering->ring && i < steering->table.max; i++)
		if (steering->table.by_number[i])
			end_flow(steering, steering->table.by_number[i]);
	ev_io_stop(steering->loop, &steering->readable);
	ev_timer_stop(steering->loop, &steering->sweep);
	ev_timer_stop(steering->loop, &steering->end);
	ev_clear_pending(steering->loop, &steering->reach);
	if (steering->ring)
		ring_buffer__free(steering->ring);
	held_injector_close(&steering->injector);
	steering_table_close(&steering->table);
	steering_program_close(&steering->program);
	free(steering);
}
