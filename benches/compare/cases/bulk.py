"""Very large bodies: from stdin to a hash, and through a program and back."""

import contextlib
import hashlib
import os
import subprocess
import time

from harness.bench import whole_bytes
from harness.processes import LIMIT_SECONDS, end, running, said, status_kib, watched
from harness.rows import Case, Chart, Goal, Row
from harness.servers import zhit_fleet

MIB = 1 << 20
TRIAL_GIB = 1 / 16


def timed(command, file, env=None, stdout=subprocess.DEVNULL):
    """Runs a command that reads this file. Returns seconds, its peak of memory in MiB, and its stdout."""
    start = time.monotonic()
    with file.open("rb") as stdin:
        child = subprocess.Popen([str(word) for word in command], stdin=stdin, stdout=stdout, stderr=subprocess.DEVNULL,
                                 env=env)
    try:
        peak = watched(child)
        took = time.monotonic() - start
        return took, peak / 1024, child.stdout.read() if child.stdout else b""
    finally:
        end(child)


def rate(size, took):
    return {"rate": size / MIB / took}


def raw_one_way(bench, file, size, puller):
    """PUSH to a PULL, until that has all of it; `puller`: the command, and what it prints first of all is the count."""
    endpoint = bench.raw.endpoint("bulk")
    pull = subprocess.Popen([str(word) for word in (*puller, endpoint)], stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, text=True)
    try:
        said(pull, "ready")
        start = time.monotonic()
        timed((bench.raw.program("bulk"), "push", endpoint), file)
        text = pull.communicate(timeout=LIMIT_SECONDS)[0]
        took = time.monotonic() - start
    finally:
        pull.kill()
        pull.wait()
    if text.split()[0] != str(size):
        raise RuntimeError(f"{text.split()[0]} of {size} bytes came")
    return rate(size, took)


def raw_and_back(bench, file, size):
    there, home = bench.raw.endpoint("there"), bench.raw.endpoint("home")
    program = bench.raw.program("bulk")
    with running(program, "back", there, home, "--", "cat"):
        return rate(size, timed((program, "front", there, home), file)[0])


def zhit_turn(zhit, pool, file, size):
    command = (zhit.program, "client", "--pool", pool, "--route", "direct")
    took, peak, text = timed(command, file, zhit.env, subprocess.PIPE if pool == "sink" else subprocess.DEVNULL)
    if pool == "sink" and str(size).encode() not in text:
        raise RuntimeError(f"sink does not tell of {size} bytes: {text!r}")
    worker = zhit.workers[0 if pool == "sink" else 1]
    return {**rate(size, took), "client": peak, "broker": status_kib(zhit.broker.pid, "VmHWM") / 1024,
            "worker": status_kib(worker.pid, "VmHWM") / 1024}


def check_cat(zhit, bench):
    """What goes to /dev/null in the turns is looked at once."""
    data = os.urandom(whole_bytes(TRIAL_GIB))
    done = subprocess.run([zhit.program, "client", "--pool", "cat", "--route", "direct"], input=data, env=zhit.env,
                          stdout=subprocess.PIPE, timeout=LIMIT_SECONDS)
    if hashlib.sha256(done.stdout).digest() != hashlib.sha256(data).digest():
        bench.leave_out("bulk, zhit, cat", f"exit {done.returncode}, {len(done.stdout)} bytes came back, not the same")
        return False
    return True


@contextlib.contextmanager
def serving(bench):
    file, size = bench.hollow_file(bench.args.gib), whole_bytes(bench.args.gib)
    pools = [("--pool", "sink", "--builtin", "sink"), ("--pool", "cat", "--", "cat")]
    with zhit_fleet(bench.zhit, bench.directory("z"), pools) as zhit:
        subjects = {"raw": lambda: raw_one_way(bench, file, size, (bench.raw.program("bulk"), "pull"))}
        if bench.zhit_load:
            subjects["raw, XXH3"] = lambda: raw_one_way(bench, file, size, (bench.zhit_load, "pull"))
        subjects["zhit"] = lambda: zhit_turn(zhit, "sink", file, size)
        subjects["raw, cat"] = lambda: raw_and_back(bench, file, size)
        if check_cat(zhit, bench):
            subjects["zhit, cat"] = lambda: zhit_turn(zhit, "cat", file, size)
        yield subjects


PEAKS = tuple((subject, process) for subject in ("zhit", "zhit, cat") for process in ("client", "worker", "broker"))

BULK = Case(
    name="bulk",
    title="Very large bodies",
    how="One body of `--gib` GiB from a file on stdin, `zhit client --route direct`, whole processes, to the "
        "builtin `sink`, which hashes it with XXH3; and through a worker `-- cat` and back to /dev/null. The file "
        "is hollow: reading it costs a copy and no disk. Raw: PUSH–PULL in messages of 256 KiB, at most 16 "
        "waiting at each end; it hashes nothing, or XXH3 as `sink` does; and two relays around the same `cat`. "
        "VmHWM is the greatest resident memory of each zhit process since it started, files that it maps "
        "included.",
    rows=(
        Row("raw", "rate", "raw PUSH–PULL, no hash", "MiB/s"),
        Row("raw, XXH3", "rate", "raw PUSH–PULL, XXH3", "MiB/s", ("raw", "rate")),
        Row("zhit", "rate", "zhit, to `sink` (XXH3)", "MiB/s", ("raw", "rate")),
        Row("raw, cat", "rate", "two raw relays around `cat`", "MiB/s"),
        Row("zhit, cat", "rate", "zhit, through `-- cat` and back", "MiB/s", ("raw, cat", "rate")),
        *(Row(subject, process, f"VmHWM of the {process}, {'to `sink`' if subject == 'zhit' else '`-- cat`'}", "MiB")
          for subject, process in PEAKS),
    ),
    serving=serving,
    goals=(
        Goal("8 GiB from stdin direct to builtin `sink` (XXH3), to a raw PUSH–PULL loop that hashes nothing",
             ("zhit", "rate"), ("raw", "rate"), least=0.85),
        Goal("8 GiB through `-- cat` and back, to two raw relays around the same `cat`", ("zhit, cat", "rate"),
             ("raw, cat", "rate"), least=0.8),
        *(Goal(f"peak memory (VmHWM) of the {process}, {'to `sink`' if subject == 'zhit' else '`-- cat`'}",
               (subject, process), most=32, unit="MiB") for subject, process in PEAKS),
    ),
    charts=(Chart("bulk", "Very large bodies", ("rate",), "more"),
            Chart("memory", "Peak memory while they pass", ("client", "worker", "broker"))),
)
