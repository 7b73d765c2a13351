# SPDX-License-Identifier: GPL-2.0-or-later
# Clients that go away, or fall silent, while a node has their connection: nothing stays behind anywhere, nobody else notices.
# shellcheck shell=bash

load "$E2E_DIR/helper"

lab_network=1

setup_file() {
	lab_start node_direct="client-timeout = 3.0"
}

teardown_file() {
	lab_stop
}

setup() {
	mode=direct
	WORK=$BATS_TEST_TMPDIR
	egress_mark
}

# ten_clients STEP...: so many do this in the middle of a body.
ten_clients() {
	local i version
	for ((i = 0; i < 10; i++)); do
		version=
		[ $((i % 2)) = 0 ] || version=--tls12
		tls_client $version --rcvbuf 8192 get:/100m send final body:300000 "$@"
		equal "exit status" "$client_status" 0
	done
	wait_until nothing_parked
}

# goes_away STEP...: ten clients do this, twice; then all is as after the first time.
goes_away() {
	local handoffs files
	ten_clients "$@"
	site_serves
	wait_until nothing_parked
	files=$(descriptors disc-spoa)
	handoffs=$(metric disc_spoa_handoffs_total)
	ten_clients "$@"
	equal handoffs $(($(metric disc_spoa_handoffs_total) - handoffs)) 10
	wait_until has_descriptors disc-spoa "$files"
	site_serves
	path_is direct
}

@test "clients that close" {
	goes_away close
}

@test "clients that reset" {
	goes_away abort
	# The log blames them.
	equal "transfers that clients ended" "$(grep -c '^id=.* path=direct .* end=CD' "$LAB/haproxy.log")" \
		"$(grep -c '^id=.*GET /100m' "$LAB/haproxy.log")"
}

@test "a client that vanishes is given up after client-timeout" {
	tls_client_in_background get:/100m send final body:300000 "touch:$WORK/reading" "wait:$WORK/go" rest
	wait_until test -e "$WORK/reading"
	on client nft 'add table inet vanished; add chain inet vanished out { type filter hook output priority 0; policy drop; };
		add chain inet vanished in { type filter hook input priority 0; policy drop; }'
	: >"$WORK/go"
	wait_until nothing_parked
	on client nft delete table inet vanished
	# What told the client of it was lost, too.
	kill "$client_pid"
	tls_client_wait
	[ "$client_status" != 0 ] || not_seen "client_status is not 0" "it is"
	site_serves
	path_is direct
}

@test "a client that does not read for a while gets everything" {
	tls_client_in_background get:/10m send final body:300000 "touch:$WORK/reading" "wait:$WORK/go" rest get:/100k send response
	wait_until test -e "$WORK/reading"
	# Its window has closed: nothing is acknowledged between two looks.
	wait_until nothing_moves
	: >"$WORK/go"
	tls_client_wait
	equal "exit status" "$client_status" 0
	client_said "^body 10485760 $(sum_of 10m)$"
	client_said "^body 102400 $(sum_of 100k)$"
	path_is direct "$id .*GET /10m"
}

acked() {
	haproxy_cli 'show disc' | sed -nE 's/^parked: .* acked=([0-9]+) of=.*/\1/p'
}

# nothing_moves: for 0.6 s; progress is told every 250 ms.
nothing_moves() {
	local first end=$((${EPOCHREALTIME/./} + 600000))
	first=$(acked)
	[ -n "$first" ] || return 1
	while [ "${EPOCHREALTIME/./}" -lt "$end" ]; do
		[ "$first" = "$(acked)" ] || return 1
	done
}

@test "many clients go away while many others go on" {
	local i pids=()
	new_id
	for ((i = 0; i < 20; i++)); do
		(
			WORK=$BATS_TEST_TMPDIR/$i id_count=$((1000 + i))
			mkdir "$WORK"
			if [ $((i % 2)) = 0 ]; then
				tls_client --rcvbuf 16384 get:/10m send final "body:$((i * 400000 + 1))" abort >/dev/null
			else
				tls_client get:/10m get:/100k get:/2m send response response response >/dev/null
			fi
			echo "$client_status" >"$WORK/status"
		) 3>&- &
		pids+=($!)
	done
	wait "${pids[@]}"
	for ((i = 0; i < 20; i++)); do
		WORK=$BATS_TEST_TMPDIR/$i
		equal "exit status of client $i" "$(<"$WORK/status")" 0 || { cat "$WORK/client" "$WORK/client.errors"; return 1; }
		[ $((i % 2)) = 0 ] || client_said "^body 2097152 $(sum_of 2m)$"
	done
	wait_until nothing_parked
}
