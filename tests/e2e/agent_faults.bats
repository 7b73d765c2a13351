# SPDX-License-Identifier: GPL-2.0-or-later
# disc-spoa gone, slow, restarted, saying no; the control channel refused. HAProxy then serves everything itself.
# keys response: splice
# shellcheck shell=bash

load "$E2E_DIR/helper"

setup_file() {
	lab_start agent_timeout=300ms
}

teardown_file() {
	lab_stop
}

# served_by_haproxy: 20 requests on each TLS version, intact and proxied.
served_by_haproxy() {
	local version targets=() i
	for ((i = 0; i < 20; i++)); do
		targets+=("/100k?n=$i")
	done
	for version in --tlsv1.3 "--tlsv1.2 --tls-max 1.2"; do
		CURL_MANY=$version
		fetch_many "${targets[@]}"
		many_are "${targets[@]}"
		logged_times 20 path=proxy
	done
}

# offloaded_again: after the fault is over.
offloaded_again() {
	nodes_alive
	wait_until offloads
}

offloads() {
	fetch /100k && [ "$(logged path)" = "$mode" ] && body_is 100k
}

@test_each_path "the agent killed: HAProxy serves everything itself; restarted: offloads again" {
	process_stop disc-spoa KILL
	served_by_haproxy
	spoa_start
	offloaded_again
}

@test_each_path "the agent stopped with TERM and restarted" {
	process_stop disc-spoa
	equal "exit status of disc-spoa" "$ended_with" 0
	served_by_haproxy
	spoa_start
	offloaded_again
}

@test_each_path "the agent hangs: requests wait no longer than the processing timeout" {
	process_freeze disc-spoa
	fetch /100k
	equal status "$status" 200
	body_is 100k
	# It goes on stopped: HAProxy itself has ended the wait.
	path_is proxy
	reason_is no-ticket
	served_by_haproxy
	process_signal disc-spoa CONT
	offloaded_again
}

@test_each_path "an agent that hung answers too late: nothing is offloaded by a ticket of before" {
	local i
	process_freeze disc-spoa
	tls_client get:/100k?late send response get:/16385 send response
	equal "exit status" "$client_status" 0
	client_said "^body 102400 $(sum_of 100k)$"
	client_said "^body 16385 $(sum_of 16385)$"
	process_signal disc-spoa CONT
	path_is proxy "$id .*late"
	offloaded_again
}

@test "the agent's policy passes: served ordinarily, its reason is in the log, on one connection as often as you like" {
	local targets=() i version
	mode=pass
	for ((i = 0; i < 30; i++)); do
		targets+=("/100k?n=$i")
	done
	for version in --tlsv1.3 "--tlsv1.2 --tls-max 1.2"; do
		CURL_MANY=$version
		fetch_many "${targets[@]}"
		many_are "${targets[@]}"
		equal connections "$connects" 1
		logged_times 30 path=proxy
		# Nothing was offered, so each time the lease comes back.
		logged_times 30 "reason=policy .*agent=policy "
	done
}

offloaded_by() {
	fetch /100k && body_is 100k && path_is "$mode" && equal server "$(logged server)" "$1"
}

@test_each_path "a node that hangs is given up after 750 ms of silence, and its share goes to the other" {
	local node other
	fetch /100k
	node=$(logged server)
	other=$([ "$node" = n1 ] && echo n2 || echo n1)
	process_freeze "$node"
	wait_until agent_says "$node" down
	wait_for_line "$LAB/disc-spoa.log" "node $node .* is down: nothing was heard from it for 750 ms"
	wait_until offloaded_by "$other"
	process_signal "$node" CONT
	offloaded_again
}

@test_each_path "a node that hangs between offer and fetch: an ordinary answer, or an error in bounded time, never a wrong byte" {
	local node
	fetch /100k
	node=$(logged server)
	process_freeze "$node"
	new_id
	local result=0
	curl_site -o "$WORK/late" --max-time 30 -w '%{http_code}' -H "X-Id: $id" "$(url /100k)" >"$WORK/code" || result=$?
	process_signal "$node" CONT
	case $(cat "$WORK/code") in
	200) cmp "$WORK/late" "$SUITE/www/100k" ;;
	502 | 503 | 504) ;;
	*) echo "curl ended with $result, status $(cat "$WORK/code")"; return 1 ;;
	esac
	offloaded_again
}
