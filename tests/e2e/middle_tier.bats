# SPDX-License-Identifier: GPL-2.0-or-later
# Final data that an application refers to: every tier between sees headers only, and the client the application's headers
# with the node's body (DESIGN 7).
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

@test_each_mode "bodies around one record, over both versions of TLS" {
	local name version
	for name in 1 16383 16384 16385; do
		for version in --tlsv1.3 "--tlsv1.2 --tls-max 1.2"; do
			fetch "/flask/file/$name" $version
			followed "$name"
			path_is_as_mode
			equal backend "$(logged backend)" nodes
		done
	done
}

@test_each_mode "an empty body" {
	fetch /flask/file/0
	followed 0
	path_is proxy
}

@test_each_mode "bodies of 100 KB, 10 MB and 100 MB" {
	local name
	for name in 100k 10m 100m; do
		fetch "/flask/file/$name"
		followed "$name"
		path_is_as_mode
	done
}

@test_each_mode "HTTP/2 clients get records by grants" {
	local name
	for name in 1 100k 10m; do
		fetch "/flask/file/$name" --http2
		followed "$name"
		if [ "$mode" = plain ]; then path_is proxy; else path_is splice; fi
	done
}

@test_each_mode "what the middle tier receives does not depend on the size of the body" {
	local name before first='' bytes
	for name in 1 100k 10m 100m; do
		before=$(middle_bytes)
		fetch "/flask/file/$name?size=$name"
		followed "$name"
		middle_answered "/flask/file/$name\\?size=$name" 1
		bytes=$(($(middle_bytes) - before))
		: "${first:=$bytes}"
		echo "$name: $bytes bytes"
		# File names differ by a few characters, and each appears in some headers.
		at_most "bytes more than for the first" $((bytes - first)) 63
		at_most bytes "$bytes" 1999
	done
	before=$(middle_bytes)
	fetch /flask/body/10m
	body_is 10m
	wait_until middle_has_received $((before + 10485760))
}

middle_has_received() {
	at_least "middle_bytes" "$(middle_bytes)" "$1"
}

# --- headers ---

# Fields of an application, of every kind that the documentation tells apart; the node sends some of them too.
rival_fields() {
	printf '%s\r\n' 'Content-Type: application/x-raw' 'Cache-Control: no-store' 'X-Both: application' 'X-Many: 1' 'X-Many: 2' \
		'Set-Cookie: application=1' 'Set-Cookie: application=2' 'Link: </application>; rel=application' 'X-Kept: kept' \
		'Content-Encoding: gzip' 'Content-Range: bytes 1-2/3' 'ETag: "application"' 'Server: application' \
		'Last-Modified: Sat, 01 Jan 2000 00:00:00 GMT' 'Date: Sat, 01 Jan 2000 00:00:00 GMT' 'Accept-Ranges: none' \
		'Content-MD5: bm8=' 'Digest: sha-256=YXBw' 'X-Accel-Buffering: no' 'X-Accel-Expires: 1' 'Disc-Other: 1' \
		'Keep-Alive: timeout=1' 'Backend-IP: 192.0.2.1' 'Backend-Port: 1' 'Backend-Content-Length: 1'
	printf 'X-Last: last'
}

# fetch_rivals PREFIX: with a node's ordinary fields in $node_headers.
fetch_rivals() {
	fetch '/internal/100k'
	node_headers=$headers
	fetch "$1$(refer '/internal/100k?fake=rival-headers' reference "add=$(quoted "$(rival_fields)")")"
	equal status "$status" 200
	body_is 100k
}

node_header() {
	headers=$node_headers header "$1"
}

# What describes body and connection is the node's.
body_is_described_by_node() {
	one_is ETag "$(node_header ETag)"
	one_is Last-Modified "$(node_header Last-Modified)"
	one_is Accept-Ranges "$(node_header Accept-Ranges)"
	one_is Content-Length 102400
	one_is Server node
	one_is Digest sha-256=bm9kZQ==
	[ "$(header Date)" != 'Sat, 01 Jan 2000 00:00:00 GMT' ] || not_seen "header Date is not Sat, 01 Jan 2000 00:00:00 GMT" "it is"
	absent Content-Encoding
	absent Content-Range
	absent Content-MD5
	absent Keep-Alive
	absent X-Accel-Buffering
	absent X-Accel-Expires
	no_reference
}

@test_each_mode "each kind of header comes from where it belongs" {
	fetch_rivals ''
	one_is Content-Type application/x-raw
	one_is Cache-Control no-store
	one_is X-Both application
	one_is X-Node node
	one_is X-Kept kept
	one_is X-Last last
	equal X-Many "$(grep -i '^x-many:' "$headers" | tr -d '\r' | cut -d' ' -f2 | paste -sd' ')" "1 2"
	equal cookies "$(grep -i '^set-cookie:' "$headers" | tr -d '\r' | cut -d' ' -f2 | sort | paste -sd' ')" \
		"application=1 application=2 node=1"
	equal "number of Link" "$(grep -ci '^link:' "$headers")" 2
	one_is X-Frontend-Rule yes
	body_is_described_by_node
	path_is_as_mode
}

