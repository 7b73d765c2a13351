# SPDX-License-Identifier: GPL-2.0-or-later
# HAProxy's part of the direct path: it lends the client's connection after the headers, touches it no more until the agent gives
# it back, goes on with keep-alive then, and closes without a word what is lost. tests/lab/lending_agent is the agent and writes
# the records itself; fake_node turns real announcements into direct ones. No privileges are needed.
# shellcheck shell=bash

load "$E2E_DIR/helper"

setup_file() {
	lab_prepare fake=1 client_timeout=2s config=lab.cfg+lending.cfg
	agent_start
	node_start n1
	node_start n2
	fake_start n1
	fake_start n2
	spoa_start
	haproxy_start
	nodes_alive
	wait_until all_threads_lend
}

teardown_file() {
	lab_stop
}

setup() {
	mode=splice
	WORK=$BATS_TEST_TMPDIR
	process_running lending-agent || agent_start
	wait_until all_threads_lend
}

agent_start() {
	process_start lending-agent "$LAB_TOOLS/lending_agent" --listen "$LAB/lend.sock" --records "$LAB/records"
	wait_until grep -q '^listening' "$LAB/lending-agent.log"
}

one_is_lent() {
	haproxy_cli 'show disc' | grep -q ', 1 connections are lent'
}

# lent_body FAKE FILE [CURL ARGUMENT]...
lent_body() {
	local fake=$1 name=$2
	shift 2
	fetch "/$name?fake=$fake" "$@"
	equal status "$status" 200
	body_is "$name"
	equal Content-Length "$(header Content-Length)" "$(stat -c %s "$SUITE/www/$name")"
	no_disc_header
	path_is direct
	reason_is -
	equal end "$(logged end)" ----
}

# breaks FAKE END BYTES...: the client sees a broken transfer with true bytes, the log says who is to blame.
breaks() {
	local version
	for version in "" --tls12; do
		tls_client $version "get:/100k?fake=$1" send response
		cut_or_complete 100k
		client_said '^cut '
		path_is direct
		equal end "$(logged end)" "$2"
	done
	site_serves
}

@test "bodies of all sizes, both TLS versions" {
	local name
	for name in 1 16383 16384 16385 100k 2m; do
		lent_body direct "$name" --tlsv1.3
		lent_body direct "$name" --tlsv1.2 --tls-max 1.2
	done
}

@test "keep-alive goes on after a loan, on every path" {
	local version
	for version in "" --tls12; do
		tls_client $version "get:/100k?fake=direct" send response get:/16385 send response "get:/2m?fake=direct" send response \
			get:/1 send response
		equal "exit status" "$client_status" 0
		client_said "^body 102400 $(sum_of 100k)$"
		client_said "^body 16385 $(sum_of 16385)$"
		client_said "^body 2097152 $(sum_of 2m)$"
		client_said "^body 1 $(sum_of 1)$"
	done
}

@test "requests sent during the loan are served after it" {
	local version
	for version in "" --tls12; do
		tls_client $version "get:/100k?fake=direct-slow" "get:/16385" "get:/2m?fake=direct" send response response response
		equal "exit status" "$client_status" 0
		client_said "^body 102400 $(sum_of 100k)$"
		client_said "^body 16385 $(sum_of 16385)$"
		client_said "^body 2097152 $(sum_of 2m)$"
	done
}

@test "what is logged is the plaintext" {
	local bytes
	lent_body direct 2m
	bytes=$(logged bytes)
	[ "$bytes" -gt 2097152 ] && [ "$bytes" -lt $((2097152 + 1000)) ] || { echo "bytes=$bytes"; return 1; }
	lent_body direct 1
	bytes=$(logged bytes)
	[ "$bytes" -lt 1000 ] || { echo "bytes=$bytes"; return 1; }
}

@test "show disc lists what is lent" {
	local pid
	fetch "/100k?fake=direct-slow" &
	pid=$!
	wait_until one_is_lent
	haproxy_cli 'show disc' | grep -E '^lent: thread=[12] loan=[0-9]+ client=127\.[0-9.]+:[0-9]+ age=[0-9]+ms acked=[0-9]+ of=10[0-9]+$'
	wait "$pid"
	wait_until all_threads_lend
}

@test "a connection that the agent loses is cut, and the log blames the right one" {
	breaks direct-lost-client CD--
	breaks direct-lost-node SD--
}

@test "an agent that goes away takes its loans with it; DiSC goes on by splice and direct again later" {
	breaks direct-dies ID--
	wait_until all_threads_lend
	lent_body direct 100k
}

@test "an agent that sends garbage is dropped" {
	breaks direct-garbage ID--
	grep -q 'lending socket .* malformed message' "$LAB/haproxy.log"
	wait_until all_threads_lend
	lent_body direct 100k
}

@test "answers about unknown loans are ignored" {
	lent_body direct-other-loan 100k
}

@test "a client of whom no progress is told is abandoned to the agent after timeout client" {
	local before
	before=$(grep -c '^message 2 ' "$LAB/lending-agent.log" || :)
	tls_client "get:/100k?fake=direct-stalls" send headers body:20000 abort
	wait_for_line "$LAB/lending-agent.log" '^message 2 ' $((before + 1))
	path_is direct
	equal end "$(logged end)" cL--
	wait_until all_threads_lend
	site_serves
}

@test "without agent, a direct announcement is refused and the body served all the same" {
	process_stop lending-agent
	wait_until no_thread_lends
	fetch "/100k?fake=direct"
	equal status "$status" 200
	body_is 100k
	path_is proxy
	reason_is no-lender
}

no_thread_lends() {
	haproxy_cli 'show disc' | grep -q "^lending: 0 of $LAB_THREADS threads reach the agent"
}

@test "a direct announcement with a body of another size is refused" {
	fetch "/100k?fake=direct-wrong-length"
	equal status "$status" 200
	body_is 100k
	path_is proxy
	reason_is bad-content-length
}

@test "many at a time" {
	local i targets=()
	for ((i = 0; i < 30; i++)); do
		targets+=("/100k?fake=direct&$i" "/16385" "/2m?fake=direct&$i")
	done
	CURL_MANY="--parallel --parallel-max 20" fetch_many "${targets[@]}"
	many_are "${targets[@]}"
	wait_until all_threads_lend
}
