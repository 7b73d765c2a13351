/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards: a flow that is sent on is held as soon as the client has acknowledged all, whatever sequence numbers, losses in
 * the ring and both writers of its action do, and its owner hears of it once; until the node has shown that it has the
 * connection it gets nothing that may not be lost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "steering_lab.h"

#define ACK 0x10
#define FIN 0x01
#define RST 0x04
#define SYN 0x02

#define LAB(state)                           \
	struct steering_lab *lab = *(state); \
                                             \
	if (!lab) {                          \
		skip();                      \
		return;                      \
	}

/* A flow and its goal: records of the sequence numbers from <begin> to <end>. */
struct scene {
	struct steering_lab *lab;
	struct tcp_state flow;
	struct steering_goal goal;
	unsigned told; /* how often its owner heard that all is acknowledged */
};

static void on_acknowledged(void *owner)
{
	((struct scene *)owner)->told++;
}

static void begin(struct scene *scene, struct steering_lab *lab, unsigned family, unsigned port, uint32_t from,
		  uint32_t to)
{
	*scene = (struct scene){.lab = lab,
				.flow = steering_lab_flow(family, port),
				.goal = {.begin = from, .end = to, .armed = true, .owner = scene}};
	assert_int_equal(steering_hold(lab->steering, &scene->flow), 0);
}

static void send_on(struct scene *scene)
{
	const struct steering_route *route = scene->flow.family == 4 ? &scene->lab->route4 : &scene->lab->route6;

	assert_int_equal(steering_redirect(scene->lab->steering, &scene->flow, route, &scene->goal), 0);
}

/* From the client. */
static void say(struct scene *scene, uint32_t seq, uint32_t ack, uint8_t flags, size_t payload)
{
	const struct raw_packet packet = {
		.flow = &scene->flow, .seq = seq, .ack = ack, .flags = flags, .window = 100, .payload = payload};

	assert_int_equal(raw_send(&scene->lab->sender, &packet), 0);
}

static uint64_t held(struct scene *scene)
{
	struct steering_counters counters;

	steering_count(scene->lab->steering, &counters);
	return counters.held;
}

/* What is held now, and <more> packets: lets the loop take them. */
static void await_held(struct scene *scene, uint64_t before, unsigned more)
{
	steering_lab_wait(scene->lab, steering_lab_held, before + more);
	for (int i = 0; i < 3; i++)
		(void)ev_run(scene->lab->loop, EVRUN_NOWAIT);
}

static void open_lab(struct steering_lab *lab)
{
	lab->acknowledged = on_acknowledged;
	steering_lab_open(lab, 64, 0);
}

static void go_and_return(struct steering_lab *lab, unsigned family, uint32_t from, uint32_t to)
{
	struct scene scene;
	uint64_t before;

	begin(&scene, lab, family, 3000 + family, from, to);
	before = held(&scene);
	send_on(&scene);
	say(&scene, 1, to - 1, ACK, 0);
	steering_lab_expect_node(lab, 1);
	(void)ev_run(lab->loop, EVRUN_NOWAIT);
	assert_int_equal(scene.told, 0);
	/* The last acknowledgement is for both: the node would repeat what it sent without it. */
	say(&scene, 2, to, ACK, 0);
	steering_lab_expect_node(lab, 2);
	await_held(&scene, before, 1);
	assert_int_equal(scene.told, 1);
	say(&scene, 3, to, ACK, 10);
	say(&scene, 13, to, ACK, 0);
	await_held(&scene, before, 3);
	assert_int_equal(scene.told, 1);
	steering_lab_expect_nothing(lab, family);
	steering_release(lab->steering, &scene.flow);
	for (uint32_t seq = 2; seq <= 3; seq++)
		steering_lab_expect_stack(lab, family, seq);
	steering_lab_expect_stack(lab, family, 13);
}

static void acknowledging_all_brings_a_flow_back(void **state)
{
	LAB(state)
	open_lab(lab);
	for (unsigned family = 4; family <= 6; family += 2) {
		go_and_return(lab, family, 1000, 2000);
		go_and_return(lab, family, 0xfffffff0u, 0x10); /* wraps in the middle */
		go_and_return(lab, family, 0xfffff000u, 0);    /* ends there */
		go_and_return(lab, family, 0x7ffffff0u, 0x80000010u);
		go_and_return(lab, family, 5, 5 + (1u << 30) - 1); /* the longest that is armed at once */
	}
	steering_lab_close(lab);
}

