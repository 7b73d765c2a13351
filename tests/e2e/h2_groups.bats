# SPDX-License-Identifier: GPL-2.0-or-later
# The keys of an HTTP/2 connection go to nodes of one trust group, however close its first requests are.
# flavours: asan recorder
# shellcheck shell=bash

load "$E2E_DIR/helper"

setup_file() {
	lab_start routes='
pool "inner" {
	nodes = { "n2" }
	trust-group = "inner"
}
route "inner" {
	path-prefix = { "/2m" }
	action = "offload"
	path = "splice"
	pool = "inner"
}
route "outer" {
	path-prefix = { "/100k" }
	action = "offload"
	path = "splice"
	pool = "n1-only"
}'
}

teardown_file() {
	lab_stop
}

@test_h2 "requests that come together for pools of two trust groups: only one group gets the connection's keys" {
	local i
	for ((i = 0; i < 10; i++)); do
		h2_client get:/100k get:/2m get:/100k get:/2m all
		equal "exit status" "$client_status" 0
	done
	local told
	told=$(grep -c "agent=group " "$LAB/haproxy.log" || :)
	equal "requests of the other group that were passed by the agent" "$told" "$([ "$mode" = plain ] && echo 0 || echo 20)"
}
