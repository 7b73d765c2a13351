# SPDX-License-Identifier: GPL-2.0-or-later
# haproxy.cfg with config/middle-tier.cfg: an application that refers to bodies, beside everything else.
# shellcheck shell=bash

load "$E2E_DIR/helper"
# shellcheck source-path=SCRIPTDIR
source "$E2E_DIR/middle_tier.bash"

setup_file() {
	lab_prepare config="$ROOT/haproxy.cfg+$ROOT/config/middle-tier.cfg" splice_min=65536
	apps_prepare
	mkdir "$LAB/www/public"
	ln "$SUITE/www/100k" "$LAB/www/public/"
	export DISC_APPLICATION=$MIDDLE_BIND DISC_APPLICATION_PATH=/flask/ DISC_SHORT=65536 DISC_SHORT_H2=65536
	node_start n1
	node_start n2
	apps_start
	spoa_start
	haproxy_start
	nodes_alive
}

teardown_file() {
	lab_stop
}

# logged_as TARGET REGEX: HAProxy's line of it; these files capture no X-Id.
logged_as() {
	wait_for_line "$LAB/haproxy.log" "\"[A-Z]+ [^ ]*$1 HTTP[^\"]*\" .*$2"
}

@test "haproxy -c accepts both without a warning" {
	run "$DISC_BIN_HAPROXY" -c -f "$ROOT/haproxy.cfg" -f "$ROOT/config/middle-tier.cfg"
	equal "exit status" "$status" 0
	not grep -E 'WARNING|ALERT' <<<"$output"
}

@test "the application's body comes from a node, as records" {
	local version
	mode=splice
	for version in --tlsv1.3 "--tlsv1.2 --tls-max 1.2"; do
		fetch "/flask/file/10m?${version##* }" $version
		equal status "$status" 200
		body_is 10m
		equal X-Application "$(header X-Application)" flask
		no_disc_header
		logged_as "/flask/file/10m\\?${version##* }" 'path=splice node=n[12] records=640 reason=-'
	done
}

@test "what HAProxy proxies by itself comes from the node that disc-spoa would choose" {
	mode=splice
	local name node
	for name in 100k 10m; do
		fetch "/flask/file/$name?records"
		body_is "$name"
		logged_as "/flask/file/$name\\?records" 'path=splice node=n[12] '
		node=$(grep -F "/flask/file/$name?records" "$LAB/haproxy.log" | sed -n 's/.* node=\(n[12]\) .*/\1/p')
		fetch "/flask/file/$name?proxied" --http2 --tlsv1.2 --tls-max 1.2
		body_is "$name"
		wait_for_line "$LAB/haproxy.log" " bodies/$node .*/flask/file/$name\\?proxied HTTP/2"
	done
}

# leases: how many HAProxy has taken so far.
leases() {
	haproxy_cli 'show disc' | sed -n 's/^leases: //p'
}

@test "a short body that the application refers to is asked about once" {
	local before i
	mode=splice
	before=$(leases)
	for i in 1 2 3; do
		fetch "/flask/file/16384"
		equal status "$status" 200
		body_is 16384
		equal X-Application "$(header X-Application)" flask
		equal "leases after $i" $(($(leases) - before)) 1
	done
	fetch /flask/file/100k
	logged_as /flask/file/100k 'path=splice .*reason=-'
}

@test "an ordinary page of the application, a POST, HTTP/2, and a file without application" {
	mode=splice
	fetch /flask/page
	equal body "$(<"$body")" "a small page"
	fetch '/flask/report/100k' --data-binary hello
	body_is 100k
	logged_as /flask/report/100k 'path=splice .*reason=-'
	fetch '/flask/file/100k?h2' --http2
	body_is 100k
	logged_as '/flask/file/100k\?h2' 'path=splice .*reason=-'
	fetch /public/100k
	body_is 100k
	logged_as /public/100k 'path=splice .*reason=-'
}

# By any name that a node would take for it.
@test "what only the application gives away is refused to clients, however they spell it" {
	local path
	for path in /internal/100k //internal/100k /./internal/100k /public/../internal/100k /public/%2e%2e/internal/100k /%69nternal/100k \
		/internal%2f100k /%2finternal/100k /internal//100k /internal/./100k '/internal/100k?x' /public/..%2finternal%2f100k; do
		fetch "$path" --path-as-is
		equal "status for $path" "$status" 404
		at_most "bytes of the body" "$(stat -c %s "$body")" 999
	done
	fetch //internal/100k --path-as-is --http2
	equal status "$status" 404
	fetch / --request-target "https://$(site):$SITE_PORT/x/../internal/100k"
	equal status "$status" 404
	for path in /%zz/../%69nternal/100k /internal%/100k /%; do
		fetch "$path" --path-as-is
		equal "status for $path" "$status" 400
	done
}

@test "the application is sent no ticket, and its path takes no lease before it answers" {
	mode=splice
	fetch /flask/page?lease
	logged_as '/flask/page\?lease' 'path=proxy .*reason=not-asked'
}

@test "a reference that leaves the prefix is refused" {
	mode=splice
	fetch '/flask/file/..%252fsecret'
	[[ $status == 404 || $status == 502 ]]
	not grep -q SECRET "$body"
}
