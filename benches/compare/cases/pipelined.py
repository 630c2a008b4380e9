"""64 Hits at once, each with several requests of 64 bytes under way."""

import contextlib

from harness.rows import Case, Chart, Goal, Row

from .small import all_echoing

HITS, WINDOW = 64, 16
GEARMAN_PART = 10  # it gets fewer requests, so that its turn takes no longer than another's


@contextlib.contextmanager
def serving(bench):
    with all_echoing(bench, HITS, (1, HITS)) as loads:
        def turn(name, load):
            requests = bench.args.pipelined // (GEARMAN_PART if name == "gearman" else 1)
            return {"rate": load(HITS, WINDOW, requests)["per_second"]}

        yield {name: lambda name=name, load=load: turn(name, load) for name, load in loads.items()}


def row(name, label, against=None):
    return Row(name, "rate", label, "/s", (against, "rate") if against else None)


PIPELINED = Case(
    name="pipelined",
    title="Pipelined requests of 64 bytes over 64 Hits",
    how=f"At most {WINDOW} requests of each Hit are unanswered, {HITS * WINDOW} in all. Each load is one process "
        "with one thread beside libzmq's. zhit puts what is ready together into one message, which raw programs do "
        "not. Raw: 64 DEALERs to one ROUTER that echoes in one thread, or through a proxy to one DEALER that does; "
        "and through a proxy to 64 threads with a DEALER each, which is what zhit's worker with 64 slots is. NATS: "
        "as many requests in flight on one connection. gearman: tasks of one client, so many at a time, one worker.",
    rows=(
        row("raw, direct", "raw DEALER–ROUTER echo"),
        row("zhit, direct", "zhit, `--route direct`, 64 slots", "raw, direct"),
        row("raw, proxied, 1", "raw, through a proxy to one DEALER"),
        row("zhit, broker", "zhit, `--route broker`, 64 slots", "raw, proxied, 1"),
        row(f"raw, proxied, {HITS}", "raw, through a proxy to 64 threads", "raw, proxied, 1"),
        row("NATS", "NATS, as many in flight", "zhit, broker"),
        row("gearman", "gearman, as many in flight", "zhit, broker"),
    ),
    serving=serving,
    goals=(
        Goal("pipelined 64 B requests over 64 Hits, brokered, to raw throughput", ("zhit, broker", "rate"),
             ("raw, proxied, 1", "rate"), least=0.7),
        Goal("pipelined 64 B requests over 64 Hits, direct, to raw throughput", ("zhit, direct", "rate"),
             ("raw, direct", "rate"), least=0.6),
        Goal("pipelined, brokered, to NATS", ("zhit, broker", "rate"), ("NATS", "rate"), least=1),
        Goal("pipelined, direct, to NATS", ("zhit, direct", "rate"), ("NATS", "rate"), least=1),
    ),
    charts=(Chart("pipelined", "Pipelined requests of 64 bytes over 64 Hits", ("rate",), "more"),),
)
