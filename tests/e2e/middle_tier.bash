# SPDX-License-Identifier: GPL-2.0-or-later
# Applications in front of the nodes: Flask behind gunicorn behind a middle HAProxy, the study's application in Lua, and one
# whose every byte a test chooses (tests/lab/apps/).
# shellcheck shell=bash

# apps_prepare: the applications' settings and files; after lab_prepare.
apps_prepare() {
	export APPS=$LAB_TOOLS/apps DISC_APP_FILES=$LAB/www/internal PYTHONDONTWRITEBYTECODE=1
	export MIDDLE_SOCKET=$LAB/middle.sock MIDDLE_BIND=$LAB_ADDRESS:$MIDDLE_PORT STUDY_BIND=$LAB_ADDRESS:$STUDY_PORT
	export APPLICATION=$LAB_ADDRESS:$GUNICORN_PORT STUDY_OWNER_ADDRESS=$LAB_ADDRESS STUDY_OWNER_PORT=$N1_SERVER
	# The bodies are below the prefix; beside it there is what no reference may reach.
	mkdir -p "$LAB/www/internal/study"
	ln "$SUITE/www/"* "$LAB/www/internal/"
	ln "$SUITE/www/"* "$LAB/www/internal/study/"
	echo SECRET >"$LAB/www/secret"
}

apps_start() {
	process_start gunicorn gunicorn --chdir "$APPS" --bind "$APPLICATION" --worker-class gthread --threads 4 \
		--keep-alive 30 --worker-tmp-dir "$LAB" flask_app:application
	process_start raw "$APPS/raw_app" --listen "$LAB_ADDRESS:$RAW_PORT" --release "$LAB/release-raw"
	process_start middle "$DISC_BIN_HAPROXY" -db -f "$APPS/middle.cfg"
	process_ready gunicorn port_open "$GUNICORN_PORT"
	process_ready raw port_open "$RAW_PORT"
	process_ready middle port_open "$MIDDLE_PORT"
}

# Instead of the lab's own: what the nodes serve has a prefix here.
node_config() {
	local fetch=${1^^}_FETCH control=${1^^}_CONTROL certificate=${1^^}_CERTIFICATE address=${1^^}_ADDRESS
	NODE_ADDRESS=${!address} FETCH=${!fetch} CONTROL=${!control} CERTIFICATE=${!certificate} template "$E2E_DIR/disc-backend.conf.in" |
		sed "s|^files .*|files { root = \"$LAB/www\" }|"
}

# middle_bytes: received so far by the middle tier, from the load balancer and from the application.
middle_bytes() {
	timeout 10 socat -t 10 - "UNIX-CONNECT:$MIDDLE_SOCKET" <<<'show stat' |
		awk -F , '$1 == "middle" && $2 == "FRONTEND" { n += $9 } $1 == "application" && $2 == "BACKEND" { n += $10 } END { print n }'
}

# middle_answered TARGET COUNT: the middle tier has logged that many responses to it.
middle_answered() {
	wait_for_line "$LAB/middle.log" "^middle request=\"[A-Z]+ $1 " "$2"
}

# quoted TEXT: percent-encoded, every byte.
quoted() {
	printf %s "$1" | od -An -v -tx1 | tr -d ' \n' | sed 's/../%&/g'
}

# refer REFERENCE [BEHAVIOUR] [MORE PARAMETERS]: the target at which raw_app answers with these very bytes.
refer() {
	echo "/raw/${2:-reference}?ref=$(quoted "$1")${3:+&$3}"
}

# nodes_asked REGEX, raw_asked REGEX: requests that the fake nodes, or raw_app, saw.
nodes_asked() {
	cat "$LAB"/fake-n?.log | grep -cE -- "$1" || :
}

raw_asked() {
	grep -cE -- "$1" "$LAB/raw.log" || :
}

# middle_tier_start: the lab, with everything that can be referred to.
middle_tier_start() {
	lab_prepare config=middle_tier.cfg fake=1
	apps_prepare
	node_start n1
	node_start n2
	fake_start n1
	fake_start n2
	apps_start
	spoa_start
	haproxy_start
	nodes_alive
}

# --- assertions ---

# followed FILE: $body is that file, with the headers of Flask, of the node and of rules in every tier.
followed() {
	equal status "$status" 200
	body_is "$1"
	equal X-Application "$(header X-Application)" flask
	equal X-Passed-By "$(header X-Passed-By)" middle
	equal X-Frontend-Rule "$(header X-Frontend-Rule)" yes
	equal Content-Type "$(header Content-Type)" application/x-lab
	equal Content-Length "$(header Content-Length)" "$(stat -c %s "$SUITE/www/$1")"
	equal Content-Disposition "$(header Content-Disposition)" "attachment; filename=\"$1\""
	equal cookies "$(grep -ci '^set-cookie: \(session=of-flask\|downloads=\)' "$headers")" 2
	[ -n "$(header ETag)" ]
	no_reference
}

# no_reference: neither a reference nor anything of ours reached the client.
no_reference() {
	no_disc_header
	if grep -iE '^(x-accel-|backend-)' "$headers"; then
		echo "a reference reached the client"
		return 1
	fi
}

# one_is NAME VALUE: the field is there once, with that value.
one_is() {
	equal "number of $1" "$(grep -ci "^$1:" "$headers")" 1
	equal "$1" "$(header "$1")" "$2"
}

absent() {
	not grep -i "^$1:" "$headers"
}

# refers_well REFERENCE FILE: raw_app refers so, and the client gets that file.
refers_well() {
	fetch "$(refer "$1")"
	equal status "$status" 200
	body_is "$2"
	equal X-Application "$(header X-Application)" raw
	no_reference
}

site_serves_references() {
	fetch /flask/file/16385
	followed 16385
	path_is_as_mode
}

# sessions_left: of servers and backends, current sessions and queue.
sessions_left() {
	haproxy_cli 'show stat' | awk -F , '$1 ~ /^(flask|raw|single|kept|untrusted|study|ruled|nodes)$/ && $3 + $5 > 0 { print $1 "/" $2 ": " $5 }'
}

nothing_left() {
	[ -z "$(sessions_left)" ]
}
