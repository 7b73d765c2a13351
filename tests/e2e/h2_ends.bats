# SPDX-License-Identifier: GPL-2.0-or-later
# Every end that a stream of HTTP/2 or its connection can have while bodies are sealed by grants. Afterwards the connection works on, or
# it is visibly broken; no byte is wrong, and HAProxy's log says what became of it.
# flavours: asan recorder
# shellcheck shell=bash

load "$E2E_DIR/helper"

setup_file() {
	lab_start client_timeout=3s server_timeout=3s
}

teardown_file() {
	lab_stop
}

client_is_content() {
	equal "exit status" "$client_status" 0
}

# no_clients: no connection of a client is left.
no_clients() {
	haproxy_cli 'show info' | grep -qx 'CurrSslConns: 0'
}

@test_h2 "RST_STREAM before, in the middle and at the end of a body: other streams and later ones are whole" {
	local bytes
	for bytes in 0 1 16384 70000 300000 9900000; do
		h2_client get:/10m?a get:/10m?b "data:$bytes" rst:1:8 get:/100k all ping get:/10m?c all
		client_is_content
		streams_whole 2 10m
		streams_whole 1 100k
	done
}

@test_h2 "RST_STREAM of each of many streams at another moment" {
	local steps=() i
	for ((i = 1; i <= 20; i++)); do
		steps+=("get:/10m?$i" data:50000 "rst:$i:8")
	done
	h2_client "${steps[@]}" ping get:/2m all
	client_is_content
	streams_whole 1 2m
}

@test_h2 "GOAWAY of the client: streams under way end as they should" {
	# HAProxy closes when the last stream has ended: what the client says after that resets the connection, and takes bytes with it that it
	# has not read yet, as with any HAProxy. So it credits all before its GOAWAY.
	h2_client get:/10m get:/2m data:100000 manual window:0:14000000 window:1:10485760 window:2:2097152 goaway all
	streams_whole 1 10m
	streams_whole 1 2m
}

@test_h2 "a client that vanishes at any moment leaves nothing behind" {
	local bytes
	for bytes in 1 70000 300000 5000000; do
		h2_client get:/10m?a get:/10m?b "data:$bytes" abort
	done
	wait_until no_clients
	site_serves
	path_is_as_mode
}

@test_h2 "a client that ends its side in the middle of a body" {
	h2_client get:/10m data:300000 half-close all || :
	stream_cut_or_whole 1 10m
	wait_until no_clients
	site_serves
}

@test_h2 "a client that stops reading is closed by its timeout, and others are not held up" {
	h2_client_in_background --rcvbuf 8192 manual get:/100m data:200000 "wait:$WORK/go" all
	wait_until client_said '^data '
	h2_client get:/10m all
	client_is_content
	streams_whole 1 10m
	: >"$WORK/go"
	tls_client_wait || :
	wait_until no_clients
	site_serves
}

@test_h2 "a client that opens no window is timed out; its connection goes on" {
	h2_client --window 100000 manual get:/10m data:100000 stream:1
	stream_cut_or_whole 1 10m
	site_serves
}

@test_h2 "no body: HEAD, 304, 416, 404, and headers that are too large" {
	local tag
	fetch /10m --http2 -I
	tag=$(header ETag)
	fetch /10m --http2 -H "If-None-Match: $tag"
	equal status "$status" 304
	fetch /10m --http2 -r 99999999-
	equal status "$status" 416
	fetch /none --http2
	equal status "$status" 404
	fetch /100k --http2
	body_is 100k
	path_is_as_mode
}

@test_h2 "HAProxy is reloaded in the middle of bodies: they end, and their connections with GOAWAY" {
	h2_client_in_background --rcvbuf 8192 get:/10m get:/2m data:100000 "touch:$WORK/reading" "wait:$WORK/go" all
	wait_until test -e "$WORK/reading"
	haproxy_reload
	: >"$WORK/go"
	tls_client_wait
	streams_whole 1 10m
	streams_whole 1 2m
	process_wait haproxy-old
	site_serves
	path_is_as_mode
}

@test_h2 "disc-spoa dies in the middle of bodies: they end, and later ones are ordinary until it is back" {
	h2_client_in_background --rcvbuf 8192 get:/10m get:/2m data:100000 "touch:$WORK/reading" "wait:$WORK/go" all get:/100k all
	wait_until test -e "$WORK/reading"
	process_stop disc-spoa KILL
	: >"$WORK/go"
	tls_client_wait
	equal "exit status" "$client_status" 0
	streams_whole 1 10m
	streams_whole 1 2m
	streams_whole 1 100k
	spoa_start
	nodes_alive
	site_serves
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
	node=$(node_of /100m)
	# A node that stands still answers no grant any more: one is open when it dies. With a window of 16383 bytes all goes in clear.
	for window in 65535 16383; do
		for signal in "" STOP; do
			dies_during /100m "$node" "$signal"
			equal "exit status" "$client_status" 0
			streams_whole 1 100m
			streams_whole 1 2m
			streams_whole 1 16385
			nodes_alive
			site_serves
		done
	done
	grep -aE 'broke off after [1-9][0-9]* of 104857600 bytes: .* Another server is asked for the rest' "$LAB/haproxy.log"
}

@test "the node dies and there is no other one: its stream breaks alone" {
	mode=h2
	local node other
	node=$(node_of /100m)
	other=n$((3 - ${node#n}))
	process_stop "$other" KILL
	dies_during /100m "$node" STOP
	node_start "$other"
	stream_cut_or_whole 1 100m
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
	local node logged_before file=$SUITE/www/h2-ends-$BATS_TEST_NUMBER
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
	node=$(node_of /100m)
	h2_client_in_background --rcvbuf 8192 --window 65535 get:/100m data:300000 "touch:$WORK/reading" "wait:$WORK/go" data:2000000 rst:1:8 get:/16385 all
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

@test "disc off in the middle of bodies: they end, later ones are ordinary; on again, they are offloaded" {
	mode=h2
	h2_client_in_background --rcvbuf 8192 get:/10m get:/2m data:100000 "touch:$WORK/reading" "wait:$WORK/go" all get:/100k all
	wait_until test -e "$WORK/reading"
	haproxy_cli 'disc off'
	: >"$WORK/go"
	tls_client_wait
	equal "exit status" "$client_status" 0
	streams_whole 1 10m
	streams_whole 1 2m
	streams_whole 1 100k
	path_is proxy "$id .*GET [^ ]*/100k"
	haproxy_cli 'disc on'
	site_serves
	path_is_as_mode
}
