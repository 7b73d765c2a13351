# SPDX-License-Identifier: GPL-2.0-or-later
# Final data that an application refers to, when something breaks: nodes that fail once the application has answered, applications
# that behave oddly, tiers and clients that go away.
# shellcheck shell=bash

load "$E2E_DIR/helper"
# shellcheck source-path=SCRIPTDIR
source "$E2E_DIR/middle_tier.bash"

setup_file() {
	middle_tier_start
}

teardown_file() {
	lab_stop
}

# --- nodes that fail once the application has answered ---

@test_each_mode "a missing object is the node's 404, with the application's cookies and nothing else of it" {
	fetch "$(refer /internal/none reference "add=$(quoted $'Set-Cookie: a=1\r\nContent-Type: application/x-raw')")"
	equal status "$status" 404
	grep -qi '^set-cookie: a=1' "$headers"
	absent X-Application
	[ "$(header Content-Type)" != application/x-raw ] || not_seen "header Content-Type is not application/x-raw" "it is"
	no_reference
	path_is proxy
}

@test_each_mode "a node that dies before its headers is asked again without a ticket, or is a 502" {
	refers_well '/internal/100k?fake=offload-dies-before-headers' 100k
	path_is proxy
	# On a connection that has served before, too: a client that has posted must not be left without an answer.
	local i before
	for i in {1..4}; do
		site_serves_references
	done
	before=$(nodes_asked 'dies-before-headers&1')
	fetch "$(refer '/internal/100k?fake=dies-before-headers&1')"
	equal status "$status" 502
	# By retries of the nodes' backend, and once more without a ticket.
	at_least "nodes_asked dies-before-headers&1) - before" $(($(nodes_asked 'dies-before-headers&1') - before)) 3
	no_reference
	fetch '/flask/report/100k?fake=dies-before-headers' --data-binary hello
	equal status "$status" 502
	no_reference
	site_serves_references
}

@test_each_mode "a node that answers 500 is asked again without a ticket, or its 500 is the answer" {
	refers_well '/internal/100k?fake=offload-error-500' 100k
	path_is proxy
	fetch "$(refer '/internal/100k?fake=error-500' reference "add=$(quoted 'Set-Cookie: a=1')")"
	equal status "$status" 500
	absent X-Application
	no_reference
	site_serves_references
}

@test_each_mode "a node that is gone is replaced by the other one, and both being gone is an error" {
	local i
	process_stop fake-n1 KILL
	process_stop n1 KILL
	for i in {1..6}; do
		refers_well "/internal/100k?$i" 100k
	done
	process_stop fake-n2 KILL
	fetch "$(refer /internal/100k)"
	equal status "$status" 503
	absent X-Application
	no_reference
	node_start n1
	fake_start n1
	fake_start n2
	nodes_alive
	site_serves_references
}

@test_each_mode "a node that dies in the middle of the body is a visibly broken transfer" {
	local version
	for version in "" --tls12; do
		tls_client $version "get:$(refer '/internal/10m?fake=dies-mid-body')" send response
		cut_complete_or_reset 10m
		# On the direct path the other node may send it, or the same one: only the fetch hop has died.
		[ "$mode" = direct ] || client_did_not_say "^body 10485760 "
	done
	# What disc-spoa has completed then has left from here.
	[ "$mode" != direct ] || egress_mark
	site_serves_references
}

@test_each_mode "a client that goes away in the middle of a body leaves the site well" {
	tls_client get:/flask/file/100m send final body:100000 abort
	equal "exit status" "$client_status" 0
	site_serves_references
}

# --- applications that behave oddly ---

@test_each_mode "a body that comes together with the reference is not for the client" {
	local behaviour
	for behaviour in body body-chunked body-later close; do
		fetch "$(refer /internal/100k "$behaviour")"
		equal "status of $behaviour" "$status" 200
		body_is 100k
		no_reference
		path_is_as_mode
	done
	site_serves_references
}

@test_each_mode "a body that is promised beside the reference and never comes is not waited for" {
	fetch "$(refer /internal/100k unfinished)"
	equal status "$status" 200
	body_is 100k
}

