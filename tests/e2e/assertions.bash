# SPDX-License-Identifier: GPL-2.0-or-later
# Assertions: each prints what it expected and what it saw, in a form that tests/tap.py puts first, and fails.
# shellcheck shell=bash

# not_seen EXPECTED SEEN: fails.
not_seen() {
	printf 'expected: %s\nseen: %s\n' "$1" "$2"
	return 1
}

# equal WHAT SEEN WANTED
equal() {
	[ "$2" = "$3" ] || not_seen "$1 is \"$3\"" "\"$2\""
}

# at_least, at_most WHAT SEEN NUMBER
at_least() {
	[ "$2" -ge "$3" ] || not_seen "$1: $3 or more" "$2"
}

at_most() {
	[ "$2" -le "$3" ] || not_seen "$1: $3 or less" "$2"
}

sum_of() {
	cat "$SUITE/sums/$1"
}

# body_is FILE: $body holds exactly the file of that name.
body_is() {
	equal "SHA-256 of $1" "$(sha256sum <"$body" | cut -d' ' -f1)" "$(sum_of "$1")"
}

# log_line [ID]: HAProxy's line for that request ($id), waited for.
log_line() {
	local - && set +T
	wait_for_line "$LAB/haproxy.log" "^id=${1:-$id} " >&2 && grep -E "^id=${1:-$id} " "$LAB/haproxy.log" | tail -n 1
}

# logged FIELD [ID]: the value of that field in HAProxy's line.
logged() {
	local line
	line=$(log_line "${2:-$id}") || return 1
	sed -E "s/.* ?\\b$1=([^ ]*).*/\\1/" <<<"$line"
}

# path_is WANTED [ID]: "splice", "direct" or "proxy", from HAProxy's own log.
path_is() {
	local line
	line=$(log_line "${2:-$id}") || return 1
	[[ $line == *" path=$1 "* ]] || not_seen "path=$1" "$line"
}

# The path that an ordinary large enough body takes in this mode.
path_is_as_mode() {
	if [ "$mode" = plain ]; then
		path_is proxy "$@"
	elif [ "$mode" = h2 ]; then
		# HTTP/2 is offloaded over TLS 1.3 alone.
		if [[ $(log_line "$@") == *" version=TLSv1.2 "* ]]; then path_is proxy "$@"; else path_is splice "$@"; fi
	else
		path_is "$mode" "$@"
	fi
	[ "$mode" != direct ] || no_body_left_lb
}

# egress_mark: what no_body_left_lb looks at begins now.
egress_mark() {
	egress_before=$(egress_bytes)
	logged_before=$(grep -ac ^id= "$LAB/haproxy.log" || :)
}

# What each response may cost the LB: a handshake, headers, acknowledgements.
RESPONSE_OVERHEAD=8000

