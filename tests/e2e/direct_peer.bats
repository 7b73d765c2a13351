# SPDX-License-Identifier: GPL-2.0-or-later
# Who is at the other end of a connection and who is said to be the client are two things: behind another proxy the direct path goes by
# the first, policy by the second.
# shellcheck shell=bash

load "$E2E_DIR/helper"

lab_network=1

CLAIMED=203.0.113.7
CLAIMED6=2001:db8:77::7
CLAIMED_PASSED=203.0.113.99

setup_file() {
	lab_start config=lab.cfg+direct_peer.cfg \
		routes="route \"claimed\" { client = {\"$CLAIMED_PASSED\"} action = \"pass\" }"
}

teardown_file() {
	lab_stop
}

setup() {
	mode=direct
	WORK=$BATS_TEST_TMPDIR
	egress_mark
}

# claim HOW ADDRESS: fetches a body as that client.
claim() {
	if [ "$1" = proxy-header ]; then
		tls_client --port "$CLEAR_PORT" --proxy "$2" get:/2m send response get:/100k send response
	else
		tls_client --port "$TCP_PORT" --header "X-Client: $2" get:/2m send response get:/100k send response
	fi
	equal "exit status" "$client_status" 0
	client_said "^body 2097152 $(sum_of 2m)$"
	client_said "^body 102400 $(sum_of 100k)$"
	equal "the client as HAProxy logs it" "$(logged client | sed 's/:[0-9]*$//')" "$2"
}

# nodes COMMAND...: on both.
nodes() {
	on n1 "$@"
	on n2 "$@"
}

claimed_as_they_can() {
	claim proxy-header "$CLAIMED"
	logged_times 2 "path=$1 "
	claim set-src "$CLAIMED"
	logged_times 2 "path=$1 "
}

@test "the nodes have no way to the address that is claimed: the direct path is taken" {
	nodes ip route add unreachable 203.0.113.0/24
	claimed_as_they_can direct
	nodes ip route del unreachable 203.0.113.0/24
	no_body_left_lb
}

@test "the claimed address is of the other IP version, which no node can reach: the direct path is taken" {
	nodes ip -6 route add unreachable 2001:db8:77::/48
	claim set-src "$CLAIMED6"
	logged_times 2 "path=direct "
	nodes ip -6 route del unreachable 2001:db8:77::/48
}

@test "the nodes have no way to the other end of the connection: the direct path is not tried" {
	local tried
	tried=$(metric disc_spoa_handoffs_total)
	nodes ip route add unreachable 198.51.100.2/32
	routes_forgotten
	claimed_as_they_can splice
	nodes ip route del unreachable 198.51.100.2/32
	equal "connections that were handed off" "$(metric disc_spoa_handoffs_total)" "$tried"
}

@test "policy goes by the claimed address" {
	claim proxy-header "$CLAIMED_PASSED"
	logged_times 2 "path=proxy reason=policy "
	claim set-src "$CLAIMED_PASSED"
	logged_times 2 "path=proxy reason=policy "
}
