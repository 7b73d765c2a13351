# SPDX-License-Identifier: GPL-2.0-or-later
# A node that dies: before its headers another one answers or the client gets an ordinary error; in the middle of a body the
# client gets the rest from a replica, or a visibly broken transfer (no close_notify), and never a wrong byte.
# keys response: splice
# shellcheck shell=bash

load "$E2E_DIR/helper"

setup_file() {
	lab_start fake=1 server_timeout=3s
}

teardown_file() {
	lab_stop
}

# dies_early NAME [VERSION]...: before the response's headers are complete; the connection to the client goes on.
dies_early() {
	local version versions=("" --tls12)
	[ $# = 1 ] || versions=("${@:2}")
	for version in "${versions[@]}"; do
		tls_client $version "get:/100k?fake=$1" send response get:/100k?good send response
		fake_saw " fake=$1 "
		if [ "$client_status" = 4 ]; then
			# On a reused server connection HAProxy, like any proxy, may close instead: clients then ask again (RFC 9112 9.3.1).
			client_said '^no-response 0 close_notify$'
			client_did_not_say '^status'
		else
			equal "exit status" "$client_status" 0
			client_said '^status 50[234] '
			client_said "^body 102400 $(sum_of 100k)$"
			path_is proxy "$id .*fake=$1"
		fi
	done
}

# offload_dies NAME [VERSION]...: the same, but asked without a ticket the nodes answer: the client sees nothing of it.
offload_dies() {
	local version versions=("" --tls12)
	[ $# = 1 ] || versions=("${@:2}")
	for version in "${versions[@]}"; do
		# A lease is lost with the node: on TLS 1.3 the connection gets none for a second.
		tls_client $version "get:/100k?fake=$1" send response pause:1300 get:/100k?good send response
		equal "exit status" "$client_status" 0
		equal "whole bodies" "$(grep -c "^body 102400 $(sum_of 100k)$" "$WORK/client")" 2
		fake_saw " fake=$1 "
		path_is proxy "$id .*fake=$1"
		reason_is retry "$id .*fake=$1"
		path_is "$mode" "$id .*GET /100k\?good"
	done
}

# dies_late NAME FILE: when headers and perhaps records have left.
dies_late() {
	local version
	for version in "" --tls12; do
		tls_client $version "get:/$2?fake=$1" send response
		cut_complete_or_reset "$2"
		fake_saw " fake=$1 "
	done
	site_serves
}

@test_each_mode "the node dies before its headers" {
	dies_early dies-before-headers
}

@test_each_mode "the node dies within its headers" {
	dies_early dies-in-headers
}

@test_each_mode "the node never answers: HAProxy's own 504 or another node's answer" {
	dies_early never-answers ''
}

@test_each_path "an offload whose node dies before its headers becomes an ordinary response" {
	offload_dies offload-dies-before-headers
}

@test_each_path "an offload whose node dies within its headers becomes an ordinary response" {
	offload_dies offload-dies-in-headers
}

@test_each_path "an offload whose node never answers becomes an ordinary response" {
	offload_dies offload-never-answers ''
}

@test_each_mode "the node dies between headers and body" {
	dies_late dies-after-headers 100k
}

@test_each_mode "the node dies in the middle of a body" {
	dies_late dies-mid-body 100k
	dies_late dies-mid-body 10m
}

@test_each_mode "the node dies between two records" {
	dies_late dies-at-record-edge 100k
}

@test_each_mode "the node dies one byte before the end" {
	dies_late dies-one-byte-short 16385
	dies_late dies-one-byte-short 10m
}

@test "after a cut body nothing follows: no close_notify, no alert, no HTTP error" {
	local version poisoned
	for version in "" --tls12; do
		mode=splice
		poisoned=$(count poisoned)
		tls_client $version "get:/10m?fake=dies-mid-body" send response
		equal "exit status" "$client_status" 4
		client_said '^cut [0-9]+ of 10485760 [0-9a-f]{64} (unclean|reset)$'
		path_is splice "$id .*fake=[^ ]*"
		[[ $(logged end "$id .*fake=[^ ]*") == SD* ]]
		equal state "$(logged state "$id .*fake=[^ ]*")" poisoned
		equal "connections poisoned" "$(count poisoned)" $((poisoned + 1))
	done
}

@test "pipelined requests behind a cut body are not answered" {
	mode=splice
	tls_client "get:/10m?fake=dies-mid-body" get:/100k get:/1 send response
	equal "exit status" "$client_status" 4
	client_said '^cut [0-9]+ of 10485760 [0-9a-f]{64} (unclean|reset)$'
}

@test "a damaged record is refused by the client's TLS, and no byte of it is delivered" {
	local version
	for version in "" --tls12; do
		mode=splice
		tls_client $version "get:/10m?fake=damaged-record" send response
		equal "exit status" "$client_status" 4
		client_said '^cut [0-9]+ of 10485760 [0-9a-f]{64} tls-error$'
		local read sum
		read -r read sum < <(sed -nE 's/^cut ([0-9]+) of [0-9]+ ([0-9a-f]{64}) .*$/\1 \2/p' "$WORK/client")
		equal "SHA-256 of the first $read bytes" "$sum" "$(head -c "$read" "$SUITE/www/10m" | sha256sum | cut -d' ' -f1)"
	done
	site_serves
}

# In mode direct another one goes on; see direct_rescue.bats.
@test_each_mode "a node killed in the middle of a body" {
	local ending=eof
	[ "$mode" != direct ] || ending=close
	# Which node that is, this mode's own choice tells.
	fetch /100m -r 0-99999
	local node
	node=$(logged server)
	tls_client_in_background get:/100m send final body:100000 "touch:$WORK/reading" "wait:$WORK/killed" rest $ending
	wait_until test -e "$WORK/reading"
	if [ "$mode" = plain ]; then
		# Nothing says which node serves it: both go.
		process_stop n1 KILL
		process_stop n2 KILL
	else
		process_stop "$node" KILL
	fi
	: >"$WORK/killed"
	tls_client_wait
	cut_or_complete 100m
	local name
	for name in n1 n2; do
		process_running "$name" || node_start "$name"
	done
	nodes_alive
	if [ "$mode" = direct ]; then
		# No body was on the connections to it that HAProxy has kept: only a request finds out that they are dead.
		fetch /100m -r 0-0
		egress_mark
	fi
	site_serves
	path_is_as_mode
}

@test_each_mode "a node that is dead before the request" {
	local i
	process_stop n1 KILL
	process_stop fake-n1 KILL
	for i in 1 2 3 4; do
		fetch "/100k?n=$i"
		equal status "$status" 200
		body_is 100k
	done
	# Once the agent knows, everything goes to the other one.
	if [ "$mode" != plain ]; then
		wait_until agent_says n1 down
		for i in 1 2 3 4; do
			fetch "/100k?n=later$i"
			body_is 100k
			path_is "$mode"
			equal server "$(logged server)" n2
		done
	fi
	node_start n1
	fake_start n1
	nodes_alive
}

@test_each_path "both nodes dead: 503 in bounded time, and service again when they are back" {
	local name
	for name in n1 n2; do
		process_stop $name KILL
		process_stop fake-$name KILL
	done
	fetch /100k
	equal status "$status" 503
	path_is proxy
	for name in n1 n2; do
		node_start $name
		fake_start $name
	done
	nodes_alive
	fetch /100k
	equal status "$status" 200
	body_is 100k
	path_is "$mode"
}
