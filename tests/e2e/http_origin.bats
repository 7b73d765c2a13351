# SPDX-License-Identifier: GPL-2.0-or-later
# Nodes that front an existing server, nginx here: n1 over TCP, n2 over a UNIX socket. What is pinned travels as records,
# everything else as an ordinary body, and a body that breaks off is never a whole one to the client.
# shellcheck shell=bash

load "$E2E_DIR/helper"
# shellcheck source-path=SCRIPTDIR
source "$E2E_DIR/origin.bash"

setup_file() {
	origin_lab_start
}

teardown_file() {
	lab_stop
}

# Targets of one file, which the pool's hash of the path spreads over both nodes.
variants() {
	printf "/v%s$1\n" 0 1 3 5
}

# body_arrives TARGET FILE [CURL ARGUMENT]...
body_arrives() {
	local target=$1 name=$2
	shift 2
	fetch "$target" "$@"
	equal status "$status" 200
	body_is "$name"
	equal X-Origin "$(header X-Origin)" nginx
	no_disc_header
}

# served FILE: whole, over both nodes and versions of TLS, on the path of the mode.
served() {
	local target
	for target in $(variants "/$1"); do
		body_arrives "$target" "$1"
		equal Content-Length "$(header Content-Length)" "$(stat -c %s "$SUITE/www/$1")"
		path_is_as_mode
		body_arrives "$target" "$1" --tlsv1.2 --tls-max 1.2
		path_is_as_mode
	done
}

# relayed TARGET FILE: the body is whole, but not sealed, since the node certified none.
relayed() {
	local target
	for target in $(variants "$1"); do
		body_arrives "$target" "$2"
		path_is proxy
	done
}

@test_each_mode_h2 "an empty body" {
	local target
	for target in $(variants /0); do
		body_arrives "$target" 0
		path_is proxy
	done
}

@test_each_mode_h2 "bodies around one record" {
	served 1
	served 16383
	served 16384
	served 16385
}

@test_each_mode_h2 "a body of 100 KB" {
	served 100k
}

@test_each_mode_h2 "a body of 10 MB" {
	served 10m
}

@test_each_mode_h2 "a body of 100 MB" {
	body_arrives /100m 100m
	path_is_as_mode
	body_arrives /v1/100m 100m
	path_is_as_mode
}

@test_each_mode_h2 "a range" {
	local target
	for target in $(variants /100k); do
		fetch "$target" -r 16000-65999
		equal status "$status" 206
		equal Content-Range "$(header Content-Range)" "bytes 16000-65999/102400"
		cmp "$body" <(tail -c +16001 "$SUITE/www/100k" | head -c 50000)
		path_is_as_mode
	done
}

@test_each_mode_h2 "several ranges" {
	fetch /100k -r 0-9,20-29
	equal status "$status" 206
	[[ $(header Content-Type) == multipart/byteranges* ]]
	no_disc_header
}

@test_each_mode_h2 "a range behind the end is 416" {
	fetch /100k -r 102400-
	equal status "$status" 416
	equal Content-Range "$(header Content-Range)" "bytes */102400"
	path_is proxy
}

@test_each_mode_h2 "If-None-Match with the origin's ETag is 304" {
	local etag
	fetch /100k
	etag=$(header ETag)
	fetch /100k -H "If-None-Match: $etag"
	equal status "$status" 304
	equal ETag "$(header ETag)" "$etag"
	path_is proxy
}

@test_each_mode_h2 "If-Range with another ETag gets the whole body" {
	body_arrives /100k 100k -r 10-19 -H 'If-Range: "another"'
	path_is_as_mode
}

@test_each_mode_h2 "HEAD has the headers and no body" {
	local target
	for target in $(variants /100k); do
		fetch "$target" -I
		equal status "$status" 200
		equal Content-Length "$(header Content-Length)" 102400
		no_disc_header
		path_is proxy
	done
	fetch /chunked/100k -I -H 'Accept-Encoding: gzip'
	equal status "$status" 200
}

