# SPDX-License-Identifier: GPL-2.0-or-later
"""What the load balancer's kernel does for a response, and the system calls and wake-ups of the processes.

  kernel_us        the softirq that takes in packets, as far as they came in on an interface of the load balancer and no process of
                   it was the current one, whose CPU time has the rest already (CONFIG_IRQ_TIME_ACCOUNTING: all of it, it has none
                   then). So processes and kernel add up. Not in it: timers and
                   hard interrupts, of which a parked connection has none
  steering_us      run time of the steering program, by the kernel's BPF statistics, in part in kernel_us, in part in the processes;
                   steering_runs: how often it ran
  *_calls          system calls of a process; *_wakes: how often it slept, so was woken

Counting them (bench/kernel_meter) costs about 0.1 us a packet and a system call, so runs that are counted are others than those
whose times are taken.
"""
import glob
import gzip
import json
import os
import re
import shutil
import subprocess

import lab

BPFTOOL = shutil.which("bpftool") or "/usr/sbin/bpftool"


class Meter:
    """Counts from entering to leaving. <processes>: name -> those that are counted together; <own>: names of those of this
    host, which come first."""

    def __init__(self, processes, own):
        self.processes, self.own = processes, own
        self.pids = [process.pid for each in processes.values() for process in each]
        self.own_pids = sum(len(processes[name]) for name in own)

    def __enter__(self):
        pipe = subprocess.PIPE
        command = [f"{lab.BUILD}/bench/kernel_meter", str(self.own_pids), *map(str, self.pids)]
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        self.answer()
        return self

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise lab.Failure(self.process.stderr.read().strip() or "kernel_meter ended")
        return line

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()

    def read(self):
        """All figures by now; only differences mean anything."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        figures = dict(word.split("=") for word in self.answer().split())
        calls = list(map(int, figures["calls"].split(",")))
        outside = int(figures["other_ns"]) + (int(figures["own_ns"]) if irqs_are_apart() else 0)
        seen = {"kernel_us": outside / 1000, "kernel_packets": int(figures["packets"])}
        at = 0
        for name, each in self.processes.items():
            seen[f"{name}_calls"] = sum(calls[at:at + len(each)])
            seen[f"{name}_wakes"] = sum(wakes(process.pid) for process in each)
            at += len(each)
        return {**seen, **steering()}


def irqs_are_apart():
    """Whether this kernel keeps softirqs out of the CPU time of the process that they interrupt."""
    option = "CONFIG_IRQ_TIME_ACCOUNTING=y"
    for path, opened in (("/proc/config.gz", gzip.open), (f"/boot/config-{os.uname().release}", open)):
        if os.path.exists(path):
            return option in opened(path, "rt").read()
    return False


def wakes(pid):
    """How often the threads of a process slept so far."""
    count = 0
    for path in glob.glob(f"/proc/{pid}/task/*/status"):
        count += int(re.search(r"^voluntary_ctxt_switches:\s*([0-9]+)", open(path).read(), re.M)[1])
    return count


def steering():
    """Run time of the programs on this host's interfaces."""
    listed = ask_bpftool("net", "show")[0]["tc"]
    programs = [ask_bpftool("prog", "show", "id", str(number)) for number in sorted({entry["id"] for entry in listed})]
    return {"steering_us": sum(program.get("run_time_ns", 0) for program in programs) / 1000,
            "steering_runs": sum(program.get("run_cnt", 0) for program in programs)}


def ask_bpftool(*words):
    return json.loads(subprocess.run([BPFTOOL, "-j", *words], stdout=subprocess.PIPE, check=True).stdout)
