# SPDX-License-Identifier: GPL-2.0-or-later
# Certificates of clients and servers whose chains take more than 6 KB in a handshake (make_chain): wolfSSL with small limits
# refused them ("Handshake message too large"). And what an idle connection takes of HAProxy's memory without such limits.
# shellcheck shell=bash

load "$E2E_DIR/helper"

setup_file() {
	lab_start config=lab.cfg+certificates.cfg threads=1
	tls_origin_start
}

teardown_file() {
	lab_stop
}

# tls_origin_start [OPTION]...: OpenSSL's server as an origin, with the long chain; it serves the files in $SUITE/www.
tls_origin_start() {
	process_start tls-origin bash -c 'cd "$1" && shift && exec "$@"' - "$SUITE/www" \
		openssl s_server -accept "$LAB_ADDRESS:$TLS_ORIGIN_PORT" -cert "$SUITE/tls/long.lab.test.crt" \
		-cert_chain "$SUITE/tls/long.lab.test-cas.pem" -key "$SUITE/tls/long.lab.test.key" -WWW "$@"
	process_ready tls-origin port_open "$TLS_ORIGIN_PORT"
}

tls_origin_restart() {
	process_stop tls-origin
	tls_origin_start "$@"
}

# with_certificate NAME PATH [CURL ARGUMENT]...: fetch with that client certificate.
with_certificate() {
	local name=$1 path=$2 port=$MUTUAL_PORT
	shift 2
	fetch "$path" --cert "$SUITE/tls/$name.pem" --key "$SUITE/tls/${name%-chain}.key" "$@"
}

# long_chain_sum: SHA-256 of what ssl_c_chain_der is for that client: its CAs; wolfSSL adds the one that HAProxy trusts.
long_chain_sum() {
	local ca
	for ca in long.lab.test-ca-3 long.lab.test-ca-2 long.lab.test-ca-1 lab-ca; do
		openssl x509 -in "$SUITE/tls/$ca.crt" -outform der
	done | sha256sum | cut -d' ' -f1
}

@test_each_mode "a client certificate whose chain is longer than 6 KB, TLS 1.2 and 1.3" {
	local version
	for version in --tlsv1.3 "--tlsv1.2 --tls-max 1.2"; do
		# shellcheck disable=SC2086 # words
		with_certificate long.lab.test-chain /100k $version
		equal status "$status" 200
		body_is 100k
		path_is_as_mode
		equal "name of the client" "$(header X-Client-Name)" long.lab.test
		equal "SHA-256 of the chain" "$(header X-Client-Chain)" "$(long_chain_sum)"
	done
}

@test_each_mode "a client certificate on a connection with several bodies" {
	local port=$MUTUAL_PORT
	CURL_MANY="--cert $SUITE/tls/long.lab.test-chain.pem --key $SUITE/tls/long.lab.test.key --tlsv1.2 --tls-max 1.2"
	fetch_many /100k /16385 /2m /1 /100k
	many_are /100k /16385 /2m /1 /100k
	equal connections "$connects" 1
	[ "$mode" = plain ] || logged_times 5 "path=$mode"
}

# Clients without a certificate, or with a stranger's, do not get in.
@test "a client without a certificate that leads to the CA is refused" {
	mode=plain
	local port=$MUTUAL_PORT
	not fetch /100k
	not with_certificate other.lab.test /100k
	with_certificate stranger.lab.test /100k
	equal status "$status" 200
}

# A resumed session keeps the client's certificate: HAProxy's rules look at it as at a new session's. With TLS 1.3 the second
# session has the first one's ID and is longer, whereupon HAProxy's session cache kept its lock: the next handshake hung.
@test "a client certificate is known when the session is resumed, and others connect after it" {
	mode=plain
	local version run request resumed
	printf -v request 'GET /1 HTTP/1.1\r\nHost: plain.lab.test\r\nConnection: close\r\n\r\n'
	for version in tls1_2 tls1_3; do
		for run in out in; do
			new_id
			timeout 20 openssl s_client -connect "$LAB_ADDRESS:$MUTUAL_PORT" -servername plain.lab.test -"$version" -ign_eof -sess_"$run" \
				"$WORK/session.$version" -cert "$SUITE/tls/stranger.lab.test.crt" -key "$SUITE/tls/stranger.lab.test.key" \
				>"$WORK/s_client" 2>&1 <<<"$request"
			resumed=0
			[ "$run" = out ] || resumed=1
			grep -qi "^X-Client-Resumed: $resumed" "$WORK/s_client" ||
				{ echo "$version, $run: the session is not resumed as expected ($resumed)"; cat "$WORK/s_client"; return 1; }
			grep -qi "^X-Client-Name: stranger.lab.test" "$WORK/s_client" ||
				{ echo "$version, $run: HAProxy does not know the client's name"; cat "$WORK/s_client"; return 1; }
		done
		site_serves
	done
}

# from_tls_origin VERSION: a file that HAProxy gets from the origin over that version of TLS.
from_tls_origin() {
	local port=$CHAINED_PORT
	fetch /100k -H "X-TLS: $1"
}

@test "a server whose chain is longer than 6 KB, verified, TLS 1.2 and 1.3" {
	mode=plain
	local version
	for version in TLSv1.2 TLSv1.3; do
		from_tls_origin "$version"
		equal status "$status" 200
		body_is 100k
		equal "version of TLS" "$(header X-Server-TLS)" "$version"
	done
}

# OpenSSL's server: with and without middlebox compatibility (RFC 8446, D.4).
@test "a server of OpenSSL without middlebox compatibility" {
	mode=plain
	tls_origin_restart -no_middlebox
	from_tls_origin TLSv1.3
	equal status "$status" 200
	body_is 100k
	tls_origin_restart
	from_tls_origin TLSv1.3
	equal status "$status" 200
	body_is 100k
}

IDLE=500     # connections
IDLE_KB=24   # each, at most

# pss_kb: HAProxy's proportional set size.
pss_kb() {
	awk '$1 == "Pss:" { print $2; exit }' "/proc/$(process_pid haproxy)/smaps_rollup"
}

# bench/memory measures more exactly, with more connections.
@test_each_mode "an idle client connection takes at most 24 KB of HAProxy" {
	local version before kb
	for version in 1.2 1.3; do
		# Memory that earlier connections have given back would hide what these take.
		process_stop haproxy
		haproxy_start
		[ -z "$LAB_NETWORK" ] || wait_until all_threads_reach_agent
		site_serves
		before=$(pss_kb)
		coproc HELD { on client timeout 120 "$LAB_TOOLS/idle_connections" "$LAB_ADDRESS" "$SITE_PORT" "$IDLE" "$version" "$(site)" /16385; }
		read -r -t 110 <&"${HELD[0]}"
		equal "the client's first word" "$REPLY" ready
		kb=$((($(pss_kb) - before) / IDLE))
		at_most "KB per connection, TLS $version" "$kb" "$IDLE_KB"
		exec {HELD[1]}>&-
		wait "$HELD_PID"
	done
}
