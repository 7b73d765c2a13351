# SPDX-License-Identifier: GPL-2.0-or-later
"""The series of bench/direct over a client's wire that loses packets: how long requests take on each path.

Each size and path has hosts, processes and a wire of its own, so that each meets the same choices of the wire (the same seed). All
times are kept, and the intervals of their percentiles come from resampling them (bootstrap, percentile method).
"""
import csv
import os
import random
import subprocess
import sys
import tempfile

import lab
from direct_report import PATHS

SIZES = (os.environ.get("LOSSY_SIZES") or "4KB 64KB 1MB").split()
CONNECTIONS = 20
REQUESTS, BYTES = 3000, 512 << 20  # on all of them together: so many, or as many as make so many bytes
LOSS, DELAY_MS, SEED = 1, 2, 1  # per cent and one way, in each direction
SHARE = 0.95  # of a run's bodies must have taken the path
RESAMPLES = 1000
CONFIDENCE = 0.95
PERCENTILES = (50, 99)
LIMIT_SIZE, LIMIT_TIMES, LIMIT_PERCENTILE = "4KB", 1.2, 99  # direct over relay, at most
TIME_LIMIT = 180  # seconds, of one size on one path


# --- one size on one path, in namespaces of its own ---

def is_asked():
    return "DISC_BENCH_LOSSY" in os.environ


def requests_of(size):
    """On each connection."""
    requests = min(REQUESTS, max(100, BYTES // lab.size_in_bytes(size)))
    return -(-(requests // 10 if os.environ.get("SHORT") else requests) // CONNECTIONS)


def measure(bench):
    """Writes the microseconds of each request to the file that the parent named."""
    path, size, file = os.environ["DISC_BENCH_LOSSY"].split(":")
    requests = requests_of(size)
    lab.stats_command(bench.stats, "disc off" if path == "relay" else "disc on")
    load, seen = bench.load(path, size, CONNECTIONS, requests, times=file), {}
    load.run(lambda: seen.update(before=bench.counters()), lambda: seen.update(after=bench.counters()))
    taken = {name: seen["after"][name] - seen["before"][name] for name in ("direct", "accepted")}
    wanted = {"direct": "direct", "splice": "accepted", "relay": None}[path]
    for name, count in taken.items():
        if name == wanted and count < SHARE * load.requests or path == "relay" and count:
            raise lab.Failure(f"{name} grew by {count} during {load.requests} requests: this is not the {path} path; "
                              f"HAProxy's reasons: {bench.reasons()}")


# --- all of them ---

def run_one(path, size, folder):
    """Returns the sorted times of one size on one path, in microseconds."""
    file = f"{folder}/{path}-{size}"
    wire = f"{lab.BUILD}/bench/lossy_wire --loss {LOSS} --delay {DELAY_MS} --seed {SEED}"
    environment = {**os.environ, "CLIENT_WIRE": wire, "DISC_BENCH_LOSSY": f"{path}:{size}:{file}", "SIZES": size}
    if subprocess.run([sys.executable, *sys.argv], env=environment, timeout=TIME_LIMIT).returncode != 0:
        raise lab.Failure(f"{size} on the path {path} could not be measured")
    return sorted(float(line) for line in open(file))


def percentile(times, share):
    return times[min(len(times) * share // 100, len(times) - 1)]


def resampled(times):
    """The percentiles of RESAMPLES samples drawn from <times>: percentile -> sorted list."""
    draws = [sorted(random.choices(times, k=len(times))) for _ in range(RESAMPLES)]
    return {share: [percentile(draw, share) for draw in draws] for share in PERCENTILES}


def interval(values):
    ordered, beyond = sorted(values), (1 - CONFIDENCE) / 2
    return ordered[int(beyond * len(ordered))], ordered[int((1 - beyond) * len(ordered)) - 1]


def show(times, draws):
    print(f"  {'size':6} {'path':6} {'requests':>8}" + "".join(f"   p{share}, ms (interval)        " for share in PERCENTILES)
          + "  slowest, ms")
    for size in SIZES:
        for path in PATHS:
            one = times[size][path]
            cells = ""
            for share in PERCENTILES:
                low, high = interval(draws[size][path][share])
                cells += f"  {percentile(one, share) / 1000:8.2f} ({low / 1000:.2f} to {high / 1000:.2f})".ljust(30)
            print(f"  {size:6} {path:6} {len(one):8}{cells} {one[-1] / 1000:10.1f}")


def judge(times, draws):
    if LIMIT_SIZE not in SIZES:
        return
    direct, relay = (draws[LIMIT_SIZE][path][LIMIT_PERCENTILE] for path in ("direct", "relay"))
    ratio = (percentile(times[LIMIT_SIZE]["direct"], LIMIT_PERCENTILE)
             / percentile(times[LIMIT_SIZE]["relay"], LIMIT_PERCENTILE))
    low, high = interval([a / b for a, b in zip(direct, relay)])
    print(f"\n  {LIMIT_SIZE}, p{LIMIT_PERCENTILE}: direct takes {ratio:.2f} times what relaying takes ({low:.2f} to {high:.2f}). "
          f"Limit: {LIMIT_TIMES}, {'held' if ratio <= LIMIT_TIMES else 'MISSED'}.")


def save(times, draws):
    os.makedirs(f"{lab.BUILD}/bench", exist_ok=True)
    with open(f"{lab.BUILD}/bench/direct-lossy.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["size", "path", "requests", "percentile", "us", "us_low", "us_high"])
        for size, path, share in ((size, path, share) for size in SIZES for path in PATHS for share in PERCENTILES):
            one = times[size][path]
            writer.writerow([size, path, len(one), share, percentile(one, share), *interval(draws[size][path][share])])
    print(f"  {lab.BUILD}/bench/direct-lossy.csv\n")


def run():
    random.seed(SEED)
    print(f"\n  {LOSS} % loss each way, RTT {2 * DELAY_MS} ms, TLS 1.2, {CONNECTIONS} connections back to back; intervals: "
          f"{CONFIDENCE:.0%}, bootstrap", flush=True)
    with tempfile.TemporaryDirectory(prefix="disc-bench.") as folder:
        times = {size: {path: run_one(path, size, folder) for path in PATHS} for size in SIZES}
    draws = {size: {path: resampled(times[size][path]) for path in PATHS} for size in SIZES}
    show(times, draws)
    judge(times, draws)
    save(times, draws)
