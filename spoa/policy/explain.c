/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "explain.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "node_template.h"
#include "text_stream.h"

/* --- the question --- */

/* What HAProxy's message has once each: given as settings, or derived. */
struct settings {
	const char *client, *peer, *host, *sni, *direct;
};

static int fault(char error[static EXPLAIN_ERROR_MAX], const char *what, const char *text)
{
	(void)snprintf(error, EXPLAIN_ERROR_MAX, "\"%.100s\" %s", text, what);
	return -1;
}

static void write_text(struct spop_writer *writer, const char *name, const char *text, size_t len)
{
	spop_write_string(writer, name);
	spop_write_byte(writer, SPOP_DATA_STRING);
	spop_write_varint(writer, len);
	spop_write_bytes(writer, text, len);
}

/* Returns 0, or -1 if <text> is no address. */
static int write_address(struct spop_writer *writer, const char *name, const char *text)
{
	uint8_t bytes[16];

	spop_write_string(writer, name);
	if (inet_pton(AF_INET, text, bytes) == 1) {
		spop_write_byte(writer, SPOP_DATA_IPV4);
		spop_write_bytes(writer, bytes, 4);
		return 0;
	}
	if (inet_pton(AF_INET6, text, bytes) != 1)
		return -1;
	spop_write_byte(writer, SPOP_DATA_IPV6);
	spop_write_bytes(writer, bytes, 16);
	return 0;
}

/* HAProxy leases the write state of a TLS connection that carries HTTP/1. */
static int read_protocol(struct explain_question *question, const char *value, char error[static EXPLAIN_ERROR_MAX])
{
	if (strcasecmp(value, "http/1.1") == 0 || strcasecmp(value, "h1") == 0) {
		question->protocol = "HTTP/1.1";
		return 0;
	}
	if (strcasecmp(value, "h2") != 0 && strcasecmp(value, "h3") != 0)
		return fault(error, "is none of http/1.1, h2, h3: proto", value);
	question->grants = value[1] == '2';
	question->protocol = question->grants ? "HTTP/2" : "HTTP/3";
	if (!question->grants) {
		question->refusal = "mux";
		question->refusal_why = "it leases to clients of HTTP/1.1 and HTTP/2 only";
	}
	return 0;
}

static int read_tls(struct explain_question *question, const char *value, char error[static EXPLAIN_ERROR_MAX])
{
	if (strcmp(value, "1.3") == 0)
		question->tls = "TLS 1.3";
	else if (strcmp(value, "1.2") == 0)
		question->tls = "TLS 1.2 with AES-GCM";
	else
		return fault(error, "is neither 1.2 nor 1.3: tls", value);
	return 0;
}

/* Whether <setting> is "NAME=VALUE" of <name>: then <*value> is its value. */
static bool is_setting(const char *setting, const char *name, const char **value)
{
	size_t len = strlen(name);

	if (strncmp(setting, name, len) != 0 || setting[len] != '=')
		return false;
	*value = setting + len + 1;
	return true;
}

/* Takes what is known; what is not becomes an argument of the message. Returns how many these are, or -1. */
static int read_settings(struct explain_question *question, struct settings *known, const char *const *settings,
			 size_t count, char error[static EXPLAIN_ERROR_MAX])
{
	int others = 0;

	for (size_t i = 0; i < count; i++) {
		const char *equals = strchr(settings[i], '='), *value;

		if (!equals || equals == settings[i])
			return fault(error, "is not written NAME=VALUE", settings[i]);
		if (is_setting(settings[i], "proto", &value)) {
			if (read_protocol(question, value, error) < 0)
				return -1;
		} else if (is_setting(settings[i], "tls", &value)) {
			if (read_tls(question, value, error) < 0)
				return -1;
		} else if (!is_setting(settings[i], "client", &known->client) &&
			   !is_setting(settings[i], "peer", &known->peer) &&
			   !is_setting(settings[i], "host", &known->host) &&
			   !is_setting(settings[i], "sni", &known->sni) &&
			   !is_setting(settings[i], "direct", &known->direct)) {
			others++;
		}
	}
	return others;
}

static void write_others(struct spop_writer *writer, const char *const *settings, size_t count)
{
	static const char *const known[] = {"client", "peer", "host", "sni", "direct", "proto", "tls"};

	for (size_t i = 0; i < count; i++) {
		const char *equals = strchr(settings[i], '='), *value;
		bool is_known = false;

		for (size_t k = 0; k < sizeof(known) / sizeof(known[0]); k++)
			is_known = is_known || is_setting(settings[i], known[k], &value);
		if (is_known)
			continue;
		spop_write_varint(writer, (uint64_t)(equals - settings[i]));
		spop_write_bytes(writer, settings[i], (size_t)(equals - settings[i]));
		spop_write_text_value(writer, equals + 1);
	}
}

