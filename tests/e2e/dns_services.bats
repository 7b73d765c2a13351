# SPDX-License-Identifier: GPL-2.0-or-later
# The nodes of a pool are the SRV records that a DNS server has for a name, each with its port.
# shellcheck shell=bash

load "$E2E_DIR/helper"
load "$E2E_DIR/dns"

# A mode of its own makes no difference here: dns_nodes.bats has them.
setup_file() {
	if command -v knotd >/dev/null; then
		dns_lab_start _disc._tcp.lab.test 'records = "service"' 2
	fi
}

teardown_file() {
	[ -z "${LAB:-}" ] || lab_stop
}

setup() {
	[ -n "${LAB:-}" ] || skip "knot is not installed"
	mode=splice WORK=$BATS_TEST_TMPDIR
}

@test "nodes are the targets of service records, at their ports" {
	local node
	not equal "fetch port of n2" "$N2_FETCH" "$N1_FETCH"
	for node in n1 n2; do
		dns_has "$node"
		wait_until dns_node_is "$node" up
		fetch "/100k?$node"
		cmp "$body" "$SUITE/www/100k"
		path_is splice
		equal node "$(logged node)" "$(node_name "$node")"
		equal server "$(logged server)" by-address
	done
}

@test "a target without addresses, and the root, are no nodes" {
	dns_has n2
	dns_set "$(dns_records n1)
_disc._tcp 1 SRV 0 1 1234 nowhere
_disc._tcp 1 SRV 0 1 1235 ."
	wait_until uses_nodes n1
	fetch "/100k?$mode"
	path_is splice
	equal node "$(logged node)" "$(node_name n1)"
}
