# SPDX-License-Identifier: GPL-2.0-or-later
# SIGHUP to the agents: their configuration changes while bodies are under way, and nothing is lost. A bad one is refused, with one line
# that says what to mend, and the one in use goes on.
# shellcheck shell=bash

load "$E2E_DIR/helper"
load "$E2E_DIR/load"

setup_file() {
	lab_start
	cp "$LAB/disc-spoa.conf" "$LAB/agent.conf.own"
	cp "$LAB/n1.conf" "$LAB/n1.conf.own"
}

teardown_file() {
	lab_stop
}

# labs_own: the agents use the lab's configuration, whatever the last test did.
labs_own() {
	agent=$LAB/agent.conf.own node=$LAB/n1.conf.own
	cmp -s "$agent" "$LAB/disc-spoa.conf" || configured disc-spoa "$agent"
	cmp -s "$node" "$LAB/n1.conf" || configured n1 "$node"
	nodes_alive
}

# What both say when the new configuration decides.
in_use='^<5>(the new configuration|.*/n1.conf) is in use'

# hang_up PROCESS REGEX: has it read its configuration again, and waits for a line of its log that says what became of that.
hang_up() {
	local lines
	lines=$(grep -cE -- "$2" "$LAB/$1.log" || :)
	process_signal "$1" HUP
	wait_for_line "$LAB/$1.log" "$2" $((lines + 1))
}

# configured PROCESS FILE: it uses FILE's text from now on.
configured() {
	cp "$2" "$LAB/$1.conf.new"
	mv "$LAB/$1.conf.new" "$LAB/$1.conf"
	hang_up "$1" "$in_use"
}

# refused PROCESS REGEX: its file, as it is now, is refused with this text.
refused() {
	hang_up "$1" "^<3>the configuration that is in use goes on: $2"
}

# without_node NODE FILE: its text without n1 or n2.
without_node() {
	sed -E "/^node \"$1\"/,/^}/d; s/\"$1\", *//; s/, *\"$1\"//; /^pool \"$1-only\"/d; /^route \"(direct-)?of-$1\"/,/^}/d" "$2"
}

@test_each_path "twenty reloads of all three agents under load lose nothing" {
	local i other=$WORK/other reads=$WORK/reading
	labs_own
	mkdir "$other"
	cp "$SUITE"/tls/{agent,n1}.lab.test.{crt,key} "$other"
	tls_client_in_background get:/100m send final body:100000 "touch:$reads" "wait:$WORK/go" rest
	wait_until test -e "$reads"
	loads
	for i in 1 2 3 4 5; do
		without_node n1 "$agent" >"$WORK/new.conf"
		configured disc-spoa "$WORK/new.conf"
		# The only node is another one.
		without_node n2 "$agent" >"$WORK/new.conf"
		configured disc-spoa "$WORK/new.conf"
		sed -E "s/weight = 100/weight = $((40 + i))/; s|$SUITE/tls/agent|$other/agent|g" "$agent" >"$WORK/new.conf"
		echo 'route "one-more" { host = {"one-more.lab.test"} action = "pass" }' >>"$WORK/new.conf"
		configured disc-spoa "$WORK/new.conf"
		sed "s|$SUITE/tls/n1|$other/n1|; s|agents = {|&\"more.$i\", |" "$node" >"$WORK/new.conf"
		configured n1 "$WORK/new.conf"
	done
	: >"$WORK/go"
	tls_client_wait
	equal "exit status" "$client_status" 0
	client_said "^body 104857600 $(sum_of 100m)$"
	path_is "$mode"
	nothing_lost
	at_least "bodies that were fetched meanwhile" "$(wc -l <"$WORK/requests")" 10
}

# not_measured NODE: disc-spoa's metrics do not name it.
not_measured() {
	local all
	all=$(on lb timeout 10 curl -sS "http://$LAB_ADDRESS:$SPOA_ADMIN/metrics")
	[[ $all == *"disc_spoa_node_up{node=\"n1\"} 1"* && $all != *"node=\"$1\""* ]]
}