/* "METHOD scheme://host[:port]/target" in its parts. */
struct request_line {
	const char *method, *host, *target;
	size_t method_len, host_len, target_len;
	bool tls;
};

static int read_line(struct request_line *line, const char *text, char error[static EXPLAIN_ERROR_MAX])
{
	const char *url, *space = strchr(text, ' ');

	*line = (struct request_line){.method = "GET", .method_len = 3, .target = "/", .target_len = 1, .tls = true};
	if (space) {
		line->method = text;
		line->method_len = (size_t)(space - text);
	}
	url = space ? space + strspn(space, " ") : text;
	if (strncmp(url, "https://", 8) == 0)
		line->host = url + 8;
	else if (strncmp(url, "http://", 7) == 0)
		line->host = url + 7;
	else
		return fault(error, "is no URL that begins with https:// or http://", url);
	line->tls = url[4] == 's';
	line->host_len = strcspn(line->host, "/?#");
	if (!line->host_len || strpbrk(line->host, " \t"))
		return fault(error, "is no URL", url);
	if (line->host[line->host_len] == '/') {
		line->target = line->host + line->host_len;
		line->target_len = strcspn(line->target, "#");
	}
	return line->method_len ? 0 : fault(error, "has no method", text);
}

static size_t length_without_port(const char *host, size_t len)
{
	const char *colon = memrchr(host, ':', len), *bracket = memrchr(host, ']', len);

	return colon && (!bracket || colon > bracket) ? (size_t)(colon - host) : len;
}

int explain_read(struct explain_question *question, const char *request, const char *const *settings, size_t count,
		 char error[static EXPLAIN_ERROR_MAX])
{
	struct settings known = {.client = NULL};
	struct spop_writer writer = {question->message, question->message,
				     question->message + sizeof(question->message), false};
	struct request_line line;
	bool direct;
	int others;

	*question = (struct explain_question){.protocol = "HTTP/1.1", .tls = "TLS 1.3"};
	if (read_line(&line, request, error) < 0)
		return -1;
	others = read_settings(question, &known, settings, count, error);
	if (others < 0)
		return -1;
	if (known.direct && strcmp(known.direct, "true") != 0 && strcmp(known.direct, "false") != 0)
		return fault(error, "is neither true nor false: direct", known.direct);
	if (others > 200)
		return fault(error, "has too many arguments", request);
	if (question->grants && strcmp(question->tls, "TLS 1.3") != 0) {
		question->refusal = "suite";
		question->refusal_why = "it leases to HTTP/2 clients on TLS 1.3 only";
	}
	if (line.method_len != 3 || memcmp(line.method, "GET", 3) != 0) {
		question->refusal = "method";
		question->refusal_why = "it leases for GET only";
	}
	if (!line.tls) {
		question->tls = "no TLS";
		question->refusal = "tls";
		question->refusal_why = "there are no records without TLS";
	}
	direct = !known.direct || strcmp(known.direct, "true") == 0;

	spop_write_string(&writer, "offload");
	spop_write_byte(&writer, (uint8_t)(5 + (known.client != NULL) + (known.peer != NULL) + others));
	write_text(&writer, "method", line.method, line.method_len);
	write_text(&writer, "target", line.target, line.target_len);
	if (known.host)
		write_text(&writer, "host", known.host, strlen(known.host));
	else
		write_text(&writer, "host", line.host, line.host_len);
	if (known.sni)
		write_text(&writer, "sni", known.sni, strlen(known.sni));
	else
		write_text(&writer, "sni", line.host, length_without_port(line.host, line.host_len));
	spop_write_string(&writer, "direct");
	spop_write_byte(&writer, (uint8_t)(SPOP_DATA_BOOL | (direct ? 0x10 : 0)));
	if (known.client && write_address(&writer, "client", known.client) < 0)
		return fault(error, "is no numeric address: client", known.client);
	if (known.peer && write_address(&writer, "peer", known.peer) < 0)
		return fault(error, "is no numeric address: peer", known.peer);
	write_others(&writer, settings, count);
	if (writer.full)
		return fault(error, "is longer than a message can be", request);
	if (!request_read(&question->request, (struct spop_slice){writer.start, (size_t)(writer.p - writer.start)}))
		return fault(error, "makes no message", request);
	return 0;
}

