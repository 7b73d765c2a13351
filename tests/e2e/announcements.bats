# SPDX-License-Identifier: GPL-2.0-or-later
# A node that lies about what follows is found out before any header leaves: the client gets the ordinary body by a retry,
# or an error, never ciphertext and never a byte that is wrong; the lease is given up, and the log names the field. Guards
# two defects of the first prototype: it was poisoned only after the header record, and took numbers by strtoull() with an unchecked product.
#
# tests/lab/fake_node stands between HAProxy and the real nodes: "?fake=NAME" chooses the lie, which bears a valid proof unless the
# proof is the lie. The nodes really seal under each lease, so that the recorder sees what giving it up is worth. Somebody who has no
# key for a proof is in fetch_hop_attacker.bats.
# shellcheck shell=bash

load "$E2E_DIR/helper"

setup_file() {
	lab_start fake=1 server_timeout=4s bufsize=65536 maxrewrite=24576
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
		fake_saw " fake=$name "
		path_is proxy "$connection .*fake=$name"
		reason_is "$reason" "$connection .*fake=$name"
	done
	site_serves
	path_is "$mode"
}

# lie_of_range NAME REASON: the same, of a part of the file.
lie_of_range() {
	local version sum
	sum=$(head -c 65536 "$SUITE/www/100k" | tail -c 49152 | sha256sum | cut -d' ' -f1)
	for version in "" --tls12; do
		tls_client $version --header 'Range: bytes=16384-65535' "get:/100k?fake=$1" send response get:/100k send response
		equal "exit status" "$client_status" 0
		client_said "^body 49152 $sum$" 2
		client_did_not_say LEAKED
		fake_saw " fake=$1 "
		path_is proxy "$id .*fake=$1"
		reason_is "$2" "$id .*fake=$1"
	done
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
		fake_saw " fake=$name "
		path_is "$mode" "$id .*fake=$name"
	done
}

@test_each_path "announced: another ticket" {
	lie wrong-ticket 'bad-ticket'
}

@test_each_path "announced: the ticket in upper case" {
	lie uppercase-ticket 'bad-ticket'
}

@test_each_path "announced: half a ticket" {
	lie short-ticket 'bad-ticket'
}

@test_each_path "announced: no ticket" {
	lie missing-ticket 'bad-ticket'
}

@test_each_path "announced: another sequence number" {
	lie wrong-seq 'bad-seq'
}

@test_each_path "announced: sequence number 0" {
	lie seq-zero 'bad-seq'
}

@test_each_path "announced: a sequence number over 64 bits that wraps to the right one" {
	lie overflowing-seq 'bad-seq'
}

@test_each_path "announced: no sequence number" {
	lie missing-seq 'bad-seq'
}

@test_each_path "announced: one record too many" {
	lie wrong-records 'bad-records'
}

@test_each_path "announced: no records" {
	lie no-records 'bad-records'
}

@test_each_path "announced: a record count over 64 bits that wraps to the right one" {
	lie overflowing-records 'bad-records'
}

@test_each_path "announced: a length one too small" {
	if [ "$mode" = direct ]; then
		is_found_out_by_agent wrong-length
	else
		lie wrong-length 'bad-content-length'
	fi
}

# is_found_out_by_agent NAME: nothing but the agent's own account of the body contradicts, so the header record has left by then.
is_found_out_by_agent() {
	local version
	for version in "" --tls12; do
		tls_client $version "get:/100k?fake=$1" send response
		equal "exit status" "$client_status" 4
		client_did_not_say '^body '
		client_said '^(cut 0 of|no-response) .* ?reset$'
		wait_until site_serves
		path_is direct
	done
	grep -q 'the node told HAProxy of another length than this agent' "$LAB/disc-spoa.log"
}

@test_each_path "announced: length 0" {
	lie length-zero 'bad-length'
}

@test_each_path "announced: a length over 64 bits that wraps to the right one" {
	lie overflowing-length 'bad-length'
}

@test_each_path "announced: no length" {
	lie missing-length 'bad-length'
}

@test_each_path "announced: numbers whose sum is right modulo 2^64 only" {
	lie wrapping-arithmetic 'bad-length'
}

# A direct one has none.
@test "announced: a Content-Length one too small" {
	mode=splice
	lie wrong-content-length 'bad-content-length'
}

# A direct one has none.
@test "announced: no Content-Length" {
	mode=splice
	lie no-content-length 'bad-content-length'
}

@test_each_path "announced: a chunked body" {
	lie chunked 'bad-content-length|retry'
}

@test_each_path "announced: leading zeros" {
	lie leading-zeros 'bad-seq'
}

@test_each_path "announced: a signed number" {
	lie signed-number 'bad-length'
}

