# SPDX-License-Identifier: GPL-2.0-or-later
"""The five hosts of tests/lab/network for a benchmark, which itself runs on the load balancer, and what passes there.

/run/netns is private to the benchmark, so the hosts need no names of their own and vanish with it.
"""
import json
import os
import subprocess
import sys

import lab

PREFIX = "disc-bench"
VIP = "192.0.2.100"
NODES = {"n1": "192.0.2.11", "n2": "192.0.2.12"}
INTERFACE = "eth0"

ETHERNET = 14  # bytes of a packet that the counters of IP do not see and those of interfaces do

# What the load balancer's own stack sends from the site's address; and, on a node, the clients' packets that were
# forwarded to it: tc redirects them past the load balancer's netfilter hooks.
LB_COUNTER = f"""
table inet bench {{
    counter site {{}}
    chain output {{
        type filter hook output priority 0
        ip saddr {VIP} tcp sport 443 counter name site
    }}
}}
"""
NODE_COUNTER = f"""
table inet bench {{
    counter forwarded {{}}
    chain input {{
        type filter hook prerouting priority -300
        ip daddr {VIP} counter name forwarded
    }}
}}
"""


def on(host):
    """What goes before a command that is to run on <host>."""
    return ["ip", "netns", "exec", f"{PREFIX}-{host}"]


def enter():
    """Makes the hosts, and runs this program again on the load balancer."""
    lab.enter_namespaces()
    if os.environ.get("DISC_BENCH_HOST"):
        return
    os.makedirs("/run/netns", exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run/netns"], check=True)
    made = subprocess.run([f"{lab.ROOT}/tests/lab/network", "up", PREFIX],
                          env={**os.environ, "CONGESTION_CONTROL": lab.CONGESTION_CONTROL})
    if made.returncode != 0:
        raise lab.Failure("the hosts cannot be made")
    os.environ["DISC_BENCH_HOST"] = "lb"
    command = [*on("lb"), sys.executable, *sys.argv]
    os.execvp(command[0], command)


def count():
    """Begins to count."""
    for prefix, rules in (([], LB_COUNTER), *((on(node), NODE_COUNTER) for node in NODES)):
        subprocess.run([*prefix, "nft", "-f", "-"], input=rules, text=True, check=True)


def counter(name, prefix=()):
    """Packets and bytes."""
    command = [*prefix, "nft", "-j", "list", "counters"]
    listed = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)["nftables"]
    found = next(entry["counter"] for entry in listed if entry.get("counter", {}).get("name") == name)
    return found["packets"], found["bytes"]


def traffic():
    """Bytes by now: sent and received by the load balancer's interface, sent from the site's address, forwarded."""
    packets, octets = (sum(values) for values in zip(*(counter("forwarded", on(node)) for node in NODES)))
    return {"sent": interface_bytes("tx"), "received": interface_bytes("rx"), "site": counter("site")[1],
            "forwarded": octets + packets * ETHERNET, "forwarded_packets": packets}


def interface_bytes(direction):
    return int(open(f"/sys/class/net/{INTERFACE}/statistics/{direction}_bytes").read())
