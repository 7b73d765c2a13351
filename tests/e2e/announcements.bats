# SPDX-License-Identifier: GPL-2.0-or-later
# A node that lies about what follows is found out before any header leaves: the client gets the ordinary body by a retry,
# or an error, never ciphertext and never a byte that is wrong; the lease is given up, and the log names the field. Guards
# FINDINGS 2, defects 3 (poisoned only after the header record) and 8 (strtoull and an unchecked product).
#
# tests/lab/fake_node stands between HAProxy and the real nodes: "?fake=NAME" chooses the lie. The nodes really seal under
# each lease, so that the recorder sees what giving it up is worth.
# shellcheck shell=bash

load "$E2E_DIR/helper"

setup_file() {
	lab_start fake=1 server_timeout=2s
}

teardown_file() {
	lab_stop
}

# lie NAME REASON: over both TLS versions; good requests follow on the same connection and on another one.
lie() {
	local name=$1 reason=$2 version connection
	for version in "" --tls12; do
		tls_client $version "get:/100k?fake=$name" send response get:/16385 send response
		cat "$WORK/client.errors"
		equal "exit status" "$client_status" 0
		client_said "^body 102400 $(sum_of 100k)$" || client_said '^status 50[234] '
		client_said "^body 16385 $(sum_of 16385)$"
		client_did_not_say LEAKED
		connection=$id
		has_lines <(cat "$LAB"/fake-n?.log) " fake=$name "
		path_is proxy "$connection .*fake=$name"
		reason_is "$reason" "$connection .*fake=$name"
	done
	mode=splice site_serves
	path_is splice
}

# truth NAME: unusual, but to be believed.
truth() {
	local name=$1 version
	for version in "" --tls12; do
		tls_client $version "get:/100k?fake=$name" send response get:/16385 send response
		equal "exit status" "$client_status" 0
		client_said "^body 102400 $(sum_of 100k)$"
		client_said "^body 16385 $(sum_of 16385)$"
		client_did_not_say LEAKED
		has_lines <(cat "$LAB"/fake-n?.log) " fake=$name "
		path_is splice "$id .*fake=$name"
	done
}

@test "announced: another ticket" {
	lie wrong-ticket 'announcement-ticket'
}

@test "announced: the ticket in upper case" {
	lie uppercase-ticket 'announcement-.*'
}

@test "announced: half a ticket" {
	lie short-ticket 'announcement-.*'
}

@test "announced: no ticket" {
	lie missing-ticket 'announcement-.*'
}

@test "announced: another sequence number" {
	lie wrong-seq 'announcement-seq'
}

@test "announced: sequence number 0" {
	lie seq-zero 'announcement-seq'
}

@test "announced: a sequence number over 64 bits that wraps to the right one" {
	lie overflowing-seq 'announcement-.*'
}

@test "announced: no sequence number" {
	lie missing-seq 'announcement-.*'
}

@test "announced: one record too many" {
	lie wrong-records 'announcement-.*'
}

@test "announced: no records" {
	lie no-records 'announcement-.*'
}

@test "announced: a record count over 64 bits that wraps to the right one" {
	lie overflowing-records 'announcement-.*'
}

@test "announced: a length one too small" {
	lie wrong-length 'announcement-.*'
}

@test "announced: length 0" {
	lie length-zero 'announcement-.*'
}

@test "announced: a length over 64 bits that wraps to the right one" {
	lie overflowing-length 'announcement-.*'
}

@test "announced: no length" {
	lie missing-length 'announcement-.*'
}

@test "announced: numbers whose sum is right modulo 2^64 only" {
	lie wrapping-arithmetic 'announcement-.*'
}

@test "announced: a Content-Length one too small" {
	lie wrong-content-length 'announcement-.*'
}

@test "announced: no Content-Length" {
	lie no-content-length 'announcement-.*'
}

@test "announced: a chunked body" {
	lie chunked 'announcement-.*'
}

@test "announced: leading zeros" {
	lie leading-zeros 'announcement-.*'
}

@test "announced: a signed number" {
	lie signed-number 'announcement-.*'
}

@test "announced: a hexadecimal number" {
	lie hexadecimal-number 'announcement-.*'
}

@test "announced: a parameter more" {
	lie trailing-bytes 'announcement-.*'
}

@test "announced: a kind that does not exist" {
	lie unknown-kind 'announcement-.*'
}

@test "announced: an empty value" {
	lie empty-announcement 'announcement-.*'
}

@test "announced: two spaces between parameters" {
	lie two-spaces 'announcement-.*'
}

@test "announced: two announcements, both alike" {
	lie twice 'announcement-.*'
}

@test "announced: two announcements, splice and none" {
	lie twice-contradicting 'announcement-.*'
}

@test "announced: records behind a 304" {
	lie splice-with-304 'announcement-.*'
}

@test "announced: records behind a 204" {
	lie splice-with-204 'announcement-.*'
}

@test "headers over one record beside a good announcement are not spliced" {
	lie big-headers 'headers|announcement-.*|big-headers|header-size'
}

@test "a 503 with the promise that nothing was sealed, though it was, reuses no nonce" {
	lie service-unavailable '.*'
}

@test_each_mode "an announcement that nobody asked for never makes a body ciphertext" {
	fetch '/100k?fake=unasked' -I
	equal status "$status" 200
	no_disc_header
	fetch '/0?fake=unasked'
	equal status "$status" 200
	body_is 0
	no_disc_header
	path_is proxy
}

@test "an announcement for a request without a ticket: no lease, no splice" {
	mode=plain
	fetch '/100k?fake=unasked'
	no_disc_header
	path_is proxy
	if [ "$status" = 200 ]; then
		body_is 100k
	else
		equal status "$status" 502
	fi
	fetch '/100k?fake=unasked' --http2
	no_disc_header
	[ "$status" != 200 ] || body_is 100k
}

@test "other Disc- headers of a node never reach the client" {
	truth extra-disc-headers
}

@test "103 of the node before the announced response" {
	truth early-hints-first
}

@test "100 of the node before the announced response" {
	truth continue-first
}

@test "an announcement in a 103 is not one" {
	truth announcement-in-103
}

@test "headers that come byte by byte" {
	truth one-byte-at-a-time
}

@test "a Content-Encoding of the node's own is passed on with the records" {
	mode=splice
	fetch '/100k?fake=content-encoding'
	equal status "$status" 200
	equal Content-Encoding "$(header Content-Encoding)" gzip
	body_is 100k
}
