# SPDX-License-Identifier: GPL-2.0-or-later
"""The series of bench/direct that says whether the direct path costs as little as it must: small bodies as fast as they go, beside the
splice path, and beside another tree of which it must cost a share.

Each tree has hosts and processes of its own, measured by this tree's code. They take turns, every second round in the opposite order; a first
round is thrown away. Ratios are medians of each round's ratio.
"""
import json
import os
import subprocess
import sys

import lab
from direct_report import column, median, show_kernel, times

SIZE = "4KB"
SHORT = bool(os.environ.get("SHORT"))
ROUNDS = int(os.environ.get("REPEAT") or (1 if SHORT else 7))
ROUNDS_MIN = 7  # fewer say nothing for sure
LOADS = {1: 2000, 4: 500, 50: 60}  # connections: requests on each
# At most, or with a "-" at least: what must be, and what is aimed at.
CALLS, NODE_CALLS, MEDIAN_US = (85, 75), (50, 42), (165, 110)
SHARES = {4: (0.6, 0.5), 50: (0.5, 0.42)}  # connections: of the other tree's LB processes
RATE, RATE_CONNECTIONS = (1.8, 2.0), 50


def is_asked():
    return "DISC_BENCH_SERVE" in os.environ


def serve(bench):
    """Measures what stdin asks for, a path and a number of connections a line, and answers with what a response cost."""
    bench.measure_idle()
    print(json.dumps({"idle": bench.idle}), flush=True)
    for line in sys.stdin:
        path, connections = line.split()
        requests = max(20, LOADS[int(connections)] // (5 if SHORT else 1))
        print(json.dumps(bench.run(path, bench.load(path, SIZE, int(connections), requests))), flush=True)


class Side:
    """One tree's lab, in a process of its own."""

    def __init__(self, tree):
        environment = {**os.environ, "DISC_BENCH_SERVE": "1", "DISC_BENCH_TREE": tree, "SIZES": SIZE}
        self.process = subprocess.Popen([sys.executable, os.path.abspath(sys.argv[0])], text=True, env=environment,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.tree = tree
        self.idle = self.answer()["idle"]

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise lab.Failure(f"the lab of {self.tree} ended with {self.process.wait()}")
        return json.loads(line)

    def measure(self, path, connections):
        self.process.stdin.write(f"{path} {connections}\n")
        self.process.stdin.flush()
        return self.answer()

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def run():
    other = os.environ.get("OTHER")
    sides = {"this": Side(lab.ROOT), **({"other": Side(os.path.abspath(other))} if other else {})}
    wanted = [("this", path, connections) for connections in LOADS for path in ("direct", "splice")]
    wanted += [("other", "direct", connections) for connections in LOADS if other]
    variants = {key: lambda k=key: sides[k[0]].measure(*k[1:]) for key in sorted(wanted, key=lambda key: (key[2], key[1]))}
    seen = lab.alternate(variants, ROUNDS, lambda text: lab.progress_line(f"{SIZE}: {text}"))
    for side in sides.values():
        side.close()
    lab.progress_line("")
    show(seen)
    judge(seen)


def show(seen):
    """Rows by connections; the other tree's runs are in tables of their own."""
    for side in ("this", "other"):
        loads = {f"{connections} c.": {path: seen[side, path, connections] for path in ("direct", "splice")
                                       if (side, path, connections) in seen} for connections in LOADS}
        if not all(loads.values()):
            continue
        print(f"\n  {'This tree' if side == 'this' else os.environ['OTHER']}, {SIZE}, by connections")
        show_kernel(loads)
        for load, paths in loads.items():
            for path, runs in paths.items():
                print(f"  {load:7} {path:6} HAProxy {median(runs, 'haproxy_us'):.0f} us, disc-spoa {median(runs, 'spoa_us'):.0f} us, "
                      f"p50 {median(runs, 'p50_us'):.0f} us, p99 {median(runs, 'p99_us'):.0f} us, "
                      f"{median(runs, 'rate'):.0f} a second")


def say(what, value, limits, unit="", at_least=False):
    def held(limit):
        return value >= limit if at_least else value <= limit

    word = "at least" if at_least else "at most"
    print(f"  {what}: {value:.2f}{unit}. Must be {word} {limits[0]}: {'held' if held(limits[0]) else 'MISSED'}. "
          f"Goal {limits[1]}: {'held' if held(limits[1]) else 'missed'}.")


def judge(seen):
    print()
    if ROUNDS < ROUNDS_MIN:
        print(f"  {ROUNDS} rounds only: less than the {ROUNDS_MIN} that a verdict takes.")
    direct = seen["this", "direct", 4]
    say("System calls of HAProxy and disc-spoa, 4 connections", median(direct, "haproxy_calls") + median(direct, "spoa_calls"), CALLS)
    say("System calls of the nodes, 4 connections", median(direct, "node_calls"), NODE_CALLS)
    one, splice = seen["this", "direct", 1], seen["this", "splice", 1]
    over = lab.spread([a - b for a, b in zip(column(one, "p50_us"), column(splice, "p50_us"))])[0]
    say("Median of one connection above that of splice", over, MEDIAN_US, " us")
    if ("other", "direct", 4) not in seen:
        return
    for connections, limits in SHARES.items():
        this, other = seen["this", "direct", connections], seen["other", "direct", connections]
        say(f"LB processes, {connections} connections, this over other", times(this, other), limits)
        print(f"  The same with the LB's kernel: {times(this, other, 'all_us'):.2f}.")
    this, other = (seen[side, "direct", RATE_CONNECTIONS] for side in ("this", "other"))
    say(f"Cycles a second, {RATE_CONNECTIONS} connections, this over other", times(this, other, "rate"), RATE, at_least=True)
