# SPDX-License-Identifier: GPL-2.0-or-later
# Final data that an application refers to: every tier between sees headers only, and the client the application's headers
# with the node's body (DESIGN 7).
# shellcheck shell=bash

load "$E2E_DIR/helper"
# shellcheck source-path=SCRIPTDIR
source "$E2E_DIR/middle_tier.bash"

setup_file() {
	lab_prepare config=middle_tier.cfg fake=1
	apps_prepare
	node_start n1
	node_start n2
	fake_start n1
	fake_start n2
	apps_start
	spoa_start
	haproxy_start
	nodes_alive
}

teardown_file() {
	lab_stop
}

# redispatched FILE: $body is that file, with the headers of Flask, of the node and of rules in every tier.
redispatched() {
	equal status "$status" 200
	body_is "$1"
	equal X-Application "$(header X-Application)" flask
	equal X-Passed-By "$(header X-Passed-By)" middle
	equal X-Frontend-Rule "$(header X-Frontend-Rule)" yes
	equal Content-Type "$(header Content-Type)" application/x-lab
	equal Content-Length "$(header Content-Length)" "$(stat -c %s "$SUITE/www/$1")"
	equal Content-Disposition "$(header Content-Disposition)" "attachment; filename=\"$1\""
	equal cookies "$(grep -ci '^set-cookie: \(session=of-flask\|downloads=\)' "$headers")" 2
	[ -n "$(header ETag)" ]
	no_reference
}

# no_reference: neither a reference nor anything of ours reached the client.
no_reference() {
	no_disc_header
	if grep -iE '^(x-accel-|backend-)' "$headers"; then
		echo "a reference reached the client"
		return 1
	fi
}

@test_each_mode "bodies around one record, over both versions of TLS" {
	local name version
	for name in 1 16383 16384 16385; do
		for version in --tlsv1.3 "--tlsv1.2 --tls-max 1.2"; do
			fetch "/flask/file/$name" $version
			redispatched "$name"
			path_is_as_mode
			equal backend "$(logged backend)" nodes
		done
	done
}

@test_each_mode "an empty body" {
	fetch /flask/file/0
	redispatched 0
	path_is proxy
}

@test_each_mode "bodies of 100 KB, 10 MB and 100 MB" {
	local name
	for name in 100k 10m 100m; do
		fetch "/flask/file/$name"
		redispatched "$name"
		path_is_as_mode
	done
}

@test_each_mode "HTTP/2 clients get an ordinary body" {
	local name
	for name in 1 100k 10m; do
		fetch "/flask/file/$name" --http2
		redispatched "$name"
		path_is proxy
		[ "$mode" = plain ] || reason_is mux
	done
}

@test_each_mode "what the middle tier receives does not depend on the size of the body" {
	local name before first='' bytes
	for name in 1 100k 10m 100m; do
		before=$(middle_bytes)
		fetch "/flask/file/$name?size=$name"
		redispatched "$name"
		middle_answered "/flask/file/$name\\?size=$name" 1
		bytes=$(($(middle_bytes) - before))
		: "${first:=$bytes}"
		echo "$name: $bytes bytes"
		# File names differ by a few characters, and each appears in some headers.
		[ $((bytes - first)) -lt 64 ] && [ "$bytes" -lt 2000 ]
	done
	before=$(middle_bytes)
	fetch /flask/body/10m
	body_is 10m
	wait_until middle_has_received $((before + 10485760))
}

middle_has_received() {
	[ "$(middle_bytes)" -ge "$1" ]
}

# --- headers ---

# one_is NAME VALUE: the field is there once, with that value.
one_is() {
	equal "number of $1" "$(grep -ci "^$1:" "$headers")" 1
	equal "$1" "$(header "$1")" "$2"
}

absent() {
	not grep -i "^$1:" "$headers"
}

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
	[ "$(header Date)" != 'Sat, 01 Jan 2000 00:00:00 GMT' ]
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

# --- leases ---

@test_each_mode "a lease taken before the application answered ends there, and the body has one of its own" {
	local version
	for version in --tlsv1.3 "--tlsv1.2 --tls-max 1.2"; do
		fetch "/leased$(refer /internal/100k)" $version
		equal status "$status" 200
		body_is 100k
		no_reference
		path_is_as_mode
	done
}

