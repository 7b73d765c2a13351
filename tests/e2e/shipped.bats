# SPDX-License-Identifier: GPL-2.0-or-later
# The haproxy.cfg, spoe.conf and disc.lua that operators start from, with real agents behind them.
# shellcheck shell=bash

load "$E2E_DIR/helper"

setup_file() {
	export DISC_SHORT=16385 DISC_SHORT_H2=16385
	lab_start config="$ROOT/haproxy.cfg" splice_min=65536
}

teardown_file() {
	lab_stop
}

# line_of TARGET: HAProxy's log line of it; this configuration captures no X-Id.
line_of() {
	wait_for_line "$LAB/haproxy.log" "\"GET $1 HTTP" || return 1
	grep -E "\"GET $1 HTTP" "$LAB/haproxy.log" | tail -n 1
}

@test "haproxy -c accepts it without a warning" {
	run "$DISC_BIN_HAPROXY" -c -f "$ROOT/haproxy.cfg"
	equal "exit status" "$status" 0
	not grep -E 'WARNING|ALERT' <<<"$output"
}

@test "bodies of all sizes over both TLS versions, spliced from the size that the node wants" {
	local version name
	mode=splice
	for version in --tlsv1.3 "--tlsv1.2 --tls-max 1.2"; do
		for name in 0 1 16384 100k 10m; do
			fetch "/$name?v=${version##* }" $version
			equal status "$status" 200
			body_is "$name"
			no_disc_header
		done
		[[ $(line_of "/100k\\?v=${version##* }") == *" path=splice node=n"[12]" records=7 reason=-"* ]]
		[[ $(line_of "/0\\?v=${version##* }") == *" path=proxy "*" records=0 reason=declined"* ]]
	done
}

# leases: how many HAProxy has taken so far.
leases() {
	haproxy_cli 'show disc' | sed -n 's/^leases: //p'
}

# asks N FILE CURL-ARGUMENT...: fetching it takes N leases; the body is right.
asks() {
	local before count=$1 file=$2
	before=$(leases)
	fetch "/$file" "${@:3}"
	cmp "$body" "$SUITE/www/${file%%\?*}"
	equal "leases for $file" $(($(leases) - before)) "$count"
}

@test "a short body is asked about once, by its host, path and query; a large one each time" {
	mode=splice
	asks 1 '16384?once'
	asks 0 '16384?once'
	asks 1 '16384?again'
	asks 1 '16384?once' -H 'Host: other.example'
	asks 0 '16384?once'
	asks 1 '100k?once'
	asks 1 '100k?once'
	[[ $(line_of '/16384\?once') == *" path=proxy "*" reason=not-asked"* ]]
}

# entry_left TABLE: milliseconds that its only entry still has.
entry_left() {
	haproxy_cli "show table $1" | sed -nE 's/.* exp=([0-9]+) .*/\1/p'
}

@test "a long body that the node declined is not asked about for a while" {
	mode=splice
	haproxy_cli 'clear table declined_bodies'
	asks 1 '16385?declined'
	[[ $(line_of '/16385\?declined') == *" path=proxy "*" reason=declined"* ]]
	asks 0 '16385?declined'
	at_most "ms to live" "$(entry_left declined_bodies)" 60000
	haproxy_cli 'clear table declined_bodies'
	asks 1 '16385?declined'
}

@test "an entry ages from the response that wrote it, however often it is used" {
	local left
	mode=splice
	haproxy_cli 'clear table short_bodies'
	asks 1 '16384?ages'
	left=$(($(entry_left short_bodies) - 700))
	wait_until lives_less_than "$left"
	asks 0 '16384?ages'
	lives_less_than "$left"
}

lives_less_than() {
	[ "$(entry_left short_bodies)" -lt "$1" ]
}

