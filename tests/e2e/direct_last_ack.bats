# SPDX-License-Identifier: GPL-2.0-or-later
# What comes between the client's last acknowledgement and the moment when the agent learns of it, and what comes from the client's port
# while its connection is away. The agent is stopped meanwhile, so the moment is certain.
# shellcheck shell=bash

load "$E2E_DIR/helper"
# shellcheck source-path=SCRIPTDIR
source "$E2E_DIR/handed_off.bash"

setup() {
	mode=direct
	WORK=$BATS_TEST_TMPDIR
	process_running disc-spoa || spoa_start
	node_start_if_ended
}

setup_file() {
	lab_network=1
	lab_start workers=2 client_timeout=60s
}

teardown() {
	! process_running disc-spoa || process_signal disc-spoa CONT
	on client nft flush ruleset
	on client sysctl -qw net.ipv4.ip_local_port_range="32768 60999"
	touch "$WORK/go" "$WORK/more"
}

# has_acknowledged_all [--tls12] STEP...: a client has a whole body, which the agent, being stopped, does not know. It takes these steps
# once $WORK/more exists.
has_acknowledged_all() {
	local options=()
	if [ "$1" = --tls12 ]; then
		options=("$1")
		shift
	fi
	rm -f "$WORK"/{go,reading,done,more}
	tls_client_in_background "${options[@]}" get:/10m send final body:300000 "touch:$WORK/reading" "wait:$WORK/go" rest "touch:$WORK/done" \
		"wait:$WORK/more" "$@"
	wait_until test -e "$WORK/reading"
	node=$(sed -nE 's/.* offload to node (n[12]), .*/\1/p' "$LAB/disc-spoa.log" | tail -n 1)
	process_freeze disc-spoa
	touch "$WORK/go"
	wait_until test -e "$WORK/done"
}

ended_well() {
	tls_client_wait
	equal "exit status" "$client_status" 0
	client_said "^body 10485760 $(sum_of 10m)$"
	path_is direct "$id .*GET /10m"
	equal end "$(logged end "$id .*GET /10m")" ----
}

@test "a node is killed between the client's last acknowledgement and its release" {
	local version when
	for version in "" --tls12; do
		for when in before after; do
			has_acknowledged_all $version get:/100k send response
			process_signal "$node" KILL
			process_wait "$node"
			# The client's next request waits for the agent, or comes later.
			[ $when = after ] || touch "$WORK/more"
			process_signal disc-spoa CONT
			wait_until agent_says "$node" down
			touch "$WORK/more"
			ended_well
			client_said "^body 102400 $(sum_of 100k)$"
			node_start_if_ended
		done
	done
	wait_until nothing_parked
}

@test "the client's end comes with its last acknowledgement" {
	local version
	for version in "" --tls12; do
		has_acknowledged_all $version half-close "touch:$WORK/closed" eof
		touch "$WORK/more"
		wait_until test -e "$WORK/closed"
		process_signal disc-spoa CONT
		ended_well
		client_said '^eof close_notify$'
		wait_until nothing_parked
	done
}

@test "the client's reset comes with its last acknowledgement" {
	local version
	for version in "" --tls12; do
		has_acknowledged_all $version abort
		touch "$WORK/more"
		tls_client_wait
		equal "exit status" "$client_status" 0
		process_signal disc-spoa CONT
		wait_until nothing_parked
	done
	site_serves
	path_is direct
}

# one_port: all that the client opens from now on has the same port, so a connection of its comes back as another one.
one_port() {
	on client sysctl -qw net.ipv4.ip_local_port_range="40000 40000"
}

# goes_away STEP...: a client in the middle of a body does this once $WORK/more exists.
goes_away() {
	rm -f "$WORK"/{reading,more}
	tls_client_in_background get:/100m send final body:300000 "touch:$WORK/reading" "wait:$WORK/more" "$@"
	wait_until test -e "$WORK/reading"
}

lost_with_the_agent() {
	has_lines "$LAB/haproxy.log" 'the agent is gone; 1 connections were handed off and are lost'
}

nobody_has_it() {
	[ -z "$(on "$1" ss -Htn state established "( sport = $SITE_PORT )")" ]
}

# The gauge is set once a second.
one_flow_is_away() {
	[ "$(metric disc_spoa_steering_flows)" = 1 ]
}

# Neither node nor load balancer takes it for its own: each client gets its own bodies.
@test "a client's port is used again while its connection is away" {
	one_port
	goes_away abort
	wait_until one_flow_is_away
	# Its reset reaches nobody.
	on client nft 'add table inet vanished; add chain inet vanished out { type filter hook output priority 0; policy drop; }'
	touch "$WORK/more"
	tls_client_wait
	on client nft delete table inet vanished
	tls_client get:/100k send response get:/16385 send response
	equal "exit status" "$client_status" 0
	client_said "^body 102400 $(sum_of 100k)$"
	client_said "^body 16385 $(sum_of 16385)$"
	path_is direct "$id .*GET /16385"
	wait_until nothing_parked
}

@test "a client's port is used again after the agent was killed and HAProxy has closed" {
	local before packets
	one_port
	goes_away abort
	before=$(egress_bytes)
	process_signal disc-spoa KILL
	process_wait disc-spoa
	wait_until lost_with_the_agent
	wait_until nobody_has_it lb
	wait_until nobody_has_it n1
	wait_until nobody_has_it n2
	touch "$WORK/more"
	tls_client_wait
	# Until the next agent there is nobody to answer, and nobody does: no reset, no acknowledgement of another connection.
	on client nft 'add table inet answers; add counter inet answers any {};
		add chain inet answers in { type filter hook input priority 0; }; add chain inet answers out { type filter hook output priority 0; };
		add counter inet answers asked {};
		add rule inet answers in tcp dport 40000 counter name any;
		add rule inet answers out tcp sport 40000 tcp flags syn counter name asked'
	tls_client_in_background get:/100k send response get:/16385 send response
	wait_until asked_twice
	packets=$(on client nft list counter inet answers any | sed -nE 's/.*packets ([0-9]+).*/\1/p')
	equal "answers" "$packets" 0
	equal "bytes that the load balancer sent meanwhile" "$(egress_bytes)" "$before"
	spoa_start
	nodes_alive
	tls_client_wait
	equal "exit status" "$client_status" 0
	client_said "^body 102400 $(sum_of 100k)$"
	client_said "^body 16385 $(sum_of 16385)$"
}

asked_twice() {
	[ "$(on client nft list counter inet answers asked | sed -nE 's/.*packets ([0-9]+).*/\1/p')" -ge 2 ]
}
