# SPDX-License-Identifier: GPL-2.0-or-later
# The direct path's promise: every byte arrives, on the client's own connection, which shows no trace of having been elsewhere, and no
# byte of a body leaves the load balancer.
# flavours: asan recorder
# shellcheck shell=bash

load "$E2E_DIR/helper"

lab_network=1

setup_file() {
	# Counts are exact here: no handoff is to be late because a process had no CPU.
	lab_start direct_min=65536 direct="handoff-timeout = 10.0"
}

teardown_file() {
	lab_stop
}

setup() {
	mode=direct
	WORK=$BATS_TEST_TMPDIR
	egress_mark
}

# arrives FILE [CURL ARGUMENT]...
arrives() {
	local name=$1
	shift
	fetch "/$name" "$@"
	equal status "$status" 200
	body_is "$name"
	equal Content-Length "$(header Content-Length)" "$(stat -c %s "$SUITE/www/$name")"
	no_disc_header
	path_is direct
	reason_is -
	equal end "$(logged end)" ----
}

# all_answered FILE COUNT: the client has seen that file so often.
all_answered() {
	equal "answers with $1" "$(grep -c "^body $(stat -c %s "$SUITE/www/$1") $(sum_of "$1")$" "$WORK/client")" "$2"
}

@test "bodies of all sizes, both TLS versions" {
	local name
	capture_start
	for name in 1 16383 16384 16385 100k 2m 10m; do
		arrives "$name" --tlsv1.3
		arrives "$name" --tlsv1.2 --tls-max 1.2
	done
	no_body_left_lb
	capture_sound --connections 14 --bytes 25000000
}

@test "over IPv6 as well" {
	local name address=$LAB_ADDRESS6
	capture_start
	for name in 1 16385 100k 10m; do
		arrives "$name" --tlsv1.3
		arrives "$name" --tlsv1.2 --tls-max 1.2
		equal client "$(logged client | sed 's/:[0-9]*$//')" 2001:db8:2::2
	done
	no_body_left_lb
	capture_sound --connections 8 --bytes 20000000
}

@test "100 MB: the load balancer's interface carries acknowledgements only, the node's carries the body" {
	local lb_before n1_before n2_before lb_sent nodes_sent
	lb_before=$(sent_by lb) n1_before=$(sent_by n1) n2_before=$(sent_by n2)
	arrives 100m
	lb_sent=$(($(sent_by lb) - lb_before)) nodes_sent=$(($(sent_by n1) + $(sent_by n2) - n1_before - n2_before))
	echo "LB sent $lb_sent bytes, nodes $nodes_sent"
	at_most "lb_sent" "$lb_sent" 9999999
	at_least "nodes_sent" "$nodes_sent" 104857601
	no_body_left_lb
}

# sent_by HOST: bytes that left its interface.
sent_by() {
	on "$1" cat /sys/class/net/eth0/statistics/tx_bytes
}

@test "50 connections with 20 pipelined transfers each" {
	local i steps=() pids=() returned
	returned=$(metric disc_spoa_handoffs_returned_total)
	handoffs_mark
	for ((i = 0; i < 10; i++)); do
		steps+=("get:/100k?$i" "get:/16385?$i")
	done
	steps+=(send)
	for ((i = 0; i < 20; i++)); do
		steps+=(response)
	done
	capture_start
	for ((i = 0; i < 50; i++)); do
		(
			WORK=$BATS_TEST_TMPDIR/$i id_count=$((1000 + i))
			mkdir "$WORK"
			version=
			[ "$LAB_KEYS$((i % 2))" = connection0 ] || version=--tls12
			tls_client $version "${steps[@]}" >/dev/null
			echo "$client_status" >"$WORK/status"
		) 3>&- &
		pids+=($!)
	done
	wait "${pids[@]}"
	for ((i = 0; i < 50; i++)); do
		WORK=$BATS_TEST_TMPDIR/$i
		equal "exit status of client $i" "$(<"$WORK/status")" 0 || { cat "$WORK/client" "$WORK/client.errors"; return 1; }
		all_answered 100k 10
		all_answered 16385 10
	done
	wait_until nothing_parked
	equal "handoffs that were returned" $(($(metric disc_spoa_handoffs_returned_total) - returned)) 1000 || { handoffs_ended; return 1; }
	went_away 1000
	no_body_left_lb
	# The whole of every connection's 20 bodies.
	capture_sound --connections 50 --bytes $((50 * 10 * (102400 + 16385)))
	! grep '^id=.* path=direct .*end=-*[^- ]' "$LAB/haproxy.log"
}

@test "keep-alive: bodies of every kind take turns on one connection" {
	local version
	capture_start
	for version in "" --tls12; do
		tls_client $version get:/2m send response head:/2m send final get:/0 send response get:/100k send response \
			get:/missing send response get:/1 send response get:/10m send response
		equal "exit status" "$client_status" 0
		all_answered 2m 1
		all_answered 100k 1
		all_answered 1 1
		all_answered 10m 1
		client_said '^status 404 '
	done
	no_body_left_lb
	capture_sound --connections 2
}