@test_each_mode_h2 "what does not exist is the origin's 404" {
	local target
	for target in $(variants /none); do
		fetch "$target"
		equal status "$status" 404
		grep -q nginx "$body"
		path_is proxy
	done
}

@test_each_mode_h2 "a redirect of the origin is passed on, not followed" {
	fetch /moved
	equal status "$status" 302
	[[ $(header Location) == */elsewhere ]]
}

@test_each_mode_h2 "another method is 405" {
	fetch /100k -X DELETE
	equal status "$status" 405
	equal Allow "$(header Allow)" "GET, HEAD"
	path_is proxy
}

@test_each_mode_h2 "a body of unknown length is relayed" {
	local target
	for target in $(variants /chunked/10m); do
		fetch "$target" --compressed
		equal status "$status" 200
		body_is 10m
		equal Content-Encoding "$(header Content-Encoding)" gzip
		equal Content-Length "$(header Content-Length)" ""
		no_disc_header
		path_is proxy
	done
}

@test_each_mode "a body of unknown length to a client of HTTP/1.0" {
	fetch /chunked/100k --compressed --http1.0
	equal status "$status" 200
	body_is 100k
}

@test_each_mode_h2 "a body with a weak validator is relayed" {
	relayed /weak/10m 10m
}

@test_each_mode_h2 "a body without a validator is relayed" {
	relayed /bare/100k 100k
}

@test "the origin sees the request as it came, without what is DiSC's" {
	mode=splice
	fetch "/16384?seen=%2e%2e/a//b" --path-as-is -r 0-99 -H 'Accept-Encoding: br' -H 'Disc-Other: 1'
	equal status "$status" 206
	wait_for_line "$LAB/origin-access.log" "GET /16384\?seen=%2e%2e/a//b 206 host=splice.lab.test(:$SITE_PORT)? ticket=- range=bytes=0-99 encoding=br"
}

@test_each_mode_h2 "connections to the origin are kept" {
	local i before after
	fetch /1
	before=$(awk '{ print $1 }' "$LAB/origin-access.log" | sort -u | wc -l)
	for i in {1..20}; do
		fetch /16384
		fetch "/16384?1"
	done
	wait_for_line "$LAB/origin-access.log" "GET /16384" 20
	after=$(awk '{ print $1 }' "$LAB/origin-access.log" | sort -u | wc -l)
	at_most "connections for 40 requests" $((after - before)) 4
}

# answers_so_far: of the origin to the nodes.
answers_so_far() {
	cat "$LAB"/n?.log | grep -c 'origin answered' || :
}

answers_more_than() {
	at_least "answers_so_far" "$(answers_so_far)" $(($1 + 1))
}

@test_each_mode "an origin that dies in the middle of a body is a visibly broken transfer" {
	local version before
	for version in "" --tls12; do
		before=$(answers_so_far)
		tls_client_in_background $version get:/slow/10m send response eof
		wait_until answers_more_than "$before"
		process_stop origin KILL
		tls_client_wait
		client_did_not_say '^body '
		cut_or_complete 10m
		origin_start
		site_serves
	done
}

@test_each_mode_h2 "an origin that is down is 502, and served again when it is back" {
	local target
	process_stop origin QUIT
	for target in $(variants /100k); do
		fetch "$target"
		equal status "$status" 502
		path_is proxy
		no_disc_header
	done
	grep -qE 'origin [^ ]+: /v[0-9]+/100k: no answer: it cannot be reached' "$LAB/n1.log"
	grep -qE 'origin [^ ]+: /v[0-9]+/100k: no answer: it cannot be reached' "$LAB/n2.log"
	origin_start
	served 100k
}


@test_each_mode "a client that aborts cancels the transfer from the origin at once" {
	local target before
	for target in $(variants /slow/10m); do
		before=$(grep -c '/slow/10m' "$LAB/origin-access.log" || :)
		tls_client "get:$target" send final body:100000 abort
		equal "exit status" "$client_status" 0
		# nginx logs when the response has ended, which would else take it most of a minute.
		wait_for_line "$LAB/origin-access.log" '/slow/10m' $((before + 1))
	done
	site_serves
}
