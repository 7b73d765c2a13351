# SPDX-License-Identifier: GPL-2.0-or-later
# A file that is replaced by another one of the same size and the same time in whole seconds, as archives and images make them: nobody
# takes the new bytes for the old ones.
# shellcheck shell=bash

load "$E2E_DIR/helper"

setup_file() {
	lab_start
}

teardown_file() {
	lab_stop
}

BYTES=2097152
TIME='2001-02-03 04:05:06'

# deploy NAME NUMBER [COMMAND]: another content of the same size and time, put there by COMMAND (mv).
deploy() {
	tail -c "+$(($2 * 1000 + 1))" "$SUITE/www/10m" | head -c "$BYTES" >"$WORK/new"
	touch -d "$TIME" "$WORK/new"
	${3:-mv} "$WORK/new" "$SUITE/www/$1"
}

# deployed NAME: $body is what is there now.
deployed() {
	equal status "$status" 200
	cmp "$body" "$SUITE/www/$1"
}

# nobody_is_fooled NAME COMMAND...: neither a cache nor a client that goes on with its download, when COMMAND replaces the file.
nobody_is_fooled() {
	local name=$1 etag modified
	deploy "$name" 1
	fetch "/$name"
	deployed "$name"
	etag=$(header ETag) modified=$(header Last-Modified)
	[[ $etag == W/\"*\" ]] || not_seen "a weak entity tag" "$etag"
	fetch "/$name" -H "If-None-Match: $etag"
	equal status "$status" 304
	fetch "/$name" -r 1000000- -H "If-Range: $etag"
	deployed "$name"
	fetch "/$name" -r 1000000- -H "If-Match: $etag"
	equal status "$status" 412
	shift
	"$@"
	fetch "/$name" -H "If-None-Match: $etag"
	deployed "$name"
	[ "$(header ETag)" != "$etag" ] || not_seen "another entity tag" "$etag"
	fetch "/$name" -H "If-None-Match: $etag" -H "If-Modified-Since: $modified"
	deployed "$name"
	fetch "/$name" -r 1000000- -H "If-Range: $etag"
	deployed "$name"
	fetch "/$name" -r 1000000- -H "If-Range: $modified"
	deployed "$name"
	fetch "/$name" -r 1000000-
	equal status "$status" 206
	rm "$SUITE/www/$name"
}

@test_each_mode "a file that is replaced by rename" {
	nobody_is_fooled "renamed-$mode" deploy "renamed-$mode" 2
}

@test_each_mode "a file that is replaced in place" {
	nobody_is_fooled "copied-$mode" deploy "copied-$mode" 2 "cp -p"
}

@test_each_mode "a file whose time has a fraction of a second has a strong entity tag, by which a download goes on" {
	local name=strong-$mode etag
	TIME='2001-02-03 04:05:06.789'
	deploy "$name" 1
	fetch "/$name"
	path_is_as_mode
	etag=$(header ETag)
	[[ $etag == \"*\" ]] || not_seen "a strong entity tag" "$etag"
	fetch "/$name" -r 1000000- -H "If-Range: $etag"
	equal status "$status" 206
	path_is_as_mode
	rm "$SUITE/www/$name"
}
