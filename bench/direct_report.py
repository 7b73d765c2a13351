# SPDX-License-Identifier: GPL-2.0-or-later
"""What bench/direct saw: tables, verdicts, CSV and plot."""
import csv
import os

import lab
import plot

PATHS = ("direct", "splice", "relay")
COSTS = ("haproxy_us", "spoa_us", "lb_us", "machine_us", "sent", "received", "forwarded", "forwarded_packets",
         "site", "p50_us", "p99_us", "rate", "clone_us", "freeze_us", "fast_forward_us", "kernel_us", "kernel_packets", "all_us",
         "steering_us", "steering_runs", "haproxy_calls", "spoa_calls", "node_calls", "haproxy_wakes", "spoa_wakes", "node_wakes")
CYCLE_BUDGET_US = 165  # that a handoff adds at most
STEP_BUDGET_US = 50  # that each of its two steps on the LB takes at most
FLAT_FROM = 64 << 10
FLAT = 1.25  # at most, the direct path's CPU at any size over that at FLAT_FROM, at one pace
NOISY_US = 100000  # of the machine's CPU time a second while idle: then it is not the lab's


class Seen:
    """All results. A run is a dictionary of COSTS: of one response, and as the client saw them median and 99th
    percentile of their times and how many there were in a second."""

    def __init__(self):
        self.bodies = {}  # TLS version -> size -> path -> runs
        self.paced = {}  # size -> runs of the direct path at <pace> responses a second
        self.cycles = {}  # connections -> path -> runs, with bodies of <cycle_size>
        self.idle = {}  # costs of a second
        self.repeated = 0  # runs

    def noisy(self):
        return self.idle["machine_us"] > NOISY_US


def column(runs, name):
    return [run[name] for run in runs]


def median(runs, name):
    return lab.spread(column(runs, name))[0]


def times(runs, base, name="lb_us"):
    return lab.ratios(column(runs, name), column(base, name))[0]


def show(seen):
    show_idle(seen)
    for tls, sizes in seen.bodies.items():
        print(f"\n  TLS {tls}")
        show_bodies(sizes)
        show_kernel(sizes)
        if not seen.noisy():
            show_machine(sizes)
    bodies = seen.bodies["1.2"]
    if len(seen.paced) > 1:
        judge_flatness(seen, bodies)
    judge_crossover(bodies)
    show_cycles(seen)
    judge_cycles(seen)


def show_idle(seen):
    idle = seen.idle
    print(f"  Idle, each second: HAProxy {idle['haproxy_us']:.0f} us, disc-spoa {idle['spoa_us']:.0f} us, LB "
          f"{idle['sent']:.0f} bytes sent and {idle['received']:.0f} received, the machine busy "
          f"{idle['machine_us'] / 1e6:.3f} s")
    if seen.noisy():
        print("  SOMETHING ELSE RUNS ON THIS MACHINE: times and CPU are too large, and there are no figures of the "
              "whole machine.")
    if seen.repeated:
        print(f"  Runs that were repeated, since over 1 % of their bodies took another path: {seen.repeated}")


def show_bodies(sizes):
    print(f"\n  LB, each response           CPU of processes, us                      bytes of its interface"
          f"\n  {'size':7} {'path':6} {'HAProxy':>8} {'disc-spoa':>9} {'both':>9} {'min':>9} {'max':>9} {'x direct':>8}"
          f"  {'sent':>10} {'received':>10} {'forwarded':>10} {'from site':>10}")
    for size, path in ((size, path) for size in sizes for path in PATHS):
        runs = sizes[size][path]
        both = lab.spread(column(runs, "lb_us"))
        print(f"  {size:7} {path:6} {median(runs, 'haproxy_us'):8.1f} {median(runs, 'spoa_us'):9.1f} "
              + " ".join(f"{figure:9.1f}" for figure in both) + f" {times(runs, sizes[size]['direct']):8.2f}  "
              + " ".join(f"{median(runs, name):10.0f}" for name in ("sent", "received", "forwarded", "site")))


