/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Direct lab: a whole node, driven from the outside, for tests of the direct path. The test plays HAProxy (fetch), the
 * agent (control channel, and the load balancer's socket) and the client. All of it runs on one loop and one thread, so
 * nothing depends on timing. Every function fails the test if what it is for does not happen. */
#ifndef DIRECT_LAB_H
#define DIRECT_LAB_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>

#include "control.h"
#include "control_server.h"
#include "direct_net.h"
#include "fetch_server.h"
#include "lib/channel_fixture.h"
#include "tcp_freeze.h"

#define LAB_BODY_SIZE (6u * 1024 * 1024 + 77) /* of the file "/body" */
#define LAB_CLONES_MAX 8
#define LAB_HEAD "the header record, which the load balancer wrote itself. "

struct direct_lab {
	struct direct_net *net;
	struct ev_loop *loop;
	struct fetch_content content;
	struct ticket_table *tickets;
	struct result_queue results;
	struct direct_settings settings;
	struct direct_service service;
	struct control_settings control;
	struct control_server *control_server;
	struct fetch_server *fetch_server;
	struct address control_address, fetch_address;
	int control_listener, fetch_listener; /* not of a process */
	pid_t process;                        /* 0: the node runs on the loop; -1: it has ended */
	_Atomic bool draining;
	bool idle;
	struct channel_tls *node_tls, *agent_tls;
	struct end agent;
	ev_timer ping;                        /* of the agent: a node closes a channel that is silent for 5 s */
	unsigned counts[CONTROL_RELEASE + 1]; /* messages from the node, by type */
	uint64_t splice_min;                  /* of the offers that lab_fetch() makes */
	int lie;                              /* bytes that HAProxy was told of beyond those that the node announced */
	struct control_hello hello;
	struct control_progress progress;
	struct control_result result;
	bool contradicts; /* of the last HandoffReply */
	struct control_gone gone;
	uint64_t handback_bytes;
	char reason[256];         /* of the last HandoffReply, Gone or Result */
	struct tcp_frozen frozen; /* what the node has, or what came back from it */
	uint8_t client_data[65536];
	size_t client_data_len;
	unsigned ticket;                 /* the last number of one */
	bool keeps_fetches;              /* lab_fetch() does not close the one before */
	int fetches[LAB_CLONES_MAX + 2]; /* whose answers are not looked at any more */
	unsigned fetch_count;
	int fetch; /* the last one; -1: none */
	ev_io fetch_reader;
	uint8_t *fetched; /* its answer */
	size_t fetched_len, fetched_cap;
	bool fetch_ended;
	int client, lb; /* both ends of the client's connection; -1: none */
	ev_io client_reader;
	uint8_t *received; /* by the client */
	size_t received_len, received_cap, wanted;
	int client_error; /* errno, or -1: the stream ended */
};

extern uint8_t *lab_body; /* what "/body" holds */

/* Group setup and teardown: certificates, files and namespaces. <*state> is left alone. */
int direct_lab_prepare(void **state);
int direct_lab_clean_up(void **state);

const struct direct_net *direct_lab_net(void);

/* Test setup and teardown: <*state> is the lab. The teardown checks that no clone is left. */
int direct_lab_open(void **state);
int direct_lab_close(void **state);

/* The same with the node as a process of its own, with threads, as node_run() makes it. It is killed, if it still
 * runs. */
int direct_lab_open_process(void **state);
int direct_lab_close_process(void **state);

/* Waits until the node's process has ended. Returns its status, see waitpid(2). */
int lab_await_process(struct direct_lab *lab);

/* Writes a file of the first <size> bytes of lab_body, last modified long ago, to the folder that is served. */
void lab_write_file(const char *name, size_t size);
extern char lab_root[64];

/* From now on the node fronts <origin>, which outlives the lab. */
void lab_front(struct direct_lab *lab, const struct http_source_settings *origin);

void lab_send(struct direct_lab *lab, const struct control_message *message);
/* Waits until <count> messages of <type> have come in all. */
void lab_await(struct direct_lab *lab, enum control_type type, unsigned count);

/* Offers a lease with sequence 1 and <direct_min>, and fetches <target> with <headers> under its ticket. Afterwards
 * lab_response is the head of the node's answer. */
void lab_fetch(struct direct_lab *lab, const char *target, const char *headers, uint64_t direct_min);
extern char lab_response[4096];

/* The answer of the last fetch, which was announced as direct, ends without the records: the agent disposes of the
 * connection. */
void lab_fetch_ends_without_records(struct direct_lab *lab);
/* It has the records of <length> bytes of "/body" and ends. */
void lab_fetch_ends_with_records(struct direct_lab *lab, size_t length);
/* It ends, and neither with nor without them. */
void lab_fetch_is_cut(struct direct_lab *lab);
/* HAProxy closes it. */
void lab_close_fetch(struct direct_lab *lab);

/* Closes both ends of the client's connection. */
void lab_disconnect(struct direct_lab *lab);

/* Connects client and load balancer by IPv4 or IPv6; the load balancer writes LAB_HEAD. */
void lab_connect(struct direct_lab *lab, uint8_t family);
/* Freezes the load balancer's socket, sends the Handoff; with <redirect> the client's packets go to the node from now
 * on. */
void lab_hand_off(struct direct_lab *lab, bool redirect);
/* Both, for "/body", up to the node's HandoffReply, which is a good one. */
void lab_transmit(struct direct_lab *lab, uint8_t family);
/* The last ticket. */
struct ticket lab_ticket(const struct direct_lab *lab);

/* Releases it. */
void lab_release(struct direct_lab *lab);
void lab_recall(struct direct_lab *lab, bool discard);
/* As the agent does while the body is under way: recalls, awaits Drained, recalls again. */
void lab_recall_before_drained(struct direct_lab *lab);
/* Awaits Handback, makes the load balancer's socket live again and routes the client's packets to it. */
void lab_take_back(struct direct_lab *lab);

/* The client reads until it has LAB_HEAD and <bytes> of records. */
void lab_client_reads(struct direct_lab *lab, uint64_t bytes);
/* What the client received is LAB_HEAD and the records of <length> bytes of "/body", whole ones. */
void lab_assert_received(struct direct_lab *lab, size_t length);

/* Bytes of the records of <length> bytes of plaintext. */
uint64_t lab_ciphertext(uint64_t length);
/* The same of the length that lab_response announces; 0: it announces none. */
uint64_t lab_announced(void);

#endif
