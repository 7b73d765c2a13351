# SPDX-License-Identifier: GPL-2.0-or-later
# Two load balancers with the shipped haproxy.cfg that act as one: a session of TLS that one began goes on at the other, and what one knows
# of short bodies the other knows too.
# flavours: recorder
# shellcheck shell=bash

load "$E2E_DIR/helper"

setup_file() {
	export DISC_SHORT=16385
	lab_prepare config="$ROOT/haproxy.cfg" splice_min=65536
	for _ in 1 2 3; do openssl rand -base64 48; done >"$LAB/ticket-keys"
	export DISC_TICKET_KEYS=$LAB/ticket-keys
	export OTHER_PORT=$COMPRESSION_PORT OTHER_ADMIN=$RAW_PORT PEERS=$LAB_ADDRESS:$MIDDLE_PORT OTHER_PEERS=$LAB_ADDRESS:$STUDY_PORT
	node_start n1
	node_start n2
	spoa_start
	(
		export HAPROXY_LOCALPEER=first DISC_PEERS_LISTEN=$PEERS DISC_PEER=other DISC_PEER_ADDRESS=$OTHER_PEERS
		haproxy_start -L first
	)
	other_start
	nodes_alive
}

teardown_file() {
	lab_stop
}

setup() {
	mode=splice
	WORK=$BATS_TEST_TMPDIR
}

other_start() {
	local arguments
	mapfile -t arguments < <(haproxy_arguments)
	(
		export DISC_BIND=$LAB_ADDRESS:$OTHER_PORT DISC_ADMIN=$LAB_ADDRESS:$OTHER_ADMIN DISC_STATS_SOCKET=$LAB/other.sock
		export DISC_PEERS_LISTEN=$OTHER_PEERS DISC_PEER=first DISC_PEER_ADDRESS=$PEERS
		process_start other "$DISC_BIN_HAPROXY" -db "${arguments[@]}" -L other
	)
	process_ready other port_open "$OTHER_PORT"
}

# other_knows TABLE: it has an entry there.
other_knows() {
	timeout 10 socat -t 10 - "UNIX-CONNECT:$LAB/other.sock" <<<"show table $1" | grep -q 'gpt\|exp='
}

@test "a session of TLS that one began is resumed by the other, and its body spliced" {
	local version
	for version in "" --tls12; do
		tls_client $version --session "$WORK/session$version" get:/100k?full send response
		client_said '^resumed 0$'
		tls_client --port "$OTHER_PORT" $version --session "$WORK/session$version" "get:/100k?resumed$version" send response
		equal "exit status" "$client_status" 0
		client_said '^resumed 1$'
		client_said "^body 102400 $(sum_of 100k)$"
		wait_for_line "$LAB/other.log" "\"GET /100k\\?resumed$version HTTP.* path=splice .* reason=-"
	done
}

@test "a body that one knows to be short is not asked about by the other" {
	# What is remembered is of the host, the port with it: one name for both.
	fetch '/16384?short' -H 'Host: several.example'
	wait_for_line "$LAB/haproxy.log" '"GET /16384\?short HTTP.* reason=declined'
	wait_until other_knows short_bodies
	port=$OTHER_PORT fetch '/16384?short' -H 'Host: several.example'
	body_is 16384
	wait_for_line "$LAB/other.log" '"GET /16384\?short HTTP.* reason=not-asked'
}