def show_kernel(sizes):
    """<sizes>: size, or another name of a load -> path -> runs."""
    print("\n  LB, each response, its kernel included: CPU in us (kernel: taking in packets outside of its processes; steering: "
          "run time of\n  the steering program, in both), system calls and wake-ups of HAProxy, disc-spoa and the nodes\n"
          f"  {'size':7} {'path':6} {'processes':>9} {'kernel':>8} {'both':>9} {'min':>9} {'max':>9} {'x direct':>8} {'steering':>9}"
          f" {'runs':>6}  {'calls':>18}  {'wake-ups':>18}")
    for size, path in ((size, path) for size in sizes for path in PATHS if path in sizes[size]):
        runs = sizes[size][path]
        print(f"  {size:7} {path:6} {median(runs, 'lb_us'):9.1f} {median(runs, 'kernel_us'):8.1f} "
              + " ".join(f"{figure:9.1f}" for figure in lab.spread(column(runs, "all_us")))
              + f" {times(runs, sizes[size]['direct'], 'all_us'):8.2f} {median(runs, 'steering_us'):9.2f}"
              f" {median(runs, 'steering_runs'):6.1f}  {three(runs, 'calls')}  {three(runs, 'wakes')}")


def three(runs, what):
    return " + ".join(f"{median(runs, f'{name}_{what}'):4.1f}" for name in ("haproxy", "spoa", "node"))


def show_machine(sizes):
    print("\n  Whole machine (client, router, LB, nodes), CPU seconds per GB\n"
          + f"  {'size':7} {'path':6} {'median':>9} {'min':>9} {'max':>9} {'x direct':>8}")
    for size, path in ((size, path) for size in sizes for path in PATHS):
        runs = sizes[size][path]
        figures = (figure * 1000 / lab.size_in_bytes(size) for figure in lab.spread(column(runs, "machine_us")))
        print(f"  {size:7} {path:6} " + " ".join(f"{figure:9.3f}" for figure in figures)
              + f" {times(runs, sizes[size]['direct'], 'machine_us'):8.2f}")


def judge_flatness(seen, bodies):
    first = next(iter(seen.paced))
    print(f"\n  The direct path beside {first}. Back to back, a large body finds caches cold that many small ones keep "
          f"warm;\n  at one pace, {seen.pace} responses a second, all do. Bytes of the interface: forwarded ones are the "
          "client's acknowledgements.\n"
          f"  {'':7} {'LB CPU, us':>18} {'us, at one pace':>18} {'splice':>8} {'sent':>6} {'received':>8} "
          f"{'+ forwarded':>11} {'in packets':>10}")
    least = {path: median(bodies[first][path], "lb_us") for path in ("direct", "splice")}
    grown = {size: times(runs, seen.paced[first]) for size, runs in seen.paced.items()}
    for size, runs in seen.paced.items():
        direct, splice = bodies[size]["direct"], bodies[size]["splice"]
        sent, received, forwarded = (median(direct, name) for name in ("sent", "received", "forwarded"))
        print(f"  {size:7} {median(direct, 'lb_us'):9.1f} {median(direct, 'lb_us') / least['direct']:7.2f}x"
              f" {median(runs, 'lb_us'):9.1f} {grown[size]:7.2f}x {median(splice, 'lb_us') / least['splice']:7.2f}x"
              f" {sent - forwarded:6.0f} {received - forwarded:8.0f} {forwarded:11.0f} "
              f"{median(direct, 'forwarded_packets'):10.1f}")
    print(f"  Claim: LB process CPU is independent of body size from {first} up, at most {FLAT:.2f}x at one pace: "
          f"{'held' if max(grown.values()) <= FLAT else 'MISSED'}.")


def crossover(sizes, base, cost="lb_us"):
    """Bytes from which the direct path costs less LB CPU, by <cost>, than <base>, as straight lines between measured sizes have it;
    the smallest measured size if it does at all of them, None if it does not at the largest."""
    points = sorted((lab.size_in_bytes(size), median(runs["direct"], cost) - median(runs[base], cost))
                    for size, runs in sizes.items())
    if points[-1][1] >= 0:
        return None
    for (left, more), (right, less) in reversed(list(zip(points, points[1:]))):
        if more >= 0:
            return left + (right - left) * more / (more - less)
    return points[0][0]


