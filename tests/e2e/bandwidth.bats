# SPDX-License-Identifier: GPL-2.0-or-later
# HAProxy's "filter bwlim-out": bodies are offloaded all the same, and the records pass at the pace of the limit. On the direct path
# nobody could keep it, so they take the splice path, and so do bodies whose packets HAProxy's rules mark. The least time that a body may take is asserted, never the most.
# shellcheck shell=bash

load "$E2E_DIR/helper"

setup_file() {
	lab_start config=lab.cfg+bandwidth.cfg node_direct='handoff-wait = 0.5'
}

teardown_file() {
	lab_stop
}

# paced PORT PATH LEAST [CURL ARGUMENT]...: the body of 2 MB arrives, in LEAST ms or more, by the splice path.
paced() {
	local port=$1 path=$2 least=$3 began
	shift 3
	began=$(date +%s%3N)
	fetch "$path" "$@"
	at_least "milliseconds for $path" $(($(date +%s%3N) - began)) "$least"
	equal status "$status" 200
	body_is 2m
	no_disc_header
	passes_through
}

# passes_through: how a paced body travels in this mode.
passes_through() {
	if [ "$mode" = plain ]; then path_is proxy "$@"; else path_is splice "$@"; fi
}

@test_each_mode "a limit for each response, set by a rule for requests" {
	paced "$PACED_PORT" /2m 900 --tlsv1.3
	paced "$PACED_PORT" /2m 900 --tlsv1.2 --tls-max 1.2
}

@test_each_mode "a limit that a rule for responses sets, when records are announced already" {
	paced "$PACED_PORT" '/2m?late' 900
}

@test_each_mode "a filter that nobody uses slows nothing down" {
	paced "$PACED_PORT" '/2m?free' 0
}

@test_each_mode "a limit that only the backend has" {
	paced "$PACED_BEHIND_PORT" /2m 900
}

@test_each_mode "a limit for several responses of one client together" {
	local port=$PACED_TOGETHER_PORT began
	began=$(date +%s%3N)
	CURL_MANY="--parallel --parallel-max 4"
	fetch_many /2m /2m /2m
	at_least "milliseconds for 6 MB" $(($(date +%s%3N) - began)) 1500
	many_are /2m /2m /2m
	logged_times 3 "path=$([ "$mode" = plain ] && echo proxy || echo splice)"
}

@test_each_mode "a DSCP that a rule for requests or responses sets" {
	local port=$MARKED_PORT path
	for path in /100k '/100k?late'; do
		fetch "$path"
		equal status "$status" 200
		body_is 100k
		passes_through
	done
}

@test_each_mode "one connection goes on after paced bodies" {
	tls_client --port "$PACED_PORT" get:/2m send response get:/100k send response 'get:/100k?late' send response \
		'get:/100k?free' send response close
	equal "exit status" "$client_status" 0
	client_said "^body 2097152 $(sum_of 2m)$"
	client_said "^body 102400 $(sum_of 100k)$" 3
}

@test_each_mode "a range, and a client that goes away in the middle" {
	local port=$PACED_PORT
	fetch /2m -r 100000-999999
	equal status "$status" 206
	cmp "$body" <(tail -c +100001 "$SUITE/www/2m" | head -c 900000)
	passes_through
	fetch /10m --max-time 1 || :
	port=$SITE_PORT
	site_serves
}
