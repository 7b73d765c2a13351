# SPDX-License-Identifier: GPL-2.0-or-later
# Clients that go away at any moment: nothing leaks in HAProxy or the nodes, nobody else notices.
# keys response: splice
# shellcheck shell=bash

load "$E2E_DIR/helper"

setup_file() {
	lab_start
}

teardown_file() {
	lab_stop
}

# long: clients that go away, ten times at each moment (four times)
REPEAT=$(long 4 10)

open_files() {
	ls "/proc/$(process_pid "$1")/fd" | wc -l
}

# has_at_most NAME COUNT: the process has no more descriptors than that.
has_at_most() {
	at_most "open_files 1" "$(open_files "$1")" "$2"
}

no_clients() {
	haproxy_cli 'show info' | grep -qx 'CurrSslConns: 0'
}

# aborts OPTIONS... -- STEPS...: several clients do this; then everything is as before.
aborts() {
	local options=() i name baseline_n1 baseline_n2
	while [ "$1" != -- ]; do
		options+=("$1")
		shift
	done
	shift
	site_serves
	wait_until no_clients
	baseline_n1=$(open_files n1) baseline_n2=$(open_files n2)
	for ((i = 0; i < REPEAT; i++)); do
		tls_client "${options[@]}" "$@" >/dev/null
		equal "exit status" "$client_status" 0
	done
	wait_until no_clients
	# HAProxy keeps a few idle connections to each node, fewer than there were aborts.
	wait_until has_at_most n1 $((baseline_n1 + 4))
	wait_until has_at_most n2 $((baseline_n2 + 4))
	site_serves
	path_is_as_mode
}

@test_each_mode "abort right after the handshake" {
	aborts -- abort
}

@test_each_mode "abort right after the request" {
	aborts -- get:/100m send abort
	aborts --tls12 -- get:/100m send abort
}

@test_each_mode "abort after the headers" {
	aborts -- get:/100m send final abort
}

@test_each_mode "abort in the middle of a body" {
	aborts --rcvbuf 8192 -- get:/100m send final body:1000000 abort
	aborts --tls12 --rcvbuf 8192 -- get:/100m send final body:1000000 abort
}

@test_each_mode "abort shortly before the end of a body" {
	aborts --rcvbuf 4096 -- get:/10m send final body:10485759 abort
}

@test_each_mode "abort between two pipelined answers" {
	aborts -- get:/100k get:/100m get:/100k send response final abort
}

@test_each_mode "an orderly close in the middle of a body" {
	aborts --rcvbuf 8192 -- get:/100m send final body:100000 close
}

@test "the node stops sealing soon after the client went away" {
	mode=splice
	tls_client --rcvbuf 8192 get:/100m send final body:100000 abort
	wait_for_line "$LAB/disc-spoa.log" 'aborted, [0-9]+ records'
	local bytes
	bytes=$(sed -nE 's/.*aborted, [0-9]+ records, ([0-9]+) bytes.*/\1/p' "$LAB/disc-spoa.log" | tail -n 1)
	# What fits in the buffers on the way, and not the whole body.
	at_most "bytes sealed for nobody" "$bytes" 90000000
}
