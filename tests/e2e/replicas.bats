# SPDX-License-Identifier: GPL-2.0-or-later
# Replicas whose files' times differ have different ETags: all of a download comes from one of them, whichever way each part goes.
# shellcheck shell=bash

load "$E2E_DIR/helper"
# shellcheck source-path=SCRIPTDIR
source "$E2E_DIR/middle_tier.bash"

# Instead of the lab's own: each node has copies of its own.
node_config() {
	local fetch=${1^^}_FETCH control=${1^^}_CONTROL certificate=${1^^}_CERTIFICATE address=${1^^}_ADDRESS
	NODE_ADDRESS=${!address} FETCH=${!fetch} CONTROL=${!control} CERTIFICATE=${!certificate} template "$E2E_DIR/disc-backend.conf.in" |
		sed "s|^files .*|files { root = \"$LAB/www-$1\" }|"
}

setup_file() {
	local node name
	lab_prepare config=middle_tier.cfg hash=1
	apps_prepare
	for node in n1 n2; do
		mkdir -p "$LAB/www-$node/internal"
		for name in 1 2 3 4; do
			cp "$SUITE/www/100k" "$LAB/www-$node/internal/$name"
			touch -d "2026-01-0${node#n} 00:00:00.123456789" "$LAB/www-$node/internal/$name"
		done
		node_start "$node"
	done
	apps_start
	spoa_start
	haproxy_start
	nodes_alive
}

teardown_file() {
	lab_stop
}

# etags TARGET [CURL ARGUMENT]...: of its parts, of which HAProxy proxies some by itself and others are records.
etags() {
	fetch "$@"
	equal status "$status" 200
	body_is 100k
	path_is_as_mode
	header ETag
	fetch "$@" -r 30000-69999
	equal status "$status" 206
	cmp "$body" <(tail -c +30001 "$SUITE/www/100k" | head -c 40000)
	path_is_as_mode
	header ETag
	fetch "$@" -r 70000- --http2
	equal status "$status" 206
	cmp "$body" <(tail -c +70001 "$SUITE/www/100k")
	if [ "$mode" = plain ]; then path_is proxy; else path_is splice; fi
	header ETag
}

# one_etag NAME...: each of these files has one, whatever asks for it. Sets $all to those of all files, one a line.
one_etag() {
	local name target
	all=
	for name; do
		for target in "/internal/$name" "$(refer "/internal/$name")"; do
			etags "$target" >"$WORK/etags"
			sort -u "$WORK/etags" >>"$WORK/etags-of-$name"
		done
		sort -u -o "$WORK/etags-of-$name" "$WORK/etags-of-$name"
		equal "ETags of $name" "$(wc -l <"$WORK/etags-of-$name")" 1
		all+="${all:+$'\n'}$(<"$WORK/etags-of-$name")"
	done
	rm "$WORK/etags-of-"*
}

@test_each_mode "whole, by ranges, referred to, over HTTP/2 and as records: one ETag a file, and both nodes have files" {
	one_etag 1 2 3 4
	# Of size, time and name the time is the second part.
	equal "nodes that answer" "$(cut -d- -f2 <<<"$all" | sort -u | wc -l)" 2
}

@test_each_mode "when a node has died, and when it is back" {
	local before
	one_etag 1 2
	before=$all
	process_stop n2 KILL
	wait_until agent_says n2 down
	one_etag 1 2
	equal "nodes that answer" "$(cut -d- -f2 <<<"$all" | sort -u | wc -l)" 1
	node_start n2
	nodes_alive
	one_etag 1 2
	equal "ETags" "$all" "$before"
}
