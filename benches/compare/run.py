#!/usr/bin/env python3
"""Compares zhit with the least that could do the same, on this machine, in turns.

    benches/compare/run.py [oneshot] [lines] [--rounds N] [--runs N] [--messages N] [--profile release|dev]

oneshot   a whole process that connects, asks, prints the answer and exits: `zhit client Hello`, a C program linked to
          the same static libzmq, `gearman -f`; and once more with a program per request at the other end.
lines     `seq N | zhit client --lines` on the builtin `echo`, beside raw DEALER-ROUTER loops of N messages of the same
          mean size in the same libzmq, straight and through a ROUTER-ROUTER proxy.

Needs a C and a C++ compiler; hyperfine for `oneshot`; gearman (gearman-tools, gearman-job-server) to compare with it.
What is missing is named and left out. Everything runs on this host, in a directory of its own, and is ended by its pid.
"""

import argparse
import contextlib
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
READY_SECONDS = 10
MEAN_BYTES = 7  # of a number up to a million: 5.9 digits, and what ends the line


def missing(what, remedy):
    print(f"missing: {what}; {remedy}", file=sys.stderr)


def build(profile, into, programs=("echo", "oneshot", "rawloop")):
    """Builds zhit and, against the very libzmq that it holds, these C programs. Returns the path of zhit."""
    command = ["cargo", "build", "--profile", profile, "--message-format", "json-render-diagnostics"]
    said = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout
    out, zhit = {}, None
    for message in map(json.loads, said.splitlines()):
        if message["reason"] == "build-script-executed" and message["linked_libs"]:
            for name, probe in (("zmq", "lib/libzmq.a"), ("sodium", "installed/lib/libsodium.a")):
                if (Path(message["out_dir"]) / probe).exists():
                    out[name] = Path(message["out_dir"])
        if message["reason"] == "compiler-artifact" and message["target"]["name"] == "zhit":
            zhit = message.get("executable") or zhit
    if set(out) != {"zmq", "sodium"}:
        sys.exit("error: cargo did not say where it built libzmq and libsodium")
    libraries = [out["zmq"] / "lib/libzmq.a", out["sodium"] / "installed/lib/libsodium.a"]
    include = next((out["zmq"] / d for d in ("include", "source/include") if (out["zmq"] / d / "zmq.h").exists()))
    for name in programs:
        compiler = os.environ.get("CC", "cc").split()
        subprocess.run([*compiler, "-O2", "-Wall", "-I", include, "-c", HERE / f"{name}.c", "-o", into / f"{name}.o"],
                       check=True)
        linker = [*os.environ.get("CXX", "c++").split(), "-static-libstdc++", "-static-libgcc"]
        subprocess.run([*linker, into / f"{name}.o", *libraries, "-lpthread", "-lrt", "-o", into / name], check=True)
    return zhit


@contextlib.contextmanager
def running(*command, env=None, ready=None):
    """A process for as long as the block takes; entered once it has printed the line `ready`, if one is named."""
    child = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE if ready else subprocess.DEVNULL, env=env, text=True)
    try:
        if ready and child.stdout.readline().strip() != ready:
            raise RuntimeError(f"{command[0]} did not get ready")
        yield child
    finally:
        child.terminate()
        try:
            child.wait(READY_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def answers(command, wanted, env=None):
    """Whether `command` prints `wanted` before long; it is tried again while what it asks is starting."""
    until = time.monotonic() + READY_SECONDS
    said = None
    while time.monotonic() < until:
        try:
            said = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, env=env, timeout=READY_SECONDS)
        except subprocess.TimeoutExpired:
            break
        if said.stdout.strip() == wanted:
            return True
        time.sleep(0.1)
    what = f"exit {said.returncode}: {said.stderr.decode(errors='replace').strip()}" if said else "no answer"
    print(f"left out: {' '.join(command)}: {what}", file=sys.stderr)
    return False


