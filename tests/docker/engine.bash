# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# A Docker engine of our own, for one test run: it shares no socket, image, network or service with any other engine on
# this machine, and what it wrote is gone when it has been stopped.
#
#   engine_start DIR    starts it with everything below DIR; fails with <engine_fault> set where no engine can run
#   engine_stop         stops containers, engine and all that they left

engine_pid='' engine_dir='' engine_fault=''

engine_start() { # DIR
    local dockerd deadline=$((SECONDS + 60))
    engine_dir=$1
    [ "$(id -u)" -eq 0 ] || { engine_fault="only root can start one"; return 1; }
    dockerd=$(command -v dockerd) || { engine_fault="dockerd is not installed (Debian: docker.io)"; return 1; }
    mkdir -p "$engine_dir"/{data,exec,client}
    printf '{}\n' >"$engine_dir/daemon.json"   # not the machine's own
    # No rule of the firewall and no sysctl is touched: containers of one network reach each other without.
    "$dockerd" --data-root "$engine_dir/data" --exec-root "$engine_dir/exec" --pidfile "$engine_dir/pid" \
        --host "unix://$engine_dir/sock" --config-file "$engine_dir/daemon.json" \
        --bridge none --iptables=false --ip6tables=false --ip-forward=false --ip-masq=false \
        >"$engine_dir/log" 2>&1 </dev/null &
    engine_pid=$!
    unset DOCKER_CONTEXT DOCKER_TLS_VERIFY DOCKER_CERT_PATH
    export DOCKER_HOST=unix://$engine_dir/sock DOCKER_CONFIG=$engine_dir/client
    until docker version >/dev/null 2>&1; do
        kill -0 "$engine_pid" 2>/dev/null && [ "$SECONDS" -lt "$deadline" ] || {
            engine_fault="dockerd does not start: $(engine_last_words)"
            engine_stop
            return 1
        }
        sleep 0.2
    done
}

engine_last_words() {
    tail -n 1 "$engine_dir/log" | sed -E 's/^time="[^"]*" level=[a-z]+ msg=//' | cut -c 1-200
}

engine_stop() {
    local mount_point containers
    [ -n "$engine_pid" ] || return 0
    if kill -0 "$engine_pid" 2>/dev/null; then
        mapfile -t containers < <(docker ps --quiet --all 2>/dev/null)
        [ ${#containers[@]} -eq 0 ] || docker rm --force --volumes "${containers[@]}" >/dev/null 2>&1 || true
        docker network prune --force >/dev/null 2>&1 || true
        kill "$engine_pid" 2>/dev/null || true
        timeout 30 tail --pid="$engine_pid" -f /dev/null || kill -KILL "$engine_pid" 2>/dev/null || true
    fi
    wait "$engine_pid" 2>/dev/null || true
    engine_pid=''
    # The engine mounts its layers below its folder: whatever is still mounted there would be emptied with it.
    while read -r mount_point; do
        umount "$mount_point" 2>/dev/null || true
    done < <(awk -v dir="$engine_dir/" 'index($5, dir) == 1 { print $5 }' /proc/self/mountinfo | sort -r)
    rm -rf --one-file-system "$engine_dir"
}
