# SPDX-License-Identifier: GPL-2.0-or-later
"""What the benchmarks share: private namespaces, the processes under test, CPU time, alternating runs.

A benchmark runs as the first process of its namespaces: the kernel ends whatever it started, and its network, when it
ends, however that happens. Congestion control is explicit: BBR's timers cost several times the CPU of the others on so
short a path, and it may be the kernel's default.
"""
import glob
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.path.abspath(os.environ.get("BUILD") or os.path.join(ROOT, "build"))
# What is measured: this tree's programs and configuration, or another one's that was built.
TREE = os.path.abspath(os.environ.get("DISC_BENCH_TREE") or ROOT)
PROGRAMS = f"{TREE}/build/bin" if TREE != ROOT else f"{BUILD}/bin"
CONGESTION_CONTROL = os.environ.get("CONGESTION_CONTROL") or "reno"
UNITS = {"KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}


class Failure(Exception):
    """Why the benchmark cannot go on, as a sentence."""


def inside():
    """Whether this program runs in namespaces of its own already."""
    return bool(os.environ.get("DISC_BENCH_FOLDER"))


def enter_namespaces():
    """Runs this program again in namespaces of its own (network, processes, mounts), unless that was done already."""
    if inside():
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that waits outside gets it too, and ends all
        return
    if os.geteuid() != 0:
        raise Failure("namespaces of its own need root: run it with sudo")
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    # No process is left if this one is killed: unshare dies with it, and with that the first process in there.
    command = ["setpriv", "--pdeathsig", "KILL", "unshare", "--net", "--mount", "--pid", "--fork", "--kill-child",
               "--mount-proc", sys.executable, *sys.argv]
    with tempfile.TemporaryDirectory(prefix="disc-bench.") as folder:
        try:
            ended = subprocess.run(command, env={**os.environ, "DISC_BENCH_FOLDER": folder})
        except KeyboardInterrupt:
            sys.exit(130)
    sys.exit(ended.returncode)


def enter_loopback():
    """Namespaces with nothing but a loopback."""
    enter_namespaces()
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    try:
        with open("/proc/sys/net/ipv4/tcp_congestion_control", "w") as control:
            control.write(CONGESTION_CONTROL)
    except OSError as error:
        raise Failure(f"congestion control {CONGESTION_CONTROL}: {error.strerror}. Namespaces may only use what "
                      "net.ipv4.tcp_allowed_congestion_control names; reno always is") from error


def size_in_bytes(text):
    match = re.fullmatch(r"([1-9][0-9]*)(KB|MB|GB)", text)
    if not match:
        raise Failure(f"{text} is not a size such as 100KB, 1MB or 2GB")
    return int(match[1]) * UNITS[match[2]]


def free_ports(count):
    command = [f"{ROOT}/tools/free-ports", "127.0.0.1", str(count)]
    return [int(port) for port in subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout.split()]


class Lab:
    """Folder and processes of one benchmark; leaving it ends them. The folder is removed by enter_namespaces()."""

    def __enter__(self):
        self.path = os.environ["DISC_BENCH_FOLDER"]
        self.processes = []
        os.mkdir(f"{self.path}/files")
        self.certificates = f"{self.path}/certificates"
        subprocess.run([f"{ROOT}/tools/make-certificates", self.certificates], check=True)
        return self

    def __exit__(self, *_):
        for process, _ in self.processes:
            process.kill()
            process.wait()

    def write(self, name, text):
        with open(f"{self.path}/{name}", "w") as file:
            file.write(text)
        return f"{self.path}/{name}"

    def start(self, name, *command, **environment):
        log = open(f"{self.path}/{name}.log", "w")
        process = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env={**os.environ, **environment}
        )
        self.processes.append((process, log.name))
        return process

    def wait_until(self, what, condition):
        """Polls <condition> for 10 seconds; <what> is said when it does not come true."""
        deadline = time.monotonic() + 10
        while not condition():
            for process, log in self.processes:
                if process.poll() is not None:
                    raise Failure(f"{process.args[0]} ended: {open(log).read()[-2000:]}")
            if time.monotonic() > deadline:
                raise Failure(f"{what} within 10 s")
            time.sleep(0.02)


def server_rows(stats):
    """Rows of "show stat" on the stats socket <stats>, the names of the columns first."""
    return [line.split(",") for line in stats_command(stats, "show stat").splitlines()]


def all_up(stats, names):
    """Whether HAProxy found all servers of these names alive."""
    up = {row[1] for row in server_rows(stats) if len(row) > 17 and row[17].startswith("UP")}
    return up.issuperset(names)


def fetch_text(url):
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return response.read().decode()
    except OSError:
        return ""


def stats_command(path, command):
    """What HAProxy answers to <command> on its stats socket."""
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(path)
            connection.sendall(command.encode() + b"\n")
            return b"".join(iter(lambda: connection.recv(65536), b"")).decode()
        except OSError:
            return ""


