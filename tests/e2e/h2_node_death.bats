# SPDX-License-Identifier: GPL-2.0-or-later
# A node dies while it seals bodies for HTTP/2 clients: another server has the rest of them, or their streams alone break. No byte is wrong.
# flavours: asan recorder
# shellcheck shell=bash

load "$E2E_DIR/helper"

setup_file() {
	lab_start
}

teardown_file() {
	lab_stop
}

# dies_during PATH NODE [SIGNAL]: NODE dies, after SIGNAL, while stream 1 of the client reads PATH.
dies_during() {
	h2_client_in_background --rcvbuf 8192 --window "${window:-65535}" "get:$1" get:/2m data:300000 "touch:$WORK/reading" "wait:$WORK/go" all get:/16385 all
	wait_until test -e "$WORK/reading"
	[ -z "${3:-}" ] || process_signal "$2" "$3"
	: >"$WORK/go"
	process_stop "$2" KILL
	tls_client_wait
	rm "$WORK/reading" "$WORK/go"
	node_start "$2"
}

# node_of PATH: by which it is served.
node_of() {
	fetch "$1" -r 0-9
	logged server
}

@test "the node dies, between grants or inside one: another one has the rest of its streams' bodies" {
	mode=h2
	local node signal window
	node=$(node_of /10m)
	# A node that stands still answers no grant any more: one is open when it dies. With a window of 16383 bytes all goes in clear.
	for window in 65535 16383; do
		for signal in "" STOP; do
			dies_during /10m "$node" "$signal"
			equal "exit status" "$client_status" 0
			streams_whole 1 10m
			streams_whole 1 2m
			streams_whole 1 16385
			nodes_alive
			site_serves
		done
	done
	grep -aE 'broke off after [1-9][0-9]* of 10485760 bytes: .* Another server is asked for the rest' "$LAB/haproxy.log"
}

@test "the node dies and there is no other one: its stream breaks alone" {
	mode=h2
	local node other
	node=$(node_of /10m)
	other=n$((3 - ${node#n}))
	process_stop "$other" KILL
	dies_during /10m "$node" STOP
	node_start "$other"
	stream_cut_or_whole 1 10m
	client_said '^stream 1 .* reset [0-9]+$'
	client_said '^stream 3 status [0-9]+ .* whole$'
	nodes_alive
	site_serves
}

# asked_again: HAProxy asked another server for the rest of a body since the test began.
asked_again() {
	tail -n "+$((logged_before + 1))" "$LAB/haproxy.log" | grep -qa 'Another server is asked for the rest'
}

@test "the node dies and another one has another object by this name: its stream breaks alone" {
	mode=h2
	local node logged_before file=$SUITE/www/h2-node-death-$BATS_TEST_NUMBER
	logged_before=$(wc -l <"$LAB/haproxy.log")
	cp "$SUITE/www/10m" "$file"
	node=$(node_of "/${file##*/}")
	h2_client_in_background --rcvbuf 8192 --window 65535 "get:/${file##*/}" data:300000 "touch:$WORK/reading" "wait:$WORK/go" all get:/16385 all
	wait_until test -e "$WORK/reading"
	cp "$SUITE/www/10m" "$file.new"
	mv "$file.new" "$file"
	process_stop "$node" KILL
	: >"$WORK/go"
	tls_client_wait
	rm "$file"
	asked_again
	equal "exit status" "$client_status" 0
	stream_cut_or_whole 1 10m
	client_said '^stream 1 .* reset [0-9]+$'
	client_said '^stream 2 .* whole$'
	node_start "$node"
	nodes_alive
	site_serves
}

@test "the server that has the rest of a body dies, too: its stream breaks" {
	mode=h2
	local node logged_before other
	logged_before=$(wc -l <"$LAB/haproxy.log")
	node=$(node_of /100m)
	other=n$((3 - ${node#n}))
	h2_client_in_background --rcvbuf 8192 --window 65535 get:/100m data:300000 "touch:$WORK/reading" "wait:$WORK/go" all
	wait_until test -e "$WORK/reading"
	process_stop "$node" KILL
	: >"$WORK/go"
	wait_until asked_again
	process_stop "$other" KILL
	tls_client_wait
	stream_cut_or_whole 1 100m
	node_start "$node"
	node_start "$other"
	nodes_alive
	site_serves
}

@test "a client resets a stream whose rest comes from another server, and its connection works on" {
	mode=h2
	local node logged_before
	logged_before=$(wc -l <"$LAB/haproxy.log")
	node=$(node_of /10m)
	h2_client_in_background --rcvbuf 8192 --window 65535 get:/10m data:300000 "touch:$WORK/reading" "wait:$WORK/go" data:2000000 rst:1:8 get:/16385 all
	wait_until test -e "$WORK/reading"
	process_stop "$node" KILL
	: >"$WORK/go"
	tls_client_wait
	asked_again
	equal "exit status" "$client_status" 0
	streams_whole 1 16385
	node_start "$node"
	nodes_alive
	site_serves
}