@test "ranges" {
	local range first last
	for range in 0-0 0-16383 1-16384 16383-16385 50000-1500000 2097000-; do
		first=${range%-*} last=${range#*-}
		fetch /2m -r "$range"
		equal status "$status" 206
		cmp "$body" <(tail -c "+$((first + 1))" "$SUITE/www/2m" | head -c "$((${last:-2097151} - first + 1))")
		path_is direct
	done
	no_body_left_lb
}

@test "auto: bodies below the threshold pass the load balancer, larger ones do not" {
	mode=auto
	fetch /16385
	body_is 16385
	path_is splice
	fetch /100k
	body_is 100k
	path_is direct
}

@test "requests that the client sends while its connection is away are served afterwards" {
	local version before
	before=$(($(node_metric n1 disc_backend_direct_client_bytes_total) + $(node_metric n2 disc_backend_direct_client_bytes_total)))
	capture_start
	for version in "" --tls12; do
		tls_client --rcvbuf 65536 $version get:/10m send final body:100000 get:/100k send body:3000000 get:/16385 get:/2m send rest \
			response response response
		equal "exit status" "$client_status" 0
		all_answered 10m 1
		all_answered 100k 1
		all_answered 16385 1
		all_answered 2m 1
	done
	capture_sound --connections 2
	# It did reach the nodes.
	[ $(($(node_metric n1 disc_backend_direct_client_bytes_total) + $(node_metric n2 disc_backend_direct_client_bytes_total))) -gt \
		"$before" ]
}

@test "a request of 12 KB that arrives while the connection is away" {
	local filler
	filler=$(head -c 6000 /dev/zero | tr '\0' x)
	tls_client --rcvbuf 65536 get:/10m send final body:100000 "raw:GET /100k HTTP/1.1\r\nHost: $(site)\r\nX-A: $filler\r\nX-B: $filler\r\n\r\n" \
		send rest response
	equal "exit status" "$client_status" 0
	all_answered 10m 1
	all_answered 100k 1
}

@test "the client's KeyUpdates while the connection is away" {
	tls_client --rcvbuf 65536 get:/10m send final body:100000 update body:1000000 update-ask rest get:/100k send response get:/2m send \
		response
	equal "exit status" "$client_status" 0
	all_answered 10m 1
	all_answered 100k 1
	all_answered 2m 1
}

# A connection that is restored has no ECN any more; that must not make it another one.
@test "clients with ECN" {
	on client sysctl -qw net.ipv4.tcp_ecn=1
	capture_start
	tls_client get:/10m send response get:/100k send response get:/2m send response
	on client sysctl -qw net.ipv4.tcp_ecn=2
	equal "exit status" "$client_status" 0
	client_said "^body 10485760 $(sum_of 10m)$"
	client_said "^body 2097152 $(sum_of 2m)$"
	path_is direct "$id .*GET /10m"
	no_body_left_lb
	equal "open channels" "$(metric 'disc_spoa_node_up{node="n1"}')$(metric 'disc_spoa_node_up{node="n2"}')" 11
	capture_sound
}

@test "a client that half-closes while its connection is away gets the body" {
	capture_start
	tls_client --rcvbuf 65536 get:/10m send final body:100000 half-close rest
	equal "exit status" "$client_status" 0
	all_answered 10m 1
	wait_until nothing_parked
	capture_sound
}

# Memory that a process has, in KB.
resident() {
	awk '$1 == "VmRSS:" { print $2 }' "/proc/$(process_pid "$1")/status"
}

map_entries() {
	metric disc_spoa_steering_flows
}

# cycles CONNECTIONS TRANSFERS: so many handoffs, every other connection over IPv6, TLS 1.2 for the reason above.
cycles() {
	local i steps=() pids=()
	for ((i = 0; i < $2; i++)); do
		steps+=(get:/16385 send response)
	done
	for ((i = 0; i < $1; i++)); do
		(
			WORK=$BATS_TEST_TMPDIR/$i id_count=$((2000 + i))
			mkdir -p "$WORK"
			((i % 2)) || address=$LAB_ADDRESS6
			version=
			[ "$LAB_KEYS$((i % 2))" = connection0 ] || version=--tls12
			tls_client $version "${steps[@]}" >/dev/null
			echo "$client_status" >"$WORK/status"
		) 3>&- &
		pids+=($!)
	done
	wait "${pids[@]}"
	for ((i = 0; i < $1; i++)); do
		WORK=$BATS_TEST_TMPDIR/$i
		equal "exit status of client $i" "$(<"$WORK/status")" 0 || { tail -n 3 "$WORK/client" "$WORK/client.errors"; return 1; }
		all_answered 16385 "$2"
	done
}

# long: 10,000 handoffs of one site, looking for what is left behind (2,000)
@test "thousands of handoffs leave no descriptor, no map entry, no memory behind" {
	local name returned i rounds
	rounds=$(long 1 5)
	local -A files memory
	# What the first ones allocate stays.
	cycles 20 100
	wait_until nothing_parked
	for name in haproxy disc-spoa n1 n2; do
		files[$name]=$(descriptors $name) memory[$name]=$(resident $name)
	done
	returned=$(metric disc_spoa_handoffs_returned_total)
	handoffs_mark
	for ((i = 0; i < rounds; i++)); do
		cycles 20 100
	done
	wait_until nothing_parked
	equal "handoffs that were returned" $(($(metric disc_spoa_handoffs_returned_total) - returned)) $((rounds * 2000)) || { handoffs_ended; return 1; }
	went_away $((rounds * 2000))
	for name in haproxy disc-spoa n1 n2; do
		echo "$name: ${files[$name]} -> $(descriptors $name) descriptors, ${memory[$name]} -> $(resident $name) KB"
		wait_until has_descriptors $name ${files[$name]}
		# A leak of 100 bytes a handoff would be 1000 KB.
		[[ $DISC_BIN_SPOA == */asan/* ]] || [ "$(resident $name)" -le $((${memory[$name]} + 1000)) ]
	done
	equal "steered flows" "$(map_entries)" 0
	# HAProxy's threads keep those that were in use at a time.
	at_most "handoffs in use in HAProxy" "$(haproxy_cli 'show pools' | sed -nE 's/.*Pool disc_parked .* ([0-9]+) used.*/\1/p')" 100
}