/* --- the answer --- */

static void put_texts(FILE *out, const char *const *texts, size_t count)
{
	for (size_t i = 0; i < count; i++)
		(void)fprintf(out, "%s\"%s\"", i ? ", " : "", texts[i]);
}

static void put_clients(FILE *out, const struct policy_route *route)
{
	for (size_t i = 0; i < route->client_count; i++) {
		char text[CLIENT_ADDRESS_TEXT_MAX];

		(void)fprintf(out, "%s%s/%u", i ? ", " : "", client_address_format(&route->clients[i].base, text),
			      route->clients[i].bits);
	}
}

static void put_verdict(FILE *out, bool matches, const char *name)
{
	(void)fprintf(out, "    %-3s %s", matches ? "yes" : "no", name);
}

/* One criterion of texts: "no  host: "www.example" is none of "a.example"". */
static void put_criterion(FILE *out, bool matches, const char *name, struct control_text value, const char *relation,
			  const char *const *texts, size_t count)
{
	if (!count)
		return;
	put_verdict(out, matches, name);
	(void)fprintf(out, ": \"%.*s\" %s %s of ", (int)value.len, value.data, relation, matches ? "one" : "none");
	put_texts(out, texts, count);
	(void)fputc('\n', out);
}

static void put_client(FILE *out, bool matches, const struct policy_route *route, const struct request *request)
{
	char text[CLIENT_ADDRESS_TEXT_MAX];

	if (!route->client_count)
		return;
	put_verdict(out, matches, "client");
	if (request->client.family == CLIENT_UNKNOWN)
		(void)fputs(": its address is not known (client=ADDRESS), the route is for ", out);
	else
		(void)fprintf(out, ": %s is in %s of ", client_address_format(&request->client, text),
			      matches ? "one" : "none");
	put_clients(out, route);
	(void)fputc('\n', out);
}

static void put_values(FILE *out, bool *any, const char *word, const char *const *texts, size_t count)
{
	if (!count)
		return;
	(void)fprintf(out, "%s%s ", *any ? " or " : "", word);
	put_texts(out, texts, count);
	*any = true;
}

static void put_argument(FILE *out, const struct policy_argument *argument, const struct request *request)
{
	struct request_text value;
	enum request_argument found = request_argument(request, argument->name, &value);
	bool any = false;

	put_verdict(out, policy_argument_matches(argument, request), "argument");
	if (found == REQUEST_ARGUMENT_THERE)
		(void)fprintf(out, " \"%s\": it is \"%.*s\", ", argument->name, (int)value.text.len, value.text.data);
	else
		(void)fprintf(out, " \"%s\": it is absent (%s=VALUE), ", argument->name, argument->name);
	(void)fputs("the route wants that it ", out);
	put_values(out, &any, "is", argument->is, argument->is_count);
	put_values(out, &any, "begins with", argument->begins, argument->begin_count);
	put_values(out, &any, "ends with", argument->ends, argument->end_count);
	put_values(out, &any, "contains", argument->contains, argument->contain_count);
	if (argument->absent)
		(void)fprintf(out, "%sis absent", any ? " or " : "");
	else if (!any)
		(void)fputs("is there", out);
	(void)fprintf(out, "%s\n", argument->any_case ? ", in any case" : "");
}

static void put_route(FILE *out, const struct policy_route *route, const struct request *request)
{
	struct request_text sni = {.text = {.data = "", .len = 0}};
	bool holds[POLICY_CRITERION_COUNT];

	for (enum policy_criterion criterion = 0; criterion < POLICY_CRITERION_COUNT; criterion++)
		holds[criterion] = policy_criterion_matches(route, request, criterion);
	(void)request_argument(request, "sni", &sni);
	(void)fprintf(out, "route \"%s\": %s\n", route->name,
		      policy_route_matches(route, request) ? "matches" : "does not match");
	put_criterion(out, holds[POLICY_METHOD], "method", request->method, "is", route->methods, route->method_count);
	put_criterion(out, holds[POLICY_HOST], "host", request->host, "is", route->hosts, route->host_count);
	put_criterion(out, holds[POLICY_PATH_PREFIX], "path-prefix", request->path, "begins with", route->path_prefixes,
		      route->path_prefix_count);
	put_criterion(out, holds[POLICY_PATH_SUFFIX], "path-suffix", request->path, "ends with", route->path_suffixes,
		      route->path_suffix_count);
	put_client(out, holds[POLICY_CLIENT], route, request);
	put_criterion(out, holds[POLICY_SNI], "sni", sni.text, "is", route->snis, route->sni_count);
	for (size_t i = 0; i < route->argument_count; i++)
		put_argument(out, &route->arguments[i], request);
}

