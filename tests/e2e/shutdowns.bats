# SPDX-License-Identifier: GPL-2.0-or-later
# Sessions that an operator, or the end of HAProxy, shuts down: each ends at once and is logged as such, on whatever path its body is,
# and also if its client reads nothing.
# shellcheck shell=bash

load "$E2E_DIR/helper"

setup_file() {
	lab_start fake=1 hard_stop=1s
}

teardown_file() {
	lab_stop
}

setup() {
	WORK=$BATS_TEST_TMPDIR
}

# begins TARGET [OPTION]...: a client reads some of the body and then nothing until killed.
begins() {
	rm -f "$WORK/go" "$WORK/reading"
	tls_client_in_background "${@:2}" "get:$1" send final body:300000 "touch:$WORK/reading" "wait:$WORK/go" rest
	wait_until test -e "$WORK/reading"
}

# killed: HAProxy has logged it so, before the client reads on; the client then sees what it has of the file cut. The state is
# KL where the server's part is over.
killed() {
	local line
	line=$(log_line) || return 1
	[[ $line == *" end=K"[CL]"-- "* ]] || not_seen "end=KC-- or end=KL--" "$line"
	path_is "${mode/plain/proxy}"
	: >"$WORK/go"
	tls_client_wait
	equal "exit status" "$client_status" 4
	client_said '^cut [0-9]+ of 104857600 '
	cut_or_complete 100m
	[ "$mode" != direct ] || wait_until nothing_parked
}

sessions() {
	haproxy_cli 'show sess' | sed -nE 's/^(0x[0-9a-f]+): .* fe=site .*/\1/p'
}

@test_each_mode "shutdown session" {
	local version
	for version in "" --tls12; do
		begins /100m $version
		haproxy_cli "shutdown session $(sessions)"
		killed
	done
	site_serves
}

@test_each_mode "shutdown sessions of a server" {
	local node
	begins /100m
	for node in n1 n2; do
		haproxy_cli "shutdown sessions server nodes/$node"
	done
	if [ "$mode" = direct ]; then
		# It counted as the server's until this had answered.
		: >"$WORK/go"
		tls_client_wait
		equal "exit status" "$client_status" 0
		return
	fi
	killed
	site_serves
}

@test_each_mode "shutdown session while the node has not answered" {
	rm -f "$LAB/release"
	tls_client_in_background "get:/100k?fake=waits-for-release&id=shut-$mode" send response
	wait_until fake_saw "&id=shut-$mode "
	haproxy_cli "shutdown session $(sessions)"
	log_line
	: >"$LAB/release"
	equal end "$(logged end)" KC--
	tls_client_wait
	client_said '^no-response 0 '
	equal "requests that the nodes saw" "$(cat "$LAB"/fake-n?.log | grep -c "&id=shut-$mode ")" 1
	site_serves
}

@test_each_mode "hard-stop-after" {
	begins /100m
	haproxy_reload
	process_wait haproxy-old
	killed
	site_serves
}
