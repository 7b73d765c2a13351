# SPDX-License-Identifier: GPL-2.0-or-later
# Somebody who can listen on the fetch hop and connect to a node spoils offloads and gains nothing else: a ticket that another fetch
# has used brings no promise that nothing was sealed, so that HAProxy never uses the lease's keys and nonces again.
#
# tests/lab/fake_node stands where the attacker does: "?fake=NAME" chooses what is done with HAProxy's ticket before its request
# reaches the node.
# shellcheck shell=bash
# not direct: the attacker answers before the body could be prepared.

load "$E2E_DIR/helper"

setup_file() {
	lab_start fake=1
}

teardown_file() {
	lab_stop
}

# attacked NAME: good requests follow on the connection; whatever they seal, nothing was sealed there before.
attacked() {
	local name=$1 version connection
	for version in "" --tls12; do
		tls_client $version "get:/100k?fake=$name" send response get:/16385 send response get:/100k send response
		cat "$WORK/client.errors"
		seals_checked
		equal "exit status" "$client_status" 0
		client_said "^body 102400 $(sum_of 100k)$"
		client_said "^body 16385 $(sum_of 16385)$"
		connection=$id
		fake_saw " fake=$name "
		path_is proxy "$connection .*fake=$name"
		reason_is unannounced "$connection .*fake=$name"
	done
	site_serves
	path_is splice
}

@test_each_path "a ticket that is stolen: what was sealed with it is never sealed over" {
	attacked steals-ticket
}

@test_each_path "a ticket that is spoilt: the request is served, the lease is not used again" {
	attacked spoils-ticket
}