@test_each_mode "what an agent said about the application's request is forgotten" {
	fetch "/leased$(refer '/internal/100k?lease=none')"
	equal status "$status" 200
	body_is 100k
	path_is proxy
	equal action "$(logged action)" -
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

# --- methods, ranges, conditions ---

# posted FILE: what fetch uploaded arrived at the application as FILE, and 10m came back.
posted() {
	redispatched 10m
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

@test_each_mode "a POST over HTTP/2 returns final data" {
	fetch /flask/report/10m --http2 --data-binary "@$SUITE/www/10m"
	posted 10m proxy
}

@test_each_mode "the node is sent the client's headers, without those of its connection and its body" {
	local name
	fetch '/flask/report/100k?fake=tells-request' -H 'Cookie: c=1' -H 'Range: bytes=0-' -H 'X-Own: 1' -H 'Accept-Encoding: br' \
		-H 'Expect: 100-continue' -H 'Content-Type: text/plain' -H 'Content-MD5: bm8=' -H 'Disc-Other: 1' -H 'TE: trailers' \
		-H 'Keep-Alive: 1' -H 'X-Forwarded-For: 192.0.2.1' --data-binary "@$SUITE/www/16385"
	equal status "$status" 206
	cmp "$body" "$SUITE/www/100k"
	[[ $(header X-Request) == "GET "* ]]
	for name in host x-id cookie range x-own accept-encoding x-forwarded-for; do
		[[ " $(header X-Request) " == *" $name "* ]] || { echo "$name is missing: $(header X-Request)"; return 1; }
	done
	for name in expect content-type content-length content-md5 transfer-encoding disc-other te keep-alive; do
		[[ " $(header X-Request) " != *" $name "* ]] || { echo "$name is there: $(header X-Request)"; return 1; }
	done
}

@test_each_mode "HEAD has the headers of both and no body" {
	fetch /flask/file/100k -I
	equal status "$status" 200
	equal Content-Length "$(header Content-Length)" 102400
	equal X-Application "$(header X-Application)" flask
	[ -n "$(header ETag)" ]
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
	[ ! -s "$body" ]
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

# --- nodes that fail once the application has answered ---

# of_node REFERENCE FILE: from raw_app, through to the body.
refers_well() {
	fetch "$(refer "$1")"
	equal status "$status" 200
	body_is "$2"
	equal X-Application "$(header X-Application)" raw
	no_reference
}

@test_each_mode "a missing object is the node's 404, with the application's cookies and nothing else of it" {
	fetch "$(refer /internal/none reference "add=$(quoted $'Set-Cookie: a=1\r\nContent-Type: application/x-raw')")"
	equal status "$status" 404
	grep -qi '^set-cookie: a=1' "$headers"
	absent X-Application
	[ "$(header Content-Type)" != application/x-raw ]
	no_reference
	path_is proxy
}

@test_each_mode "a node that dies before its headers is asked again without a ticket, or is a 502" {
	refers_well '/internal/100k?fake=offload-dies-before-headers' 100k
	path_is proxy
	# On a connection that has served before, too: a client that has posted must not be left without an answer.
	local i before
	for i in {1..4}; do
		site_serves_references
	done
	before=$(nodes_asked 'dies-before-headers&1')
	fetch "$(refer '/internal/100k?fake=dies-before-headers&1')"
	equal status "$status" 502
	# By retries of the nodes' backend, and once more without a ticket.
	[ $(($(nodes_asked 'dies-before-headers&1') - before)) -ge 3 ]
	no_reference
	fetch '/flask/report/100k?fake=dies-before-headers' --data-binary hello
	equal status "$status" 502
	no_reference
	site_serves_references
}

@test_each_mode "a node that answers 500 is asked again without a ticket, or its 500 is the answer" {
	refers_well '/internal/100k?fake=offload-error-500' 100k
	path_is proxy
	fetch "$(refer '/internal/100k?fake=error-500' reference "add=$(quoted 'Set-Cookie: a=1')")"
	equal status "$status" 500
	absent X-Application
	no_reference
	site_serves_references
}

site_serves_references() {
	fetch /flask/file/16385
	redispatched 16385
	path_is_as_mode
}

@test_each_mode "a node that is gone is replaced by the other one, and both being gone is an error" {
	local i
	process_stop fake-n1 KILL
	process_stop n1 KILL
	for i in {1..6}; do
		refers_well "/internal/100k?$i" 100k
	done
	process_stop fake-n2 KILL
	fetch "$(refer /internal/100k)"
	equal status "$status" 503
	absent X-Application
	no_reference
	node_start n1
	fake_start n1
	fake_start n2
	nodes_alive
	site_serves_references
}

@test_each_mode "a node that dies in the middle of the body is a visibly broken transfer" {
	local version
	for version in "" --tls12; do
		tls_client $version "get:$(refer '/internal/10m?fake=dies-mid-body')" send response
		cut_complete_or_reset 10m
		# On the direct path the other node may send it, or the same one: only the fetch hop has died.
		[ "$mode" = direct ] || client_did_not_say "^body 10485760 "
	done
	# What disc-spoa has completed then has left from here.
	[ "$mode" != direct ] || egress_mark
	site_serves_references
}

@test_each_mode "a client that goes away in the middle of a body leaves the site well" {
	tls_client get:/flask/file/100m send final body:100000 abort
	equal "exit status" "$client_status" 0
	site_serves_references
}

# --- who may refer, and where to ---

# refused REFERENCE: a 502; nothing was asked of any node, and nothing of a node or reference came out.
refused() {
	local before
	before=$(nodes_asked .)
	fetch "$(refer "$1")"
	equal "status for $1" "$status" 502
	equal "requests of the nodes for $1" "$(nodes_asked .)" "$before"
	not grep -q SECRET "$body"
	no_reference
}

@test_each_mode "references that leave the prefix are refused" {
	local reference
	for reference in /secret / /internal /internalx/1 /internal/../secret /internal/./../secret /internal/a/../../secret \
		/internal/../../secret /internal/.. /../internal/../secret /internal/%2e%2e/secret /internal/%2E./secret \
		/internal/.%2e/secret //secret; do
		refused "$reference"
	done
}

@test_each_mode "a prefix without a slash at its end is a whole segment" {
	fetch "/kept$(refer /internalx/1)"
	equal status "$status" 502
	no_reference
	fetch "/kept$(refer /internal/16385)"
	equal status "$status" 200
	body_is 16385
	path_is_as_mode
}

@test_each_mode "references that are no path, or whose path is not what it looks like, are refused" {
	local reference
	for reference in internal/1 ../internal/1 "http://$LAB_ADDRESS:$N1_SERVER/internal/1" https://example.invalid/internal/1 \
		//example.invalid/internal/1 @internal ?/internal/1 '#/internal/1' 'javascript:1' '\internal\1' '/internal/..\secret' \
		/internal/..%2fsecret /internal/%2fsecret /internal/..%5csecret /internal/%00 /internal/1%00.jpg /internal/%0d%0aX:1 \
		/internal/%252e%252e/secret '/internal/1#x' '/internal/a b' $'/internal/a\tb' $'/internal/\x7f' $'/internal/\xc3\xa9' \
		/internal/%zz '*'; do
		refused "$reference"
	done
}

@test_each_mode "references that need normalizing are followed" {
	local reference
	for reference in /internal/./16385 //internal//16385 /internal/x/../16385 /x/../internal/16385 /%69nternal/16385 \
		/internal/%31%36385 '/internal/16385?a=../../b&c=%2e%2e' '/internal/16385?a=1,/internal/1'; do
		refers_well "$reference" 16385
		path_is_as_mode
	done
}

@test_each_mode "a reference with line breaks makes no request and no header" {
	local text
	for text in $'/internal/1\nX-Injected: 1' $'/internal/1\r\nX-Injected: 1' $'/internal/1\rX-Injected: 1'; do
		fetch "$(refer "$text")"
		case $status in
		200) body_is 1 ;;
		*) equal status "$status" 502 ;;
		esac
		equal "requests with the line" "$(nodes_asked 'X-Injected')" 0
	done
	site_serves_references
}

@test_each_mode "of two references the last one counts" {
	fetch "$(refer /internal/16385 reference "add=$(quoted 'X-Accel-Redirect: /secret')")"
	equal status "$status" 502
	not grep -q SECRET "$body"
	no_reference
	fetch "$(refer /internal/../secret reference "add=$(quoted 'X-Accel-Redirect: /internal/1')")"
	equal status "$status" 200
	body_is 1
	no_reference
}

@test_each_mode "a very long reference is followed" {
	local before
	before=$(nodes_asked .)
	fetch "/raw/reference?add=$(printf 'X-Accel-Redirect:%%20/internal/1?%06000d' 0)"
	equal status "$status" 200
	body_is 1
	equal "requests of the nodes" "$(nodes_asked .)" $((before + 1))
}

@test_each_mode "a refused reference is logged, without its query" {
	fetch "$(refer '/internal/../secret?token=1')"
	equal status "$status" 502
	wait_for_line "$LAB/haproxy.log" \
		'disc-redispatch: response from server raw/raw refused: its reference is outside of the prefix: "/internal/\.\./secret" in backend nodes\.'
	not grep token=1 <(grep disc-redispatch: "$LAB/haproxy.log")
}

@test_each_mode "interim responses reach the client, without references" {
	local from version
	for from in "" /untrusted; do for version in --tlsv1.3 "--tlsv1.2 --tls-max 1.2" --http2; do
		fetch "$from$(refer /internal/100k interim)" $version
		equal status "$status" 200
		grep -q '^HTTP/[12.]* 103' "$headers"
		grep -qi '^link: </hint>' "$headers"
		no_reference
		[ -n "$from" ] || body_is 100k
		# On TLS 1.2 the hint has a record that a lease would need.
		[ "$from $version" != " --tlsv1.3" ] || path_is_as_mode
	done; done
}

@test_each_mode "an empty reference is none" {
	fetch '/raw/plain?ref='
	equal status "$status" 200
	equal body "$(<"$body")" plain
	no_reference
}

@test_each_mode "a server without trust: its references are removed, never followed" {
	local before
	before=$(nodes_asked .)
	fetch "/untrusted$(refer /internal/1 plain "add=$(quoted $'Backend-IP: 192.0.2.1\r\nX-Own: own')")"
	equal status "$status" 200
	equal body "$(<"$body")" plain
	equal X-Own "$(header X-Own)" own
	no_reference
	fetch "/untrusted$(refer /internal/../secret)"
	equal status "$status" 200
	[ ! -s "$body" ]
	no_reference
	equal "requests of the nodes" "$(nodes_asked .)" "$before"
}

@test_each_mode "a client that sends a reference changes nothing" {
	fetch /raw/plain -H 'X-Accel-Redirect: /internal/1' -H 'Backend-IP: 192.0.2.1'
	equal body "$(<"$body")" plain
	fetch /internal/16385 -H 'X-Accel-Redirect: /internal/1'
	body_is 16385
}

@test_each_mode "another status with a reference is refused, and one without passes" {
	local text
	for text in '404 Not Found' '302 Found' '500 Oops' '201 Created' '304 Not Modified'; do
		fetch "$(refer /internal/1 reference "status=$(quoted "$text")")"
		equal "status for $text" "$status" 502
		no_reference
		fetch "/raw/reference?status=$(quoted "$text")"
		equal status "$status" "${text%% *}"
	done
}

@test_each_mode "a node that refers elsewhere is not followed: there can be no loop" {
	local before
	before=$(nodes_asked .)
	refers_well '/internal/100k?fake=sends-reference' 100k
	equal "requests of the nodes" "$(nodes_asked .)" $((before + 1))
	path_is_as_mode
}

# --- applications that behave oddly ---

@test_each_mode "a body that comes together with the reference is not for the client" {
	local behaviour
	for behaviour in body body-chunked body-later close; do
		fetch "$(refer /internal/100k "$behaviour")"
		equal "status of $behaviour" "$status" 200
		body_is 100k
		no_reference
		path_is_as_mode
	done
	site_serves_references
}

@test_each_mode "a body that is promised beside the reference and never comes is not waited for" {
	fetch "$(refer /internal/100k unfinished)"
	equal status "$status" 200
	body_is 100k
}

@test_each_mode "an application that answers byte by byte" {
	fetch "$(refer /internal/100k dribble)"
	equal status "$status" 200
	body_is 100k
	path_is_as_mode
}

@test_each_mode "an application that thinks long: no node is asked before it answers" {
	local before asked target client
	before=$(nodes_asked .)
	asked=$(raw_asked /raw/slow)
	target=$(refer /internal/100k slow)
	rm -f "$LAB/release-raw"
	new_id
	curl_site -o "$WORK/slow" -H "X-Id: $id" "$(url "$target")" 3>&- &
	client=$!
	wait_for_line "$LAB/raw.log" /raw/slow $((asked + 1))
	equal "requests of the nodes" "$(nodes_asked .)" "$before"
	touch "$LAB/release-raw"
	wait "$client"
	cmp "$WORK/slow" "$SUITE/www/100k"
	path_is_as_mode
}

@test_each_mode "an application that answers before it has read the request's body" {
	# What fits the buffers is received in time; of the rest the client hears a 502, and is never answered twice or wrongly.
	fetch "$(refer /internal/100k early)" --data-binary "@$SUITE/www/1"
	case $status in
	200) body_is 100k ;;
	*) equal status "$status" 502 ;;
	esac
	no_reference
	fetch "$(refer /internal/100k early)" -H 'Expect:' --data-binary "@$SUITE/www/100m" || :
	case $status in
	200) body_is 100k ;;
	000) ;; # the connection was closed under the upload
	*) equal status "$status" 502 ;;
	esac
	site_serves_references
}

