/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Node lab: a node between an agent and one HAProxy. Control server and fetch server run on one loop; node and test
 * share a thread, so nothing depends on timing. */
#ifndef DISC_NODE_LAB_H
#define DISC_NODE_LAB_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "control.h"
#include "control_server.h"
#include "fetch_server.h"
#include "lib/channel_fixture.h"

#define BIG_SIZE (3u * 1024 * 1024 + 77)
#define SMALL_SIZE 1000u
#define SPLICE_MIN 2000u
#define TICKET_WAIT 0.4
#define HEADER_MAX 600 /* bytes of a header's value in a test */

/* What big.bin and whole.bin hold, and small.bin begins with. The time of whole.bin has no fraction of a second. */
extern uint8_t *big;

/* The node, its agent and one HAProxy. */
struct lab {
	struct ev_loop *loop;
	struct fetch_content content;
	struct ticket_table *tickets;
	struct result_queue results;
	struct control_settings control;
	struct control_server *control_server;
	struct fetch_server *fetch_server;
	struct address control_address, fetch_address;
	int control_listener, fetch_listener;
	_Atomic bool draining;
	bool idle;
	struct channel_tls *node_tls, *agent_tls;
	struct end agent;
	struct control_message hello;
	unsigned result_count, pong_count, reply_count;
	bool said_direct; /* in its Hello */
	uint32_t said_lanes;
	struct control_result result; /* the last one; its reason in <reason> */
	char reason[128];
	char refusal[128]; /* the last HandoffReply's reason */
	struct control_pong pong;
	int client;
	ev_io client_reader;
	uint8_t *response;
	size_t response_len, response_cap, wanted;
	bool client_ended;
};

/* Of a group of tests: the certificates and the files, which outlive each lab. */
int make_files(void **state);
int remove_files(void **state);

/* Of one test: the node runs, nobody has connected. */
int lab_open(void **state);
int lab_close(void **state);

/* --- the agent --- */

void agent_send(struct lab *lab, const struct control_message *message);
/* Connects with the certificate <name> of <ca>. */
void agent_connect(struct lab *lab, const char *ca, const char *name);
/* For run_until(), with &lab->agent. */
bool agent_has_hello(void *end);
/* Connects as it should be, and is greeted. */
void agent_greet(struct lab *lab);

/* --- the client of the fetch hop --- */

/* Connects if need be, and sends <request>; what comes from now on is in lab->response. */
void client_send(struct lab *lab, const char *request);
void client_close(struct lab *lab);

/* Where the body of the response begins; 0 until the head is there. */
size_t body_at(const struct lab *lab);
/* Copies the value of header <name> to <value>, empty if there is none. */
void header(const struct lab *lab, const char *name, char value[static HEADER_MAX]);
/* For run_until(), with the lab. */
bool response_has_head(void *context);
bool response_is_whole(void *context);
void assert_status(const struct lab *lab, const char *line);
void assert_header(const struct lab *lab, const char *name, const char *expected);

/* --- tickets, by number --- */

struct ticket ticket_of(unsigned number);
/* Offers a state with sequence number <seq>. */
void offer(struct lab *lab, unsigned number, uint64_t seq);
/* For the continuation of the object <etag> at <target> from byte <offset> on, as long as the big file's; <etag> "":
 * for a whole response. */
void offer_continuation(struct lab *lab, unsigned number, uint64_t seq, const char *target, const char *etag,
			uint64_t offset);
/* For run_until(), with the lab. */
bool an_offer_waits(void *context);
void offer_and_wait(struct lab *lab, unsigned number, uint64_t seq);
/* Asks with that ticket; <more>: further header lines, each with its CRLF. */
void fetch(struct lab *lab, unsigned number, const char *method, const char *target, const char *more);
/* Asks so with <ticket> as value of Disc-Ticket. */
void fetch_claiming(struct lab *lab, const char *ticket, const char *method, const char *target, const char *more);
/* Waits for the Result, the only one so far. */
void assert_result(struct lab *lab, unsigned number, enum control_outcome outcome, const char *reason);
/* Waits for a response that promises, with a proof, that nothing was and will be sealed. */
void assert_declined(struct lab *lab, unsigned number);
/* Waits for the whole big file, and no word of what became of the ticket. */
void assert_unannounced(struct lab *lab);
/* The response is spliced, its announcement proven, and its records open to <length> bytes from <offset> of the big
 * file. */
void assert_spliced(struct lab *lab, unsigned number, uint64_t seq, size_t offset, size_t length);

#endif
