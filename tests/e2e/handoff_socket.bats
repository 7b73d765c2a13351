# SPDX-License-Identifier: GPL-2.0-or-later
# HAProxy's part of the direct path: it hands off the client's connection after the headers, touches it no more until the agent gives
# it back, goes on with keep-alive then, and closes without a word what is lost. tests/lab/handoff_agent is the agent and writes
# the records itself; fake_node turns real announcements into direct ones. No privileges are needed.
#
# Its timeout client is so short that a stalled handoff ends soon. What must not be ended by any timeout asks for a patient HAProxy.
# shellcheck shell=bash

load "$E2E_DIR/helper"

setup_file() {
	lab_prepare fake=1 client_timeout=2s config=lab.cfg+handoff_socket.cfg
	agent_start
	node_start n1
	node_start n2
	fake_start n1
	fake_start n2
	spoa_start
	haproxy_start
	nodes_alive
	wait_until all_threads_reach_agent
}

teardown_file() {
	lab_stop
}

setup() {
	mode=splice
	WORK=$BATS_TEST_TMPDIR
	process_running handoff-agent || agent_start
	wait_until all_threads_reach_agent
}

teardown() {
	local failed=0
	[ -n "${BATS_TEST_COMPLETED:-}" ] || failed=1
	processes_sound || failed=1
	[ "$failed" = 0 ] || print_logs
	rm -f "$LAB/records/release"
	if [ -n "${haproxy_differs:-}" ]; then
		process_running handoff-agent || agent_start
		haproxy_again || failed=1
	fi
	return "$failed"
}

# haproxy_again: with what is in the environment now.
haproxy_again() {
	process_stop haproxy && haproxy_start && wait_until all_threads_reach_agent
}

# patient_haproxy [reading]: until the end of the test; it waits for longer than the client and the agent do. With "reading" it reads
# from clients while it waits for servers, until its buffer is full.
patient_haproxy() {
	haproxy_differs=1
	[ -z "${1:-}" ] || export LAB_ABORTONCLOSE=1
	CLIENT_TIMEOUT=90s SERVER_TIMEOUT=90s haproxy_again
	unset LAB_ABORTONCLOSE
}

agent_start() {
	process_start handoff-agent "$LAB_TOOLS/handoff_agent" --listen "$LAB/handoff.sock" --records "$LAB/records"
	wait_until grep -q '^listening' "$LAB/handoff-agent.log"
}

one_is_parked() {
	are_parked 1
}

are_parked() {
	haproxy_cli 'show disc' | grep -q "^handoff: .*, $1 connections are parked$"
}

# agent_said REGEX: how often until now.
agent_said() {
	grep -cE -- "$1" "$LAB/handoff-agent.log" || :
}

release_handoffs() {
	touch "$LAB/records/release"
}

# haproxy_holds_client: it has a descriptor of a connection of the site's, handed off or not.
haproxy_holds_client() {
	ss -Htnp "( sport = $SITE_PORT )" | grep -q "pid=$(process_pid haproxy),"
}

# handoff_body FAKE FILE [CURL ARGUMENT]...
handoff_body() {
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
		handoff_body direct "$name" --tlsv1.3
		handoff_body direct "$name" --tlsv1.2 --tls-max 1.2
	done
}

