# SPDX-License-Identifier: GPL-2.0-or-later
# A file that is written while a client downloads it. Without a lease the client gets the announced bytes. Under a lease the transfer
# breaks off, visibly, because a slot is never sealed with other bytes; the path is not offloaded for a while then, so that the client's
# next attempt succeeds while the file is still being written.
# shellcheck shell=bash

load "$E2E_DIR/helper"

setup_file() {
	lab_start
}

teardown_file() {
	lab_stop
}

# More than what sockets and pipes hold between node and client.
CHANGING_BYTES=25165824

# make_changing NAME: such a file, which was written long ago.
make_changing() {
	head -c "$CHANGING_BYTES" "$SUITE/www/100m" >"$SUITE/www/$1"
	touch -d '2001-02-03 04:05:06.789' "$SUITE/www/$1"
}

# read_while NAME COMMAND...: a client downloads it slowly, and COMMAND changes it in the middle.
read_while() {
	local name=$1
	shift
	rm -f "$WORK/reading" "$WORK/go"
	announced=$(stat -c %s "$SUITE/www/$name")
	sum=$(sha256sum <"$SUITE/www/$name" | cut -d' ' -f1)
	tls_client_in_background "get:/$name" send final body:300000 "touch:$WORK/reading" "wait:$WORK/go" rest
	wait_until test -e "$WORK/reading"
	"$@"
	touch "$WORK/go"
	tls_client_wait
}

append() {
	head -c 100000 "$SUITE/www/twin-100m" >>"$SUITE/www/$1"
}

# whole: the client has what was announced.
whole() {
	client_said "^body $announced $sum\$"
}

agent_heard_of() {
	grep -q "the file /$1 changed during its transfer" "$LAB/disc-spoa.log"
}

# survives NAME COMMAND...: COMMAND changes that file, again and again.
survives() {
	local name=$1
	make_changing "$name"
	read_while "$@"
	if [ "$mode" = plain ]; then
		whole
	else
		path_is_as_mode
		client_did_not_say '^body '
		client_said '^cut [0-9]+ of [0-9]+ [0-9a-f]+ (unclean|reset)$'
		wait_until agent_heard_of "$name"
		read_while "$@"
		whole
		path_is proxy
		reason_is changing
	fi
	fetch /100k
	body_is 100k
	path_is_as_mode
	rm "$SUITE/www/$name"
}

@test_each_mode "a file that grows" {
	survives "growing-$mode" append "growing-$mode"
}

@test_each_mode "a file that is touched" {
	survives "touched-$mode" touch "$SUITE/www/touched-$mode"
}

@test_each_mode "a file that shrinks: what is missing is visibly missing" {
	local name=shrinking-$mode
	make_changing "$name"
	read_while "$name" truncate -s 1000000 "$SUITE/www/$name"
	client_did_not_say '^body '
	client_said '^cut [0-9]+ of '
	rm "$SUITE/www/$name"
}