@test_each_mode "with a list of headers to keep, others are the node's or gone" {
	fetch_rivals /kept
	one_is Content-Type application/x-raw
	one_is X-Kept kept
	one_is X-Both node
	absent Cache-Control
	absent X-Many
	absent X-Application
	equal cookies "$(grep -ci '^set-cookie:' "$headers")" 3
	equal "number of Link" "$(grep -ci '^link:' "$headers")" 1
	body_is_described_by_node
}

@test_each_mode "a large header block of the application's, whatever of the body comes with the node's headers" {
	local name
	for name in 1 16383 16384 16385 100k 10m; do
		fetch "$(refer "/internal/$name" reference large=6000)"
		equal "status for $name" "$status" 200
		body_is "$name"
		equal "bytes of X-Large" "$(header X-Large | tr -d '\n' | wc -c)" 6000
	done
}

@test_each_mode "a header block of the application's that leaves no room for the node's is an error, and the next request is served" {
	local name
	for name in 1 100k; do
		fetch "$(refer "/internal/$name" reference large=14500)"
		case $status in
		200) body_is "$name" ;;
		*) [[ $status == 50[02] ]] ;;
		esac
		no_reference
	done
	site_serves_references
}

@test_each_mode "rules: the application's end where the reference is followed, then come the node's, and the frontend's once" {
	fetch "/ruled$(refer /internal/100k)" --data-binary posted
	equal status "$status" 200
	body_is 100k
	one_is X-Before yes
	absent X-After
	absent Set-Cookie
	one_is X-Nodes-Rule 'GET txn=txn req= res='
	one_is X-Frontend-Times 1
	no_reference
	path_is_as_mode
	fetch /ruled/raw/plain
	one_is X-After yes
	one_is X-Frontend-Times 1
	grep -qi '^set-cookie: OF_RULED=raw' "$headers"
}

# --- methods, ranges, conditions ---

# posted FILE: what fetch uploaded arrived at the application as FILE, and 10m came back.
posted() {
	followed 10m
	equal X-Report-Size "$(header X-Report-Size)" "$(stat -c %s "$SUITE/www/$1")"
	equal X-Report-Sum "$(header X-Report-Sum)" "$(sum_of "$1")"
	path_is "${2:-$([ "$mode" = plain ] && echo proxy || echo "$mode")}"
}

@test_each_mode "a small POST returns final data" {
	fetch /flask/report/10m --data-binary "@$SUITE/www/1"
	posted 1
	fetch /flask/report/10m --data-binary "@$SUITE/www/16385" --tlsv1.2 --tls-max 1.2
	posted 16385
}

@test_each_mode "a POST of 10 MB returns final data" {
	fetch /flask/report/10m -H 'Expect:' --data-binary "@$SUITE/www/10m"
	posted 10m
}

@test_each_mode "a POST of 100 MB returns final data" {
	fetch /flask/report/10m -H 'Expect:' -X POST -T "$SUITE/www/100m"
	posted 100m
}

@test_each_mode "a POST with Expect: 100-continue returns final data" {
	fetch /flask/report/10m -H 'Expect: 100-continue' --data-binary "@$SUITE/www/10m"
	grep -q '^HTTP/1.1 100' "$headers"
	posted 10m
	fetch /flask/report/10m -H 'Expect: 100-continue' --data-binary "@$SUITE/www/1"
	posted 1
}

@test_each_mode "a POST of unknown length returns final data" {
	fetch /flask/report/10m -H 'Transfer-Encoding: chunked' -H 'Expect:' --data-binary "@$SUITE/www/10m"
	posted 10m
}

@test_each_mode "a POST over HTTP/2 returns final data, by the splice path" {
	fetch /flask/report/10m --http2 --data-binary "@$SUITE/www/10m"
	if [ "$mode" = plain ]; then
		posted 10m proxy
	else
		posted 10m splice
	fi
}

@test_each_mode "the node is sent the client's headers, without those of its connection and its body" {
	local name
	fetch '/flask/report/100k?fake=tells-request' -H 'Cookie: c=1' -H 'X-Own: 1' -H 'Accept-Encoding: br' \
		-H 'Expect: 100-continue' -H 'Content-Type: text/plain' -H 'Content-MD5: bm8=' -H 'Disc-Other: 1' -H 'TE: trailers' \
		-H 'Keep-Alive: 1' -H 'X-Forwarded-For: 192.0.2.1' --data-binary "@$SUITE/www/16385"
	equal status "$status" 200
	cmp "$body" "$SUITE/www/100k"
	[[ $(header X-Request) == "GET "* ]]
	for name in host x-id cookie x-own accept-encoding x-forwarded-for; do
		[[ " $(header X-Request) " == *" $name "* ]] || { not_seen "the request has $name" "$(header X-Request)"; return 1; }
	done
	for name in expect content-type content-length content-md5 transfer-encoding disc-other te keep-alive; do
		[[ " $(header X-Request) " != *" $name "* ]] || { not_seen "the request lacks $name" "$(header X-Request)"; return 1; }
	done
}