def judge_crossover(sizes):
    """direct-min is suggested where the direct path is the cheapest of the three, the LB's kernel included."""
    print()
    found = {}
    for base in ("splice", "relay"):
        for cost, what in (("lb_us", "of processes"), ("all_us", "with its kernel")):
            size = found[base, cost] = crossover(sizes, base, cost)
            print(f"  The direct path costs the LB less CPU {what} than {base} from "
                  + (f"{size / 1024:.0f} KB on." if size else "no measured size on."))
    of_all = [found[base, "all_us"] for base in ("splice", "relay")]
    if all(of_all):
        # The next power of two.
        print(f"  Suggested for path = \"auto\": direct-min = {1 << (round(max(of_all)) - 1).bit_length()}"
              f" (shipped: {lab.shipped('direct-min')}).")


def show_cycles(seen):
    print(f"\n  {seen.cycle_size} requests, back to back, as the client saw them"
          f"\n  {'path':6} {'connections':>11} {'p50 us':>9} {'min':>9} {'max':>9} {'p99 us':>9} {'min':>9} {'max':>9} "
          f"{'a second':>9}")
    for connections, path in ((connections, path) for connections in seen.cycles for path in PATHS):
        runs = seen.cycles[connections][path]
        figures = (figure for name in ("p50_us", "p99_us") for figure in lab.spread(column(runs, name)))
        print(f"  {path:6} {connections:11} " + " ".join(f"{figure:9.1f}" for figure in figures)
              + f" {median(runs, 'rate'):9.0f}")


def judge_cycles(seen):
    alone = seen.cycles[min(seen.cycles)]
    p50, p99 = (lab.spread([direct[name] - splice[name] for direct, splice in zip(alone["direct"], alone["splice"])])
                for name in ("p50_us", "p99_us"))
    print(f"\n  A whole handoff cycle adds {p50[0]:.0f} us ({p50[1]:.0f} to {p50[2]:.0f}) to the splice path's median, "
          f"{p99[0]:.0f} us to its p99.\n  Budget: {CYCLE_BUDGET_US} us at the median, "
          f"{'held' if p50[0] <= CYCLE_BUDGET_US else 'MISSED'}.")
    judge_steps(alone["direct"])


def judge_steps(runs):
    handoff, freeze, back = (lab.spread(column(runs, name)) for name in ("clone_us", "freeze_us", "fast_forward_us"))
    print(f"  By disc-spoa's own clock a node has a connection {handoff[0]:.0f} us ({handoff[1]:.0f} to {handoff[2]:.0f}) after "
          f"it was handed off.\n  Freeze and steer: {freeze[0]:.0f} us ({freeze[1]:.0f} to {freeze[2]:.0f}); fast-forward: {back[0]:.0f} us "
          f"({back[1]:.0f} to {back[2]:.0f}). Budget: {STEP_BUDGET_US} us each, "
          f"{'held' if max(freeze[0], back[0]) <= STEP_BUDGET_US else 'MISSED'}.")


def series(seen):
    """Name, size, TLS version, path and runs of each."""
    for tls, sizes in seen.bodies.items():
        for size, path in ((size, path) for size in sizes for path in PATHS):
            yield "back to back", size, tls, path, sizes[size][path]
    for size, runs in seen.paced.items():
        yield "at one pace", size, "1.2", "direct", runs
    for connections, path in ((connections, path) for connections in seen.cycles for path in PATHS):
        yield f"cycles of {connections}", seen.cycle_size, "1.2", path, seen.cycles[connections][path]


def save(seen, repeat):
    os.makedirs(f"{lab.BUILD}/bench", exist_ok=True)
    costs = [cost for cost in COSTS if cost != "machine_us" or not seen.noisy()]
    with open(f"{lab.BUILD}/bench/direct.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["series", "size", "bytes", "tls", "path", "runs"]
                        + [f"{cost}{part}" for cost in costs for part in ("", "_min", "_max")])
        for name, size, tls, path, runs in series(seen):
            figures = [f"{figure:.2f}" for cost in costs for figure in lab.spread(column(runs, cost))]
            writer.writerow([name, size, lab.size_in_bytes(size), tls, path, repeat, *figures])
    groups = {size: {path: lab.spread(column(paths[path], "lb_us")) for path in PATHS}
              for size, paths in seen.bodies["1.2"].items()}
    plot.bars(f"{lab.BUILD}/bench/direct.svg", "LB: CPU microseconds of HAProxy and disc-spoa per response", groups,
              logarithmic=True)
    print(f"\n  {lab.BUILD}/bench/direct.csv, direct.svg")