@test "keep-alive goes on after a handoff, on every path" {
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

@test "requests sent during the handoff are served after it" {
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
	handoff_body direct 2m
	bytes=$(logged bytes)
	[ "$bytes" -gt 2097152 ] && [ "$bytes" -lt $((2097152 + 1000)) ] || not_seen "about as many bytes as the client got" "bytes=$bytes"
	handoff_body direct 1
	bytes=$(logged bytes)
	[ "$bytes" -lt 1000 ] || not_seen "about as many bytes as the client got" "bytes=$bytes"
}

@test "show disc lists what is handed off" {
	local pid
	fetch "/100k?fake=direct-slow" &
	pid=$!
	wait_until one_is_parked
	haproxy_cli 'show disc' | grep -E '^parked: thread=[12] handoff=[0-9]+ client=127\.[0-9.]+:[0-9]+ age=[0-9]+ms acked=[0-9]+ of=10[0-9]+$'
	wait "$pid"
	wait_until all_threads_reach_agent
}

@test "a connection that the agent loses is cut, and the log blames the right one" {
	breaks direct-lost-client CD--
	breaks direct-lost-node SD--
}

@test "an agent that goes away takes its handoffs with it; DiSC goes on by splice and direct again later" {
	breaks direct-dies ID--
	wait_until all_threads_reach_agent
	handoff_body direct 100k
}

@test "an agent that sends garbage is dropped" {
	breaks direct-garbage ID--
	grep -q 'handoff socket .* malformed message' "$LAB/haproxy.log"
	wait_until all_threads_reach_agent
	handoff_body direct 100k
}

@test "answers about unknown handoffs are ignored" {
	handoff_body direct-other-handoff 100k
}

@test "a client of whom no progress is told is abandoned to the agent after timeout client" {
	local before
	before=$(grep -c '^message 2 ' "$LAB/handoff-agent.log" || :)
	tls_client "get:/100k?fake=direct-stalls" send headers body:20000 abort
	wait_for_line "$LAB/handoff-agent.log" '^message 2 ' $((before + 1))
	path_is direct
	equal end "$(logged end)" cL--
	wait_until all_threads_reach_agent
	site_serves
}

# arrives_by PATH FAKE FILE: on both versions of TLS, whole, and what is asked for behind it is served too.
arrives_by() {
	local version
	for version in "" --tls12; do
		tls_client $version "get:/$3?fake=$2" get:/16385 send response response
		equal "exit status" "$client_status" 0
		client_said "^body $(stat -c %s "$SUITE/www/$3") $(sum_of "$3")$"
		client_said "^body 16385 $(sum_of 16385)$"
		path_is "$1" "$id .*fake=$2"
		reason_is - "$id .*fake=$2"
		equal end "$(logged end "$id .*fake=$2")" ----
		wait_until all_threads_reach_agent
	done
}

# spliced_body FAKE: nobody takes the connection, so that the records come by the fetch hop.
spliced_body() {
	local name
	for name in 1 100k 2m; do
		arrives_by splice "$1" "$name"
	done
}

@test "a connection that nobody takes: the body takes the splice path" {
	spliced_body direct-refuses
	spliced_body direct-refuses-late
}

@test "an agent that is gone before it takes a connection: the body takes the splice path" {
	spliced_body direct-vanishes
	spliced_body direct-vanishes-late
	grep -q 'handoff socket .* closed: the agent is gone; 0 connections were handed off and are lost, 1 take the splice path' "$LAB/haproxy.log"
}

@test "a connection that nobody takes, and a node that dies then: a visibly broken transfer" {
	local fake
	for fake in direct-refuses-cut direct-vanishes-cut; do
		tls_client "get:/2m?fake=$fake" send response
		cut_or_complete 2m
		client_said '^cut '
		path_is splice
		equal end "$(logged end)" SD--
		wait_until all_threads_reach_agent
		site_serves
	done
}

@test "a connection that nobody takes, and a server whose body is not the records: a visibly broken transfer" {
	local fake version
	patient_haproxy
	for fake in direct-refuses-few direct-refuses-none; do
		for version in "" --tls12; do
			tls_client $version "get:/100k?fake=$fake" send response
			equal "exit status" "$client_status" 4
			cut_or_complete 100k
			client_said '^cut '
			path_is splice
			not equal end "$(logged end)" ----
		done
	done
	site_serves
}

# What HAProxy has of such a body by then stays in the mux until timeout client.
@test "a connection that nobody takes, and a server that sends more than the records: nothing of it reaches the client" {
	local version pid
	haproxy_differs=1
	CLIENT_TIMEOUT=5s haproxy_again
	pid=$(process_pid haproxy)
	for version in "" --tls12; do
		tls_client $version "get:/100k?fake=direct-refuses-more" send response get:/16384 send response
		cut_or_complete 100k
		client_said '^cut '
		not client_said '^body'
		path_is splice
	done
	equal "HAProxy's process" "$(process_pid haproxy)" "$pid"
	process_running haproxy
	site_serves
}

@test "a server that is silent for timeout server, and longer, while the agent has the connection changes nothing" {
	haproxy_differs=1
	CLIENT_TIMEOUT=90s SERVER_TIMEOUT=1s haproxy_again
	arrives_by direct direct-silent 100k
}

@test "without agent, a body announced as direct takes the splice path" {
	process_stop handoff-agent
	wait_until no_thread_reaches_agent
	spliced_without_agent --tlsv1.3
	spliced_without_agent --tlsv1.2 --tls-max 1.2
}

spliced_without_agent() {
	fetch "/2m?fake=direct-vanishes" "$@"
	equal status "$status" 200
	body_is 2m
	path_is splice
	reason_is -
}

@test "a node that goes away while the agent has the connection changes nothing, nor does what it sends" {
	local fake
	patient_haproxy
	for fake in direct-alone direct-twice direct-twice-cut; do
		arrives_by direct "$fake" 100k
	done
}

no_thread_reaches_agent() {
	haproxy_cli 'show disc' | grep -q "^handoff: 0 of $LAB_THREADS threads reach the agent"
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
	wait_until all_threads_reach_agent
}

# ends_at_once FAKE: the client's connection is closed though no timeout is near.
ends_at_once() {
	local version pipelined=() i
	for ((i = 0; i < 400; i++)); do
		pipelined+=(get:/1)
	done
	for version in "" --tls12; do
		tls_client $version "get:/100k?fake=$1" send response
		equal "exit status" "$client_status" 4
		client_said '^cut '
		tls_client $version "get:/100k?fake=$1" "${pipelined[@]}" send response
		equal "exit status" "$client_status" 4
		client_said '^cut '
		wait_until all_threads_reach_agent
	done
}

@test "a lost connection is closed at once, whatever else its client has sent" {
	patient_haproxy reading
	ends_at_once direct-lost-node
	ends_at_once direct-dies
}

@test "a connection lost before the server's byte came is closed at once" {
	patient_haproxy
	ends_at_once direct-lost-node-early
	ends_at_once direct-dies-early
}

# untouched END FAKE COMMAND...: COMMAND makes HAProxy give a handed-off connection up; END is what it logs. The agent, which still has the
# descriptor, finds the connection as it was: the client gets the rest of the records.
untouched() {
	local end=$1 fake=$2 before
	shift 2
	before=$(agent_said ': half is written$')
	rm -f "$LAB/records/release"
	tls_client_in_background "get:/100k?fake=$fake" send response eof
	wait_for_line "$LAB/handoff-agent.log" ': half is written$' $((before + 1))
	"$@"
	equal end "$(logged end)" "$end"
	wait_until not haproxy_holds_client
	before=$(agent_said ': released, established$')
	release_handoffs
	tls_client_wait
	equal "released handoffs still established" "$(agent_said ': released, established$')" $((before + 1))
	client_said "^body 102400 $(sum_of 100k)$"
	client_said '^eof unclean$'
	wait_until all_threads_reach_agent
}

shut_session() {
	local session
	session=$(haproxy_cli 'show sess' | sed -nE 's/^(0x[0-9a-f]+): .* fe=site .*/\1/p')
	haproxy_cli "shutdown session $session"
}

@test "a connection which HAProxy gives up is neither shut down nor reset while the agent holds it" {
	untouched cL-- direct-holds true
	patient_haproxy
	untouched KL-- direct-holds shut_session
	untouched KC-- direct-holds-early shut_session
	untouched ID-- direct-dies-holding true
}

# client_descriptor: HAProxy's of the site's only connection.
client_descriptor() {
	ss -Htnp "( sport = $SITE_PORT )" | sed -nE "s/.*pid=$(process_pid haproxy),fd=([0-9]+).*/\1/p"
}

# polled FD: HAProxy waits for its events.
polled() {
	grep -hE "^tfd: *$1 " "/proc/$(process_pid haproxy)/fdinfo/"*
}

@test "a handed-off connection is not polled, edge-triggered or not" {
	local edge before fd
	printf 'global\n\texpose-experimental-directives\n\ttune.fd.edge-triggered on\n' >"$LAB/edge.cfg"
	for edge in "" "+$LAB/edge.cfg"; do
		HAPROXY_CONFIG=$HAPROXY_CONFIG$edge patient_haproxy reading
		rm -f "$LAB/records/release"
		before=$(agent_said ': half is written$')
		tls_client_in_background "get:/100k?fake=direct-holds" "get:/2m?fake=direct" get:/16385 send response response response
		wait_for_line "$LAB/handoff-agent.log" ': half is written$' $((before + 1))
		fd=$(client_descriptor)
		[[ $fd =~ ^[0-9]+$ ]] || { not_seen "a single connection" "$fd"; return 1; }
		site_serves # the poller has been asked meanwhile
		not polled "$fd"
		release_handoffs
		tls_client_wait
		equal "exit status" "$client_status" 0
		client_said "^body 102400 $(sum_of 100k)$"
		client_said "^body 2097152 $(sum_of 2m)$"
		client_said "^body 16385 $(sum_of 16385)$"
	done
}

@test "show disc lists any number of handoffs, after the summary" {
	local many=300 batch=100 parked targets i pids=() # more than a buffer of 16 KB holds
	patient_haproxy
	for ((parked = 0; parked < many; parked += batch)); do
		targets=()
		for ((i = parked; i < parked + batch; i++)); do
			targets+=("/16385?fake=direct-holds&$i")
		done
		CURL_MANY="--parallel --parallel-immediate --parallel-max $batch" fetch_many "${targets[@]}" 2>>"$WORK/progress" 3>&- &
		pids+=($!)
		PATIENCE=30 wait_until are_parked $((parked + batch))
	done
	haproxy_cli 'show disc' >"$WORK/show"
	equal "lines of handoffs" "$(grep -cE '^parked: thread=[12] handoff=[0-9]+ client=127\.[0-9.]+:[0-9]+ age=[0-9]+ms ' "$WORK/show")" "$many"
	equal "different handoffs" "$(grep -oE '^parked: thread=[12] handoff=[0-9]+ ' "$WORK/show" | sort -u | wc -l)" "$many"
	equal "what comes first" "$(grep -E '^(handoff|parked: thread)' "$WORK/show" | head -n 1 | cut -d: -f1)" handoff
	release_handoffs
	# Handoffs go while they are listed.
	wait_until all_threads_reach_agent
	wait "${pids[@]}"
}

reached_by_all() {
	grep -c 'handoff socket .* is reached by all threads' "$LAB/haproxy.log" || :
}

unreachable() {
	grep -c 'handoff socket .* cannot be reached: ' "$LAB/haproxy.log" || :
}

@test "an agent that cannot be reached is logged once, and so is that it can be again" {
	local failed reached
	failed=$(unreachable) reached=$(reached_by_all)
	process_stop handoff-agent
	wait_until no_thread_reaches_agent
	wait_for_line "$LAB/haproxy.log" 'handoff socket .* cannot be reached: ' $((failed + 1))
	agent_start
	wait_until all_threads_reach_agent
	wait_for_line "$LAB/haproxy.log" 'handoff socket .* is reached by all threads' $((reached + 1))
	equal "failures logged" "$(unreachable)" $((failed + 1))
	# The first attempts of a process fail too.
	process_stop handoff-agent
	process_stop haproxy
	haproxy_start
	wait_for_line "$LAB/haproxy.log" 'handoff socket .* cannot be reached: ' $((failed + 2))
}