@test_each_mode "with a GET the node is sent the client's range and conditions" {
	local name
	fetch '/flask/file/100k?fake=tells-request' -H 'Range: bytes=0-' -H 'If-Match: *'
	equal status "$status" 206
	cmp "$body" "$SUITE/www/100k"
	for name in range if-match; do
		[[ " $(header X-Request) " == *" $name "* ]] || { not_seen "the request has $name" "$(header X-Request)"; return 1; }
	done
}

@test_each_mode "a POST's conditions and range are the application's to judge: what it did is answered by the whole body" {
	local etag modified field
	fetch /flask/file/100k -I
	etag=$(header ETag) modified=$(header Last-Modified)
	for field in "If-None-Match: $etag" 'If-None-Match: *' "If-Modified-Since: $modified" 'If-Match: "other"' \
		'If-Unmodified-Since: Sat, 01 Jan 2000 00:00:00 GMT' 'Range: bytes=0-9' 'Range: bytes=200000-'; do
		fetch /flask/report/100k -H "$field" --data-binary hello
		equal "status for $field" "$status" 200
		body_is 100k
		equal X-Report-Size "$(header X-Report-Size)" 5
		path_is_as_mode
	done
	# The other methods that change something.
	local method
	for method in PUT PATCH DELETE; do
		fetch "$(refer /internal/100k)" -X "$method" -H "If-None-Match: $etag" -H 'Range: bytes=0-9'
		equal "status for $method" "$status" 200
		body_is 100k
	done
}

@test_each_mode "HEAD has the headers of both and no body" {
	fetch /flask/file/100k -I
	equal status "$status" 200
	equal Content-Length "$(header Content-Length)" 102400
	equal X-Application "$(header X-Application)" flask
	[ -n "$(header ETag)" ] || not_seen "an ETag" "none"
	no_reference
	path_is proxy
}

@test_each_mode "a range of the final data is 206" {
	fetch /flask/file/100k -r 16000-65999
	equal status "$status" 206
	equal Content-Range "$(header Content-Range)" "bytes 16000-65999/102400"
	equal X-Application "$(header X-Application)" flask
	cmp "$body" <(tail -c +16001 "$SUITE/www/100k" | head -c 50000)
	no_reference
	path_is_as_mode
}

@test_each_mode "a range behind the end is 416, with the application's cookies and nothing else of it" {
	fetch /flask/file/100k -r 200000-
	equal status "$status" 416
	equal Content-Range "$(header Content-Range)" "bytes */102400"
	absent X-Application
	grep -qi '^set-cookie: session=of-flask' "$headers"
	no_reference
}

@test_each_mode "If-None-Match with the node's ETag is 304 without a body" {
	fetch /flask/file/100k -I
	fetch /flask/file/100k -H "If-None-Match: $(header ETag)"
	equal status "$status" 304
	[ ! -s "$body" ] || not_seen "an empty body" "bytes"
	equal X-Application "$(header X-Application)" flask
	no_reference
	path_is proxy
}

@test_each_mode "several ranges: the node says of what type they are" {
	fetch "$(refer '/internal/100k?fake=several-ranges' reference "add=$(quoted 'Content-Type: application/x-raw')")" -r 0-0,2-2
	equal status "$status" 206
	one_is Content-Type 'multipart/byteranges; boundary=lab'
	equal X-Application "$(header X-Application)" raw
	body_is 100k
}

# condition STATUS FIELD: of a range of the node's file.
condition() {
	fetch /flask/file/100k -r 0-9 -H "$2"
	equal "status for $2" "$status" "$1"
	case $1 in
	200) body_is 100k ;;
	206) cmp "$body" <(head -c 10 "$SUITE/www/100k") ;;
	304) [ ! -s "$body" ] ;;
	esac
	no_reference
}

@test_each_mode "conditions are judged by the node's validators" {
	local etag modified
	fetch /flask/file/100k -I
	etag=$(header ETag) modified=$(header Last-Modified)
	condition 206 "If-Range: $etag"
	condition 200 'If-Range: "other"'
	condition 206 "If-Match: $etag"
	condition 412 'If-Match: "other"'
	condition 304 "If-Modified-Since: $modified"
	condition 206 'If-Modified-Since: Sat, 01 Jan 2000 00:00:00 GMT'
	condition 206 "If-Unmodified-Since: $modified"
	condition 412 'If-Unmodified-Since: Sat, 01 Jan 2000 00:00:00 GMT'
}

@test_each_mode "an application that says 206 itself gets the node's status" {
	fetch "$(refer /internal/100k reference "status=$(quoted '206 Partial Content')")"
	equal status "$status" 200
	body_is 100k
}

# --- afterwards ---

@test_each_mode "no server or backend still counts a session" {
	wait_until nothing_left || { sessions_left; return 1; }
}
