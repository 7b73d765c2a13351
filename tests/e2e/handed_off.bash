# SPDX-License-Identifier: GPL-2.0-or-later
# A client whose connection is handed off to a node, and what happens to that node meanwhile.
# shellcheck shell=bash

# Each case begins with both nodes; a file only starts its lab.
setup() {
	mode=direct
	WORK=$BATS_TEST_TMPDIR
	node_start_if_ended
}

teardown_file() {
	lab_stop
}

# reads_slowly TARGET [--tls12]: a client reads slowly, its connection is at $node. It goes on once $WORK/go exists, and then asks for
# /100k on the same connection.
reads_slowly() {
	local target=$1
	shift
	rm -f "$WORK/go" "$WORK/reading"
	tls_client_in_background "$@" "get:$target" send final body:300000 "touch:$WORK/reading" "wait:$WORK/go" rest \
		get:/100k send response
	wait_until test -e "$WORK/reading"
	node=$(sed -nE 's/.* offload to node (n[12]), .*/\1/p' "$LAB/disc-spoa.log" | tail -n 1)
	log_mark=$(($(wc -l <"$LAB/disc-spoa.log") + 1))
	muted_mark=$(metric disc_spoa_steering_muted_total)
}

# since: what disc-spoa has logged since then; says REGEX: whether that matches.
since() {
	tail -n "+$log_mark" "$LAB/disc-spoa.log"
}

says() {
	since | grep -q "$1"
}

node_start_if_ended() {
	process_running n1 || node_start n1
	process_running n2 || node_start n2
	nodes_alive
}

# vip ACTION: add or del, on both nodes.
vip() {
	local node
	for node in n1 n2; do
		on "$node" ip address "$1" "$LAB_ADDRESS/32" dev lo
	done
}
