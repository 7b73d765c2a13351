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
