# SPDX-License-Identifier: GPL-2.0-or-later
# One large body, streamed. Of 1 GiB: sequence numbers over 65535, accounting over 32 bits of ciphertext.
# flavours: asan recorder
# long: a body of 1 GiB on each path (100 MB)
# shellcheck shell=bash

load "$E2E_DIR/helper"

setup_file() {
	lab_start
}

teardown_file() {
	lab_stop
}

large_body_arrives() {
	local name
	name=$(long 100m 1g)
	new_id
	equal SHA-256 "$(curl_site -H "X-Id: $id" "$@" "$(url "/$name")" | sha256sum | cut -d' ' -f1)" "$(sum_of "$name")"
	path_is_as_mode
}

@test_each_mode "a large body over TLS 1.3" {
	large_body_arrives --tlsv1.3
}

@test_each_mode "a large body over TLS 1.2" {
	large_body_arrives --tlsv1.2 --tls-max 1.2
}
