#!/usr/bin/env python3
"""Compares `zhit broadcast` with the least that asks as many processes and hears all of them, on this machine, in turns.

    benches/compare/fanout.py [--workers N] [--turns N] [--gap SECONDS] [--batch N] [--apart] [--profile release|dev]

zhit   `zhit broadcast stats` to N processes `zhit worker --slots 1` in one runtime directory; they have elected a broker.
       Two times: of the whole process, and its own, of its last line (hundredths of a second).
raw    a C program linked to the same static libzmq: one ROUTER sends a message of the size of a broadcast's ASK to N
       processes with a DEALER each, over ipc, and takes an answer of each. Its time runs from before the first send to
       the last answer; nothing of it starts, registers or connects meanwhile.

One turn is one of each, `--gap` seconds apart. N idle zhit workers keep a machine a little busy with their heartbeats,
and raw has that beside it, too; so raw is also measured before any zhit worker is there ("alone"). `--apart` ends the one
fleet before the other starts, with all turns of one after those of the other, for machines that have no memory for both.

Goals: with 1,000 workers at most twice raw's time; with `--workers 10` the whole process in 50 ms.

Needs a C and a C++ compiler, and memory: it is looked at first. Everything runs on this host, in a directory of its own,
and is ended by its pid.
"""

import argparse
import contextlib
import json
import os
import re
import resource
import select
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness.build import build, missing

LIMIT_SECONDS = 120
LOOK_EVERY_SECONDS = 0.02
ASK_BYTES = 100
ANSWER_BYTES = 300
BYTES_OF_PROCESS = 2 << 20  # with its kernel stacks; a thousand of both took 1.6 GiB
FILES_OF_WORKER = 4  # of the broker: two connections, a pidfd, and what it has open for a moment
GOAL_RATIO = 2.0
GOAL_SECONDS = 0.05


def wait_for(holds, what):
    until = time.monotonic() + LIMIT_SECONDS
    while not holds():
        if time.monotonic() > until:
            raise RuntimeError(f"not seen within {LIMIT_SECONDS} s: {what}")
        time.sleep(LOOK_EVERY_SECONDS)


def end_all(children):
    """Asks all to end, then makes them; each by its pid, which is nobody else's before it was waited for."""
    for child in children:
        child.terminate()
    until = time.monotonic() + LIMIT_SECONDS / 2
    for child in children:
        try:
            child.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            child.kill()
    for child in children:
        child.wait()


class Raw:
    """A root and its leaves."""

    def __init__(self, program, directory, leaves, batch):
        self.endpoint = f"ipc://{directory}/root.sock"
        self.children, self.leaves = [], leaves
        self.root = None
        try:
            self.start(program, batch)
        except BaseException:
            self.end()
            raise

    def start(self, program, batch):
        command = [program, "root", self.endpoint, str(ASK_BYTES), str(ANSWER_BYTES)]
        self.root = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self.said() != "ready":
            raise RuntimeError("the raw root did not get ready")
        while len(self.children) < self.leaves:
            for _ in range(min(batch, self.leaves - len(self.children))):
                command = [program, "leaf", self.endpoint, str(ANSWER_BYTES)]
                self.children.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL))
            if self.tell(f"wait {len(self.children)}") != "there":
                raise RuntimeError("the raw leaves did not get ready")

    def said(self):
        """Its next line. It says one for each that it is told, so none lies in the buffer before."""
        if not select.select([self.root.stdout], [], [], LIMIT_SECONDS)[0]:
            raise RuntimeError(f"nothing heard of the raw root within {LIMIT_SECONDS} s")
        return self.root.stdout.readline().strip()

    def tell(self, what):
        self.root.stdin.write(what + "\n")
        self.root.stdin.flush()
        return self.said()

    def turn(self):
        answer = self.tell("go")
        if not answer:
            raise RuntimeError("the raw root has ended")
        answer = json.loads(answer)
        if answer["leaves"] != self.leaves:
            raise RuntimeError(f"the raw root asked {answer['leaves']}, not {self.leaves}")
        return answer["seconds"]

    def end(self):
        end_all(self.children + ([self.root] if self.root else []))


