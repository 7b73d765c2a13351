# SPDX-License-Identifier: GPL-2.0-or-later
# The direct path on hosts that track connections, with the rules that firewalld, ufw and Kubernetes install: they drop what the
# tracking calls invalid, and what belongs to no connection that it knows.
# shellcheck shell=bash

load "$E2E_DIR/helper"

lab_network=1

setup_file() {
	lab_prepare direct="max-failures = 3"
	firewall lb
	firewall n1
	firewall n2
	node_start n1
	node_start n2
	spoa_start
	haproxy_start
	nodes_alive
}

teardown_file() {
	lab_stop
}

setup() {
	mode=direct
	WORK=$BATS_TEST_TMPDIR
	egress_mark
}

# firewall HOST: only what belongs to a known connection, or begins one to the ports that this host serves, comes in.
firewall() {
	on "$1" nft -f - <<-RULES
		table inet firewall {
			chain input {
				type filter hook input priority filter; policy drop
				iifname lo accept
				ct state invalid drop
				ct state established,related accept
				meta l4proto { icmp, ipv6-icmp } accept
				tcp dport { $SITE_PORT, $SPOA_ADMIN, $N1_FETCH, $N1_CONTROL, $N2_FETCH, $N2_CONTROL, $NODE_ADMIN } tcp flags & (fin | syn | rst | ack) == syn ct state new accept
			}
		}
	RULES
}

set_tracking() { # HOST NAME VALUE
	on "$1" sysctl -qw "net.netfilter.nf_conntrack_$2=$3"
}

# tracked HOST: entries of connections with the client that are neither closed nor about to be.
tracked() {
	on "$1" grep -E 'src=(198\.51\.100\.2|2001:0?db8:0?0?0?2:)' /proc/net/nf_conntrack | grep -cE 'ESTABLISHED' || :
}

# three_responses: on one connection.
three_responses() {
	tls_client "$@" get:/2m send response get:/10m send response get:/100k send response
	equal "exit status" "$client_status" 0
	client_said "^body 2097152 $(sum_of 2m)$"
	client_said "^body 10485760 $(sum_of 10m)$"
	client_said "^body 102400 $(sum_of 100k)$"
}

# about half of the connections hang without an exemption
@test "a second and a third response on connections that were handed off" {
	local i version address
	for i in 1 2 3 4; do
		for version in "" --tls12; do
			for address in "$LAB_ADDRESS" "$LAB_ADDRESS6"; do
				three_responses $version
				logged_times 3 "path=direct "
			done
		done
	done
	no_body_left_lb
	at_least "connections that were exempted" "$(metric disc_spoa_tracking_exempted_total)" 48
}

@test "nodes forget connections that they gave back" {
	three_responses
	wait_until nothing_parked
	equal "connections with clients on the nodes" "$(tracked n1) $(tracked n2)" "0 0"
}

@test "nodes that track no connection from its middle on" {
	local address
	set_tracking n1 tcp_loose 0
	set_tracking n2 tcp_loose 0
	for address in "$LAB_ADDRESS" "$LAB_ADDRESS6"; do
		three_responses
		logged_times 3 "path=direct "
	done
	set_tracking n1 tcp_loose 1
	set_tracking n2 tcp_loose 1
	no_body_left_lb
}

@test "no connection is handed off whose port is translated on its way to HAProxy" {
	local refused
	refused=$(metric disc_spoa_handoffs_refused_total)
	on lb nft -f - <<-RULES
		table inet translation {
			chain prerouting {
				type nat hook prerouting priority dstnat
				ip daddr $LAB_ADDRESS tcp dport 4443 dnat ip to $LAB_ADDRESS:$SITE_PORT
			}
		}
	RULES
	tls_client --port 4443 get:/2m send response get:/100k send response
	on lb nft delete table inet translation
	equal "exit status" "$client_status" 0
	client_said "^body 2097152 $(sum_of 2m)$"
	client_said "^body 102400 $(sum_of 100k)$"
	logged_times 2 "path=splice "
	equal "handoffs that were refused" $(($(metric disc_spoa_handoffs_refused_total) - refused)) 2
	wait_for_line "$LAB/disc-spoa.log" 'takes the splice path: this host translates its destination'
}

# restart_agent COMMAND...
restart_agent() {
	process_stop disc-spoa
	echo $(($(wc -l <"$LAB/disc-spoa.log") + 1)) >"$LAB/spoa-log-start"
	process_start disc-spoa "$@" "$DISC_BIN_SPOA" -c "$LAB/disc-spoa.conf"
	process_ready disc-spoa port_open "$SPOP_PORT"
	nodes_alive
}

judges() {
	[ "$(metric disc_spoa_tracking_judges)" = "$1" ]
}

@test "where connections cannot be exempted, bodies take the splice path until tracking judges no more" {
	restart_agent "$LAB_TOOLS/without_netfilter"
	wait_for_line "$LAB/disc-spoa.log" '^<4>the direct path is off .*Protocol not supported.*sysctl -w net.netfilter.nf_conntrack_tcp_be_liberal=1'
	wait_until judges 1
	three_responses
	logged_times 3 "path=splice "
	run on lb "$LAB_TOOLS/without_netfilter" "$DISC_BIN_SPOA" -t -c "$LAB/disc-spoa.conf"
	equal "exit status of -t" "$status" 0
	[[ $output == *"note: direct: connection tracking on this host may drop"*nf_conntrack_tcp_be_liberal=1*"is valid"* ]] ||
		not_seen "a note" "$output"

	set_tracking lb tcp_be_liberal 1
	wait_until judges 0
	three_responses
	logged_times 3 "path=direct "
	set_tracking lb tcp_be_liberal 0
	wait_until judges 1
	restart_agent
	run on lb "$DISC_BIN_SPOA" -t -c "$LAB/disc-spoa.conf"
	equal "what -t says" "${output%$'\n'*}" "disc-spoa: $LAB/disc-spoa.conf is valid"
}

@test "connection tracking that the operator answers for is left alone" {
	local exempted
	sed -i 's/max-failures = 3/& connection-tracking = "ignore"/' "$LAB/disc-spoa.conf"
	set_tracking lb tcp_be_liberal 1
	restart_agent "$LAB_TOOLS/without_netfilter"
	three_responses
	logged_times 3 "path=direct "
	equal "connections that were exempted" "$(metric disc_spoa_tracking_exempted_total)" 0
	set_tracking lb tcp_be_liberal 0
	judges 0
}

@test "disc-backend --check-vip names what a node's tracking lacks" {
	run on n1 "$DISC_BIN_BACKEND" --check-vip -c "$LAB/n1.conf"
	[[ $output != *tracking* ]] || not_seen "nothing about tracking" "$output"
	run on n1 "$LAB_TOOLS/without_netfilter" "$DISC_BIN_BACKEND" --check-vip -c "$LAB/n1.conf"
	[[ $output == *"note: connection tracking is active and cannot be told of connections (Protocol not supported): "* ]] ||
		not_seen "a note" "$output"
	set_tracking n1 tcp_loose 0
	run on n1 "$LAB_TOOLS/without_netfilter" "$DISC_BIN_BACKEND" --check-vip -c "$LAB/n1.conf"
	set_tracking n1 tcp_loose 1
	equal "exit status" "$status" 1
	grep -q '^connection tracking is active .*nf_conntrack_tcp_loose=1' <<<"$output" || not_seen "a fault" "$output"
}
