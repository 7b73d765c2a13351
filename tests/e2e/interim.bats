# SPDX-License-Identifier: GPL-2.0-or-later
# Interim responses and HAProxy's own answers on a leased connection. Guards against a 103 after the lease that
# shifts the sequence number, output that is unsent when the lease is taken, and a 502 or 504 that reuses a nonce.
# keys response: splice
# shellcheck shell=bash

load "$E2E_DIR/helper"

setup_file() {
	lab_start fake=1 server_timeout=3s
}

teardown_file() {
	lab_stop
}

# with_interim STATUS TARGET [VERSION]: one interim response, then the body; and again on the same connection.
with_interim() {
	local interim=$1 target=$2 version
	for version in "" --tls12; do
		tls_client $version "get:$target" send response "get:$target" send response get:/16385 send response
		equal "exit status" "$client_status" 0
		client_said "^status $interim " 2
		equal "whole bodies" "$(grep -c "^body 102400 $(sum_of 100k)$" "$WORK/client")" 2
		client_said "^body 16385 $(sum_of 16385)$"
		client_did_not_say LEAKED
	done
}

# Spliced, or not because the 103 was still to be sent under the same keys (HAProxy's reason "pending").
spliced_or_pending() {
	local path
	path=$(logged path "$id .*$1")
	[ "$mode" = plain ] || [ "$path" = "$mode" ] || reason_is 'pending|lost' "$id .*$1"
	[ "$mode" != plain ] || equal path "$path" proxy
}

@test_each_mode "103 by HAProxy before the lease" {
	with_interim 103 '/100k?hint=before'
	spliced_or_pending 'hint=before'
}

@test_each_mode "103 by HAProxy after the lease" {
	with_interim 103 '/100k?hint=after'
	spliced_or_pending 'hint=after'
}

@test_each_mode "103 by HAProxy behind a pipelined body still unsent" {
	local version
	for version in "" --tls12; do
		tls_client $version --rcvbuf 8192 get:/10m 'get:/100k?hint=before' 'get:/100k?hint=after' send response \
			response response
		equal "exit status" "$client_status" 0
		client_said "^body 10485760 $(sum_of 10m)$"
		client_said "^body 102400 $(sum_of 100k)$" 2
		client_said '^status 103 ' 2
	done
}

@test_each_mode "103 by the node" {
	local version
	for version in "" --tls12; do
		tls_client $version 'get:/100k?fake=early-hints-always' send response get:/16385 send response
		equal "exit status" "$client_status" 0
		client_said '^status 103 '
		client_said "^body 102400 $(sum_of 100k)$"
		client_said "^body 16385 $(sum_of 16385)$"
	done
}

@test_each_mode "Expect: 100-continue is answered and the request served" {
	fetch /100k -X POST -H 'Expect: 100-continue' --data-binary "@$SUITE/www/16385"
	equal status "$status" 405
	path_is proxy
	fetch /100k -X GET -H 'Expect: 100-continue' --data-binary "@$SUITE/www/16385"
	path_is proxy
	[ "$mode" = plain ] || reason_is body
	site_serves
}

@test_each_mode "HAProxy's own answer on a leased connection, then a body" {
	local version
	for version in "" --tls12; do
		# The agent had offered each of these leases: on TLS 1.3 the connection gets none for a second, then for two.
		tls_client $version 'get:/100k?answer=haproxy' send response pause:1300 get:/100k?n=1 send response \
			'get:/100k?answer=haproxy' send response 'get:/100k?answer=haproxy' send response get:/100k?n=2 send response
		equal "exit status" "$client_status" 0
		client_said '^status 418 ' 3
		equal "whole bodies" "$(grep -c "^body 102400 $(sum_of 100k)$" "$WORK/client")" 2
		path_is proxy "$id .*answer=haproxy"
		path_is_as_mode "$id .*n=1"
	done
}

@test_each_mode "504 by HAProxy on a leased connection, then a body" {
	local version
	for version in "" --tls12; do
		tls_client $version 'get:/100k?fake=never-answers' send response get:/100k send response
		equal "exit status" "$client_status" 0
		client_said '^status 50[24] '
		client_said "^body 102400 $(sum_of 100k)$"
	done
}
