# SPDX-License-Identifier: GPL-2.0-or-later
"""A lab with DiSC's own programs: bodies, configurations of disc-backend and disc-spoa, the shipped haproxy.cfg."""
import collections
import hashlib
import os
import re

import lab

SUITES = {"1.2": "ECDHE-ECDSA-AES128-GCM-SHA256", "1.3": "TLS_AES_128_GCM_SHA256"}


class Lab(lab.Lab):
    def make_bodies(self, sizes, folder="."):
        """Creates a file of random bytes for each size, in <folder> of what nodes serve. Returns size -> SHA-256."""
        os.makedirs(f"{self.path}/files/{folder}", exist_ok=True)
        return {size: make_file(f"{self.path}/files/{folder}/{size}", lab.size_in_bytes(size)) for size in sizes}

    def tls_section(self, name):
        return f"""tls {{
	ca = "{self.certificates}/ca.pem"
	certificate = "{self.certificates}/{name}.pem"
	key = "{self.certificates}/{name}.key"
}}"""

    def node_configuration(self, name, control, fetch, more=""):
        """Of disc-backend <name>, which listens at these addresses."""
        return self.write(f"{name}.conf", f"""
control {{
	listen = "{control}"
	agents = {{"lb"}}
}}
fetch {{
	listen = {{"{fetch}"}}
}}
{self.tls_section(name)}
files {{
	root = "{self.path}/files"
}}
{more}
""")

    def spoa_configuration(self, admin, nodes, routes, more=""):
        """Of disc-spoa. <nodes>: name -> its fields beside name and server; <routes>: name -> those beside action and
        pool; <more>: further sections."""
        sections = [f'node "{name}" {{\n\tname = "{name}"\n\tserver = "{name}"\n\t{fields}\n}}'
                    for name, fields in nodes.items()]
        sections.append('pool "nodes" {\n\tnodes = {' + ", ".join(f'"{name}"' for name in nodes) + "}\n}")
        for name, fields in routes.items():
            pool = "" if "pool = " in fields else '\tpool = "nodes"\n'
            sections.append(f'route "{name}" {{\n\taction = "offload"\n{pool}\t{fields}\n}}')
        return self.write("spoa.conf", f"""
spop {{
	listen = {{"unix:{self.path}/spoa.sock"}}
}}
admin {{
	listen = "{admin}"
}}
{self.tls_section("lb")}
{more}
""" + "\n".join(sections) + "\n")

    def start_spoa(self, admin, nodes, routes, more=""):
        configuration = self.spoa_configuration(admin, nodes, routes, more)
        self.spoa = self.start("spoa", f"{lab.PROGRAMS}/disc-spoa", "-c", configuration)
        self.spoa_metrics = f"http://{admin}/metrics"

    def start_haproxy(self, bind, admin, nodes, *files, **environment):
        """The shipped configuration with one thread, and <files> after it. <nodes>: the two fetch addresses."""
        self.stats = f"{self.path}/stats.sock"
        threads = self.write("threads.cfg", "global\n    nbthread 1\n")
        arguments = [word for file in (threads, f"{lab.TREE}/haproxy.cfg", *files) for word in ("-f", file)]
        self.haproxy = self.start(
            "haproxy", f"{lab.PROGRAMS}/haproxy", "-db", *arguments, DISC_CONFIG=f"{lab.TREE}/config",
            DISC_CERTIFICATE=f"{self.certificates}/site.pem", DISC_BIND=bind, DISC_SPOA=f"unix@{self.path}/spoa.sock",
            DISC_NODE_1=nodes[0], DISC_NODE_2=nodes[1], DISC_ADMIN=admin, DISC_STATS_SOCKET=self.stats, **environment,
        )

    def wait_for_all(self, nodes, *servers):
        """Until disc-spoa reached these nodes and HAProxy found its servers alive."""
        lines = [f'disc_spoa_node_up{{node="{name}"}} 1' for name in nodes]
        self.wait_until("disc-spoa did not reach its nodes", lambda: set(lines) <= set(self.spoa_text().splitlines()))
        self.wait_until("HAProxy did not find disc-spoa and the nodes alive",
                        lambda: lab.all_up(self.stats, ("n1", "n2", "local", *servers)))

    def spoa_text(self):
        return lab.fetch_text(self.spoa_metrics)

    def reasons(self):
        """Why HAProxy did something itself, from its log, with how often."""
        log = open(f"{self.path}/haproxy.log").read()
        seen = collections.Counter(re.findall(r" reason=(\S*[^-\s]\S*)", log))
        return ", ".join(f"{reason} {count} times" for reason, count in seen.items()) or "none"

    def disc_counters(self):
        """What "show disc" counts, by name."""
        words = (line.split(": ") for line in lab.stats_command(self.stats, "show disc").splitlines())
        counters = {word[0]: int(word[1]) for word in words if len(word) == 2 and word[1].isdigit()}
        if not counters:
            raise lab.Failure("HAProxy does not answer on its stats socket")
        return counters


def make_file(path, size):
    digest = hashlib.sha256()
    with open(path, "wb") as file:
        while size:
            block = os.urandom(min(size, 1 << 20))
            file.write(block)
            digest.update(block)
            size -= len(block)
    return digest.hexdigest()