/* FIN and RST with the last acknowledgement are our own stack's, and so is a request. */
static void what_bears_the_last_acknowledgement_is_not_the_nodes(void **state)
{
	static const uint8_t flags[] = {ACK | FIN, ACK | RST, ACK};
	struct scene scene;
	uint64_t before;

	LAB(state)
	open_lab(lab);
	for (size_t i = 0; i < 3; i++) {
		struct steering_seen seen;

		begin(&scene, lab, 4, 3100 + (unsigned)i, 1000, 2000);
		before = held(&scene);
		send_on(&scene);
		say(&scene, 1, 1500, ACK, 0);
		steering_lab_expect_node(lab, 1);
		say(&scene, 1, 2000, flags[i], i == 2 ? 70 : 0);
		await_held(&scene, before, 1);
		assert_int_equal(scene.told, 1);
		assert_int_equal(steering_seen(lab->steering, &scene.flow, &seen), 0);
		assert_false(seen.forwarded);
		steering_release(lab->steering, &scene.flow);
		steering_lab_expect_stack(lab, 4, 1);
	}
	steering_lab_close(lab);
}

static void a_goal_that_is_far_away_is_armed_later(void **state)
{
	struct scene scene;

	LAB(state)
	open_lab(lab);
	/* 3 GB: the first acknowledgements look as if they were behind its end. */
	begin(&scene, lab, 4, 3200, 1000, 1000 + 3221225472u);
	scene.goal.armed = false;
	send_on(&scene);
	say(&scene, 1, 2000, ACK, 0);
	steering_lab_expect_node(lab, 1);
	for (uint32_t seq = 2; seq <= 3; seq++) {
		say(&scene, seq, scene.goal.end - (3 - seq) * 1610612736u, ACK, 0);
		steering_lab_expect_node(lab, seq);
	}
	(void)ev_run(lab->loop, EVRUN_NOWAIT);
	assert_int_equal(scene.told, 0);
	/* The node's report came too late: all is acknowledged already. */
	steering_arm(lab->steering, &scene.flow);
	(void)ev_run(lab->loop, EVRUN_NOWAIT);
	assert_int_equal(scene.told, 1);
	steering_release(lab->steering, &scene.flow);

	begin(&scene, lab, 4, 3201, 1000, 2000);
	scene.goal.armed = false;
	send_on(&scene);
	say(&scene, 1, 1500, ACK, 0);
	steering_lab_expect_node(lab, 1);
	steering_arm(lab->steering, &scene.flow);
	go_and_return(lab, 4, 1000, 2000);
	assert_int_equal(scene.told, 0);
	steering_release(lab->steering, &scene.flow);
	steering_lab_close(lab);
}

/* Client data are held until the node has shown that it has the connection, and then come first. */
static void client_data_wait_for_the_nodes_first_byte(void **state)
{
	struct steering_seen seen;
	struct scene scene;
	uint64_t before;

	LAB(state)
	open_lab(lab);
	for (unsigned family = 4; family <= 6; family += 2) {
		begin(&scene, lab, family, 3300, 1000, 2000);
		before = held(&scene);
		say(&scene, 1, 990, ACK, 0);
		say(&scene, 1, 990, ACK, 20);
		await_held(&scene, before, 2);
		send_on(&scene); /* the acknowledgement is dropped: each says again what came before */
		say(&scene, 21, 1000, ACK, 0);
		steering_lab_expect_node(lab, 21);
		say(&scene, 21, 1000, ACK, 5);
		say(&scene, 26, 1000, ACK | FIN, 0);
		await_held(&scene, before, 4);
		assert_int_equal(steering_seen(lab->steering, &scene.flow, &seen), 0);
		assert_false(seen.forwarded);
		say(&scene, 27, 1001, ACK, 0);
		await_held(&scene, before, 5);
		steering_lab_expect_node(lab, 1);
		steering_lab_expect_node(lab, 21);
		steering_lab_expect_node(lab, 26);
		steering_lab_expect_node(lab, 27);
		assert_int_equal(steering_seen(lab->steering, &scene.flow, &seen), 0);
		assert_true(seen.forwarded);
		assert_int_equal(seen.forwarded_end, 27);
		steering_lab_expect_nothing(lab, family);
		steering_release(lab->steering, &scene.flow);
	}
	steering_lab_close(lab);
}

/* A SYN on a port that is used anew acknowledges nothing, and is no proof of the node's life. */
static void a_syn_is_no_acknowledgement(void **state)
{
	struct scene scene;
	uint64_t before;

	LAB(state)
	open_lab(lab);
	begin(&scene, lab, 4, 3400, 1000, 2000);
	before = held(&scene);
	send_on(&scene);
	say(&scene, 77, 0, SYN, 0);
	await_held(&scene, before, 1);
	say(&scene, 1, 1500, ACK, 0);
	await_held(&scene, before, 2);
	steering_lab_expect_node(lab, 77);
	steering_lab_expect_node(lab, 1);
	say(&scene, 78, 0, SYN, 0);
	steering_lab_expect_node(lab, 78);
	(void)ev_run(lab->loop, EVRUN_NOWAIT);
	assert_int_equal(scene.told, 0);
	steering_release(lab->steering, &scene.flow);
	steering_lab_close(lab);
}