@contextlib.contextmanager
def zhit_serving(zhit, directory, *handler):
    """A broker and a worker in a runtime directory of their own; yields the environment that leads there."""
    directory.mkdir()
    env = dict(os.environ, ZHIT_RUNTIME_DIR=str(directory), ZHIT_LOG="warn")
    with running(zhit, "broker", env=env), running(zhit, "worker", *handler, env=env):
        yield env


@contextlib.contextmanager
def gearman_serving():
    """gearmand with a worker that answers by itself and one that runs a program; yields the client's command."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    gearmand = shutil.which("gearmand") or "/usr/sbin/gearmand"
    base = ["gearman", "-h", "127.0.0.1", "-p", port]
    with running(gearmand, "--listen", "127.0.0.1", "--port", port, "--log-file", "none"):
        until = time.monotonic() + READY_SECONDS
        while time.monotonic() < until:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", int(port)), 1):
                break
            time.sleep(0.05)
        with running(*base, "-w", "-f", "cat", "--", "cat"), running(*base, "-w", "-f", "none"):
            yield base


def hyperfine(cases, rounds, runs, scratch):
    """Runs the cases in turns and prints a table. `cases`: name -> (command, environment)."""
    times = {name: [] for name in cases}
    export = scratch / "hyperfine.json"
    for _ in range(rounds):
        for name, (command, env) in cases.items():
            subprocess.run(["hyperfine", "-N", "--style", "none", "--warmup", "3", "--runs", str(runs),
                            "--export-json", export, " ".join(command)],
                           env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                           check=True)
            times[name] += json.loads(export.read_text())["results"][0]["times"]
    base = statistics.median(next(iter(times.values())))
    print(f"{'':34}{'median':>10}{'min':>10}{'ratio':>8}   ({rounds} rounds of {runs} each, in turns)")
    for name, all_of in times.items():
        median = statistics.median(all_of)
        print(f"{name:34}{median * 1e3:7.2f} ms{min(all_of) * 1e3:7.2f} ms{median / base:8.2f}")
    print()


def one_shot(zhit, scratch, args):
    if not shutil.which("hyperfine"):
        missing("hyperfine", "apt-get install hyperfine, or cargo install hyperfine")
        return
    has_gearman = shutil.which("gearman") and (shutil.which("gearmand") or Path("/usr/sbin/gearmand").exists())
    if not has_gearman:
        missing("gearman, gearmand", "apt-get install gearman-tools gearman-job-server")
    endpoint = f"ipc://{scratch}/echo.sock"
    with contextlib.ExitStack() as stack:
        stack.enter_context(running(scratch / "echo", endpoint, ready="ready"))
        gearman = stack.enter_context(gearman_serving()) if has_gearman else None
        native, program = {}, {}
        command = [str(scratch / "oneshot"), endpoint]
        if answers(command, b"Hello"):
            native["C, DEALER to ROUTER, no broker"] = (command, None)
        if zhit:
            env = stack.enter_context(zhit_serving(zhit, scratch / "hello", "--builtin", "hello"))
            command = [zhit, "client", "Hello"]
            if answers(command, b"World", env):
                native["zhit client, --builtin hello"] = (command, env)
            env = stack.enter_context(zhit_serving(zhit, scratch / "cat", "--", "cat"))
            if answers(command, b"Hello", env):
                program["zhit client, worker -- cat"] = (command, env)
        if gearman:
            command = [*gearman, "-f", "cat", "Hello"]
            if answers(command, b"Hello"):
                program["gearman -f, worker -- cat"] = (command, None)
            # Without a program gearman's worker answers with nothing: a round trip all the same.
            command = [*gearman, "-f", "none", "Hello"]
            if answers(command, b""):
                native["gearman -f, worker, empty answer"] = (command, None)
        if native:
            print("one whole process: connect, ask, print the answer, exit")
            hyperfine(native, args.rounds, args.runs, scratch)
        if program:
            print("the same with a program per request at the other end")
            hyperfine(program, args.rounds, args.runs, scratch)


def raw_loop(scratch, endpoint, messages, window):
    command = [scratch / "rawloop", "client", endpoint, str(messages), str(MEAN_BYTES), str(window)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)["per_second"]


def zhit_lines(zhit, env, messages):
    """Rate of `seq N | zhit client --lines`, as a whole process; the answer must be what was sent."""
    lines = "".join(f"{n}\n" for n in range(1, messages + 1)).encode()
    start = time.monotonic()
    said = subprocess.run([zhit, "client", "--lines"], input=lines, capture_output=True, env=env, timeout=600)
    took = time.monotonic() - start
    if said.stdout != lines:
        print(f"left out: zhit client --lines: exit {said.returncode}, {len(said.stdout)} of {len(lines)} bytes came "
              f"back: {said.stderr.decode(errors='replace').strip()}", file=sys.stderr)
        return None
    return messages / took


def lines_through(zhit, scratch, args):
    straight, front, back = (f"ipc://{scratch}/{name}.sock" for name in ("straight", "front", "back"))
    with contextlib.ExitStack() as stack:
        stack.enter_context(running(scratch / "echo", straight, ready="ready"))
        proxy = stack.enter_context(running(scratch / "rawloop", "proxy", front, back, ready="ready"))
        stack.enter_context(running(scratch / "rawloop", "worker", back))
        proxy.stdout.readline()
        cases = {
            "raw DEALER-ROUTER, no bound": lambda: raw_loop(scratch, straight, args.messages, 0),
            "raw DEALER-ROUTER, 1000 in flight": lambda: raw_loop(scratch, straight, args.messages, 1000),
            "raw through a proxy, no bound": lambda: raw_loop(scratch, front, args.messages, 0),
            "raw through a proxy, 1000 in flight": lambda: raw_loop(scratch, front, args.messages, 1000),
        }
        if zhit:
            env = stack.enter_context(zhit_serving(zhit, scratch / "lines", "--builtin", "echo"))
            if answers([zhit, "client", "Hello"], b"Hello", env):
                cases["zhit client --lines, builtin echo"] = lambda: zhit_lines(zhit, env, args.messages)
        rates = {name: [] for name in cases}
        for _ in range(args.rounds):
            for name, case in cases.items():
                rates[name] += filter(None, [case()])
    rates = {name: all_of for name, all_of in rates.items() if all_of}
    base = statistics.median(next(iter(rates.values())))
    print(f"{args.messages} requests of {MEAN_BYTES} bytes and their replies, pipelined")
    print(f"{'':38}{'median':>12}{'best':>12}{'ratio':>8}   ({args.rounds} rounds, in turns)")
    for name, all_of in rates.items():
        median = statistics.median(all_of)
        print(f"{name:38}{median:10.0f}/s{max(all_of):10.0f}/s{median / base:8.2f}")
    print()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", metavar="oneshot|lines", help="both unless told")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--runs", type=int, default=50, help="of each one-shot in a round")
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--profile", default="release", choices=["release", "dev"])
    args = parser.parse_args()
    unknown = set(args.what) - {"oneshot", "lines"}
    if unknown:
        parser.error(f"no comparison is called {', '.join(sorted(unknown))}; there are oneshot and lines")
    for compiler in (os.environ.get("CC", "cc"), os.environ.get("CXX", "c++"), "cargo"):
        if not shutil.which(compiler.split()[0]):
            missing(compiler, "install a C and a C++ compiler and a Rust toolchain")
            return 1
    with tempfile.TemporaryDirectory(prefix="zhit-compare-") as scratch:
        scratch = Path(scratch)
        zhit = build(args.profile, scratch)
        print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}, {args.profile} build\n")
        if "oneshot" in args.what or not args.what:
            one_shot(zhit, scratch, args)
        if "lines" in args.what or not args.what:
            lines_through(zhit, scratch, args)
    return 0


if __name__ == "__main__":
    sys.exit(main())
