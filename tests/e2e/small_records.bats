# SPDX-License-Identifier: GPL-2.0-or-later
# Small records: HAProxy's tune.ssl.maxrecord, and clients that ask for short ones (RFC 6066 4). Headers in several
# records would shift the sequence numbers under the node's.
# shellcheck shell=bash

load "$E2E_DIR/helper"

setup_file() {
	lab_start fake=1 maxrecord=1400
}

teardown_file() {
	lab_stop
}

# mixed [OPTION]...: short and long headers, before and after HAProxy's own answers, on one connection.
mixed() {
	tls_client "$@" get:/100k?first send response 'get:/100k?fake=long-headers' send response 'get:/1?answer=haproxy' send \
		response 'get:/10m?fake=long-headers' send response get:/16385 send response
	equal "exit status" "$client_status" 0
	equal "whole bodies" "$(grep -c "^body 102400 $(sum_of 100k)$" "$WORK/client")" 2
	client_said "^body 10485760 $(sum_of 10m)$"
	client_said "^body 16385 $(sum_of 16385)$"
}

@test_each_mode "tune.ssl.maxrecord below the size of the headers" {
	mixed
	mixed --tls12
	path_is_as_mode "$id .*first"
}

@test_each_mode "a client that asks for short records never gets long ones" {
	local code
	for code in 1 4; do
		mixed --fragment $code
		mixed --tls12 --fragment $code
		path_is proxy "$id .*first"
		[ "$mode" = plain ] || reason_is suite "$id .*first"
	done
}
