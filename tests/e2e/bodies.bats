# SPDX-License-Identifier: GPL-2.0-or-later
# Bodies of all sizes around the record's, in each suite, arrive intact on the path that the mode promises.
# shellcheck shell=bash

load "$E2E_DIR/helper"

setup_file() {
	lab_start
}

teardown_file() {
	lab_stop
}

@test_each_mode "a body of 1 byte" {
	body_arrives 1
}

@test_each_mode "a body of 16383 bytes, one short of a record" {
	body_arrives 16383
}

@test_each_mode "a body of 16384 bytes, exactly one record" {
	body_arrives 16384
}

@test_each_mode "a body of 16385 bytes, one more than a record" {
	body_arrives 16385
}

body_arrives() {
	local name=$1
	shift
	fetch "/$name" "$@"
	equal status "$status" 200
	body_is "$name"
	equal Content-Length "$(header Content-Length)" "$(stat -c %s "$SUITE/www/$name")"
	no_disc_header
	path_is_as_mode
}
