# SPDX-License-Identifier: GPL-2.0-or-later
# The direct path over a client's wire that loses, delays and reorders packets: handoffs with bytes lost on the way in either direction,
# acknowledgements that come late or not at all.
# shellcheck shell=bash

load "$E2E_DIR/helper"

lab_network=1

setup_file() {
	lab_start wire="--loss 1 --reorder 1 --delay 3" direct="handoff-timeout = 10.0"
}

teardown_file() {
	wire_was_lossy
	lab_stop
}

setup() {
	mode=direct
	WORK=$BATS_TEST_TMPDIR
	PATIENCE=60
	handoffs_mark
	process_running n1 || node_start n1
	process_running n2 || node_start n2
	nodes_alive
	egress_mark
}

# Otherwise these tests would show nothing.
wire_was_lossy() {
	local pid
	for pid in $(ip netns pids "$LAB_NETWORK-router"); do
		[ "$(<"/proc/$pid/comm")" != lossy_wire ] || kill -TERM "$pid"
	done
	wait_for_line "$LAB/wire.out" '^(eth0|client): passed [0-9]+, lost [1-9][0-9]*, reordered [1-9]' 2 || { cat "$LAB/wire.out"; return 1; }
}

# went_away_mostly COUNT: of so many bodies. What is still unacknowledged may keep one here, or make a handoff late.
went_away_mostly() {
	local handed
	handed=$(($(metric disc_spoa_clones_total) - handed_mark))
	[ "$handed" -ge $(($1 * 9 / 10)) ] && [ "$(metric disc_spoa_breakers_open)" = 0 ] ||
		{ echo "$handed of $1 bodies were handed off"; handoffs_ended; return 1; }
}

# clients COUNT OPTION... -- STEP...: at a time.
clients() {
	local count=$1 i options=() pids=()
	shift
	while [ "$1" != -- ]; do
		options+=("$1")
		shift
	done
	shift
	for ((i = 0; i < count; i++)); do
		(
			WORK=$BATS_TEST_TMPDIR/$i id_count=$((1000 + i))
			mkdir -p "$WORK"
			tls_client "${options[@]}" "$@" >/dev/null
			echo "$client_status" >"$WORK/status"
		) 3>&- &
		pids+=($!)
	done
	wait "${pids[@]}"
	for ((i = 0; i < count; i++)); do
		equal "exit status of client $i" "$(<"$BATS_TEST_TMPDIR/$i/status")" 0 ||
			{ cat "$BATS_TEST_TMPDIR/$i"/client{,.errors}; return 1; }
	done
}

# each_got COUNT FILE TIMES
each_got() {
	local i
	for ((i = 0; i < $1; i++)); do
		equal "answers of client $i with $2" \
			"$(grep -c "^body $(stat -c %s "$SUITE/www/$2") $(sum_of "$2")$" "$BATS_TEST_TMPDIR/$i/client")" "$3"
	done
}

@test "20 connections with 6 bodies each, TLS 1.2" {
	capture_start
	clients 20 --tls12 -- get:/100k get:/16385 get:/100k send response response response get:/2m send response get:/1 send response \
		get:/100k send response
	each_got 20 100k 3
	each_got 20 16385 1
	each_got 20 2m 1
	each_got 20 1 1
	wait_until nothing_parked
	went_away_mostly 120
	capture_sound --connections 20 --bytes $((20 * (3 * 102400 + 16385 + 2097152 + 1)))
}

@test "20 connections, TLS 1.3, whose clients send while their connection is away" {
	capture_start
	clients 20 -- get:/2m send final body:10000 get:/100k send rest response get:/2m send final body:1000000 update get:/16385 send rest \
		response
	each_got 20 2m 2
	each_got 20 100k 1
	each_got 20 16385 1
	wait_until nothing_parked
	went_away_mostly 80
	capture_sound --connections 20 --bytes $((20 * (2 * 2097152 + 102400 + 16385)))
}

@test "over IPv6" {
	local address=$LAB_ADDRESS6
	capture_start
	clients 10 -- get:/2m send response get:/100k send response
	each_got 10 2m 1
	each_got 10 100k 1
	wait_until nothing_parked
	went_away_mostly 20
	capture_sound --connections 10
}

@test "a node is killed in the middle of 10 bodies" {
	local i pids=() before
	before=$(metric 'disc_spoa_completed_total{cause="takeover"}')
	for ((i = 0; i < 10; i++)); do
		(
			WORK=$BATS_TEST_TMPDIR/$i id_count=$((1000 + i))
			mkdir -p "$WORK"
			tls_client "get:/10m?$i" send final body:300000 "touch:$WORK/reading" rest get:/100k send response >/dev/null
			echo "$client_status" >"$WORK/status"
		) 3>&- &
		pids+=($!)
	done
	for ((i = 0; i < 10; i++)); do
		wait_until test -e "$BATS_TEST_TMPDIR/$i/reading"
	done
	# One path, so one node has all of them.
	node=$(sed -nE 's/.* offload to node (n[12]), .*/\1/p' "$LAB/disc-spoa.log" | tail -n 1)
	process_stop "$node" KILL
	wait "${pids[@]}"
	for ((i = 0; i < 10; i++)); do
		equal "exit status of client $i" "$(<"$BATS_TEST_TMPDIR/$i/status")" 0 ||
			{ cat "$BATS_TEST_TMPDIR/$i"/client{,.errors}; return 1; }
	done
	each_got 10 10m 1
	each_got 10 100k 1
	at_least "metric disc_spoa_completed_totalcause=takeover" "$(metric 'disc_spoa_completed_total{cause="takeover"}')" $((before + 1))
}

@test "clients that reset leave nothing behind" {
	clients 10 -- get:/10m send final body:300000 abort
	wait_until nothing_parked
	site_serves
}