@test_each_path "announced: a hexadecimal number" {
	lie hexadecimal-number 'bad-(length|status)'
}

@test_each_path "announced: another status than that of the response" {
	lie wrong-status bad-status
	lie_of_range wrong-status bad-status
}

@test_each_path "announced: a status that bears no records" {
	lie odd-status bad-status
}

@test_each_path "announced: no status" {
	lie missing-status bad-status
}

@test_each_path "announced: a whole body that does not begin with the first byte" {
	lie wrong-first bad-first
}

@test_each_path "announced: a part of the object that is not the one of Content-Range" {
	lie_of_range wrong-first bad-first
	lie_of_range other-content-range bad-first
}

@test_each_path "announced: a first byte over 64 bits that wraps to the right one" {
	lie overflowing-first bad-first
}

@test_each_path "announced: no first byte" {
	lie missing-first bad-first
}

@test_each_path "announced: entity tags that are none" {
	local name
	for name in weak unquoted half-quoted long; do
		lie "$name-etag" 'bad-(etag|syntax)'
	done
}

@test_each_path "announced: another entity tag than that of the response" {
	lie other-etag bad-etag
}

@test_each_path "announced: no entity tag" {
	lie missing-etag bad-etag
}

@test_each_path "announced: an empty entity tag, and the longest one" {
	truth empty-etag
	truth longest-etag
}

@test_each_path "announced: no proof, or an empty one" {
	lie no-proof bad-proof
	lie empty-proof bad-proof
}

@test_each_path "announced: a proof one digit short, or one too long" {
	lie short-proof bad-proof
	lie long-proof bad-syntax
}

@test_each_path "announced: the proof in upper case" {
	lie uppercase-proof bad-proof
}

@test_each_path "announced: the proof of another ticket, and that under the key of another lease" {
	lie proof-of-another-ticket bad-proof
	lie proof-of-another-lease bad-proof
}

@test_each_path "announced: the proof of the request" {
	lie proof-of-the-request bad-proof
}

@test_each_path "announced: a parameter more" {
	lie trailing-bytes 'bad-syntax'
}

@test_each_path "announced: a kind that does not exist" {
	lie unknown-kind 'bad-kind'
}

@test_each_path "announced: an empty value" {
	lie empty-announcement 'bad-kind'
}

@test_each_path "announced: two spaces between parameters" {
	lie two-spaces 'bad-ticket'
}

@test_each_path "announced: two announcements, both alike" {
	lie twice 'bad-duplicate'
}

@test_each_path "announced: two announcements, splice and none" {
	lie twice-contradicting 'bad-duplicate'
}

@test_each_path "announced: records behind a 304" {
	lie splice-with-304 'bad-status'
}

@test_each_path "announced: records behind a 204" {
	lie splice-with-204 'bad-status'
}

@test_each_path "headers over one record beside a good announcement are not spliced" {
	lie big-headers bad-headers
}

# unasked CURL-ARGUMENTS: for requests that bear no ticket; the plain body or an error, and no splice.
unasked() {
	fetch '/100k?fake=unasked' "$@"
	fake_saw " fake=unasked "
	no_disc_header
	path_is proxy
	if [ "$status" = 200 ]; then
		[[ $* == *-I* ]] || body_is 100k
	else
		equal status "$status" 502
	fi
}

@test_each_path "announced to a request without a ticket, in each mux" {
	local asked=$mode
	mode=plain
	unasked --tlsv1.3
	unasked --tlsv1.2 --tls-max 1.2
	unasked --http2
	unasked -I
	mode=$asked
	unasked --http2 --tlsv1.2 --tls-max 1.2
	unasked -I
	site_serves
}

@test_each_path "wrong announcements are counted and logged with the server's name and the field" {
	local rejected
	rejected=$(count rejected)
	fetch '/100k?fake=wrong-seq'
	equal rejected "$(count rejected)" $((rejected + 1))
	wait_for_line "$LAB/haproxy.log" '^DiSC: wrong announcement from server nodes/n[12]: seq; nothing of it was forwarded'
}

@test_each_path "other Disc- headers of a node never reach the client" {
	truth extra-disc-headers
}

@test_each_path "103 of the node before the announced response" {
	truth early-hints-first
}

@test_each_path "100 of the node before the announced response" {
	truth continue-first
}

@test_each_path "announced: in a 103" {
	lie announcement-in-103 bad-status
}

@test_each_path "headers that come byte by byte" {
	truth one-byte-at-a-time
}

@test_each_path "a Content-Encoding of the node's own is passed on with the records" {
	fetch '/100k?fake=content-encoding'
	equal status "$status" 200
	equal Content-Encoding "$(header Content-Encoding)" gzip
	body_is 100k
}
