# SPDX-License-Identifier: GPL-2.0-or-later
# Nodes with files of their own, whose entity tags are the files' digests. Their times differ.
# shellcheck shell=bash

# Instead of the lab's own.
node_config() {
	local fetch=${1^^}_FETCH control=${1^^}_CONTROL certificate=${1^^}_CERTIFICATE address=${1^^}_ADDRESS
	NODE_ADDRESS=${!address} FETCH=${!fetch} CONTROL=${!control} CERTIFICATE=${!certificate} template "$E2E_DIR/disc-backend.conf.in" |
		sed "s|^files .*|files { root = \"$LAB/$1-www\" etag = \"digest\" digest-rate = 1000000000 }|"
}

# deploy FILE NAME [COMMAND]: to both nodes, with times of whole seconds and a year between them, as two images have it; COMMAND (mv)
# puts it there.
deploy() {
	local node year=2001
	for node in n1 n2; do
		cp "$1" "$WORK/new-$node"
		touch -d "$((year++))-02-03 04:05:06" "$WORK/new-$node"
		${3:-mv} "$WORK/new-$node" "$LAB/$node-www/$2"
	done
}

# digest_of NAME: the tag that it must have.
digest_of() {
	echo "\"sha256-$(sha256sum <"$LAB/n1-www/$1" | cut -d' ' -f1)\""
}

# has_tag NODE NAME TAG: that node gives it.
has_tag() {
	local - && set +T
	local fetch=${1^^}_FETCH address=${1^^}_ADDRESS
	on lb timeout 10 curl -sSI "http://${!address}:${!fetch}/$2" | tr -d '\r' | grep -qixF "ETag: $3"
}

# digested NAME: waits until both nodes give the digest.
digested() {
	local tag
	tag=$(digest_of "$1")
	wait_until has_tag n1 "$1" "$tag"
	wait_until has_tag n2 "$1" "$tag"
}

# digests_lab_start NAME...: with these files.
digests_lab_start() {
	local name
	lab_prepare
	mkdir "$LAB/n1-www" "$LAB/n2-www"
	for name; do
		WORK=$LAB deploy "$SUITE/www/$name" "$name"
	done
	node_start n1
	node_start n2
	spoa_start
	haproxy_start
	nodes_alive
	for name; do
		digested "$name"
	done
}