class Zhit:
    """Workers, and the broker that they elect."""

    def __init__(self, zhit, directory, workers, batch):
        self.zhit, self.directory, self.count = zhit, directory, workers
        self.env = dict(os.environ, ZHIT_RUNTIME_DIR=str(directory), ZHIT_HOST="alpha", ZHIT_LOG="warn")
        self.env.pop("ZHIT_LAYOUT", None)
        self.workers = []
        try:
            while len(self.workers) < workers:
                for _ in range(min(batch, workers - len(self.workers))):
                    command = [zhit, "worker", "--slots", "1", "--builtin", "echo"]
                    self.workers.append(subprocess.Popen(command, env=self.env, stdin=subprocess.DEVNULL,
                                                         stdout=subprocess.DEVNULL))
                wait_for(lambda: self.members() == len(self.workers), f"{len(self.workers)} workers at the broker")
        except BaseException:
            self.end()
            raise

    def members(self):
        """How many have registered, with all their slots."""
        said = subprocess.run([self.zhit, "ping", "--format", "json", "--wait", "1s"], env=self.env, text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        for line in said.stdout.splitlines():
            probe = json.loads(line)
            if probe["kind"] == "probe" and probe["answered"]:
                return min(probe["workers_total"], probe["slots"]["idle"])
        return 0

    def turn(self):
        """Seconds of the whole process, and those that its last line tells."""
        command = [self.zhit, "broadcast", "--progress", "never", "stats"]
        start = time.perf_counter()
        said = subprocess.run(command, env=self.env, text=True, stdin=subprocess.DEVNULL, capture_output=True,
                              timeout=LIMIT_SECONDS)
        whole = time.perf_counter() - start
        answers = len(set(re.findall(r"^(\S+): \{", said.stdout, re.MULTILINE)))
        last = said.stderr.strip().splitlines()[-1:] or [""]
        told = re.fullmatch(rf"expected {self.count} = {self.count} ok in ([0-9.]+)s", last[0])
        if said.returncode or not told or answers != self.count:
            raise RuntimeError(f"zhit broadcast: exit {said.returncode}, {answers} answers: {said.stderr.strip()}")
        return whole, float(told[1])

    def brokers(self):
        """Processes that serve this directory, or stand for it, in whatever state; zombies have no command line."""
        mine = f"ZHIT_RUNTIME_DIR={self.directory}".encode()
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdigit() and b"--elected" in (entry / "cmdline").read_bytes().split(b"\0"):
                    if mine in (entry / "environ").read_bytes().split(b"\0"):
                        found.append(int(entry.name))
        return found

    def end(self):
        """Workers first: while there are any, they elect the next."""
        try:
            end_all(self.workers)
        finally:
            for how in (signal.SIGTERM, signal.SIGKILL):
                for pid in self.brokers():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, how)
                until = time.monotonic() + 10
                while self.brokers() and time.monotonic() < until:
                    time.sleep(LOOK_EVERY_SECONDS)


@contextlib.contextmanager
def fleet(kind, *how):
    began = time.monotonic()
    it = kind(*how)
    print(f"{kind.__name__.lower()}: {how[2]} processes ready after {time.monotonic() - began:.1f} s", file=sys.stderr,
          flush=True)
    try:
        yield it
    finally:
        it.end()


