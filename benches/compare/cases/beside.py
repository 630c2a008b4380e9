"""Small brokered requests, alone and while four large bodies pass through the same broker."""

import contextlib
import json
import subprocess
import time

from harness.bench import whole_bytes
from harness.processes import LIMIT_SECONDS, LOOK_EVERY_SECONDS, end, told
from harness.rows import Case, Chart, Goal, Row
from harness.servers import zhit_fleet

FLOWS = 4
BYTES = 64
CHUNK_BYTES = 256 << 10
WINDOW = 16  # chunks: zhit's window of 4 MiB


def beside_flows(load, flow, file, size, env=None):
    """Runs the load for as long as all flows pass. Returns what it tells, and their bytes a second, all together."""
    children = []
    start = time.monotonic()
    try:
        for _ in range(FLOWS):
            with file.open("rb") as stdin:
                children.append(subprocess.Popen(flow, stdin=stdin, stdout=subprocess.DEVNULL, env=env))
        small = subprocess.Popen(load, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env, text=True)
        children.append(small)
        flows = children[:FLOWS]
        while all(child.poll() is None for child in flows) and time.monotonic() < start + LIMIT_SECONDS:
            time.sleep(LOOK_EVERY_SECONDS / 4)
        text = small.communicate(timeout=LIMIT_SECONDS)[0]
        codes = [child.wait(LIMIT_SECONDS) for child in children]
        took = time.monotonic() - start
    finally:
        for child in children:
            end(child)
    if any(codes):
        raise RuntimeError(f"exit codes {codes} of the four flows and the load")
    return json.loads(text), FLOWS * size / took


def metrics(alone, beside=None, rate=None):
    if beside is None:
        return {"p50": alone["p50_us"], "p99": alone["p99_us"]}
    # A request passes the broker twice.
    added = max(0.0, beside["p99_us"] - alone["p99_us"]) / 2
    return {"p50": beside["p50_us"], "p99": beside["p99_us"], "added": added, "chunk": CHUNK_BYTES / rate * 1e6,
            "rate": rate / (1 << 20)}


def pair(name, requests, load, flow, file, size, env=None):
    """Two subjects: the load alone, and beside the flows. `load(requests)` is its command; 0: until stdin ends."""
    last = {}

    def alone():
        last.update(told(*load(requests), env=env))
        return metrics(last)

    def beside():
        if not last:
            raise RuntimeError("there is nothing to compare it with")
        small, rate = beside_flows([str(word) for word in load(0)], [str(word) for word in flow], file, size, env)
        return metrics(last, small, rate)

    return {f"{name}, alone": alone, f"{name}, beside": beside}


@contextlib.contextmanager
def serving(bench):
    file, size = bench.hollow_file(bench.args.flow_gib), whole_bytes(bench.args.flow_gib)
    raw, requests = bench.raw, bench.args.requests
    pools = [("--pool", "small", "--builtin", "echo"), ("--pool", "bulk", "--slots", str(FLOWS), "--builtin", "sink")]
    with raw.proxy("proxy", FLOWS + 1) as front, \
            zhit_fleet(bench.zhit, bench.directory("z"), pools, FLOWS + 1) as zhit:
        subjects = pair("raw", requests, lambda count: (raw.program("load"), "hits", front, 1, 1, count, BYTES),
                        (raw.program("load"), "flow", front, WINDOW), file, size)
        if bench.zhit_load:
            load = (bench.zhit_load, "hits", zhit.socket, "small", "broker", 1, 1)
            flow = (bench.zhit, "client", "--pool", "bulk", "--route", "broker")
            subjects |= pair("zhit", requests, lambda count: (*load, count, BYTES), flow, file, size, zhit.env)
        yield subjects


BESIDE = Case(
    name="beside",
    title="Small brokered requests beside four large bodies",
    how="Requests of 64 bytes, one after the other in a Hit of their own by `--route broker`: alone, and for as "
        "long as four `zhit client --route broker` send a body of `--flow-gib` GiB each to the builtin `sink` "
        "through the same broker. Raw: the same through the proxy, with a DEALER of its own for each client "
        f"behind it, four flows of chunks of 256 KiB of which each has at most {WINDOW} unanswered (zhit's "
        "window). *Added* is half of what p99 has grown by, since a request and its reply pass the broker once "
        "each; it holds the wait for a processor, too. A *chunk's forwarding time* is 256 KiB by the bytes a "
        "second of all four flows.",
    rows=(
        Row("raw, alone", "p50", "raw, alone, p50", "µs"),
        Row("zhit, alone", "p50", "zhit, alone, p50", "µs", ("raw, alone", "p50")),
        Row("raw, beside", "p50", "raw, beside four flows, p50", "µs"),
        Row("zhit, beside", "p50", "zhit, beside four bodies, p50", "µs", ("raw, beside", "p50")),
        Row("raw, alone", "p99", "raw, alone, p99", "µs"),
        Row("zhit, alone", "p99", "zhit, alone, p99", "µs", ("raw, alone", "p99")),
        Row("raw, beside", "p99", "raw, beside four flows, p99", "µs"),
        Row("zhit, beside", "p99", "zhit, beside four bodies, p99", "µs", ("raw, beside", "p99")),
        Row("raw, beside", "added", "raw, added to p99 each way", "µs"),
        Row("zhit, beside", "added", "zhit, added to p99 each way", "µs", ("raw, beside", "added")),
        Row("raw, beside", "chunk", "raw, a chunk's forwarding time", "µs"),
        Row("zhit, beside", "chunk", "zhit, a chunk's forwarding time", "µs", ("raw, beside", "chunk")),
        Row("raw, beside", "rate", "raw, all four flows", "MiB/s"),
        Row("zhit, beside", "rate", "zhit, all four bodies", "MiB/s", ("raw, beside", "rate")),
    ),
    serving=serving,
    goals=(Goal("queueing of small requests inside the broker beside four 1 GiB bodies, p99, to one chunk's forwarding "
                "time", ("zhit, beside", "added"), ("zhit, beside", "chunk"), most=1),),
    charts=(Chart("beside", "Small brokered requests beside four large bodies", ("p50", "p99")),),
)
