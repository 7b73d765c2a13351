# SPDX-License-Identifier: GPL-2.0-or-later
# A lease whose fate is unknown: its slots are never used. On TLS 1.3 the connection leaves its key by a KeyUpdate before HAProxy's next
# data, and gets no further lease for a second, and after each further loss for twice as long; with "keys response" it only skips a
# key. A client that takes no KeyUpdate gets a whole response or its connection visibly closes; the log says why.
#
# The agent's timeout is short: a lease is lost when it does not answer.
# keys response: splice
# shellcheck shell=bash

load "$E2E_DIR/helper"

setup_file() {
	lab_start fake=1 agent_timeout=300ms
}

teardown_file() {
	lab_stop
}

key_updates() {
	sed -n 's/^keyupdates //p' "$WORK/client"
}

# whole N: the client did every step, and N whole bodies of 100k came.
whole() {
	equal "exit status" "$client_status" 0
	equal "whole bodies" "$(grep -c "^body 102400 $(sum_of 100k)$" "$WORK/client")" "$1"
}

# lost_with REASON STEP...: a lease of the first request is lost; others follow in one write, and after the back-off.
lost_with() {
	local version unknown
	for version in "" --tls12; do
		unknown=$(count unknown)
		tls_client $version "$2" get:/100k?soon send response response pause:1300 get:/100k?later send response
		whole 3
		path_is proxy "$id .*GET $(tr '?' '.' <<<"${2#get:}")"
		reason_is "$1" "$id .*GET $(tr '?' '.' <<<"${2#get:}")"
		path_is "$mode" "$id .*later"
		equal state "$(logged state "$id .*later")" accepted
		equal state "$(logged state "$id .*GET $(tr '?' '.' <<<"${2#get:}")")" unknown
		equal "leases lost" $(($(count unknown) - unknown)) 1
		if [ -n "$version" ]; then
			path_is "$mode" "$id .*soon"
		elif [ "$LAB_KEYS" = connection ]; then
			path_is proxy "$id .*soon"
			reason_is backoff "$id .*soon"
			# Before the first response; the lease of the last one costs none.
			equal KeyUpdates "$(key_updates)" 1
		fi
	done
}

@test_each_path "the node answers without an announcement" {
	lost_with unannounced 'get:/100k?fake=drops-ticket'
}

@test_each_path "the node fails before its headers are complete" {
	lost_with retry 'get:/100k?fake=offload-dies-in-headers'
}

@test_each_path "the announcement is wrong" {
	lost_with bad-seq 'get:/100k?fake=wrong-seq'
}

@test_each_path "the announcement is not proven" {
	lost_with bad-proof 'get:/100k?fake=alters-length'
}

@test_each_path "each further loss lasts longer, and is over some time" {
	tls_client 'get:/100k?fake=drops-ticket&1' send response pause:1300 'get:/100k?fake=drops-ticket&2' send response get:/100k?soon \
		send response pause:2600 get:/100k?later send response
	whole 4
	reason_is unannounced "$id .*ticket&1"
	reason_is unannounced "$id .*ticket&2"
	path_is "$mode" "$id .*later"
	if [ "$LAB_KEYS" = connection ]; then
		reason_is backoff "$id .*soon"
		equal KeyUpdates "$(key_updates)" 2
	fi
}

@test_each_path "another connection is not concerned" {
	tls_client 'get:/100k?fake=drops-ticket' send response
	whole 1
	fetch /100k
	path_is "$mode"
}

# agent_gone LOST: with requests on one connection meanwhile, LOST leases with an unknown fate at the least.
agent_gone() {
	local unknown lost=$1
	unknown=$(count unknown)
	tls_client get:/100k?first send response get:/100k?second send response get:/16385 send response
	whole 2
	client_said "^body 16385 $(sum_of 16385)$"
	path_is proxy "$id .*first"
	reason_is no-ticket "$id .*first"
	path_is proxy "$id .*second"
	at_least "leases lost" $(($(count unknown) - unknown)) "$lost"
	[ "$LAB_KEYS" = response ] || equal KeyUpdates "$(key_updates)" "$lost"
	tls_client --no-keyupdate get:/100k send response
	closed_or_whole no-ticket
	[ "$lost" -gt 0 ] || equal "leases lost" $(($(count unknown) - unknown)) 0
}

# closed_or_whole REASON: what a client says that takes no KeyUpdate, whose lease was lost.
closed_or_whole() {
	case $client_status in
	0) client_said "^body 102400 $(sum_of 100k)$" ;;
	6) client_said '^refused keyupdate$' && client_did_not_say '^body' ;;
	*) not_seen "a whole response, or a KeyUpdate" "exit status $client_status" ;;
	esac
	path_is proxy
	reason_is "$1"
}

@test_each_path "the agent hangs between the lease and its answer" {
	process_freeze disc-spoa
	agent_gone 1
	process_signal disc-spoa CONT
	nodes_alive
	wait_until offloads
}

# What was encoded for it and never sent reached nobody. The first request may still have been written to its socket.
@test_each_path "the agent is killed: no lease is lost while it is gone" {
	process_stop disc-spoa KILL
	fetch /100k
	agent_gone 0
	spoa_start
	nodes_alive
	wait_until offloads
}

offloads() {
	fetch /100k && [ "$(logged path)" = "$mode" ] && body_is 100k
}

# With keys of its own a lease does not lose by HAProxy's data; then the 103 is no reason.
@test_each_path "an interim response of HAProxy's or the node's after the lease costs it, and nothing else" {
	local target
	for target in '/100k?hint=after' '/100k?fake=early-hints-first'; do
		tls_client "get:$target" send response get:/16385 send response
		whole 1
		client_said '^status 103 '
		client_said "^body 16385 $(sum_of 16385)$"
		[ "$(logged path "$id .*GET /100k[^ ]*")" = "$mode" ] || reason_is 'pending|lost' "$id .*GET /100k[^ ]*"
	done
}

@test_each_path "a client that takes no KeyUpdate is closed visibly when a lease is lost" {
	tls_client --no-keyupdate 'get:/100k?fake=drops-ticket' send response
	closed_or_whole unannounced
	[ "$LAB_KEYS" = response ] || equal "exit status" "$client_status" 6
	tls_client --no-keyupdate --tls12 'get:/100k?fake=drops-ticket' send response
	whole 1
}

@test "what the agent passes and what the node declines comes back: no lease is lost, no KeyUpdate sent" {
	local unknown returned i steps=()
	unknown=$(count unknown) returned=$(count returned)
	for ((i = 0; i < 20; i++)); do
		steps+=("get:/100k?$i" send response)
	done
	mode=pass
	tls_client --no-keyupdate "${steps[@]}"
	whole 20
	logged_times 20 "path=proxy reason=policy "
	mode=splice
	tls_client --no-keyupdate get:/0 send response get:/none send response get:/0 send response
	logged_times 3 "reason=declined "
	equal "leases lost" $(($(count unknown) - unknown)) 0
	equal "leases returned" $(($(count returned) - returned)) 23
}
