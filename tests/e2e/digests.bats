# SPDX-License-Identifier: GPL-2.0-or-later
# Entity tags that are digests: one for all replicas, whatever their files' times, and another one whenever the content is another.
# shellcheck shell=bash

load "$E2E_DIR/helper"
# shellcheck source-path=SCRIPTDIR
source "$E2E_DIR/digests.bash"

setup_file() {
	digests_lab_start 100k
}

teardown_file() {
	lab_stop
}

@test_each_mode "replicas with different times answer with one strong tag, and a download goes on at either" {
	local i etag
	etag=$(digest_of 100k)
	for i in 1 2 3 4; do
		fetch /100k
		body_is 100k
		equal ETag "$(header ETag)" "$etag"
		path_is_as_mode
		fetch /100k -r 50000- -H "If-Range: $etag"
		equal status "$status" 206
		path_is_as_mode
		fetch /100k -H "If-None-Match: $etag"
		equal status "$status" 304
	done
}

@test_each_mode "a file that is replaced in place, size and time being kept, is another one at once" {
	local name=replaced-$mode first second modified
	head -c 1000000 "$SUITE/www/100m" >"$WORK/first"
	head -c 1000000 "$SUITE/www/twin-100m" >"$WORK/second"
	deploy "$WORK/first" "$name"
	digested "$name"
	first=$(digest_of "$name")
	fetch "/$name"
	modified=$(header Last-Modified)
	deploy "$WORK/second" "$name" "cp -p"
	second=$(digest_of "$name")
	fetch "/$name" -r 500000- -H "If-Range: $first"
	equal status "$status" 200
	cmp "$body" "$WORK/second"
	fetch "/$name" -H "If-None-Match: $first"
	equal status "$status" 200
	[[ $(header ETag) == W/* || $(header ETag) == "$second" ]] || not_seen "a weak tag, or $second" "$(header ETag)"
	digested "$name"
	fetch "/$name"
	equal ETag "$(header ETag)" "$second"
	path_is_as_mode
	# Its time says too little, whatever its tag says.
	fetch "/$name" -r 500000- -H "If-Range: $modified"
	equal status "$status" 200
	cmp "$body" "$WORK/second"
}

@test_each_mode "a download that began before the digest was known goes on afterwards" {
	local name=fraction-$mode etag
	head -c 1000000 "$SUITE/www/100m" >"$WORK/first"
	deploy "$WORK/first" "$name"
	digested "$name"
	touch -d '2001-02-03 04:05:06.789' "$LAB/n1-www/$name" "$LAB/n2-www/$name"
	fetch "/$name"
	etag=$(header ETag)
	digested "$name"
	fetch "/$name" -r 500000- -H "If-Range: $etag"
	equal status "$status" 206
	fetch "/$name" -H "If-None-Match: $etag"
	equal status "$status" 304
}
