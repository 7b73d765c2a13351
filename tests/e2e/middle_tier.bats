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
