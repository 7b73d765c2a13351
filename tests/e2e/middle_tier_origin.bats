# SPDX-License-Identifier: GPL-2.0-or-later
# References to bodies of an existing HTTP server, nginx here, behind the nodes: it decodes them, and it redirects by itself.
# shellcheck shell=bash

load "$E2E_DIR/helper"
# shellcheck source-path=SCRIPTDIR
source "$E2E_DIR/middle_tier.bash"
# shellcheck source-path=SCRIPTDIR
source "$E2E_DIR/origin.bash"

setup_file() {
	lab_prepare config=middle_tier.cfg
	apps_prepare
	origin_start
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

@test_each_mode "keys with encoded slashes and percent signs are the origin's to decode" {
	local reference
	for reference in /internal/100k /internal/v1%2F100k /internal/v1%2f%31%300k; do
		refers_well "$reference" 100k
		equal X-Origin "$(header X-Origin)" nginx
		path_is_as_mode
	done
	fetch "$(refer /internal/100%25%20real.pdf)"
	equal status "$status" 404
	wait_for_line "$LAB/origin-access.log" ' GET /internal/100%25%20real\.pdf 404 '
}

@test_each_mode "a redirect of the origin's does not reach the client" {
	local reference
	# nginx says "http://HOST/PATH/", or "/elsewhere" of its own; "/moved" has neither prefix nor folder in it.
	for reference in /internal/folder '/internal/moved?token=1'; do
		fetch "$(refer "$reference")"
		equal "status for $reference" "$status" 502
		not grep -i '^location:' "$headers"
		not grep -q nginx "$body"
	done
	wait_for_line "$LAB/haproxy.log" 'disc-follow: response from server nodes/n[12] refused: it redirects to a location of its own: "[^"]*/elsewhere" in'
	# Clients of the origin's own are redirected as before.
	fetch /moved
	equal status "$status" 302
	[[ $(header Location) == */elsewhere ]]
}

@test_each_mode "the origin does not judge the conditions of a POST" {
	fetch "$(refer /internal/100k)" -H 'If-None-Match: *' -H 'Range: bytes=0-9' --data-binary hello
	equal status "$status" 200
	body_is 100k
	fetch "$(refer /internal/100k)" -r 0-9
	equal status "$status" 206
}
