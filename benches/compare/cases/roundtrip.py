"""The round trip of 64 bytes in an open Hit, one request after the other."""

import contextlib

from harness.rows import Case, Chart, Goal, Row

from .small import all_echoing


@contextlib.contextmanager
def serving(bench):
    with all_echoing(bench, 1, (1,)) as loads:
        def turn(load):
            told = load(1, 1, bench.args.requests)
            return {"p50": told["p50_us"], "p99": told["p99_us"]}

        yield {name: lambda load=load: turn(load) for name, load in loads.items()}


SUBJECTS = (
    ("raw, direct", "raw DEALER–ROUTER echo", None),
    ("zhit, direct", "zhit, `--route direct`", "raw, direct"),
    ("raw, proxied, 1", "raw, through a ROUTER–ROUTER proxy", None),
    ("zhit, broker", "zhit, `--route broker`", "raw, proxied, 1"),
    ("NATS", "NATS request/reply (async-nats)", "zhit, direct"),
    ("gearman", "gearman (libgearman, C)", "zhit, direct"),
)

ROUNDTRIP = Case(
    name="roundtrip",
    title="Round trip of 64 bytes in an open Hit",
    how="One request after the other, each from before it is written to when its reply has been taken whole. Raw: "
        "a DEALER over ipc to a ROUTER that echoes, or through a ROUTER–ROUTER proxy to a DEALER that does. zhit: "
        "`zhit broker`, `zhit worker --builtin echo` and a load program that runs the client machine of `zhit "
        "client`. NATS: one responder, loopback tcp. gearman: client and worker in C. A p50 is that of one round; "
        "of NATS and gearman the ratio is that to zhit's direct route.",
    rows=tuple(Row(name, metric, f"{label}, {metric}", "µs", (against, metric) if against else None)
               for metric in ("p50", "p99") for name, label, against in SUBJECTS),
    serving=serving,
    goals=(
        Goal("round trip in an open Hit, 64 B, direct, to raw DEALER–ROUTER echo", ("zhit, direct", "p50"),
             ("raw, direct", "p50"), most=1.15),
        Goal("round trip in an open Hit: NATS to zhit direct", ("NATS", "p50"), ("zhit, direct", "p50"), least=2),
        Goal("round trip in an open Hit: gearman to zhit direct", ("gearman", "p50"), ("zhit, direct", "p50"), least=2),
        Goal("round trip in an open Hit, 64 B, brokered, to raw ROUTER–ROUTER proxied echo", ("zhit, broker", "p50"),
             ("raw, proxied, 1", "p50"), most=1.15),
    ),
    charts=(Chart("roundtrip", "Round trip of 64 bytes in an open Hit, median", ("p50",)),),
)