static void without_room_in_the_ring_the_next_acknowledgement_counts(void **state)
{
	struct steering_counters counters;
	struct scene scene, other;
	uint64_t overflows;

	LAB(state)
	open_lab(lab);
	begin(&other, lab, 4, 3500, 0, 0);
	begin(&scene, lab, 4, 3501, 1000, 2000);
	send_on(&scene);
	say(&scene, 1, 1500, ACK, 0);
	steering_lab_expect_node(lab, 1);
	steering_count(lab->steering, &counters);
	/* Nobody takes them out: the loop does not run. */
	do {
		for (int i = 0; i < 500; i++)
			say(&other, 1, 1, ACK, 300);
		steering_count(lab->steering, &counters);
	} while (!counters.hold_overflows);
	say(&other, 1, 1, ACK, 1); /* the last gap, if it is one */
	while (steering_count(lab->steering, &counters), overflows = counters.hold_overflows, say(&other, 1, 1, ACK, 1),
	       steering_count(lab->steering, &counters), counters.hold_overflows == overflows)
		continue;
	say(&scene, 2, 2000, ACK,
	    0); /* held, and lost; the node does not have it either, and so repeats its last bytes */
	steering_count(lab->steering, &counters);
	assert_true(counters.hold_overflows > overflows + 1);
	for (int i = 0; i < 3; i++)
		(void)ev_run(lab->loop, EVRUN_NOWAIT);
	assert_int_equal(scene.told, 0);
	say(&scene, 3, 2000, ACK, 0);
	await_held(&scene, held(&scene), 0);
	for (int i = 0; i < 1000 && !scene.told; i++)
		(void)ev_run(lab->loop, EVRUN_NOWAIT);
	assert_int_equal(scene.told, 1);
	steering_lab_expect_node(lab, 3);
	steering_drop(lab->steering, &scene.flow);
	steering_drop(lab->steering, &other.flow);
	steering_lab_close(lab);
}

/* Our own stack would drop it: it proves nothing, and the flow goes on. */
static void a_damaged_acknowledgement_proves_nothing(void **state)
{
	struct steering_seen seen;
	struct scene scene;
	uint64_t before;

	LAB(state)
	open_lab(lab);
	begin(&scene, lab, 4, 3600, 1000, 2000);
	before = held(&scene);
	send_on(&scene);
	say(&scene, 1, 1500, ACK, 40);
	steering_lab_expect_node(lab, 1);
	{
		const struct raw_packet packet = {
			.flow = &scene.flow, .seq = 41, .ack = 2500, .flags = ACK, .window = 100, .damaged = true};

		assert_int_equal(raw_send(&lab->sender, &packet), 0);
	}
	await_held(&scene, before, 1);
	assert_int_equal(scene.told, 0);
	assert_int_equal(steering_seen(lab->steering, &scene.flow, &seen), 0);
	assert_false(seen.any);
	assert_true(seen.forwarded);
	steering_lab_expect_node(lab, 41); /* shared */
	steering_lab_expect_node(lab, 41); /* put back: the node drops it */
	say(&scene, 41, 1900, ACK, 0);
	steering_lab_expect_node(lab, 41);
	say(&scene, 41, 2000, ACK, 0);
	await_held(&scene, before, 2);
	assert_int_equal(scene.told, 1);
	steering_release(lab->steering, &scene.flow);
	steering_lab_expect_stack(lab, 4, 41);
	steering_lab_close(lab);
}

/* Nobody sends behind the goal: who acknowledges that is not the client, or hurts itself. */
static void what_was_never_sent_cannot_be_acknowledged(void **state)
{
	const uint32_t bogus[] = {1, 0x3fffffff};
	struct steering_seen seen;
	struct scene scene;
	uint64_t before;

	LAB(state)
	open_lab(lab);
	for (size_t i = 0; i < 2; i++) {
		begin(&scene, lab, 4, (unsigned)(3800 + i), 1000, 2000);
		send_on(&scene);
		before = held(&scene);
		say(&scene, 1, scene.goal.end + bogus[i], ACK, 0);
		await_held(&scene, before, 1);
		steering_lab_expect_node(lab, 1); /* shared */
		steering_lab_expect_node(lab, 1); /* put back: the node drops it */
		assert_int_equal(scene.told, 0);
		assert_int_equal(steering_seen(lab->steering, &scene.flow, &seen), 0);
		assert_false(seen.any);
		before = held(&scene);
		say(&scene, 2, scene.goal.end, ACK, 0);
		steering_lab_expect_node(lab, 2);
		await_held(&scene, before, 1);
		assert_int_equal(scene.told, 1);
		steering_release(lab->steering, &scene.flow);
		steering_lab_expect_stack(lab, 4, 2);
	}
	steering_lab_close(lab);
}

