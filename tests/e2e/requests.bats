# SPDX-License-Identifier: GPL-2.0-or-later
# HTTP semantics do not change with the path: ranges, HEAD, conditional requests, errors.
# shellcheck shell=bash

load "$E2E_DIR/helper"

setup_file() {
	lab_start
}

teardown_file() {
	lab_stop
}

# range_is FIRST LAST: $body is these bytes of 100k.
range_is() {
	equal status "$status" 206
	equal Content-Range "$(header Content-Range)" "bytes $1-$2/102400"
	equal Content-Length "$(header Content-Length)" $(($2 - $1 + 1))
	cmp "$body" <(tail -c "+$(($1 + 1))" "$SUITE/www/100k" | head -c $(($2 - $1 + 1)))
	no_disc_header
}

@test_each_mode_h2 "a range in the middle" {
	fetch /100k -r 16000-65999
	range_is 16000 65999
	path_is_as_mode
}

@test_each_mode_h2 "a range without an end" {
	fetch /100k -r 50000-
	range_is 50000 102399
	path_is_as_mode
}

@test_each_mode_h2 "a suffix range" {
	fetch /100k -r -20000
	range_is 82400 102399
	path_is_as_mode
}

@test_each_mode_h2 "a range that reaches behind the end is cut" {
	fetch /100k -r 102000-999999
	range_is 102000 102399
}

@test_each_mode_h2 "a range of one byte" {
	fetch /100k -r 0-0
	range_is 0 0
	path_is_as_mode
}

@test_each_mode_h2 "of an empty file every range is the whole: 200" {
	local range
	for range in 0- 0-0 0-99 -1 -0 5- 5-9; do
		fetch /0 -H "Range: bytes=$range"
		equal "status for $range" "$status" 200
		equal Content-Length "$(header Content-Length)" 0
		not grep -i '^content-range:' "$headers"
		[ ! -s "$body" ] || not_seen "an empty body" "bytes"
		path_is proxy
	done
}

@test_each_mode_h2 "a range behind the end is 416" {
	fetch /100k -r 102400-
	equal status "$status" 416
	equal Content-Range "$(header Content-Range)" "bytes */102400"
	path_is proxy
	no_disc_header
}

@test_each_mode_h2 "several ranges get the whole body or a multipart one, never a wrong one" {
	fetch /100k -r 0-9,20-29
	if [ "$status" = 206 ]; then
		[[ $(header Content-Type) == multipart/byteranges* ]]
	else
		equal status "$status" 200
		body_is 100k
	fi
}

@test_each_mode_h2 "If-Range with the true ETag gets the range" {
	fetch /100k -I
	fetch /100k -r 10-19 -H "If-Range: $(header ETag)"
	range_is 10 19
}

@test_each_mode_h2 "If-Range with another ETag gets the whole body" {
	fetch /100k -r 10-19 -H 'If-Range: "another"'
	equal status "$status" 200
	body_is 100k
	path_is_as_mode
}

@test_each_mode_h2 "HEAD announces the plain length and has no body" {
	local version
	for version in --tlsv1.3 "--tlsv1.2 --tls-max 1.2"; do
		fetch /100k -I $version
		equal status "$status" 200
		equal Content-Length "$(header Content-Length)" 102400
		no_disc_header
		path_is proxy
	done
}

@test_each_mode "HEAD and GET take turns on one connection" {
	tls_client head:/100k send response get:/100k send response head:/16385 send response get:/1 send response close
	equal "exit status" "$client_status" 0
	client_said '^status 200 length 102400$' 2
	client_said "^body 102400 $(sum_of 100k)$"
	client_said '^body 0 ' 2
	client_said "^body 1 $(sum_of 1)$"
}

@test_each_mode_h2 "If-None-Match with the true ETag is 304 without a body" {
	fetch /100k -I
	fetch /100k -H "If-None-Match: $(header ETag)"
	equal status "$status" 304
	[ ! -s "$body" ] || not_seen "an empty body" "bytes"
	no_disc_header
	path_is proxy
}

@test_each_mode_h2 "If-Modified-Since is 304, and an older date gets the body" {
	fetch /100k -I
	fetch /100k -H "If-Modified-Since: $(header Last-Modified)"
	equal status "$status" 304
	fetch /100k -H 'If-Modified-Since: Sat, 01 Jan 2000 00:00:00 GMT'
	equal status "$status" 200
	body_is 100k
}

@test_each_mode "304 and bodies take turns on one connection" {
	fetch /100k -I
	tls_client --header "If-None-Match: $(header ETag)" get:/100k send response get:/16385 send response get:/100k send \
		response get:/10m send response
	equal "exit status" "$client_status" 0
	client_said '^status 304' 2
	client_said "^body 16385 $(sum_of 16385)$"
	client_said "^body 10485760 $(sum_of 10m)$"
}

@test_each_mode_h2 "a missing file is an ordinary 404" {
	fetch /no-such-file
	equal status "$status" 404
	no_disc_header
	path_is proxy
}

@test_each_mode_h2 "a path that leaves the root is refused" {
	local path
	for path in /../tls/lab-ca.key /%2e%2e/tls/lab-ca.key /./../tls/lab-ca.key //../tls/lab-ca.key; do
		fetch "$path" --path-as-is
		[[ $status == 40[034] ]] || { not_seen "$path: status 400, 403 or 404" "$status"; return 1; }
		not grep 'PRIVATE KEY' "$body"
	done
}

@test_each_mode_h2 "a method that files do not have is 405" {
	fetch /100k -X POST --data-binary hello
	equal status "$status" 405
	no_disc_header
	path_is proxy
	fetch /100k -X DELETE
	equal status "$status" 405
}

@test_each_mode_h2 "Content-Type and validators are those of the file" {
	fetch /page.html
	equal status "$status" 200
	[[ $(header Content-Type) == text/html* ]]
	[ -n "$(header ETag)" ] || not_seen "an ETag" "none"
	[ -n "$(header Last-Modified)" ] || not_seen "Last-Modified" "none"
	path_is_as_mode
}
