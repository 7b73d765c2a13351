# SPDX-License-Identifier: GPL-2.0-or-later
# Final data that an application refers to, and what is used more than once: connections, sessions, the leases of one connection.
# shellcheck shell=bash

load "$E2E_DIR/helper"
# shellcheck source-path=SCRIPTDIR
source "$E2E_DIR/middle_tier.bash"

setup_file() {
	middle_tier_start
}

teardown_file() {
	lab_stop
}

# --- leases ---

# leased_before VERSION PATH TAKEN LOST: of a reference whose request had a lease, too.
leased_before() {
	local leases unknown
	leases=$(count leases) unknown=$(count unknown)
	fetch "/leased$(refer /internal/100k)" $1
	equal status "$status" 200
	body_is 100k
	no_reference
	path_is "$2"
	equal "leases taken" $(($(count leases) - leases)) "$3"
	equal "leases lost" $(($(count unknown) - unknown)) "$4"
}

@test_each_mode "a lease taken before the application answered ends there" {
	if [ "$mode" = plain ]; then
		leased_before --tlsv1.3 proxy 0 0
		leased_before "--tlsv1.2 --tls-max 1.2" proxy 0 0
		return
	fi
	# It was offered to a node: nobody else may be offered the same, and on TLS 1.3 the connection gets no other one for a second.
	leased_before --tlsv1.3 proxy 1 1
	reason_is backoff
	# Here the body has one of its own.
	leased_before "--tlsv1.2 --tls-max 1.2" "$mode" 2 1
}

@test_each_mode "what an agent said about the application's request is forgotten" {
	fetch "/leased$(refer '/internal/100k?lease=none')"
	equal status "$status" 200
	body_is 100k
	path_is proxy
	equal action "$(logged action)" -
	reason_is not-asked
}

@test_each_mode "leases that end and bodies that are leased take turns on one connection" {
	local version i steps=()
	for ((i = 0; i < 8; i++)); do
		steps+=("get:/leased$(refer /internal/100k)" send response get:/leased/raw/plain send response
			"get:/leased$(refer '/internal/16385?lease=none')" send response get:/internal/16385 send response)
	done
	for version in "" --tls12; do
		tls_client $version "${steps[@]}"
		equal "exit status" "$client_status" 0
		client_said "^body 102400 $(sum_of 100k)$" 8
		client_said "^body 16385 $(sum_of 16385)$" 16
		client_said "^body 6 $(printf 'plain\n' | sha256sum | cut -d' ' -f1)$" 8
	done
}

# --- connections ---

@test_each_mode "followed, plain and offloaded responses take turns on one connection" {
	local version reference i steps=() wanted=10
	reference=$(refer /internal/100k)
	for ((i = 0; i < wanted; i++)); do
		steps+=("get:$reference" send response get:/internal/16385 send response get:/raw/plain send response
			head:/flask/file/10m send response get:/flask/file/1 send response)
	done
	for version in "" --tls12; do
		tls_client $version "${steps[@]}"
		equal "exit status" "$client_status" 0
		client_said "^body 102400 $(sum_of 100k)$" $wanted
		client_said "^body 16385 $(sum_of 16385)$" $wanted
		client_said "^body 6 $(printf 'plain\n' | sha256sum | cut -d' ' -f1)$" $wanted
		client_said "^body 1 $(sum_of 1)$" $wanted
		[ "$mode" = plain ] || wait_for_line "$LAB/haproxy.log" "^id=$id .* path=$mode " 2
	done
}

@test_each_mode "pipelined references are answered in order" {
	local version
	for version in "" --tls12; do
		tls_client $version "get:$(refer /internal/100k)" get:/flask/file/16385 get:/raw/plain "get:$(refer /internal/10m)" \
			send response response response response
		equal "exit status" "$client_status" 0
		equal lengths "$(sed -n 's/^body \([0-9]*\) .*/\1/p' "$WORK/client" | paste -sd' ')" "102400 16385 6 10485760"
		client_said "^body 10485760 $(sum_of 10m)$"
	done
}

@test_each_mode "many references at a time over HTTP/2" {
	local i
	CURL_MANY='--http2 --parallel --parallel-max 20' fetch_many $(for i in {1..20}; do echo "/flask/file/100k?$i"; done)
	equal "answers of status 200" "$(grep -c ' 200$' "$many/results")" 20
	for i in {1..20}; do
		cmp "$many/$i" "$SUITE/www/100k"
	done
}

@test_each_mode "the application's connection is used again, after a reference as after a body" {
	local i steps=()
	for i in {1..10}; do
		steps+=("get:$(refer "/internal/100k?reuse-$mode-$i")" send response "get:/raw/plain?reuse-$mode-$i" send response)
	done
	tls_client "${steps[@]}"
	equal "exit status" "$client_status" 0
	equal "requests of the application" "$(raw_asked "reuse-$mode-|$(quoted "reuse-$mode-")")" 20
	equal connections "$(grep -E "reuse-$mode-|$(quoted "reuse-$mode-")" "$LAB/raw.log" | cut -d' ' -f1 | sort -u | wc -l)" 1
}

@test_each_mode "while a body is being sent, the application serves somebody else" {
	rm -f "$WORK/go"
	tls_client_in_background "get:/single$(refer "/internal/10m?$mode")" send final "touch:$WORK/begun" "wait:$WORK/go" rest
	wait_until test -e "$WORK/begun"
	# The server takes one request at a time.
	mode=plain fetch /single/raw/plain
	equal status "$status" 200
	equal body "$(<"$body")" plain
	touch "$WORK/go"
	tls_client_wait
	client_said "^body 10485760 $(sum_of 10m)$"
}

@test_each_mode "following a reference is no retry, and nothing counts it as one" {
	fetch "$(refer /internal/100k)"
	equal retries "$(logged retries)" 0
	equal status "$(logged status)" 200
	at_least "logged bytes" "$(logged bytes)" 102400
	at_most "logged bytes" "$(logged bytes)" 104448
}

@test_each_mode "a client of HTTP/1.0, and one that closes" {
	fetch "$(refer /internal/100k)" --http1.0
	equal status "$status" 200
	body_is 100k
	fetch "$(refer /internal/100k)" -H 'Connection: close'
	equal status "$status" 200
	body_is 100k
	path_is_as_mode
}

# --- afterwards ---

@test_each_mode "no server or backend still counts a session" {
	wait_until nothing_left || { sessions_left; return 1; }
}

@test_each_mode "clients that close their side and read on" {
	local closing version
	for closing in "half-close" "notify half-close" "notify"; do
		for version in "" --tls12; do
			tls_client $version --rcvbuf 8192 cork "get:$(refer /internal/100k)" send $closing uncork response eof
			equal "exit status" "$client_status" 0
			client_said "^body 102400 $(sum_of 100k)$"
			client_said '^eof close_notify$'
			tls_client $version --rcvbuf 8192 "get:$(refer /internal/10m)" send final body:300000 $closing rest eof
			equal "exit status" "$client_status" 0
			client_said "^body 10485760 $(sum_of 10m)$"
			client_said '^eof close_notify$'
			path_is "${mode/plain/proxy}"
		done
	done
}
