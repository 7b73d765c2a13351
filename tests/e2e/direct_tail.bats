# SPDX-License-Identifier: GPL-2.0-or-later
# The end of a body that is lost on its way is sent again by the node, which knows the round-trip time by then: the load balancer gets the
# connection back with nothing under way, and has nothing to wait 3 s for.
# shellcheck shell=bash

load "$E2E_DIR/helper"

lab_network=1

setup_file() {
	lab_start wire="--delay 3"
}

teardown_file() {
	lab_stop
}

setup() {
	mode=direct
	WORK=$BATS_TEST_TMPDIR
}

# lose_once LENGTH: the first packet of so many bytes that the site sends is lost.
lose_once() {
	on client nft -f - <<-RULES
		table inet tail {
			counter lost {}
			chain input {
				type filter hook prerouting priority -300
				ip saddr $LAB_ADDRESS ip length $1 quota $1 bytes counter name lost drop
			}
		}
	RULES
}

lost_packets() {
	on client nft list counter inet tail lost | sed -nE 's/.*packets ([0-9]+).*/\1/p'
}

lose_nothing() {
	on client nft delete table inet tail
}

# handed_back REGEX: how often a node has given a connection back with that much under way.
handed_back() {
	cat "$LAB"/n[12].log | grep -cE "a connection is handed back with $1 bytes under way" || :
}

@test "the last segment of a body is lost" {
	local i
	# Of TLS 1.2 16385 bytes are 16443 of records, 11 segments of 1448 bytes and one of 515; a packet has 52 bytes more.
	for i in 1 2 3; do
		lose_once 567
		tls_client --tls12 get:/16385 send response get:/16385 send response
		equal "exit status" "$client_status" 0
		path_is direct
		wait_until nothing_parked
		equal "packets lost" "$(lost_packets)" 1
		lose_nothing
	done
	equal "connections handed back with something under way" "$(handed_back '[1-9][0-9]*')" 0
	equal "connections handed back" "$(handed_back 0)" 6
}