def cpu_ns(pid):
    """CPU time of all threads so far: the scheduler's own account, in nanoseconds."""
    return sum(int(open(path).read().split()[0]) for path in glob.glob(f"/proc/{pid}/task/*/schedstat"))


class Load:
    """One run of load_client; connecting, the first response and closing are not part of what is measured.

    After run() there are seconds, and microseconds of a request (p50_us, p99_us; first_us: the median until the first byte of the body), as
    the client saw them."""

    TIME_LIMIT = 120  # seconds

    def __init__(self, address, port, path, size, connections, requests, tls=None, suite=None, period_ms=0, sha256=None,
                 on=(), times=None):
        """<on>: what goes before the command, so that it runs elsewhere. <times>: a file for the microseconds of each request."""
        command = [*on, f"{BUILD}/bench/load_client", "--connections", str(connections), "--requests", str(requests)]
        for option, value in (("tls", tls), ("suite", suite), ("period-ms", period_ms), ("sha256", sha256), ("times", times)):
            if value:
                command += [f"--{option}", str(value)]
        self.command = command + [address, str(port), path, str(size)]
        self.requests = connections * requests
        self.bytes = self.requests * size

    def run(self, before, after):
        """Calls <before> when the connections are there, then <after> when the last byte has come."""
        pipe = subprocess.PIPE
        client = subprocess.Popen(self.command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        watchdog = threading.Timer(self.TIME_LIMIT, client.kill)
        watchdog.start()
        try:
            if client.stdout.readline() == "ready\n":
                before()
                client.stdin.write("go\n")
                client.stdin.flush()
                self.take_figures(client.stdout.readline(), after)
            client.stdin.close()
            if client.wait() != 0:
                why = client.stderr.read().strip() or f"ended with {client.returncode}; it has {self.TIME_LIMIT} s"
                raise Failure(f"{' '.join(self.command)}: {why}")
        finally:
            watchdog.cancel()
            client.kill()
            client.wait()

    def take_figures(self, line, after):
        """<line>: the client's last one, or nothing if it failed."""
        if line:
            after()
            figures = dict(word.split("=") for word in line.split())
            names = ("seconds", "p50_us", "p99_us", "first_us")
            self.seconds, self.p50_us, self.p99_us, self.first_us = (float(figures[name]) for name in names)


def alternate(variants, repeat, progress):
    """Measures each of <variants> (name -> function) <repeat> times, in turn, every second round in the opposite order; a
    first round is thrown away."""
    values = {name: [] for name in variants}
    for turn in range(repeat + 1):
        for name in list(variants)[:: -1 if turn % 2 else 1]:
            progress(f"run {turn} of {repeat}, {name}")
            value = variants[name]()
            if turn > 0:
                values[name].append(value)
    return values


def spread(values):
    return statistics.median(values), min(values), max(values)


def ratios(values, base):
    """How many times <base>: median, lower and upper quartile of each round's ratio, since what changes from round to
    round meets both alike."""
    rounds = [value / other for value, other in zip(values, base)]
    if len(rounds) < 2:
        return rounds[0], rounds[0], rounds[0]
    lower, middle, upper = statistics.quantiles(rounds, n=4, method="inclusive")
    return middle, lower, upper


def progress_line(text):
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\033[K  {text}")
        sys.stderr.flush()


def conditions(network="on a loopback"):
    """One line that belongs to every result: what it was measured on."""
    load = open("/proc/loadavg").read().split()[0]
    return (f"{os.cpu_count()} CPUs, load {load} at the start, congestion control {CONGESTION_CONTROL} {network}, "
            "HAProxy with one thread")


def shipped(field):
    """What config/disc-spoa.conf says of <field>, as text."""
    match = re.search(rf"^{field} = ([0-9]+)", open(f"{ROOT}/config/disc-spoa.conf").read(), re.M)
    if not match:
        raise Failure(f"config/disc-spoa.conf does not set {field}")
    return match[1]


def machine():
    """One line: when and on what."""
    names = re.findall(r"^model name\s*: (.*)$", open("/proc/cpuinfo").read(), re.M)
    memory = int(re.search(r"^MemTotal: *([0-9]+)", open("/proc/meminfo").read(), re.M)[1]) >> 20
    return (f"{time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime())}, {names[0] if names else 'unknown CPU'}, {memory} GB, "
            f"Linux {os.uname().release}")


def command_line(variables):
    """What this program was started as, with those of the environment's <variables> that are set."""
    settings = [f"{name}='{os.environ[name]}'" for name in variables if os.environ.get(name)]
    return " ".join([*settings, os.path.relpath(sys.argv[0], ROOT), *sys.argv[1:]])


def busy_s():
    """Seconds that all CPUs together were busy so far, softirqs included: what /proc/stat calls neither idle nor stolen.
    Its other fields are samples of a few milliseconds, idle time is measured. Only differences mean anything."""
    fields = [int(field) for field in open("/proc/stat").readline().split()[1:]]
    idle = fields[3] + fields[4] + fields[7]
    return os.cpu_count() * time.monotonic() - idle / os.sysconf("SC_CLK_TCK")
