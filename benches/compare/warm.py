#!/usr/bin/env python3
"""What a warm Python co-process costs over a builtin, to a client that is a whole process, on this machine, in turns.

    benches/compare/warm.py [--turns N] [--gap SECONDS] [--profile release|dev]

One turn is `zhit client Hello` to the builtin `hello`, and to a pool of `--framing lines --warm 2 -- python3 -u`. Two
times are taken of each: from the start of the client to the first byte of its reply, and to its end. Between runs the
slot gets `--gap` seconds to start the next interpreter. The interpreter is the one that runs this script, by its real
path: a shim that is a shell script is no part of what is measured.
"""

import argparse
import contextlib
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from harness.build import build
from harness.processes import answers, running
from harness.servers import zhit_serving

SERVICE = """
import sys
for line in sys.stdin:
    print("World", flush=True)
"""


def one(command, env):
    """Runs a client. Returns the seconds to the first byte of its reply, and to its end."""
    reader, writer = os.pipe()
    start = time.perf_counter()
    actions = [(os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0), (os.POSIX_SPAWN_DUP2, writer, 1)]
    pid = os.posix_spawn(command[0], command, env, file_actions=actions)
    os.close(writer)
    said = os.read(reader, 100)
    first = time.perf_counter() - start
    status = os.waitpid(pid, 0)[1]
    whole = time.perf_counter() - start
    os.close(reader)
    if said.strip() != b"World" or status:
        sys.exit(f"error: {' '.join(command)} printed {said!r}, status {status}")
    return first, whole


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=100)
    parser.add_argument("--gap", type=float, default=0.2, metavar="SECONDS")
    parser.add_argument("--profile", default="release", choices=["release", "dev"])
    args = parser.parse_args()
    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="zhit-warm-")))
        zhit = build(args.profile, scratch, ())
        service = scratch / "service.py"
        service.write_text(SERVICE)
        env = stack.enter_context(zhit_serving(zhit, scratch / "run", "--builtin", "hello"))
        handler = ["--framing", "lines", "--warm", "2", "--", os.path.realpath(sys.executable), "-u", service]
        stack.enter_context(running(zhit, "worker", "--pool", "python", *handler, env=env))
        cases = {"builtin hello": [zhit, "client", "Hello"],
                 "warm Python co-process": [zhit, "client", "--pool", "python", "Hello"]}
        if not all(answers(command, b"World", env) for command in cases.values()):
            return 1
        times = {name: [] for name in cases}
        for _ in range(args.turns):
            for name, command in cases.items():
                time.sleep(args.gap)
                times[name].append(one(command, env))
    print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}, {args.profile} build, {args.turns} turns")
    print(f"{'':24}{'first reply':>14}{'ratio':>7}{'whole process':>16}{'ratio':>7}   (medians)")
    base = None
    for name, both in times.items():
        medians = [statistics.median(column) * 1e3 for column in zip(*both)]
        base = base or medians
        first, whole = medians
        print(f"{name:24}{first:11.2f} ms{first / base[0]:7.2f}{whole:13.2f} ms{whole / base[1]:7.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