static void put_share(FILE *out, const struct policy_route *route, const struct request *request)
{
	static const char *const shares[] = {[POLICY_SHARE_CLIENTS] = "clients",
					     [POLICY_SHARE_OBJECTS] = "objects",
					     [POLICY_SHARE_REQUESTS] = "requests"};
	unsigned place = policy_place(route, request, 0);

	if (route->percent == 100)
		return;
	if (route->share == POLICY_SHARE_REQUESTS) {
		(void)fprintf(out, "    %u of 100 requests are offloaded, each is drawn\n", route->percent);
		return;
	}
	(void)fprintf(out, "    %-3s percent: of 100 %s the first %u are offloaded, this one has place %u\n",
		      place < route->percent ? "yes" : "no", shares[route->share], route->percent, place + 1);
}

static void put_node(FILE *out, const struct node *node, const struct explain_state *state,
		     const struct node_pool_state *members)
{
	const node_set bit = node_bit(node);

	(void)fprintf(out, "    %-3s %s: ", members->ready & bit ? "yes" : "no", node->name);
	if (!(state->up & bit))
		(void)fputs("it is down\n", out);
	else if (state->no_grants & bit)
		(void)fputs("it knows no grants, so it serves no HTTP/2 clients\n", out);
	else if (!(state->taking & bit))
		(void)fputs("it drains\n", out);
	else if (!node->weight)
		(void)fputs("its weight is 0\n", out);
	else if (node->max_offloads)
		(void)fprintf(out, "%" PRId64 " of at most %" PRId64 " offloads\n", node_load(node),
			      node->max_offloads);
	else
		(void)fprintf(out, "%" PRId64 " offloads\n", node_load(node));
}

static const struct node *put_pool(FILE *out, const struct node_pool *pool, const struct request *request,
				   const struct explain_state *state, const struct node_pool_state *members)
{
	const struct node *node = node_pool_choose(pool, request->path, members->ready);

	(void)fprintf(out, "pool \"%s\", by %s%s\n", pool->name,
		      pool->balance == BALANCE_LEAST_ACTIVE ? "least-active" : "path-hash",
		      state->running ? "" : ": all nodes are taken to be alive and idle");
	if (pool->template)
		(void)fprintf(out, "its nodes are those that DNS has for \"%s\", at most %zu; now %zu\n",
			      pool->template->dns, pool->template->max_nodes, pool->count);
	for (size_t i = 0; i < pool->count; i++)
		put_node(out, pool->members[i], state, members);
	if (node && node->by_address)
		(void)fprintf(out, "node %s is chosen, HAProxy connects to this address\n", node->name);
	else if (node)
		(void)fprintf(out, "node %s is chosen, HAProxy's server %s\n", node->name, node->server);
	return node;
}

static void put_log(FILE *out, const char *path, const char *node, const char *reason)
{
	(void)fprintf(out, "HAProxy would log: path=%s node=%s reason=%s\n", path, node, reason);
}

static void put_pass(FILE *out, enum pass_reason reason)
{
	put_log(out, "proxy", "-", pass_reason_word(reason));
}

/* The same for a client of HTTP/2, which knows the splice path alone. */
static void put_granted(FILE *out, const struct policy_route *route, const struct node *node)
{
	(void)fprintf(out, "HTTP/2: bodies from %" PRIu64 " bytes on are offloaded by the splice path\n",
		      route->sizes.h2_min);
	put_log(out, "splice", node->name, "-");
}

/* The paths by sizes of bodies, and the log's line for each. */
static void put_paths(FILE *out, const struct policy_route *route, const struct node *node,
		      const struct request *request, const struct explain_state *state)
{
	static const char *const words[] = {
		[POLICY_PATH_SPLICE] = "splice", [POLICY_PATH_DIRECT] = "direct", [POLICY_PATH_AUTO] = "auto"};
	const char *no_direct = NULL;

	if (route->path != POLICY_PATH_SPLICE && state->no_direct)
		no_direct = state->no_direct(state->context, route, node, &request->peer);
	if (route->path != POLICY_PATH_SPLICE && !no_direct && !request->direct)
		no_direct = "HAProxy cannot hand off this connection";
	(void)fprintf(out, "path \"%s\": bodies from %" PRIu64 " bytes on are offloaded", words[route->path],
		      route->sizes.splice_min);
	if (route->path == POLICY_PATH_SPLICE || no_direct)
		(void)fputs(" by the splice path", out);
	else if (route->path == POLICY_PATH_DIRECT)
		(void)fputs(" by the direct path", out);
	else
		(void)fprintf(out, ", from %" PRIu64 " on by the direct path", route->sizes.direct_min);
	(void)fprintf(out, "%s%s\n", no_direct ? "; the direct path is not taken: " : "", no_direct ? no_direct : "");
	if (no_direct || route->path == POLICY_PATH_SPLICE)
		put_log(out, "splice", node->name, "-");
	else if (route->path == POLICY_PATH_DIRECT)
		put_log(out, "direct", node->name, "-");
	else
		put_log(out, "splice or direct", node->name, "-");
}

