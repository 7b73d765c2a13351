# SPDX-License-Identifier: GPL-2.0-or-later
# Who may refer to final data, and to what: hostile references, servers without trust, the original study's headers.
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
		/internal/..%2fsecret /internal/x%2f..%2f..%2fsecret /internal/..%5csecret /internal/%00 /internal/1%00.jpg /internal/%0d%0aX:1 \
		/internal/x%2f../..%2f../secret '/internal/1#x' '/internal/a b' $'/internal/a\tb' $'/internal/\x7f' $'/internal/\xc3\xa9' \
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

@test_each_mode "a reference is decoded once: a percent sign in a name, and what would be something else if decoded twice" {
	local name reference
	for name in '100% real.pdf' '%2e%2e' '100%25'; do
		ln -f "$SUITE/www/16385" "$LAB/www/internal/$name"
	done
	for reference in /internal/100%25%20real.pdf /internal/%252e%252e /internal/%25%32%65%25%32%65 /internal/100%2525; do
		refers_well "$reference" 16385
		path_is_as_mode
	done
	# No file has a slash in its name: a node with files does not know these.
	for reference in /internal/%2f16385 /internal/study%2f16385 /internal/%252e%252e/secret /internal/%2fsecret; do
		fetch "$(refer "$reference")"
		equal "status for $reference" "$status" 404
		not grep -q SECRET "$body"
		no_reference
	done
}

# nothing_inside: no header leads the client to what only applications may give away.
nothing_inside() {
	no_reference
	not grep -iE '^(location|content-location|refresh|link|sourcemap):' "$headers"
	not grep -i 'internal/' "$headers"
}

@test_each_mode "a reference to a folder: its index, or an error, never a redirect to where clients may not go" {
	mkdir -p "$LAB/www/internal/empty" "$LAB/www/internal/folder/sub"
	ln -f "$SUITE/www/16385" "$LAB/www/internal/folder/index.html"
	refers_well /internal/folder/ 16385
	nothing_inside
	path_is_as_mode
	local reference
	for reference in /internal/folder /internal/folder/sub '/internal/folder?token=1' /internal/x/../folder; do
		fetch "$(refer "$reference")"
		equal "status for $reference" "$status" 502
		nothing_inside
	done
	wait_for_line "$LAB/haproxy.log" \
		'disc-follow: response from server nodes/n[12] refused: it redirects to a location of its own: "/internal/folder/" in backend nodes\.'
	not grep token=1 <(grep disc-follow: "$LAB/haproxy.log")
	fetch "$(refer /internal/empty/)"
	equal status "$status" 403
	nothing_inside
	# And the connection serves on.
	site_serves_references
}

@test_each_mode "of a node's other fields none leads there: they are removed, of an interim response too" {
	fetch "$(refer '/internal/100k?fake=tells-locations' reference "add=$(quoted 'Content-Location: /internal/100k')")"
	equal status "$status" 200
	body_is 100k
	one_is X-Node node
	nothing_inside
	path_is_as_mode
	fetch "$(refer '/internal/100k?fake=tells-locations-early')"
	equal status "$status" 200
	body_is 100k
	one_is X-Early node
	nothing_inside
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
		'disc-follow: response from server raw/raw refused: its reference is outside of the prefix: "/internal/\.\./secret" in backend nodes\.'
	not grep token=1 <(grep disc-follow: "$LAB/haproxy.log")
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
	[ ! -s "$body" ] || not_seen "an empty body" "bytes"
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

@test_each_mode "no server or backend still counts a session" {
	wait_until nothing_left || { sessions_left; return 1; }
}