# --- connections ---

@test_each_mode "redispatched, plain and offloaded responses take turns on one connection" {
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

@test_each_mode "a redispatch is no retry, and nothing counts it as one" {
	fetch "$(refer /internal/100k)"
	equal retries "$(logged retries)" 0
	equal status "$(logged status)" 200
	[ "$(logged bytes)" -ge 102400 ]
	[ "$(logged bytes)" -le 104448 ]
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

@test_each_mode "a client that goes away while the application thinks" {
	local asked
	asked=$(raw_asked /raw/slow)
	rm -f "$LAB/release-raw"
	tls_client_in_background "get:$(refer /internal/100k slow)" send "wait:$WORK/go" abort
	wait_for_line "$LAB/raw.log" /raw/slow $((asked + 1))
	touch "$WORK/go"
	tls_client_wait
	touch "$LAB/release-raw"
	site_serves_references
}

@test_each_mode "a middle tier that dies is an error, and served again when it is back" {
	process_stop middle KILL
	fetch /flask/file/100k
	equal status "$status" 503
	process_start middle "$DISC_BIN_HAPROXY" -db -f "$APPS/middle.cfg"
	process_ready middle port_open "$MIDDLE_PORT"
	site_serves_references
}

# --- the original study's headers ---

# study_owner PORT: from the machine at that port.
study_from() {
	fetch "/internal/study/100k?port=$1"
	equal status "$status" 200
	body_is 100k
	equal X-Application "$(header X-Application)" study
	equal Content-Type "$(header Content-Type)" application/x-study
	no_reference
	path_is_as_mode
}

@test_each_mode "the study's headers: address and port choose the node, the path is the request's" {
	local i
	for i in 1 2 3; do
		study_from "$N1_SERVER"
		equal server "$(logged server)" n1
		study_from "$N2_SERVER"
		equal server "$(logged server)" n2
	done
}

@test_each_mode "the study's headers: what is malformed or no configured server is refused" {
	local query before
	before=$(nodes_asked .)
	for query in port=1 port=0 port=-1 port= "port=0$N1_SERVER" port=x "port=$N1_SERVER%20" ip=192.0.2.1 ip= ip=localhost \
		"ip=$LAB_ADDRESS:$N1_SERVER" length= length=-1 length=x length=1%2c1; do
		fetch "/internal/study/100k?$query"
		equal "status for $query" "$status" 502
		no_reference
	done
	equal "requests of the nodes" "$(nodes_asked .)" "$before"
	study_from "$N1_SERVER"
}

# --- afterwards ---

# sessions_left: of servers and backends, current sessions and queue.
sessions_left() {
	haproxy_cli 'show stat' | awk -F , '$1 ~ /^(flask|raw|single|kept|untrusted|study|ruled|nodes)$/ && $3 + $5 > 0 { print $1 "/" $2 ": " $5 }'
}

nothing_left() {
	[ -z "$(sessions_left)" ]
}

@test_each_mode "no server or backend still counts a session" {
	wait_until nothing_left || { sessions_left; return 1; }
}
