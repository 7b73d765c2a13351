# SPDX-License-Identifier: GPL-2.0-or-later
# One body of 1 GiB, streamed: sequence numbers over 65535, accounting over 32 bits of ciphertext.
# shellcheck shell=bash

load "$E2E_DIR/helper"
source "$E2E_DIR/setup_suite.bash"

setup_file() {
	make_file 1g 1073741824
	lab_start
}

teardown_file() {
	rm "$SUITE/www/1g"
	lab_stop
}

gibibyte_arrives() {
	new_id
	equal SHA-256 "$(curl_site -H "X-Id: $id" "$@" "$(url /1g)" | sha256sum | cut -d' ' -f1)" "$(sum_of 1g)"
	path_is_as_mode
}

@test_each_mode "a body of 1 GiB over TLS 1.3" {
	gibibyte_arrives --tlsv1.3
}

@test_each_mode "a body of 1 GiB over TLS 1.2" {
	gibibyte_arrives --tlsv1.2 --tls-max 1.2
}
