# SPDX-License-Identifier: GPL-2.0-or-later
# The control channel takes certificates of the configured CA and names only; what it refuses is logged, and the site serves.
# shellcheck shell=bash

load "$E2E_DIR/helper"

teardown() {
	local failed=0
	[ -n "${BATS_TEST_COMPLETED:-}" ] || { failed=1; print_logs; }
	lab_stop || failed=1
	return "$failed"
}

# refused REGEX: both nodes logged it, nothing is offloaded, everything is served.
refused() {
	local name
	for name in n1 n2; do
		wait_for_line "$LAB/$name.log" "$1"
	done
	mode=splice
	fetch /100k
	equal status "$status" 200
	body_is 100k
	path_is proxy
	reason_is no-node
}

@test "an agent with a certificate of another CA is refused and logged" {
	lab_start agent_certificate=other.lab.test
	refused 'control: peer .* refused: certificate of .* is not of the configured CA'
}

@test "an agent of the right CA with a name that is not configured is refused and logged" {
	lab_start agent_certificate=stranger.lab.test
	refused 'control: peer .* refused: certificate of .* bears none of the expected names'
}

@test "a client without a certificate gets nothing from the control channel, and is logged" {
	lab_start
	run -4 "$SUITE/bin/tls_client" --ca "$SUITE/tls/lab-ca.crt" n1.lab.test "$LAB_ADDRESS" "$N1_CONTROL" raw:hello send headers
	echo "$output"
	not grep '^status' <<<"$output"
	wait_for_line "$LAB/n1.log" 'control: peer .* refused: .* presented no certificate'
	mode=splice
	fetch /100k
	path_is splice
}

@test "a node with a certificate of another name is not offered anything" {
	lab_start n1_certificate=stranger.lab.test
	wait_for_line "$LAB/disc-spoa.log" 'node n1 .*cannot be reached: .*bears none of the expected names'
	mode=splice
	local i
	for i in 1 2 3 4 5 6; do
		fetch "/100k?n=$i"
		equal status "$status" 200
		body_is 100k
		path_is splice
		equal server "$(logged server)" n2
	done
}