@test_each_mode "an application that answers byte by byte" {
	fetch "$(refer /internal/100k dribble)"
	equal status "$status" 200
	body_is 100k
	path_is_as_mode
}

@test_each_mode "an application that thinks long: no node is asked before it answers" {
	local before asked target client
	before=$(nodes_asked .)
	asked=$(raw_asked /raw/slow)
	target=$(refer /internal/100k slow)
	rm -f "$LAB/release-raw"
	new_id
	curl_site -o "$WORK/slow" -H "X-Id: $id" "$(url "$target")" 3>&- &
	client=$!
	wait_for_line "$LAB/raw.log" /raw/slow $((asked + 1))
	equal "requests of the nodes" "$(nodes_asked .)" "$before"
	touch "$LAB/release-raw"
	wait "$client"
	cmp "$WORK/slow" "$SUITE/www/100k"
	path_is_as_mode
}

@test_each_mode "an application that answers before it has read the request's body" {
	# What fits the buffers is received in time; of the rest the client hears a 502, and is never answered twice or wrongly.
	fetch "$(refer /internal/100k early)" --data-binary "@$SUITE/www/1"
	case $status in
	200) body_is 100k ;;
	*) equal status "$status" 502 ;;
	esac
	no_reference
	fetch "$(refer /internal/100k early)" -H 'Expect:' --data-binary "@$SUITE/www/100m" || :
	case $status in
	200) body_is 100k ;;
	000) ;; # the connection was closed under the upload
	*) equal status "$status" 502 ;;
	esac
	site_serves_references
}

@test_each_mode "a file that grows: whole without a lease, else cut, and whole at the next attempt" {
	local name=growing-$mode attempt bytes=25165824 sum
	head -c "$bytes" "$SUITE/www/100m" >"$LAB/www/internal/$name"
	touch -d '2001-02-03 04:05:06.789' "$LAB/www/internal/$name"
	sum=$(sha256sum <"$LAB/www/internal/$name" | cut -d' ' -f1)
	for attempt in 1 2; do
		rm -f "$WORK/reading" "$WORK/go"
		tls_client_in_background "get:$(refer "/internal/$name")" send final body:300000 "touch:$WORK/reading" "wait:$WORK/go" rest
		wait_until test -e "$WORK/reading"
		echo more >>"$LAB/www/internal/$name"
		touch "$WORK/go"
		tls_client_wait
		if [ "$mode" = plain ] || [ "$attempt" = 2 ]; then
			client_said "^body $bytes $sum\$"
			path_is proxy
		else
			client_said '^cut [0-9]+ of [0-9]+ [0-9a-f]+ (unclean|reset)$'
			wait_for_line "$LAB/disc-spoa.log" "the file /internal/$name changed"
		fi
		[ "$mode" = plain ] || [ "$attempt" = 1 ] || reason_is changing
		bytes=$(stat -c %s "$LAB/www/internal/$name")
		sum=$(sha256sum <"$LAB/www/internal/$name" | cut -d' ' -f1)
	done
	rm "$LAB/www/internal/$name"
	site_serves_references
}

# --- tiers and clients that go away ---

@test_each_mode "a client that goes away while the application thinks" {
	local asked
	asked=$(raw_asked /raw/slow)
	rm -f "$LAB/release-raw"
	tls_client_in_background "get:$(refer /internal/100k slow)" send "wait:$WORK/go" abort
	wait_for_line "$LAB/raw.log" /raw/slow $((asked + 1))
	touch "$WORK/go"
	tls_client_wait
	touch "$LAB/release-raw"
	site_serves_references
}

@test_each_mode "a middle tier that dies is an error, and served again when it is back" {
	process_stop middle KILL
	fetch /flask/file/100k
	equal status "$status" 503
	process_start middle "$DISC_BIN_HAPROXY" -db -f "$APPS/middle.cfg"
	process_ready middle port_open "$MIDDLE_PORT"
	site_serves_references
}

# --- afterwards ---

@test_each_mode "no server or backend still counts a session" {
	wait_until nothing_left || { sessions_left; return 1; }
}