/* The kernel holds and the owner holds, redirects, releases at the same time: the owner's word is the last. */
static void both_sides_change_a_flow_at_the_same_time(void **state)
{
	struct scene scene;
	pid_t client;

	LAB(state)
	open_lab(lab);
	begin(&scene, lab, 4, 3700, 1000, 2000);
	client = fork();
	if (client == 0) {
		for (;;)
			say(&scene, 1, 2000, ACK, 0);
	}
	assert_true(client > 0);
	for (int i = 0; i < 2000; i++) {
		send_on(&scene);
		if (i % 2)
			(void)ev_run(lab->loop, EVRUN_NOWAIT);
		assert_int_equal(steering_hold(lab->steering, &scene.flow), 0);
		scene.told = 0;
		(void)ev_run(lab->loop, EVRUN_NOWAIT);
		assert_int_equal(scene.told, 0); /* it has it back already */
	}
	assert_int_equal(kill(client, SIGKILL), 0);
	assert_int_equal(waitpid(client, NULL, 0), client);
	steering_drop(lab->steering, &scene.flow);
	steering_lab_close(lab);
}

static void held_client_data_are_taken_out_in_order(void **state)
{
	struct byte_queue input = {.bytes = NULL};
	struct scene scene;
	uint32_t next = 0xffffffceu; /* 50 bytes before the wrap */
	uint64_t before;

	LAB(state)
	open_lab(lab);
	for (unsigned family = 4; family <= 6; family += 2) {
		begin(&scene, lab, family, 3800, 1000, 2000);
		before = held(&scene);
		next = 0xffffffceu;
		say(&scene, next, 2000, ACK, 0);
		say(&scene, next, 2000, ACK | 0x08, 100);
		say(&scene, 50, 2000, ACK, 0);
		say(&scene, 50, 2000, ACK, 200);
		say(&scene, 300, 2000, ACK, 30); /* a gap before it */
		say(&scene, 250, 2000, ACK, 50);
		say(&scene, 330, 2000, ACK | FIN, 0);
		await_held(&scene, before, 7);
		steering_collect(lab->steering, &scene.flow, &next, &input, 10000);
		assert_int_equal(next, 250);
		assert_int_equal(byte_queue_length(&input), 300);
		steering_release(lab->steering, &scene.flow);
		steering_lab_expect_stack(lab, family, 300);
		steering_lab_expect_stack(lab, family, 250);
		steering_lab_expect_stack(lab, family, 330);
		byte_queue_clear(&input);
	}
	/* No room, or not the next ones: nothing is taken, and nothing is lost. */
	begin(&scene, lab, 4, 3801, 1000, 2000);
	before = held(&scene);
	next = 1;
	say(&scene, 1, 2000, ACK, 100);
	await_held(&scene, before, 1);
	steering_collect(lab->steering, &scene.flow, &next, &input, 99);
	next = 2;
	steering_collect(lab->steering, &scene.flow, &next, &input, 1000);
	assert_int_equal(byte_queue_length(&input), 0);
	steering_release(lab->steering, &scene.flow);
	steering_lab_expect_stack(lab, 4, 1);
	steering_lab_close(lab);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(acknowledging_all_brings_a_flow_back),
		cmocka_unit_test(what_bears_the_last_acknowledgement_is_not_the_nodes),
		cmocka_unit_test(what_was_never_sent_cannot_be_acknowledged),
		cmocka_unit_test(a_goal_that_is_far_away_is_armed_later),
		cmocka_unit_test(client_data_wait_for_the_nodes_first_byte),
		cmocka_unit_test(a_syn_is_no_acknowledgement),
		cmocka_unit_test(without_room_in_the_ring_the_next_acknowledgement_counts),
		cmocka_unit_test(a_damaged_acknowledgement_proves_nothing),
		cmocka_unit_test(both_sides_change_a_flow_at_the_same_time),
		cmocka_unit_test(held_client_data_are_taken_out_in_order),
	};

	(void)alarm(120); /* whatever hangs fails */
	return cmocka_run_group_tests(tests, steering_lab_make, steering_lab_remove);
}
