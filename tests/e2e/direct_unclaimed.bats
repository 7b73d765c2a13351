# SPDX-License-Identifier: GPL-2.0-or-later
# disc-spoa goes away before it has taken a connection: the body takes the splice path, under the ticket that it already has. The
# fake node keeps the headers back until the test releases them, so the moment is certain.
# shellcheck shell=bash

load "$E2E_DIR/helper"

setup_file() {
	lab_network=1
	lab_start fake=1
}

teardown_file() {
	lab_stop
}

setup() {
	mode=direct
	WORK=$BATS_TEST_TMPDIR
	process_running disc-spoa || spoa_start
	nodes_alive
	wait_until all_threads_reach_agent
}

# asks [--tls12]: the node has what it will send, HAProxy has no header of it yet.
asks() {
	rm -f "$LAB/release"
	tag=$BATS_TEST_NUMBER-$RANDOM
	tls_client_in_background "$@" "get:/2m?fake=waits-for-release&$tag" send response get:/100k send response
	wait_until fake_saw "$tag fake=waits-for-release node: 200 direct;"
}

# gets_all: what follows on the connection, too.
gets_all() {
	tls_client_wait
	equal "exit status" "$client_status" 0
	client_said "^body 2097152 $(sum_of 2m)$"
	client_said "^body 102400 $(sum_of 100k)$"
}

# gets_all_by PATH: of the first body.
gets_all_by() {
	gets_all
	path_is "$1" "$id .*$tag"
	reason_is - "$id .*$tag"
	equal end "$(logged end "$id .*$tag")" ----
}

direct_again() {
	spoa_start
	nodes_alive
	wait_until all_threads_reach_agent
	site_serves
	path_is direct
}

no_thread_reaches_agent() {
	haproxy_cli 'show disc' | grep -q "^handoff: 0 of $LAB_THREADS threads reach the agent"
}

one_is_parked() {
	haproxy_cli 'show disc' | grep -q '^parked: '
}

# lines_of_fetch_hop: bodies that either node sent there after all.
lines_of_fetch_hop() {
	cat "$LAB"/n[12].log | grep -c ' is sent on the fetch hop instead: ' || :
}

sent_on_the_fetch_hop() {
	[ "$(lines_of_fetch_hop)" -gt "$sent_before" ]
}

@test "the agent is killed before the headers came" {
	local version
	for version in "" --tls12; do
		asks $version
		process_stop disc-spoa KILL
		wait_until no_thread_reaches_agent
		touch "$LAB/release"
		gets_all_by splice
		direct_again
	done
}

@test "the agent is killed with the connection handed off, but not taken" {
	local version
	for version in "" --tls12; do
		asks $version
		process_freeze disc-spoa
		touch "$LAB/release"
		wait_until one_is_parked
		process_signal disc-spoa KILL
		process_wait disc-spoa
		gets_all_by splice
		wait_for_line "$LAB/haproxy.log" 'the agent is gone; 0 connections were handed off and are lost, 1 take the splice path'
		direct_again
	done
}

@test "the agent is another one by the time the connection is handed off" {
	local version
	for version in "" --tls12; do
		asks $version
		process_stop disc-spoa KILL
		spoa_start
		wait_until all_threads_reach_agent
		touch "$LAB/release"
		gets_all_by splice
		wait_for_line "$LAB/disc-spoa.log" 'takes the splice path: it is unknown to this agent'
		nodes_alive
		site_serves
		path_is direct
	done
}

# What it hears first when it wakes up decides: that its nodes are gone, or what was handed off.
@test "an agent that sleeps until the node waits no more completes the body, or leaves it to HAProxy" {
	sent_before=$(lines_of_fetch_hop)
	asks
	process_freeze disc-spoa
	touch "$LAB/release"
	wait_until one_is_parked
	wait_until sent_on_the_fetch_hop
	process_signal disc-spoa CONT
	gets_all
	path_is direct "$id .*$tag" || path_is splice "$id .*$tag"
	equal end "$(logged end "$id .*$tag")" ----
	site_serves
}