# within_egress: what the LB sent to clients since the test began is explained without any body that went the direct path.
within_egress() {
	allowed=$(grep -a ^id= "$LAB/haproxy.log" | tail -n "+$((logged_before + 1))" | awk -v overhead="$RESPONSE_OVERHEAD" '
		{ bytes = $0; sub(/.* bytes=/, "", bytes); sub(/ .*/, "", bytes)
		  sum += overhead + ($0 ~ / path=direct / ? 0 : bytes * 1.1) }
		END { printf "%d", sum }')
	left=$(($(egress_bytes) - egress_before))
	[ "$left" -le "$allowed" ]
}

no_body_left_lb() {
	wait_until within_egress ||
		not_seen "at most $allowed bytes from the LB to clients: all but direct bodies" "$left"
}

# reason_is REGEX [ID]
reason_is() {
	local reason
	reason=$(logged reason "${2:-$id}") || return 1
	[[ $reason =~ ^($1)$ ]] || not_seen "reason=$1" "\"$reason\""
}

# no_disc_header: none of ours reached the client.
no_disc_header() {
	if grep -i '^disc-' "$headers"; then
		not_seen "no Disc- header" "the one above"
	fi
}

# client_said REGEX [COUNT]: at least COUNT lines (1) of tls_client's output match.
client_said() {
	local seen
	seen=$(grep -cE -- "$1" "$WORK/client" || :)
	[ "$seen" -ge "${2:-1}" ] || not_seen "${2:-1} lines of the client match $1" "$seen: $(tail -n 3 "$WORK/client" | paste -sd '|')"
}

client_did_not_say() {
	! grep -E -- "$1" "$WORK/client" || not_seen "no line of the client matches $1" "the one above"
}

# count NAME: a counter of "show disc".
count() {
	haproxy_cli 'show disc' | sed -n "s/^$1: //p"
}

# fake_saw REGEX: one of the fake nodes was asked so, or did so.
fake_saw() {
	cat "$LAB"/fake-n?.log | grep -qE -- "$1"
}

# The site still serves, on a new connection.
site_serves() {
	fetch /16385
	equal status "$status" 200
	body_is 16385
}

# many_are TARGET...: the answers of fetch_many are 200 with exactly these files (a query is cut off).
many_are() {
	local - && set +T
	local target i=0 name
	equal "answers of status 200" "$(grep -c ' 200$' "$many/results")" $#
	for target; do
		name=${target#/}
		name=${name%%\?*}
		cmp "$many/$((++i))" "$SUITE/www/$name" || not_seen "answer $i is $name" "another body"
	done
}

# logged_times COUNT REGEX: COUNT lines of $id match, once HAProxy has logged them all. Its threads drop a line rather than wait
# long for each other to write; those that it says it dropped may be missing.
logged_times() {
	wait_until logged_but_for_dropped "$@" || return 1
	at_most "lines with $2" "$(lines_of_id "$2")" "$1"
}

logged_but_for_dropped() {
	[ "$(lines_of_id "$2")" -ge $(($1 - $(haproxy_cli 'show info' | sed -n 's/^DroppedLogs: //p'))) ]
}

lines_of_id() {
	grep -cE "^id=$id .*$1" "$LAB/haproxy.log"
}

# handoffs_mark: where went_away begins to count.
handoffs_mark() {
	handed_mark=$(metric disc_spoa_clones_total)
	failed_mark=$(metric disc_spoa_clones_failed_total)
	completed_mark=$(metric_sum '^disc_spoa_completed_total')
}

# went_away COUNT: so many connections were at a node since then, and no body was completed or begun from here.
went_away() {
	equal "handoffs" $(($(metric disc_spoa_clones_total) - handed_mark)) "$1" || { handoffs_ended; return 1; }
	equal "handoffs that failed" $(($(metric disc_spoa_clones_failed_total) - failed_mark)) 0 || { handoffs_ended; return 1; }
	equal "bodies completed here" $(($(metric_sum '^disc_spoa_completed_total') - completed_mark)) 0 || { handoffs_ended; return 1; }
}

# How handoffs ended so far, and which bodies had none.
handoffs_ended() {
	on lb curl -sS "http://$LAB_ADDRESS:$SPOA_ADMIN/metrics" | grep -E '^disc_spoa_(handoffs|completed|handoffs)' | grep -v ' 0$'
	grep '^id=' "$LAB/haproxy.log" | grep -v ' path=direct ' | tail -n 5
}

# cut_or_complete FILE: what tls_client read before its connection ended is a true beginning of FILE, and if it is not the
# whole of it the end was visibly broken: no close_notify (on the splice path).
cut_or_complete() {
	local read sum ending
	if grep -q "^body $(stat -c %s "$SUITE/www/$1") $(sum_of "$1")$" "$WORK/client"; then
		return 0
	fi
	read -r read sum ending < <(sed -nE 's/^cut ([0-9]+) of [0-9]+ ([0-9a-f]{64}) (.*)$/\1 \2 \3/p' "$WORK/client") ||
		{ not_seen "the client has all of $1, or saw it cut" "$(tail -n 3 "$WORK/client" | paste -sd '|')"; return 1; }
	equal "SHA-256 of the first $read bytes" "$sum" "$(head -c "$read" "$SUITE/www/$1" | sha256sum | cut -d' ' -f1)"
	[ "$mode" = plain ] || [[ $ending == unclean || $ending == reset ]] ||
		not_seen "a cut stream ends unclean or with a reset" "\"$ending\""
}

# cut_complete_or_reset FILE: the same where the fetch hop breaks at once: on the direct path the connection may be given up while it is
# being moved, and be reset before the headers have left.
cut_complete_or_reset() {
	if [ "$mode" = direct ] && grep -q '^no-response 0 reset$' "$WORK/client"; then
		return 0
	fi
	cut_or_complete "$1"
}

# streams_whole COUNT FILE [FIRST]: so many streams of h2_client, from the FIRST (1), ended whole, with exactly that file.
streams_whole() {
	local seen
	seen=$(grep -cE "^stream [0-9]+ status 20[06] length $(stat -c %s "$SUITE/www/$2") body $(stat -c %s "$SUITE/www/$2") $(sum_of "$2") whole$" \
		"$WORK/client" || :)
	[ "$seen" = "$1" ] || not_seen "$1 streams with all of $2" "$seen: $(tail -n 3 "$WORK/client" "$WORK/client.errors" | paste -sd '|')"
}

# stream_cut_or_whole K FILE: what stream K of h2_client had of FILE is a true beginning, and if it is not all of it, the stream or the
# connection ended visibly broken.
stream_cut_or_whole() {
	local body sum how
	read -r body sum how < <(sed -nE "s/^stream $1 status [0-9]+ length -?[0-9]+ body ([0-9]+) ([0-9a-f]{64}) (.*)$/\\1 \\2 \\3/p" "$WORK/client") ||
		{ not_seen "stream $1 of the client ended" "$(tail -n 3 "$WORK/client" | paste -sd '|')"; return 1; }
	equal "SHA-256 of the first $body bytes" "$sum" "$(head -c "$body" "$SUITE/www/$2" | sha256sum | cut -d' ' -f1)"
	if [ "$body" != "$(stat -c %s "$SUITE/www/$2")" ]; then
		[[ $how == reset* || $how == unclean || $how == short || $how == close_notify || $how == tls-error ]] ||
			not_seen "a cut stream ends visibly broken" "\"$how\""
	fi
}

# h2_path_is COUNT: so many responses of $id went as the mode has it.
h2_path_is() {
	logged_times "$1" "path=$(h2_path) "
}

h2_path() {
	if [ "$mode" = h2 ]; then echo splice; else echo proxy; fi
}
