# SPDX-License-Identifier: GPL-2.0-or-later
# Clients that close their side and read on: by a FIN, a close_notify, or both, with their request or at any moment of its response.
# They get what HAProxy with OpenSSL gives them: the whole response, then a close_notify.
# keys response: splice direct
# shellcheck shell=bash

load "$E2E_DIR/helper"

setup_file() {
	lab_start
}

teardown_file() {
	lab_stop
}

CLOSINGS=("half-close" "notify half-close" "notify")

# serves FILE STEP...: with each version of TLS the client does this and gets that file last, then a close_notify.
serves() {
	local file=$1 version
	shift
	for version in "" --tls12; do
		tls_client $version --rcvbuf 8192 "$@" eof
		equal "exit status" "$client_status" 0
		client_said "^body $(stat -c %s "$SUITE/www/$file") $(sum_of "$file")$"
		client_said '^eof close_notify$'
		[[ $(log_line) == *" end=---- "* ]] || not_seen "end=----" "$(log_line)"
		# "direct" also if the agent sends the body, to a client that had closed before the handoff
		path_is "${mode/plain/proxy}"
	done
}

@test_each_mode "with the request" {
	local closing
	for closing in "${CLOSINGS[@]}"; do
		serves 100k cork get:/100k send $closing uncork response
	done
}

@test_each_mode "with the second request of a connection" {
	local closing
	for closing in "${CLOSINGS[@]}"; do
		serves 100k get:/16385 send response cork get:/100k send $closing uncork response
	done
}

@test_each_mode "in the middle of a body" {
	local closing
	for closing in "${CLOSINGS[@]}"; do
		serves 10m get:/10m send final body:300000 $closing rest
	done
}

@test_each_mode "between two responses" {
	local closing
	for closing in "${CLOSINGS[@]}"; do
		serves 100k get:/100k send response $closing
	done
}

# HAProxy processes no request that is left once it knows that the client has closed.
@test_each_mode "with several requests" {
	local closing version
	for closing in "${CLOSINGS[@]}"; do
		for version in "" --tls12; do
			tls_client $version --rcvbuf 8192 cork get:/100k get:/10m get:/100k send $closing uncork response response response
			equal "exit status" "$client_status" 4
			client_said "^body 102400 $(sum_of 100k)$" 1
			client_said '^no-response 0 close_notify$'
		done
	done
}

# answered STATUS STEP: each closing behind that step, with each version of TLS, gets HAProxy's own answer, then a close_notify.
answered() {
	local closing version
	for closing in "${CLOSINGS[@]}"; do
		for version in "" --tls12; do
			tls_client $version cork "$2" send $closing uncork response eof
			equal "exit status" "$client_status" 0
			client_said "^status $1 "
			client_said '^eof close_notify$'
		done
	done
}

@test_each_mode "with a request that HAProxy answers" {
	answered 418 "get:/100k?answer=haproxy"
}

@test_each_mode "in the middle of a request" {
	answered 400 'raw:GET /100k HTTP/1.1\r\nHost: '
}

# What cannot be decrypted ends the connection: the one kind of closing under which no response can follow.
@test_each_mode "a record that cannot be decrypted with the request" {
	local version
	for version in "" --tls12; do
		tls_client $version cork get:/100k send garbage uncork response
		equal "exit status" "$client_status" 4
		client_said '^no-response 0 '
		path_is proxy
		[ "$mode" = plain ] || reason_is closed
	done
}