@test_each_path "routes, nodes and weights of the new file decide" {
	local said
	labs_own
	fetch /100k
	path_is "$mode"
	sed -i '/^route "passed"/,/^}/s/pass.lab.test/'"$(site)/" "$LAB/disc-spoa.conf"
	hang_up disc-spoa "the new configuration is in use: 2 nodes, 8 routes"
	fetch /100k
	path_is proxy
	reason_is policy
	without_node n2 "$agent" >"$LAB/disc-spoa.conf"
	hang_up disc-spoa "node n2 left the configuration, and has nothing under way: its channel is closed"
	for i in 1 2 3 4 5 6; do
		fetch "/100k?$i"
		path_is "$mode"
		equal server "$(logged server)" n1
	done
	[ "$mode" != direct ] || wait_until not_measured n2
	wait_for_line "$LAB/n2.log" "channel of agent agent.lab.test at .* closed: "
	configured disc-spoa "$agent"
	wait_until agent_says n2 up
	[ "$mode" != direct ] || equal "workers with n2's channel" "$(metric 'disc_spoa_node_up{node="n2"}')" 1
	sed -i -E '/^node "n1"/,/^}/s/weight = 100/weight = 0/' "$LAB/disc-spoa.conf"
	hang_up disc-spoa "$in_use"
	for i in 1 2 3 4 5 6; do
		fetch "/100k?$i"
		equal server "$(logged server)" n2
	done
	path_is "$mode"
}

@test_each_path "what cannot be used is refused with one line, and the old goes on" {
	local line
	labs_own
	cp "$SUITE/tls/agent.lab.test.crt" "$WORK/own.crt"
	line=$(grep -n '^route "direct"' "$LAB/disc-spoa.conf" | cut -d: -f1)
	sed -i '/^route "direct"/,/^}/s/pool = "files"/pool = "flies"/' "$LAB/disc-spoa.conf"
	refused disc-spoa "$LAB/disc-spoa.conf:$((line + 4)): pool: there is no pool \"flies\"$"
	echo '}' >>"$LAB/disc-spoa.conf"
	refused disc-spoa "$LAB/disc-spoa.conf:[0-9]+: "
	sed "s|$SUITE/tls/agent.lab.test.key|$SUITE/tls/n1.lab.test.key|" "$agent" >"$LAB/disc-spoa.conf"
	refused disc-spoa "$LAB/disc-spoa.conf:[0-9]+: certificate: .*the private key does not belong to the certificate$"
	sed "s|$SUITE/tls/agent.lab.test.crt|$WORK/no-such-file|; s/^splice-min = .*/splice-min = 0/" "$agent" >"$LAB/disc-spoa.conf"
	refused disc-spoa "$LAB/disc-spoa.conf:[0-9]+: certificate: $WORK/no-such-file: No such file or directory \(1 more: disc-spoa -t -c $LAB/disc-spoa.conf\)$"
	rm "$LAB/disc-spoa.conf"
	refused disc-spoa "$LAB/disc-spoa.conf: cannot be read: No such file or directory$"
	mkdir "$LAB/disc-spoa.conf"
	refused disc-spoa "$LAB/disc-spoa.conf: cannot be read: Is a directory$"
	rmdir "$LAB/disc-spoa.conf"
	cp "$agent" "$LAB/disc-spoa.conf"

	sed "s|$SUITE/tls/n1.lab.test.key|$SUITE/tls/agent.lab.test.key|" "$node" >"$LAB/n1.conf"
	refused n1 "$LAB/n1.conf:[0-9]+: .*the private key does not belong to the certificate$"
	sed 's|^files .*|files { root = "/no/such/folder" }|' "$node" >"$LAB/n1.conf"
	refused n1 "$LAB/n1.conf:[0-9]+: root: /no/such/folder: No such file or directory$"
	: >"$LAB/n1.conf"
	refused n1 "$LAB/n1.conf:[0-9]+: .*[0-9]+ more: disc-backend -t -c $LAB/n1.conf\)$"
	cp "$node" "$LAB/n1.conf"
	fetch /100k
	path_is "$mode"
}

