# SPDX-License-Identifier: GPL-2.0-or-later
# With "retries 0" a request whose offload fails is still served: it left because of DiSC, so sending it again without a
# ticket is no retry. Guards a division by zero with "option redispatch", too.
# shellcheck shell=bash

load "$E2E_DIR/helper"

setup_file() {
	lab_start fake=1 retries=0 redispatch=-1
}

teardown_file() {
	lab_stop
}

# served_in_spite_of FAULT REASON
served_in_spite_of() {
	fetch "/100k?fake=$1"
	equal status "$status" 200
	body_is 100k
	path_is proxy
	reason_is "$2"
	# HAProxy writes "+" when another server was chosen.
	equal retries "$(logged retries)" +0
	fetch /100k
	body_is 100k
	path_is "$mode"
}

@test_each_path "a wrong announcement" {
	served_in_spite_of wrong-seq bad-seq
}

@test_each_path "a node that dies before its headers" {
	served_in_spite_of offload-dies-before-headers retry
}
