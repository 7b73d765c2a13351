# SPDX-License-Identifier: GPL-2.0-or-later
# Bodies of all sizes around the record's, in each suite, arrive intact on the path that the mode promises.
# flavours: asan recorder
# shellcheck shell=bash

load "$E2E_DIR/helper"

setup_file() {
	lab_start
}

teardown_file() {
	lab_stop
}

TLS12="--tlsv1.2 --tls-max 1.2"

# body_arrives FILE [CURL ARGUMENT]...
body_arrives() {
	local name=$1
	shift
	fetch "/$name" "$@"
	equal status "$status" 200
	body_is "$name"
	equal Content-Length "$(header Content-Length)" "$(stat -c %s "$SUITE/www/$name")"
	no_disc_header
	path_is_as_mode
}

# records_are COUNT: HAProxy counted that many on the splice path, none otherwise. Windows decide how many a grant has.
records_are() {
	[ "$mode" != h2 ] || return 0
	[ "$mode" = plain ] && set -- 0
	equal records "$(logged records)" "$1"
}

@test_each_mode_h2 "an empty body is never spliced" {
	local version
	for version in --tlsv1.3 "$TLS12"; do
		fetch /0 $version
		equal status "$status" 200
		equal Content-Length "$(header Content-Length)" 0
		body_is 0
		no_disc_header
		path_is proxy
	done
}

@test_each_mode_h2 "a body of 1 byte" {
	body_arrives 1
	records_are 1
	body_arrives 1 $TLS12
	records_are 1
}

@test_each_mode_h2 "a body of 16383 bytes, one short of a record" {
	body_arrives 16383
	records_are 1
	body_arrives 16383 $TLS12
	records_are 1
}

@test_each_mode_h2 "a body of 16384 bytes, exactly one record" {
	body_arrives 16384
	records_are 1
	body_arrives 16384 $TLS12
	records_are 1
}

@test_each_mode_h2 "a body of 16385 bytes, one more than a record" {
	body_arrives 16385
	records_are 2
	body_arrives 16385 $TLS12
	records_are 2
}

@test_each_mode_h2 "a body of 100 KB" {
	body_arrives 100k
	records_are 7
	body_arrives 100k $TLS12
	records_are 7
}

@test_each_mode_h2 "a body of 10 MB" {
	body_arrives 10m
	records_are 640
	body_arrives 10m $TLS12
	records_are 640
}

# range_goes FIRST COUNT PATH [REASON]: these bytes of 10m go that way.
range_goes() {
	fetch /10m -r "$1-$(($1 + $2 - 1))"
	equal status "$status" 206
	cmp "$body" <(tail -c "+$(($1 + 1))" "$SUITE/www/10m" | head -c "$2")
	path_is "$3"
	reason_is "${4:--}"
}

@test_each_path "a route's sizes decide, where the node knows the size; of a range by what is sent" {
	local path=$mode
	mode=sized
	fetch /16385
	body_is 16385
	path_is proxy
	reason_is declined
	range_goes 5 19999 proxy declined
	range_goes 5 20000 splice
	range_goes 5 99999 splice
	range_goes 5 100000 "$path"
	fetch /100k
	body_is 100k
	path_is "$path"
}

# suite_serves PATH CURL-ARGUMENTS NAME: a body of 100 KB with this cipher suite takes this path.
suite_serves() {
	local path=$1 name=$3
	fetch /100k $2 -v --stderr "$WORK/curl.log"
	equal status "$status" 200
	body_is 100k
	grep "SSL connection using .* / $name" "$WORK/curl.log"
	if [ "$path" = proxy ]; then path_is proxy; else path_is_as_mode; fi
}

@test_each_mode_h2 "suite TLS 1.3 AES-128-GCM" {
	suite_serves splice "--tlsv1.3 --tls13-ciphers TLS_AES_128_GCM_SHA256" TLS_AES_128_GCM_SHA256
}

@test_each_mode_h2 "suite TLS 1.3 AES-256-GCM" {
	suite_serves splice "--tlsv1.3 --tls13-ciphers TLS_AES_256_GCM_SHA384" TLS_AES_256_GCM_SHA384
}

@test_each_mode_h2 "suite TLS 1.3 ChaCha20-Poly1305" {
	suite_serves splice "--tlsv1.3 --tls13-ciphers TLS_CHACHA20_POLY1305_SHA256" TLS_CHACHA20_POLY1305_SHA256
}

@test_each_mode "suite TLS 1.2 AES-128-GCM" {
	suite_serves splice "$TLS12 --ciphers ECDHE-ECDSA-AES128-GCM-SHA256" ECDHE-ECDSA-AES128-GCM-SHA256
}

@test_each_mode "suite TLS 1.2 AES-256-GCM" {
	suite_serves splice "$TLS12 --ciphers ECDHE-ECDSA-AES256-GCM-SHA384" ECDHE-ECDSA-AES256-GCM-SHA384
}

@test_each_mode "suite TLS 1.2 ChaCha20-Poly1305 is served, but never leased" {
	suite_serves proxy "$TLS12 --ciphers ECDHE-ECDSA-CHACHA20-POLY1305" ECDHE-ECDSA-CHACHA20-POLY1305
	[ "$mode" = plain ] || reason_is suite
}

@test_each_mode "suite TLS 1.2 AES-CBC is served, but never leased" {
	suite_serves proxy "$TLS12 --ciphers ECDHE-ECDSA-AES128-SHA256" ECDHE-ECDSA-AES128-SHA256
	[ "$mode" = plain ] || reason_is suite
}