@test "a reload keeps what is known to gain nothing" {
	mode=splice
	haproxy_cli 'clear table short_bodies'
	haproxy_cli 'clear table declined_bodies'
	asks 1 '16384?kept'
	asks 1 '16385?kept'
	haproxy_reload
	process_wait haproxy-old
	equal "exit status of the old process" "$ended_with" 0
	wait_until has_learnt
	asks 0 '16384?kept'
	asks 0 '16385?kept'
	asks 1 '100k?kept'
}

has_learnt() {
	[ -n "$(entry_left short_bodies)" ] && [ -n "$(entry_left declined_bodies)" ]
}

# leased_for N CURL-ARGUMENT...: as asks, for part of 100k.
leased_for() {
	local before count=$1
	before=$(leases)
	fetch '/100k?part' "${@:2}"
	equal status "$status" 206
	equal "leases" $(($(leases) - before)) "$count"
}

@test "a range counts by what is sent of its file: a short one is not asked about" {
	mode=splice
	leased_for 0 -r 0-9
	leased_for 0 -r 1000-17383
	[[ $(line_of '/100k\?part') == *" path=proxy "*" reason=not-asked"* ]]
	leased_for 1 -r 1000-17384
	[[ $(line_of '/100k\?part') == *" path=proxy "*" reason=declined"* ]]
	leased_for 1 -r 1000-66535
	cmp "$body" <(tail -c +1001 "$SUITE/www/100k" | head -c 65536)
	[[ $(line_of '/100k\?part') == *" path=splice "* ]]
	leased_for 1 -r 1000-
	[[ $(line_of '/100k\?part') == *" path=splice "* ]]
	leased_for 1 -r -65536
	[[ $(line_of '/100k\?part') == *" path=splice "* ]]
	asks 1 '100k?part'
}

@test "a short range says nothing of its file, nor does an answer without a body" {
	mode=splice
	fetch '/100k?range' -r 0-9
	equal status "$status" 206
	fetch '/100k?range' -I
	equal status "$status" 200
	fetch '/100k?range' -H 'If-None-Match: *'
	equal status "$status" 304
	asks 1 '100k?range'
	[[ $(line_of '/100k\?range') == *" path=splice "* ]]
}

@test "a file that grew is proxied once more, then spliced" {
	mode=splice
	local name=growing-$$
	cp "$SUITE/www/16384" "$SUITE/www/$name"
	asks 1 "$name"
	asks 0 "$name"
	cp "$SUITE/www/100k" "$SUITE/www/$name.new"
	mv "$SUITE/www/$name.new" "$SUITE/www/$name"
	asks 0 "$name"
	asks 1 "$name"
	[[ $(line_of "/$name") == *" path=splice "* ]]
	cp "$SUITE/www/16384" "$SUITE/www/$name.new"
	mv "$SUITE/www/$name.new" "$SUITE/www/$name"
	asks 1 "$name"
	asks 0 "$name"
	rm "$SUITE/www/$name"
}

@test "path= and reason= survive the longest URL in the log" {
	mode=splice
	local long escaped
	long=$(head -c 9000 /dev/zero | tr '\0' x)
	escaped=$(head -c 9000 /dev/zero | tr '\0' '^')
	fetch "/100k?long&$long"
	body_is 100k
	[[ $(line_long 'long&x*') == *" path=splice node=n"[12]" records=7 reason=-" ]]
	# what is escaped in a log takes three characters
	fetch "/100k?escaped&$escaped" --globoff
	equal status "$status" 200
	[[ $(line_long 'escaped&[^ ]*') == *" path=splice node=n"[12]" records=7 reason=-" ]]
	fetch "/100k?toolong&$long$long"
	equal status "$status" 400
}

# line_long REGEX: HAProxy's log line of /100k? with that query, of which it logs the beginning.
line_long() {
	wait_for_line "$LAB/haproxy.log" "\"GET /100k\\?$1" || return 1
	grep -E "\"GET /100k\\?$1" "$LAB/haproxy.log" | tail -n 1
}

