#!/usr/bin/env python3
"""Compares zhit with its peers on this machine, in one run and in turns, and writes what came of it.

    benches/compare/run.py                      all comparisons, a table of each; a quarter of an hour
    benches/compare/run.py --gib 8 --write docs the figures of docs/benchmarks.md: its generated part, charts, JSON
    benches/compare/run.py roundtrip oneshot    these comparisons only
    benches/compare/run.py --quick              everything small and twice: does it work here?
    benches/compare/run.py --from docs/benchmarks.json --write docs    charts and tables once more, nothing is measured

Peers are raw libzmq programs in C (raw/) on the very static library that zhit holds, NATS and gearman. What is missing
is named and left out. Needs a Rust toolchain, a C and a C++ compiler; and for the peers, from Debian:
gearman-job-server, gearman-tools, libgearman-dev, nats-server, hyperfine. Everything runs on this host, over ipc and
loopback, in a directory of its own, and is ended by its pid. Ten thousand slots take some 11,000 threads, as many open
files, and 2 GiB.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

from cases import CASES
from harness.bench import Bench
from harness.build import build, build_loads, has_tools, missing
from harness.processes import leave_at_sigterm
from harness.rows import Results
from harness.servers import Raw, raise_descriptor_limit
from harness.table import print_case, print_goals
from harness.written import describe, read_back, save, write_docs

QUICK = {"rounds": 2, "requests": 1000, "pipelined": 50_000, "lines": 50_000, "runs": 5, "gib": 0.25, "flow_gib": 0.125,
         "slots": 50, "idle_seconds": 2.0, "counted": 4000}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [case.name for case in CASES]
    parser.add_argument("what", nargs="*", metavar="CASE", help=f"of {', '.join(names)}; all unless told")
    parser.add_argument("--write", type=Path, metavar="DIR",
                        help="write benchmarks.md, benchmarks.json, bench-*.svg there")
    parser.add_argument("--json", type=Path, metavar="FILE", help="save all figures there, after each comparison")
    parser.add_argument("--from", type=Path, metavar="FILE", dest="source", help="take the figures of an earlier run")
    parser.add_argument("--quick", action="store_true", help="small sizes and two rounds, unless told")
    parser.add_argument("--profile", default="release", choices=["release", "dev"])
    sizes = parser.add_argument_group("sizes")
    sizes.add_argument("--rounds", type=int, default=5)
    sizes.add_argument("--requests", type=int, default=10_000, help="round trips of one round")
    sizes.add_argument("--pipelined", type=int, default=500_000, help="requests over 64 Hits")
    sizes.add_argument("--lines", type=int, default=1_000_000)
    sizes.add_argument("--runs", type=int, default=50, help="of each one-shot in a round")
    sizes.add_argument("--gib", type=float, default=2, help="of the large body")
    sizes.add_argument("--flow-gib", type=float, default=1, help="of each of four bodies beside small requests")
    sizes.add_argument("--slots", type=int, default=1000, help="of each of ten workers")
    sizes.add_argument("--idle-seconds", type=float, default=20)
    sizes.add_argument("--counted", type=int, default=40_000, help="requests over which the broker's time is taken")
    first, _ = parser.parse_known_args()
    if first.quick:
        parser.set_defaults(**QUICK)
    args = parser.parse_args()
    unknown = set(args.what) - set(names)
    if unknown:
        parser.error(f"no comparison is called {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    if min(args.rounds, args.requests, args.pipelined, args.lines, args.runs, args.slots, args.counted) < 1:
        parser.error("sizes are at least 1")
    return args


def measure(args):
    """Runs the comparisons; returns what describes the run, and the results by name."""
    results = {}
    with tempfile.TemporaryDirectory(prefix="zb-") as scratch:
        scratch = Path(scratch)
        programs = scratch / "bin"
        programs.mkdir()
        zhit = build(args.profile, programs)
        loads = build_loads(args.profile)
        if not zhit:
            missing("zhit", "cargo built none")
            return None
        raw = Raw(programs, scratch / "raw")
        bench = Bench(args, scratch, zhit, loads.get("zhit-load"), loads.get("nats-load"), raw)
        for name, path in (("async-nats", bench.nats_load), ("zhit-load", bench.zhit_load)):
            if not path:
                bench.missing.append(f"{name}; it could not be built")
        described = describe(args, bench)
        for case in CASES:
            if not args.what or case.name in args.what:
                results[case.name] = bench.run(case)
                print_case(case, results[case.name])
                if args.json:
                    save(args.json, described, results)
    return described, results


def main():
    args = arguments()
    if args.source:
        described, results = read_back(args.source)
        results = {name: Results(values) for name, values in results.items()}
        for case in CASES:
            if case.name in results:
                print_case(case, results[case.name])
    else:
        if not has_tools():
            return 1
        leave_at_sigterm()
        raise_descriptor_limit()
        print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}, {args.profile} build\n")
        measured = measure(args)
        if measured is None:
            return 1
        described, results = measured
    print_goals(CASES, results)
    if args.write:
        for path in write_docs(args.write, described, results):
            print(f"wrote {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
