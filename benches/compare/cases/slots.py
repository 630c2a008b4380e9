"""Ten thousand slots: what they cost the broker while they idle, and what a request costs it beside them."""

import contextlib
import time

from harness.processes import cpu_seconds, running, said, status_kib, told
from harness.rows import Case, Chart, Goal, Row
from harness.servers import zhit_fleet

WORKERS = 10
HITS = 4
BYTES = 64
START_SECONDS = 180
SETTLE_SECONDS = 3


def cost_of_request(bench, zhit):
    """Microseconds of the broker's processor time for each request."""
    before = cpu_seconds(zhit.broker.pid)
    load = told(bench.zhit_load, "hits", zhit.socket, "default", "broker", HITS, 1, bench.args.counted, BYTES)
    return {"cpu": (cpu_seconds(zhit.broker.pid) - before) / load["requests"] * 1e6}


def zhit_turn(bench, slots, idles):
    """A fleet of its own, of ten workers with so many slots each."""
    words = ("--slots", str(slots), "--builtin", "echo")
    found = {}
    with zhit_fleet(bench.zhit, bench.directory("z"), [words] * WORKERS, slots * WORKERS, START_SECONDS) as zhit:
        if idles:
            time.sleep(SETTLE_SECONDS)
            before, start = cpu_seconds(zhit.broker.pid), time.monotonic()
            time.sleep(bench.args.idle_seconds)
            found["idle"] = (cpu_seconds(zhit.broker.pid) - before) / (time.monotonic() - start) * 100
            found["memory"] = status_kib(zhit.broker.pid, "VmRSS") / (slots * WORKERS)
        if bench.zhit_load:
            found |= cost_of_request(bench, zhit)
    return found


def raw_turn(bench, dealers):
    endpoint, program = bench.raw.endpoint("idle"), bench.raw.program("idle")
    with running(program, "router", endpoint, dealers * WORKERS, ready="ready") as router, \
            contextlib.ExitStack() as stack:
        for _ in range(WORKERS):
            stack.enter_context(running(program, "dealers", endpoint, dealers))
        said(router, "there", START_SECONDS)
        return {"memory": status_kib(router.pid, "VmRSS") / (dealers * WORKERS)}


@contextlib.contextmanager
def serving(bench):
    slots = bench.args.slots
    yield {
        "few": lambda: zhit_turn(bench, 1, False),
        "many": lambda: zhit_turn(bench, slots, True),
        "raw": lambda: raw_turn(bench, slots),
    }


SLOTS = Case(
    name="slots",
    title="Ten thousand slots",
    how="Ten workers of 1,000 slots each (`--slots`), and ten of one. Idle: the broker's user and system time of "
        "`--idle-seconds` in which nobody asks anything, and its resident memory for each slot. A request: that "
        f"time of {HITS} Hits, one request of 64 bytes after the other in each by `--route broker`, for each "
        "request. Raw: one ROUTER of the same libzmq with as many idle DEALERs in ten processes. The memory is "
        "that of the whole process by the number of its peers.",
    rows=(
        Row("few", "cpu", "broker's time for a request, 10 slots", "µs"),
        Row("many", "cpu", "broker's time for a request, 10,000 slots", "µs", ("few", "cpu")),
        Row("many", "idle", "idle broker, 10,000 slots", "% of a core"),
        Row("raw", "memory", "raw ROUTER, for each idle DEALER", "KiB"),
        Row("many", "memory", "broker, for each idle slot", "KiB", ("raw", "memory")),
    ),
    serving=serving,
    goals=(
        Goal("broker CPU per request with 10,000 connected slots against 10", ("many", "cpu"), ("few", "cpu"),
             most=1.2),
        Goal("10,000 idle slots: the broker's share of a core", ("many", "idle"), most=2, unit="%"),
        Goal("10,000 idle slots: memory to a bare ROUTER with as many idle DEALERs", ("many", "memory"),
             ("raw", "memory"), most=1.25),
    ),
    charts=(Chart("slots", "The broker's time for a request", ("cpu",)),
            Chart("slots-memory", "Memory for each of 10,000 idle peers", ("memory",))),
)
