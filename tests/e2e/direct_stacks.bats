# SPDX-License-Identifier: GPL-2.0-or-later
# Clients whose TCP lacks what nearly all have: time stamps, selective acknowledgements, window scaling; and clients whose window is shut
# when their connection goes to a node. Bodies go away and come back as for all others, and a takeover completes them.
# shellcheck shell=bash

load "$E2E_DIR/helper"
# shellcheck source-path=SCRIPTDIR
source "$E2E_DIR/handed_off.bash"

setup_file() {
	lab_network=1
	lab_start
}

# without OPTION...: the client's connections from now on.
without() {
	local option
	for option in timestamps sack window_scaling; do
		on client sysctl -qw "net.ipv4.tcp_$option=1"
	done
	for option; do
		on client sysctl -qw "net.ipv4.tcp_$option=0"
	done
}

teardown() {
	without
	touch "$WORK/go"
}

# released: how often an agent has taken a connection back by itself.
released() {
	cat "$LAB"/n[12].log | grep -cE "^<7>direct: .* ended after .* bytes of records: released" || :
}

# goes_away_and_returns: each of four bodies does, by the acknowledgement of its last byte.
goes_away_and_returns() {
	local before
	before=$(released)
	capture_start
	tls_client "$@" get:/16385 send response get:/2m send response get:/1 send response get:/100k send response
	equal "exit status" "$client_status" 0
	client_said "^body 2097152 $(sum_of 2m)$"
	client_said "^body 102400 $(sum_of 100k)$"
	equal "bodies that went directly" "$(grep -c "^id=$id .* path=direct .* end=---- " "$LAB/haproxy.log")" 4
	wait_until nothing_parked
	equal "connections that came back by acknowledgement" $(($(released) - before)) 4
	capture_sound --connections 1
}

# is_taken_over: in the middle of a body, by the agent, which lets another node go on.
is_taken_over() {
	local before
	before=$(metric 'disc_spoa_completed_total{cause="takeover"}')
	reads_slowly /10m "$@"
	process_stop "$node" KILL
	wait_until completed $((before + 1))
	touch "$WORK/go"
	tls_client_wait
	equal "exit status" "$client_status" 0
	client_said "^body 10485760 $(sum_of 10m)$"
	client_said "^body 102400 $(sum_of 100k)$"
	node_start_if_ended
}

completed() {
	equal "takeovers" "$(metric 'disc_spoa_completed_total{cause="takeover"}')" "$1"
}

@test "without time stamps" {
	without timestamps
	goes_away_and_returns
	goes_away_and_returns --tls12
	is_taken_over
}

@test "without selective acknowledgements" {
	without sack
	goes_away_and_returns
	is_taken_over --tls12
}

@test "without window scaling" {
	without window_scaling
	goes_away_and_returns --tls12
	is_taken_over
}

@test "without any of them, over IPv6 too" {
	local address
	without timestamps sack window_scaling
	for address in "$LAB_ADDRESS" "$LAB_ADDRESS6"; do
		goes_away_and_returns
	done
	is_taken_over --tls12
}

# window_is_shut: at a node, which has taken the connection and may not send.
window_is_shut() {
	local name
	for name in n1 n2; do
		if on "$name" ss -Htno state established "( sport = $SITE_PORT )" | grep -q 'timer:(persist'; then
			node=$name
			return
		fi
	done
	return 1
}

# meets_a_shut_window [--tls12]: a body that HAProxy sends fills the client's window, the next one goes to $node meanwhile.
meets_a_shut_window() {
	rm -f "$WORK/go" "$WORK/reading"
	# A body as small as the first is spliced.
	mode=auto
	tls_client_in_background "$@" get:/16385 get:/2m send final body:1 "touch:$WORK/reading" "wait:$WORK/go" rest response \
		get:/2m send response
	wait_until test -e "$WORK/reading"
	wait_until window_is_shut
}

gets_all() {
	touch "$WORK/go"
	tls_client_wait
	equal "exit status" "$client_status" 0
	client_said "^body 16385 $(sum_of 16385)$"
	equal "bodies of 2 MB" "$(grep -c "^body 2097152 $(sum_of 2m)$" "$WORK/client")" 2
	equal "bodies that went directly" "$(grep -c "^id=$id .* path=direct .* end=---- " "$LAB/haproxy.log")" 2
}

@test "a window that is shut at the handoff" {
	local lacks
	for lacks in "" "timestamps sack window_scaling"; do
		without $lacks
		meets_a_shut_window
		gets_all
		meets_a_shut_window --tls12
		gets_all
	done
}

@test "a window that is shut at the handoff and at the takeover" {
	local lacks before
	for lacks in "" "timestamps sack window_scaling"; do
		without $lacks
		before=$(metric 'disc_spoa_completed_total{cause="takeover"}')
		meets_a_shut_window
		process_stop "$node" KILL
		wait_until completed $((before + 1))
		gets_all
		node_start_if_ended
		wait_until nothing_parked
	done
}