@test_each_path "what needs a restart says so, and stays as it was" {
	labs_own
	sed -E "s/^workers = .*/workers = 7/; s/listen = \{.*SPOP_PORT/&/; s/^(spop .*)\}$/\1 max-frame-size = 300 }/" "$agent" >"$LAB/disc-spoa.conf"
	[ "$mode" != direct ] || sed -i 's/^workers = .*/workers = 1/; s/interface = {"eth0"}/& max-flows = 9/' "$LAB/disc-spoa.conf"
	hang_up disc-spoa "$in_use"
	grep -qE "^<4>$LAB/disc-spoa.conf: spop.max-frame-size = 300 needs a restart: until then it is 16380$" "$LAB/disc-spoa.log"
	if [ "$mode" = direct ]; then
		grep -qE "^<4>$LAB/disc-spoa.conf: direct.max-flows = 9 needs a restart: until then it is 262144$" "$LAB/disc-spoa.log"
	else
		grep -qE "^<4>$LAB/disc-spoa.conf: workers = 7 needs a restart: until then it is 1$" "$LAB/disc-spoa.log"
	fi
	sed "s/^workers = .*/workers = 7/; s/ticket-wait = 1.0/ticket-wait = 0.5/" "$node" >"$LAB/n1.conf"
	hang_up n1 "$in_use"
	grep -qE "^<4>$LAB/n1.conf: workers = 7 needs a restart: until then it is 1$" "$LAB/n1.log"
	grep -qE "^<4>$LAB/n1.conf: offload.ticket-wait = 0.5 needs a restart: until then it is 1$" "$LAB/n1.log"
	fetch /100k
	path_is "$mode"
}

@test_each_path "a changed certificate is for new channels; a name that is not among the agents any more loses its channel" {
	local reads=$WORK/reading
	labs_own
	# The other is of another CA: no node takes it.
	tls_client_in_background get:/100m send final body:100000 "touch:$reads" "wait:$WORK/go" rest
	wait_until test -e "$reads"
	sed "s|$SUITE/tls/agent.lab.test|$SUITE/tls/other.lab.test|" "$agent" >"$LAB/disc-spoa.conf"
	hang_up disc-spoa "$in_use"
	fetch "/100k"
	path_is "$mode"
	: >"$WORK/go"
	tls_client_wait
	client_said "^body 104857600 $(sum_of 100m)$"
	process_stop n1
	node_start n1
	wait_for_line "$LAB/disc-spoa.log" "node n1 .* cannot be reached: "
	configured disc-spoa "$agent"
	nodes_alive

	sed 's|agents = {"agent.lab.test"}|agents = {"another.lab.test"}|' "$node" >"$LAB/n1.conf"
	hang_up n1 "channel of agent agent.lab.test .* closed: control.agents does not name it any more"
	wait_until agent_says n1 down
	fetch /100k
	path_is "$mode"
	equal server "$(logged server)" n2
}

serves_new() {
	[ "$(on lb curl -sS "http://$N1_ADDRESS:$N1_FETCH/new.txt")" = new ]
}

@test_each_path "files and limits of a node change; a body under way goes on" {
	local reads=$WORK/reading
	labs_own
	mkdir "$WORK/www"
	echo new >"$WORK/www/new.txt"
	tls_client_in_background get:/100m send final body:100000 "touch:$reads" "wait:$WORK/go" rest
	wait_until test -e "$reads"
	sed "s|^files .*|files { root = \"$WORK/www\" }|; s|^fetch { |&max-header-size = 1024 |" "$node" >"$LAB/n1.conf"
	hang_up n1 "$in_use"
	wait_until serves_new
	equal "the old one" "$(on lb curl -sS -o "$WORK/out" -w '%{http_code}' "http://$N1_ADDRESS:$N1_FETCH/100k")" 404
	equal "a long head" "$(on lb curl -sS -o "$WORK/out" -w '%{http_code}' -H "X-Long: $(head -c 2000 /dev/zero | tr '\0' x)" "http://$N1_ADDRESS:$N1_FETCH/new.txt")" 431
	: >"$WORK/go"
	tls_client_wait
	equal "exit status" "$client_status" 0
	client_said "^body 104857600 $(sum_of 100m)$"
}
