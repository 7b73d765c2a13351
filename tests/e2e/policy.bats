# SPDX-License-Identifier: GPL-2.0-or-later
# What routes can ask for and nodes can be limited to, as HAProxy and disc-spoa understand each other.
# shellcheck shell=bash

load "$E2E_DIR/helper"

setup_file() {
	# With hosts of its own the lab's direct section has it.
	# shellcheck disable=SC2016,SC2034
	[ -n "${lab_network:-}" ] && POLICY_ADMIN='' || POLICY_ADMIN='admin { listen = "@LAB_ADDRESS@:@SPOA_ADMIN@" }'
	lab_start agent_config=policy.conf.in \
		arguments='sni=ssl_fc_sni hdr_x_class=req.hdr(x-class) hdr_range=req.hdr(range) half=url_param(half),bool'
}

teardown_file() {
	lab_stop
}

@test_each_path "a route by a field of the request" {
	local class
	for class in internal trial-7; do
		fetch /100k -H "X-Class: $class"
		body_is 100k
		path_is proxy
		reason_is policy
	done
	# Both of its criteria must hold.
	fetch /100k -H "X-Class: internal" -r 0-
	body_is 100k
	path_is_as_mode
	for class in Internal internal2 trial; do
		fetch /100k -H "X-Class: $class"
		path_is_as_mode
	done
	fetch /100k -H "X-Class: a PreMium customer"
	body_is 100k
	path_is_as_mode
	equal server "$(logged server)" n2
}

@test_each_path "a route by the name in the TLS handshake" {
	local name
	for name in secret.lab.test SECRET.lab.test; do
		new_id
		headers=$WORK/headers body=$WORK/body
		# The name in the handshake is the URL's, the request's is another one.
		curl_site -D "$headers" -o "$body" -H "X-Id: $id" -H "Host: $(site)" "https://$name:$SITE_PORT/100k"
		body_is 100k
		path_is proxy
		reason_is policy
	done
	fetch /100k
	path_is_as_mode
}

@test_each_path "an argument that HAProxy does not send is told once, and its route matches nothing" {
	fetch /100k
	path_is_as_mode
	wait_for_line "$LAB/disc-spoa.log" '^<4>route misspelt asks for the argument "hdr_unheard_of", which HAProxy.s message does not have'
	equal "lines about it" "$(grep -c 'asks for the argument' "$LAB/disc-spoa.log")" 1
}

@test_each_path "a share of objects: all ranges of one go one way" {
	local i range proxied=0 first
	for i in 1 2 3 4 5 6 7 8 9 10; do
		first=
		for range in 0-16383 16384-40000 50000-; do
			# By the path alone, whatever else the query says.
			fetch "/100k-$i?path=/100k&half=1&signature=$range" -r "$range"
			equal status "$status" 206
			if [ -z "$first" ]; then
				[[ $(log_line) != *" path=proxy "* ]] && first=$mode || first=proxy
			fi
			path_is "$first"
		done
		[ "$first" = proxy ] || continue
		reason_is rollout
		proxied=$((proxied + 1))
	done
	at_least "objects that were proxied" "$proxied" 1
	at_most "objects that were proxied" "$proxied" 9
}

# in_background FILE: a client that reads the beginning and then waits until release.
in_background() {
	local waits=$WORK/release
	(
		tls_client_in_background get:/100m send final body:1000 "touch:$WORK/$1" "wait:$waits" abort
		wait "$client_pid"
	) 3>&- &
	waiting+=($!)
	wait_until test -e "$WORK/$1"
}

# metric_is VALUE NAME
metric_is() {
	[ "$(metric_at "$LAB_ADDRESS:$SPOA_ADMIN" "$2")" = "$1" ]
}

@test_each_path "a node with max-offloads spills over to the next, and beyond the last one requests pass" {
	local waiting=() first other spills
	wait_until metric_is 0 'disc_spoa_node_active_offloads{node="n1"}'
	wait_until metric_is 0 'disc_spoa_node_active_offloads{node="n2"}'
	fetch /100m -r 0-100000
	path_is_as_mode
	first=$(logged server)
	other=n$((3 - ${first#n}))
	wait_until metric_is 0 "disc_spoa_node_active_offloads{node=\"$first\"}"
	spills=$(metric_at "$LAB_ADDRESS:$SPOA_ADMIN" "disc_spoa_node_spills_total{node=\"$first\"}")
	in_background one
	fetch /100m -r 0-100000
	path_is_as_mode
	equal "server of the second" "$(logged server)" "$other"
	wait_until metric_is 0 "disc_spoa_node_active_offloads{node=\"$other\"}"
	in_background two
	fetch /100m -r 0-100000
	path_is proxy
	reason_is full
	metric_is $((spills + 3)) "disc_spoa_node_spills_total{node=\"$first\"}"
	touch "$WORK/release"
	wait "${waiting[@]}" || :
	wait_until metric_is 0 "disc_spoa_node_active_offloads{node=\"$first\"}"
	fetch /100m -r 0-100000
	path_is_as_mode
	equal "server of the last" "$(logged server)" "$first"
}

# explained REQUEST [NAME=VALUE]...: by the running agent, in $said.
explained() {
	local arguments=() i
	for i in "request=$1" client=192.0.2.7 "${@:2}"; do
		arguments+=(--data-urlencode "$i")
	done
	said=$(on lb timeout 10 curl -sS -G "${arguments[@]}" "http://$LAB_ADDRESS:$SPOA_ADMIN/explain")
}

# says LINE: it is one of the explanation's.
says() {
	grep -qF -- "$1" <<<"$said" || not_seen "$1" "$said"
}

# foretells REQUEST [NAME=VALUE]...: what the running agent, and the program by its file, explain of a request is what HAProxy logged
# of the last one.
foretells() {
	local node=- logged_of_it
	[ "$(logged path)" = proxy ] || node=$(logged server)
	logged_of_it="HAProxy would log: path=$(logged path) node=$node reason=$(logged reason)"
	explained "$@"
	says "$logged_of_it"
	said=$("$DISC_BIN_SPOA" -c "$LAB/disc-spoa.conf" -e "$1" client=192.0.2.7 "${@:2}")
	says "$logged_of_it"
}

@test_each_path "an explanation says what HAProxy then logs, by the file and by the running agent" {
	local said node other
	fetch /100k -H "X-Class: internal"
	foretells "GET $(url /100k)" hdr_x_class=internal
	says 'yes argument "hdr_x_class": it is "internal"'
	fetch /100k -H "X-Class: internal" -r 0-
	foretells "GET $(url /100k)" hdr_x_class=internal hdr_range=bytes=0-
	says 'no  argument "hdr_range": it is "bytes=0-", the route wants that it is absent'
	fetch /10m
	foretells "GET $(url /10m)"
	fetch /10m --http2
	foretells "GET $(url /10m)" proto=h2
	fetch /10m --http2 --tlsv1.2 --tls-max 1.2
	foretells "GET $(url /10m)" proto=h2 tls=1.2
	explained 'no URL'
	says '"URL" is no URL that begins with https:// or http://'

	# What only the running agent knows.
	fetch /10m
	node=$(logged server) other=n$((3 - ${node#n}))
	process_stop "$node" KILL
	wait_until agent_says "$node" down
	explained "GET $(url /10m)"
	says "no  $node: it is down"
	says "path=$mode node=$other reason=-"
	node_start "$node"
	nodes_alive
	explained "GET $(url /10m)"
	says "path=$mode node=$node reason=-"
}