def raise_file_limit(wanted):
    """What is started here inherits it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        sys.exit(f"error: {wanted} open files are needed, the hard limit is {hard}: raise it (ulimit -Hn), or take fewer "
                 "--workers")
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def look_at_memory(needed):
    """Ends here if there is less to be had, before anything is short of it."""
    fields = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    available = int(fields["MemAvailable"].split()[0]) << 10
    group = Path("/sys/fs/cgroup")
    with contextlib.suppress(OSError, ValueError):  # there is none, or it is "max"
        limit, used = (int((group / name).read_text()) for name in ("memory.max", "memory.current"))
        available = min(available, limit - used)
    if available < needed:
        sys.exit(f"error: about {needed >> 20} MiB are needed, {available >> 20} are there: take fewer --workers, or "
                 "--apart")


def measure(zhit, scratch, args, times):
    """Fills `times`: name -> seconds of each turn."""
    how = args.workers, args.batch
    directories = scratch / "raw", scratch / "zhit"
    for directory in directories:
        directory.mkdir(mode=0o700)

    def turns(**cases):
        """The cases in turns, the first one of each untold: connections are there by then, and caches warm."""
        for turn in range(args.turns + 1):
            for name, case in cases.items():
                time.sleep(args.gap)
                taken = case()
                if turn:
                    for column, seconds in zip(name.split("__"), taken if isinstance(taken, tuple) else (taken,)):
                        times.setdefault(column, []).append(seconds)

    with contextlib.ExitStack() as stack:
        with contextlib.ExitStack() if args.apart else contextlib.nullcontext(stack) as first:
            raw = first.enter_context(fleet(Raw, scratch / "fanout", directories[0], *how))
            turns(alone=raw.turn)
        zhit = stack.enter_context(fleet(Zhit, zhit, directories[1], *how))
        if args.apart:
            turns(whole__own=zhit.turn)
        else:
            turns(raw=raw.turn, whole__own=zhit.turn)


def table(args, times):
    base = statistics.median(times.get("raw") or times["alone"])
    alone = statistics.median(times["alone"])
    in_turns = "apart" if args.apart else "in turns"
    print(f"one question to {args.workers} processes, and the answers of all ({args.turns} turns, {in_turns})")
    print(f"{'':38}{'median':>11}{'p90':>11}{'min':>11}{'to raw':>8}{'to alone':>10}")
    names = {"raw": "raw ROUTER to DEALERs", "alone": "raw ROUTER to DEALERs, alone",
             "whole": "zhit broadcast, whole process", "own": "zhit broadcast, its last line"}
    for name, told in names.items():
        if name in times:
            all_of = sorted(times[name])
            median, p90 = statistics.median(all_of), all_of[-1 - len(all_of) // 10]
            print(f"{told:38}{median * 1e3:8.2f} ms{p90 * 1e3:8.2f} ms{all_of[0] * 1e3:8.2f} ms{median / base:8.2f}"
                  f"{median / alone:10.2f}")
    whole = statistics.median(times["whole"])
    if args.workers >= 1000:
        kept = whole <= GOAL_RATIO * base
        print(f"goal, at most {GOAL_RATIO:g} times raw: {'reached' if kept else 'missed'} ({whole / base:.2f})")
    if args.workers <= 10:
        kept = whole <= GOAL_SECONDS
        print(f"goal, whole process in {GOAL_SECONDS * 1e3:g} ms: {'reached' if kept else 'missed'} "
              f"({whole * 1e3:.1f} ms)")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=1000, metavar="N", help="processes of each fleet")
    parser.add_argument("--turns", type=int, default=9, metavar="N")
    parser.add_argument("--gap", type=float, default=0.5, metavar="SECONDS", help="of rest before each measurement")
    parser.add_argument("--batch", type=int, default=25, metavar="N", help="so many are started at a time")
    parser.add_argument("--apart", action="store_true", help="one fleet after the other")
    parser.add_argument("--profile", default="release", choices=["release", "dev"])
    args = parser.parse_args()
    if min(args.workers, args.turns, args.batch) < 1:
        parser.error("--workers, --turns and --batch are at least 1")
    for compiler in (os.environ.get("CC", "cc"), os.environ.get("CXX", "c++"), "cargo"):
        if not shutil.which(compiler.split()[0]):
            missing(compiler, "install a C and a C++ compiler and a Rust toolchain")
            return 1
    look_at_memory(args.workers * BYTES_OF_PROCESS * (1 if args.apart else 2))
    raise_file_limit(args.workers * FILES_OF_WORKER + 256)
    # As ^C does: what was started is ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with tempfile.TemporaryDirectory(prefix="zhit-fanout-") as scratch:
        scratch = Path(scratch)
        zhit = build(args.profile, scratch, ["fanout"])
        print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}, {args.profile} build", flush=True)
        times = {}
        try:
            measure(zhit, scratch, args, times)
        except (RuntimeError, OSError, subprocess.SubprocessError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        print(f"load {os.getloadavg()[0]:.1f} at the end\n")
        table(args, times)
    return 0


if __name__ == "__main__":
    sys.exit(main())
