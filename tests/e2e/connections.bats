# SPDX-License-Identifier: GPL-2.0-or-later
# Many requests on one connection, many connections at once, several requests in one write, other TLS libraries.
# flavours: asan recorder
# shellcheck shell=bash

load "$E2E_DIR/helper"

setup_file() {
	lab_start threads=2 workers=2
}

teardown_file() {
	lab_stop
}

# mixed_targets COUNT: sizes in a fixed order without much pattern, an empty and a small one among them.
mixed_targets() {
	local names=(100k 1 16384 0 16385 page.html 16383 10m 100k 16385 1 100k) i
	for ((i = 0; i < $1; i++)); do
		printf '/%s?n=%d\n' "${names[(i * 7 + i / 12) % 12]}" "$i"
	done
}

# long: 200 mixed requests on one connection (60)
# mixed_requests CURL-ARGUMENTS: that many; leaves $count.
mixed_requests() {
	local targets
	count=$(long 60 200)
	mapfile -t targets < <(mixed_targets "$count")
	CURL_MANY=$1
	fetch_many "${targets[@]}"
	many_are "${targets[@]}"
	equal connections "$connects" 1
	logged_times "$count" status=200
}

# all_but_empty: every body that is not empty went as the mode has it.
all_but_empty() {
	if [ "$mode" = plain ]; then
		logged_times "$count" path=proxy
	else
		equal "lines that were not spliced" "$(grep -E "^id=$id .*path=proxy" "$LAB/haproxy.log" | grep -vc 'GET /0?')" 0
		logged_times "$(grep -vc '^/0?' < <(mixed_targets "$count"))" "path=$mode"
	fi
}

# within_budget: with a key of its own each body costs KeyUpdates; what is not offloaded because of them says so.
within_budget() {
	wait_for_line "$LAB/haproxy.log" "^id=$id .*path=$mode " 3
	equal "lines with another reason" "$(grep -E "^id=$id .*path=proxy" "$LAB/haproxy.log" | grep -vcE '(reason=budget |GET /0\?)')" 0
}

@test_each_mode "many mixed requests on one connection, TLS 1.3" {
	mixed_requests --tlsv1.3
	if [ "$LAB_KEYS" = connection ] || [ "$mode" = plain ]; then
		all_but_empty
	else
		within_budget
	fi
}

@test_each_mode "many mixed requests on one connection, TLS 1.2" {
	mixed_requests "--tlsv1.2 --tls-max 1.2"
	all_but_empty
}

# long: 1,000 requests for 200 KB on one connection of the direct path (200)
@test_each_path "1,000 requests for 200 KB on one TLS 1.3 connection are all offloaded, and no KeyUpdate is sent" {
	local count=1000 steps=() i
	[ "$LAB_KEYS" = connection ] || skip "with keys of their own bodies cost KeyUpdates"
	[ "$mode" != direct ] || count=$(long 200 1000)
	for ((i = 0; i < count; i++)); do
		steps+=("get:/200k?$i" send response)
	done
	tls_client --no-keyupdate "${steps[@]}" >/dev/null
	equal "exit status" "$client_status" 0
	equal "whole bodies" "$(grep -c "^body 204800 $(sum_of 200k)$" "$WORK/client")" "$count"
	client_said '^keyupdates 0$'
	logged_times "$count" "path=$mode reason=- "
}

# every_kind: what offloads, what nodes decline, what is not leased at all.
every_kind=(get:/100k send response get:/1 send response get:/0 send response head:/100k send response get:/16385 send response
	get:/no-such-file send response get:/10m send response get:/100k send response)

@test_each_path "a client that takes no KeyUpdate gets every body while no lease is lost" {
	local unknown
	[ "$LAB_KEYS" = connection ] || skip "with keys of their own bodies cost KeyUpdates"
	unknown=$(count unknown)
	tls_client --no-keyupdate "${every_kind[@]}" "${every_kind[@]}" "${every_kind[@]}"
	equal "exit status" "$client_status" 0
	client_said "^body 102400 $(sum_of 100k)$" 6
	client_said "^body 10485760 $(sum_of 10m)$" 3
	client_said "^body 16385 $(sum_of 16385)$" 3
	client_said '^status 404 ' 3
	client_said '^keyupdates 0$'
	logged_times 6 "path=$mode .*GET /100k "
	logged_times 3 "path=$mode .*GET /10m "
	equal "leases lost" $(($(count unknown) - unknown)) 0
}

