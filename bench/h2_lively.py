# SPDX-License-Identifier: GPL-2.0-or-later
"""The part of bench/h2 about a connection that stays lively: how long a PING, and the headers of a short response, take while large bodies
run on the same connection, sealed by grants and relayed.

Both paths take turns on the same link: the loopback, where CPU time is the bound, and one of a bounded rate, where what waits in front of
a frame is. A run in which the large bodies ended before the last answer was there is none.
"""
import os
import re
import subprocess

import lab

CLIENT = f"{lab.BUILD}/bench/h2_client"
LARGE, SMALL = "1GB", "1KB"
BODIES = 2  # large ones at a time
ASKED = 50  # answers of each kind in a run
ROUNDS = int(os.environ.get("ROUNDS") or 10)
LINKS = {"loopback": None, "200 Mbit/s": "200mbit"}
MUST, PERCENTILE = 1.5, 99
WORDS = {"ping": "pong", "small": "first-byte"}


def make_large(files):
    """A sparse file will do: what is in it costs the same."""
    with open(f"{files}/{LARGE}", "wb") as file:
        file.truncate(lab.size_in_bytes(LARGE))


def set_link(port, rate):
    """Bounds what comes from <port> to <rate>."""
    subprocess.run(["tc", "qdisc", "del", "dev", "lo", "root"], stderr=subprocess.DEVNULL)
    if not rate:
        return
    for words in ("qdisc add dev lo root handle 1: htb default 1",
                  "class add dev lo parent 1: classid 1:1 htb rate 100gbit quantum 131072",
                  f"class add dev lo parent 1: classid 1:2 htb rate {rate} burst 128kb quantum 65536",
                  "qdisc add dev lo parent 1:2 handle 2: bfifo limit 512kb",
                  f"filter add dev lo parent 1: protocol ip u32 match ip sport {port} 0xffff flowid 1:2"):
        subprocess.run(["tc", *words.split()], check=True)


def run_client(port):
    """Returns the milliseconds of each answer, by kind."""
    steps = [f"get:/{LARGE}"] * BODIES + ["data:2000000"] + [f"timed:/{SMALL}", "ping"] * ASKED + ["data:2000000", "abort"]
    command = [CLIENT, "127.0.0.1", "127.0.0.1", str(port), *steps]
    ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=lab.Load.TIME_LIMIT)
    times = {kind: [float(ms) for ms in re.findall(rf"^{word} ([0-9.]+)$", ended.stdout, re.M)] for kind, word in WORDS.items()}
    if ended.returncode or any(len(values) != ASKED for values in times.values()):
        raise lab.Failure(f"the client saw something else than wanted: {ended.stdout[-300:]}")
    return times


def measure(bench, path):
    bench.switch(path)
    before = bench.disc_counters()["h2_grants"]
    times = run_client(bench.port)
    grants = bench.disc_counters()["h2_grants"] - before
    if (grants > 0) != (path == "h2"):
        raise lab.Failure(f"{grants} grants were given: this is not the path {path}")
    return times


def percentile(values, percent):
    values = sorted(values)
    return values[min(len(values) - 1, len(values) * percent // 100)]


def run(bench):
    """Measures and prints."""
    print(f"\n  A PING's answer, and the headers of a response of {SMALL}, while {BODIES} large bodies run on the same connection; "
          f"{ROUNDS * ASKED} of each.")
    print(f"  {'link':12} {'what':6} {'path':6} {'median ms':>10} {'p99 ms':>8} {'p99, times relaying':>20}")
    for link, rate in LINKS.items():
        set_link(bench.port, rate)
        times = {path: {kind: [] for kind in WORDS} for path in ("h2", "relay")}
        for number in range(-1, ROUNDS):
            for path, kinds in times.items():
                for kind, values in measure(bench, path).items():
                    if number >= 0:  # the first round warms up
                        kinds[kind] += values
            lab.progress_line(f"{link}: round {number + 1} of {ROUNDS}")
        lab.progress_line("")
        show(link, times)
    set_link(bench.port, None)


def show(link, times):
    for kind in WORDS:
        relay = percentile(times["relay"][kind], PERCENTILE)
        for path in times:
            values = times[path][kind]
            ratio = percentile(values, PERCENTILE) / relay
            verdict = "" if path == "relay" else f"  must {MUST:.1f} {'held' if ratio <= MUST else 'MISSED'}"
            print(f"  {link:12} {kind:6} {path:6} {percentile(values, 50):10.2f} {percentile(values, PERCENTILE):8.2f} {ratio:20.2f}{verdict}")