@test "a ticket of a client's own reaches no node, also where nothing is asked" {
	mode=splice
	asks 1 '16384?ticket'
	asks 0 '16384?ticket' -H "Disc-Ticket: $(printf '%032d' 1); proof=$(printf '%032d' 2)"
	equal "fetches without" "$(cat "$LAB"/n[12].log | grep -c 'fetch /16384?ticket: 200')" 1
	equal "fetches with a ticket" "$(cat "$LAB"/n[12].log | grep -c 'fetch /16384?ticket with a ticket')" 1
}

@test "HTTP/2 clients get records; what is short for them is remembered apart" {
	mode=splice
	fetch '/100k?h2' --http2
	body_is 100k
	wait_for_line "$LAB/haproxy.log" '/100k\?h2 HTTP/2.0" tls=.* path=splice .*reason=-'
	fetch '/1?h2' --http2
	wait_for_line "$LAB/haproxy.log" '/1\?h2 HTTP/2.0" tls=.* path=proxy .*reason=declined'
	fetch '/1?h2' --http2
	wait_for_line "$LAB/haproxy.log" '/1\?h2 HTTP/2.0" tls=.* path=proxy .*reason=not-asked'
	fetch '/1?h2' --http1.1
	wait_for_line "$LAB/haproxy.log" '/1\?h2 HTTP/1.1" tls=.* path=proxy .*reason=declined'
}

# Six spellings of one file are six paths.
@test "what HAProxy proxies by itself comes from the node that disc-spoa would choose" {
	mode=splice
	local target offloaded proxied all=
	for target in /100k //100k ///100k /./100k /.//100k /././100k; do
		fetch "$target?records" --path-as-is
		body_is 100k
		fetch "$target?proxied" --path-as-is --http2 --tlsv1.2 --tls-max 1.2
		body_is 100k
		offloaded=$(line_of "${target//./\\.}\\?records" | sed -n 's/.* path=splice node=\(n[12]\) .*/\1/p')
		proxied=$(wait_for_line "$LAB/haproxy.log" "${target//./\\.}\\?proxied HTTP/2" &&
			grep -F "$target?proxied HTTP/2" "$LAB/haproxy.log" | sed -n 's/.* nodes\/\(n[12]\) .*/\1/p' | tail -n 1)
		[ -n "$offloaded" ] || not_seen "a node of $target" "none"
		equal "node of $target" "$proxied" "$offloaded"
		all+=$offloaded
	done
	[[ $all == *n1* && $all == *n2* ]] || not_seen "both nodes" "$all"
}

@test "POST is not a candidate" {
	mode=splice
	fetch '/100k?post' -d x
	equal status "$status" 405
	wait_for_line "$LAB/haproxy.log" '"POST /100k\?post .* path=proxy .*reason=not-asked'
}

@test "without disc-spoa the site serves, and splices again when it is back" {
	mode=splice
	process_stop disc-spoa KILL
	fetch '/100k?without'
	equal status "$status" 200
	body_is 100k
	[[ $(line_of '/100k\?without') == *" path=proxy "* ]]
	spoa_start
	nodes_alive
	wait_until spliced_now
}

spliced_now() {
	fetch '/100k?again' && [[ $(line_of '/100k\?again') == *" path=splice "* ]]
}

@test "the status page counts, as HTML and as JSON, and metrics are served" {
	mode=splice
	fetch '/100k?counted'
	local admin="http://$LAB_ADDRESS:$ADMIN_PORT"
	timeout 20 curl -sS "$admin/disc/status" >"$WORK/html"
	grep -qi '<html' "$WORK/html"
	timeout 20 curl -sS "$admin/disc/status?format=json" | python3 -m json.tool >"$WORK/json"
	grep -E '"(passed|spliced|records)": *[1-9]' "$WORK/json"
	timeout 20 curl -sS "$admin/metrics" >"$WORK/metrics"
	grep -q '^haproxy_process_' "$WORK/metrics"
}