# pipelined [OPTION]: 12 requests in one write, answered in order.
pipelined() {
	tls_client "$@" get:/100k get:/1 get:/0 head:/100k get:/16384 get:/10m get:/16385 get:/no-such-file get:/100k get:/1 \
		get:/page.html get:/16383 send response response response response response response response response response \
		response response response close
	equal "exit status" "$client_status" 0
	equal "bodies in order" "$(grep '^body' "$WORK/client" | cut -d' ' -f2 | sed 8d | tr '\n' ' ')" \
		"102400 1 0 0 16384 10485760 16385 102400 1 40000 16383 "
	local name
	for name in 100k 1 16384 10m 16385 page.html 16383; do
		client_said "^body $(stat -c %s "$SUITE/www/$name") $(sum_of "$name")$"
	done
	client_said '^status 404'
	logged_times 12 status=
	[ "$mode" = plain ] || has_lines "$LAB/haproxy.log" "^id=$id .*path=$mode "
}

@test_each_mode "pipelined requests in one write, TLS 1.3" {
	pipelined
}

@test_each_mode "pipelined requests in one write, TLS 1.2" {
	pipelined --tls12
}

@test_each_mode "64 concurrent connections on several threads" {
	local targets=() i
	for ((i = 0; i < 64; i++)); do
		targets+=("/2m?n=$i")
	done
	CURL_MANY="--parallel --parallel-immediate --parallel-max 64"
	fetch_many "${targets[@]}"
	many_are "${targets[@]}"
	equal connections "$connects" 64
	if [ "$mode" = plain ]; then
		logged_times 64 path=proxy
	else
		logged_times 64 "path=$mode"
	fi
}

@test_each_mode "wget (GnuTLS) makes 200 rapid kept-alive requests" {
	local i
	new_id
	wget --version | grep -q '+ssl/gnutls' || skip "this wget is not built with GnuTLS"
	for ((i = 0; i < 200; i++)); do
		echo "https://$LAB_ADDRESS:$SITE_PORT/100k?n=$i"
	done >"$WORK/urls"
	# The certificate names the site, not the loopback address that wget has to be given.
	on client timeout 100 wget -nv --no-check-certificate --tries=1 --header "Host: $(site)" --header "X-Id: $id" -i "$WORK/urls" \
		-O "$WORK/all" 2>"$WORK/wget.log" || { cat "$WORK/wget.log"; return 1; }
	equal SHA-256 "$(sha256sum <"$WORK/all" | cut -d' ' -f1)" \
		"$(for ((i = 0; i < 200; i++)); do cat "$SUITE/www/100k"; done | sha256sum | cut -d' ' -f1)"
	logged_times 200 "status=200 "
	# One connection: GnuTLS closes it when KeyUpdates come too fast.
	equal connections "$(grep "^id=$id " "$LAB/haproxy.log" | sed 's/.*client=\([^ ]*\).*/\1/' | sort -u | wc -l)" 1
	if [ "$mode" = plain ]; then
		logged_times 200 path=proxy
	elif [ "$LAB_KEYS" = connection ]; then
		logged_times 200 "path=$mode"
	else
		within_budget
	fi
}

@test_each_mode "a client that reads slowly gets every byte" {
	local steps=() i
	for ((i = 0; i < 40; i++)); do
		steps+=("body:250000")
	done
	tls_client --rcvbuf 4096 get:/10m send final "${steps[@]}" rest get:/100k send response
	equal "exit status" "$client_status" 0
	client_said "^body 10485760 $(sum_of 10m)$"
	client_said "^body 102400 $(sum_of 100k)$"
}

@test_each_mode "HTTP/1.0 and Connection: close" {
	fetch /100k --http1.0
	equal status "$status" 200
	body_is 100k
	fetch /100k -H 'Connection: close'
	equal status "$status" 200
	body_is 100k
	path_is_as_mode
	tls_client --header 'Connection: close' get:/100k send response eof
	equal "exit status" "$client_status" 0
	client_said "^body 102400 $(sum_of 100k)$"
	client_said '^eof close_notify$'
}

@test_each_mode "a resumed session" {
	local version
	for version in "" --tls12; do
		tls_client $version --session "$WORK/session$version" get:/100k?full send response
		client_said '^resumed 0$'
		tls_client $version --session "$WORK/session$version" get:/100k?resumed send response get:/16385 send response
		equal "exit status" "$client_status" 0
		client_said '^resumed 1$'
		client_said "^body 102400 $(sum_of 100k)$"
		client_said "^body 16385 $(sum_of 16385)$"
		path_is_as_mode "$id .*GET /100k\\?resumed"
	done
}
