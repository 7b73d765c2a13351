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

# released: how often an agent has taken a connection back by itself.
released() {
	cat "$LAB"/n[12].log | grep -cE "^<7>direct: .* ended after .* bytes of records: released" || :
}

# handed_back REGEX: how often a node has given a connection back with that much under way.
handed_back() {
	cat "$LAB"/n[12].log | grep -cE "a connection is handed back with $1 bytes under way" || :
}

# Bytes of the last packet of a response of 16385 bytes: of TLS 1.2 these are 16443 of records. The header's record, 29 bytes longer than the
# header, leaves with them. A segment has 1448 bytes, its packet 52 more.
last_packet() {
	local header
	header=$(curl_site --tls-max 1.2 -o "$WORK/body" -w '%{size_header}' "$(url /16385)")
	echo $(((header + 29 + 16443) % 1448 + 52))
}

@test "the last segment of a body is lost" {
	local i last
	last=$(last_packet)
	wait_until nothing_parked
	for i in 1 2 3; do
		lose_once "$last"
		tls_client --tls12 get:/16385 send response get:/16385 send response
		equal "exit status" "$client_status" 0
		path_is direct
		wait_until nothing_parked
		equal "packets lost" "$(lost_packets)" 1
		lose_nothing
	done
	equal "connections handed back with something under way" "$(handed_back '[1-9][0-9]*')" 0
	equal "connections released" "$(released)" 7
}
