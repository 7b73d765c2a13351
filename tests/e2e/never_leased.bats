# SPDX-License-Identifier: GPL-2.0-or-later
# What must never get a lease is served as without DiSC, and HAProxy's log says why. Guards against an HTTP/2
# client that gets ciphertext as its body, a body filter that sees ciphertext, and more than one header record.
# shellcheck shell=bash

load "$E2E_DIR/helper"

setup_file() {
	lab_start config=lab.cfg+filters.cfg
}

teardown_file() {
	lab_stop
}

# ordinary FILE: the last fetch was served whole, not spliced.
ordinary() {
	equal status "$status" 200
	body_is "$1"
	no_disc_header
	path_is proxy
}

@test_each_mode "an HTTP/2 client of TLS 1.2 gets the body, not records" {
	local name
	for name in 1 16384 16385 100k 10m; do
		fetch "/$name" --http2 --tlsv1.2 --tls-max 1.2
		equal protocol "$(sed -n '1s/ .*//p' "$headers")" HTTP/2
		ordinary "$name"
		[ "$mode" = plain ] || reason_is "suite|mux"
	done
}

@test_each_mode "many HTTP/2 streams at once on one connection of TLS 1.2" {
	local targets=() i
	for ((i = 0; i < 32; i++)); do
		targets+=("/100k?n=$i")
	done
	CURL_MANY="--http2 --tlsv1.2 --tls-max 1.2 --parallel --parallel-max 32"
	fetch_many "${targets[@]}"
	many_are "${targets[@]}"
	logged_times 32 path=proxy
}

@test "with 'disc h2 off' an HTTP/2 client gets the body, not records; on again, records" {
	mode=h2
	haproxy_cli 'disc h2 off'
	fetch /100k
	ordinary 100k
	reason_is mux
	haproxy_cli 'disc h2 on'
	fetch /100k
	body_is 100k
	path_is_as_mode
}

# filtered PORT [CURL ARGUMENT]...: through a frontend with a body filter.
filtered() {
	local port=$1
	shift
	fetch /page.html "$@"
	equal status "$status" 200
	path_is proxy
	[ "$mode" = plain ] || reason_is filter
}

@test_each_mode "a frontend that compresses never leases" {
	filtered "$COMPRESSION_PORT" --compressed
	body_is page.html
	equal Content-Encoding "$(header Content-Encoding)" gzip
}

@test_each_mode "a frontend that compresses never leases, not even for a client that takes no compression" {
	filtered "$COMPRESSION_PORT"
	body_is page.html
}

@test_each_mode "a frontend with a cache never leases, and its cache holds plaintext" {
	filtered "$CACHE_PORT"
	body_is page.html
	filtered "$CACHE_PORT"
	body_is page.html
	equal "server of the second answer" "$(logged server)" "<CACHE>"
}

@test_each_mode "a frontend with a Lua filter never leases, and the filter sees plaintext" {
	filtered "$LUA_PORT"
	body_is page.html
	wait_for_line "$LAB/haproxy.log" 'lua filter saw 40000 bytes'
}

@test_each_mode "a frontend with a trace filter on the body never leases" {
	filtered "$TRACE_PORT"
	body_is page.html
}

@test_each_mode "a frontend whose rules look at bodies never leases, and they see plaintext" {
	local name=marked-$BATS_TEST_NUMBER
	{ cat "$SUITE/www/1" && echo ' confidential'; } >"$SUITE/www/$name"
	local port=$INSPECTION_PORT
	fetch "/$name"
	rm "$SUITE/www/$name"
	equal status "$status" 502
	fetch /1
	equal status "$status" 200
	path_is proxy
	[ "$mode" = plain ] || reason_is wait-for-body
}

@test "a TCP-mode frontend is not concerned" {
	local port=$TCP_PORT
	fetch /100k
	equal status "$status" 200
	body_is 100k
}

@test "a client without TLS is served, and the log says why not by records" {
	new_id
	on client timeout 60 curl -sS -o "$WORK/clear" -H "X-Id: $id" "http://$LAB_ADDRESS:$CLEAR_PORT/100k"
	cmp "$WORK/clear" "$SUITE/www/100k"
	path_is proxy
	reason_is tls
}