static void put_offload(FILE *out, const struct node_pool *pools, const struct policy_route *route,
			const struct explain_question *question, const struct explain_state *known)
{
	const struct request *request = &question->request;
	const struct node_pool *pool = &pools[route->pool];
	struct explain_state state = *known;
	struct node_pool_state members;
	const struct node *node;

	if (!state.running)
		state.up = state.taking = node_pool_members(pool);
	if (!state.running || !question->grants)
		state.no_grants = 0;
	if (node_pool_is_foreign(pool, request->group)) {
		(void)fprintf(out, "pool \"%s\" is of trust group \"%s\", the connection is bound to \"%.*s\"\n",
			      pool->name, pool->trust_group, (int)request->group.len, request->group.data);
		put_pass(out, PASS_GROUP);
		return;
	}
	if (state.changing) {
		(void)fputs("its file was written while it was sent, a short time ago\n", out);
		put_pass(out, PASS_CHANGING);
		return;
	}
	if (!state.running && pool->template) {
		(void)fprintf(out, "pool \"%s\": its nodes are those that DNS has for \"%s\", at most %zu\n",
			      pool->name, pool->template->dns, pool->template->max_nodes);
		(void)fputs("which one is chosen a running agent says: its admin address, /explain\n", out);
		return;
	}
	members = node_pool_judge(pool, state.up & ~state.no_grants, state.taking & ~state.no_grants);
	node = put_pool(out, pool, request, &state, &members);
	if (!node) {
		put_pass(out, members.otherwise);
		return;
	}
	if (question->grants)
		put_granted(out, route, node);
	else
		put_paths(out, route, node, request, &state);
	(void)fprintf(out, "    and of a shorter body, or one that the node cannot seal: path=proxy reason=declined\n");
}

static void put_decision(FILE *out, const struct policy *policy, const struct node_pool *pools,
			 const struct explain_question *question, const struct explain_state *state)
{
	struct policy_decision decision = policy_decide(policy, &question->request, 0);

	if (!decision.route || !decision.route->offload) {
		(void)fputs(decision.route ? "action \"pass\"\n" : "no route matches\n", out);
		put_pass(out, decision.reason);
		return;
	}
	put_share(out, decision.route, &question->request);
	(void)fprintf(out, "action \"offload\"\n");
	if (decision.offload)
		put_offload(out, pools, decision.route, question, state);
	else
		put_pass(out, decision.reason);
}

static void put_question(FILE *out, const struct explain_question *question)
{
	const struct request *request = &question->request;
	char client[CLIENT_ADDRESS_TEXT_MAX];

	client_address_format(&request->client, client);
	(void)fprintf(out, "%.*s %.*s of host %.*s, client %s, %s, %s\n", (int)request->method.len,
		      request->method.data, (int)request->target.len, request->target.data, (int)request->host.len,
		      request->host.data, client[0] != '\0' ? client : "not given", question->tls, question->protocol);
}

static void put_answer(FILE *out, const struct policy *policy, const struct node_pool *pools,
		       const struct explain_question *question, const struct explain_state *state)
{
	const struct request *request = &question->request;

	put_question(out, question);
	if (question->refusal) {
		(void)fprintf(out, "HAProxy does not ask: %s\n", question->refusal_why);
		put_log(out, "proxy", "-", question->refusal);
		return;
	}
	for (size_t i = 0; i < policy->count; i++) {
		put_route(out, &policy->routes[i], request);
		if (policy_route_matches(&policy->routes[i], request))
			break;
	}
	put_decision(out, policy, pools, question, state);
}

char *explain(const struct policy *policy, const struct node_pool *pools, const struct explain_question *question,
	      const struct explain_state *state)
{
	struct text_stream stream;

	if (text_stream_open(&stream) < 0)
		return NULL;
	put_answer(stream.out, policy, pools, question, state);
	return text_stream_close(&stream);
}
