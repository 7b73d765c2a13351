# SPDX-License-Identifier: GPL-2.0-or-later
# HAProxy's tune.ssl.hard-maxrecord is a limit for clients that cannot take longer records. Nodes seal records of 16 KB, so there is no
# lease then. Guards against records that are longer than the limit.
# shellcheck shell=bash

load "$E2E_DIR/helper"

setup_file() {
	lab_start hard_maxrecord=1400
}

teardown_file() {
	lab_stop
}

# longest_record OPTION...: the client gets /100k; sets $longest to the length of the longest record that it got, in bytes.
longest_record() {
	new_id
	printf 'GET /100k HTTP/1.1\r\nHost: %s\r\nX-Id: %s\r\nConnection: close\r\n\r\n' "$(site)" "$id" >"$WORK/request"
	on client timeout 60 openssl s_client "$@" -connect "$LAB_ADDRESS:$SITE_PORT" -servername "$(site)" -msg -quiet -ign_eof \
		<"$WORK/request" >"$WORK/records" 2>&1 || :
	longest=$(grep -a -A1 '^<<< .*RecordHeader' "$WORK/records" | sed -nE 's/^ +17 03 03 (..) (..)$/0x\1\2/p' |
		while read -r length; do echo $((length)); done | sort -n | tail -n 1)
	at_least "length of a record" "${longest:-0}" 1000
}

@test_each_mode "tune.ssl.hard-maxrecord holds for every record, and the log says why there is no lease" {
	local version
	for version in -tls1_3 -tls1_2; do
		longest_record $version
		at_most "length of the longest record with $version" "$longest" 1432
		path_is proxy
		[ "$mode" = plain ] || reason_is maxrecord
		[ "$mode" = plain ] || equal lease "$(logged lease)" -
	done
}

@test_each_mode "bodies are whole with tune.ssl.hard-maxrecord" {
	fetch /100k
	equal status "$status" 200
	body_is 100k
	path_is proxy
}
