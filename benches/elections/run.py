#!/usr/bin/env python3
"""How soon a host has its next broker, and whether one is ever killed that does not hang.

    benches/elections/run.py [crash] [hung] [many] [storm] [--rounds N] [--workers N] [--elections N]
                             [--minutes M] [--zhit PATH]

crash   kills the broker and waits until a client is served again
hung    stops it (SIGSTOP) instead; the members must find out, vote and end it
many    kills it again and again: each time one broker, a higher term, all members with it
storm   stops and continues workers at random, half of the time with four busy processes a processor: no broker may be
        killed

Times are of whole commands, in milliseconds. Everything runs on this host, in a directory of its own, and is ended by
its pid.
"""

import argparse
import contextlib
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
LIMIT_SECONDS = 60


class Host:
    """Workers that elect their broker."""

    def __init__(self, zhit, base, workers):
        self.zhit, self.base = zhit, Path(base)
        self.env = dict(os.environ, ZHIT_RUNTIME_DIR=str(base), ZHIT_HOST="alpha", ZHIT_LOG="warn")
        self.dir = self.base / "default" / "alpha"
        self.workers = [
            subprocess.Popen([zhit, "worker", "--builtin", "echo"], env=self.env, stdin=subprocess.DEVNULL,
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            for _ in range(workers)
        ]
        self.wait_for(lambda: self.members() == workers, "all workers")

    def record(self):
        with contextlib.suppress(OSError):
            lines = (self.dir / "broker.record").read_text().splitlines()
            return {key: value for key, value in (line.split(" ", 1) for line in lines)}
        return {}

    def broker(self):
        return int(self.record().get("pid", 0))

    def members(self):
        said = subprocess.run([self.zhit, "ping", "--format", "json", "--wait", "1s"], env=self.env,
                              capture_output=True, text=True)
        for line in said.stdout.splitlines():
            probe = json.loads(line)
            if probe["kind"] == "probe" and probe["answered"]:
                return probe["workers_total"]
        return 0

    def serves(self):
        asked = subprocess.run([self.zhit, "client", "--wait", "30s", "x"], env=self.env, stdin=subprocess.DEVNULL,
                               capture_output=True, text=True)
        return asked.returncode == 0 and asked.stdout == "x\n"

    def brokers(self):
        """Processes that are brokers of this host, in whatever state."""
        mine = f"ZHIT_RUNTIME_DIR={self.base}".encode()
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdigit() and b"--elected" in (entry / "cmdline").read_bytes().split(b"\0"):
                    if mine in (entry / "environ").read_bytes().split(b"\0"):
                        found.append(int(entry.name))
        return found

    @staticmethod
    def wait_for(holds, what):
        until = time.monotonic() + LIMIT_SECONDS
        while not holds():
            if time.monotonic() > until:
                sys.exit(f"error: not seen within {LIMIT_SECONDS} s: {what}")
            time.sleep(0.002)

    def end(self):
        for worker in self.workers:
            worker.send_signal(signal.SIGCONT)
            worker.terminate()
        for worker in self.workers:
            worker.wait(LIMIT_SECONDS)
        for pid in self.brokers():
            os.kill(pid, signal.SIGTERM)


def told(name, spans):
    spans = sorted(span * 1000 for span in spans)
    tenth = spans[len(spans) // 10], spans[-1 - len(spans) // 10]
    print(f"{name:42} median {statistics.median(spans):8.1f} ms   p10 {tenth[0]:8.1f}   p90 {tenth[1]:8.1f}   of {len(spans)}",
          flush=True)


def replaced(host, how, rounds, name):
    spans = []
    for _ in range(rounds):
        host.wait_for(lambda: host.members() == len(host.workers), "all members at the broker")
        # Members come to suspect at their own times; let them all have heard this broker for a while.
        time.sleep(1.2)
        broker = host.broker()
        began = time.monotonic()
        os.kill(broker, how)
        if how == signal.SIGSTOP:
            host.wait_for(lambda: host.broker() not in (0, broker), "the next broker")
        if not host.serves():
            sys.exit("error: no answer after the broker was replaced")
        spans.append(time.monotonic() - began)
    told(name, spans)


def many(host, elections):
    began, terms = time.monotonic(), []
    for number in range(elections):
        before = host.record()
        os.kill(int(before["pid"]), signal.SIGKILL)
        host.wait_for(lambda: host.record().get("pid", before["pid"]) != before["pid"], f"broker {number + 2}")
        after = host.record()
        if int(after["term"]) <= int(before["term"]):
            sys.exit(f"error: term {after['term']} follows {before['term']}")
        host.wait_for(lambda: host.brokers() == [int(after["pid"])], "one broker and no more")
        terms.append(int(after["term"]))
    if len(set(terms)) != elections:
        sys.exit("error: two brokers of one term")
    took = time.monotonic() - began
    print(f"{elections} elections among {len(host.workers)} workers: one broker each, terms grow; {took:.0f} s", flush=True)


def storm(host, minutes, seed):
    rng = random.Random(seed)
    broker, busy, stopped = host.broker(), [], {}
    began, stops = time.monotonic(), 0
    while time.monotonic() - began < minutes * 60:
        now = time.monotonic()
        if now - began > minutes * 30 and not busy:
            print(f"half time: {stops} stops, broker {host.broker()}; now with {4 * os.cpu_count()} busy processes", flush=True)
            busy = [subprocess.Popen(["sh", "-c", "while :; do :; done"]) for _ in range(4 * os.cpu_count())]
        for worker, until in list(stopped.items()):
            if now >= until:
                worker.send_signal(signal.SIGCONT)
                del stopped[worker]
        worker = rng.choice(host.workers)
        if worker not in stopped:
            worker.send_signal(signal.SIGSTOP)
            stopped[worker] = now + rng.choice([0.05, 0.5, 2.0, 5.0, 12.0]) * rng.random()
            stops += 1
        time.sleep(0.2 * rng.random())
    for process in busy:
        process.kill()
    for worker in stopped:
        worker.send_signal(signal.SIGCONT)
    verdict = "no false kill" if host.broker() == broker else f"BROKER {broker} WAS REPLACED BY {host.broker()}"
    if not host.serves():
        verdict += "; and it does not serve"
    print(f"{minutes:g} minutes, {stops} stops of workers, seed {seed}: {verdict}", flush=True)
    return host.broker() == broker


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", metavar="crash|hung|many|storm", help="all but storm unless told")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--elections", type=int, default=1000)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--zhit", default=str(ROOT / "target/release/zhit"), help="built by cargo build --release")
    args = parser.parse_args()
    wanted = args.what or ["crash", "hung", "many"]
    unknown = set(wanted) - {"crash", "hung", "many", "storm"}
    if unknown:
        parser.error(f"nothing is called {', '.join(sorted(unknown))}")
    good = True
    with tempfile.TemporaryDirectory(prefix="zhit-elections-") as base:
        host = Host(args.zhit, base, args.workers)
        print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}, {args.workers} workers", flush=True)
        try:
            if "crash" in wanted:
                replaced(host, signal.SIGKILL, args.rounds, "crashed broker to the next answer")
            if "hung" in wanted:
                replaced(host, signal.SIGSTOP, min(args.rounds, 10), "stopped broker to the next answer")
            if "many" in wanted:
                many(host, args.elections)
            if "storm" in wanted:
                good = storm(host, args.minutes, args.seed)
        finally:
            host.end()
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
