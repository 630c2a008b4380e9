"""Servers and loads of small requests, for the cases that ask 64 bytes many times."""

import contextlib

from harness.processes import told
from harness.servers import gearman_echoing, nats_echoing, zhit_fleet

BYTES = 64


@contextlib.contextmanager
def all_echoing(bench, slots, proxied_workers):
    """Everything that echoes. Yields for each peer that is there a function: (hits, window, requests) to what its load
    tells."""
    with contextlib.ExitStack() as stack:
        loads, raw = {}, bench.raw

        def straight(hits, window, requests, endpoint=stack.enter_context(raw.echo())):
            return told(raw.program("load"), "hits", endpoint, hits, window, requests, BYTES)

        loads["raw, direct"] = straight
        for workers in proxied_workers:
            endpoint = stack.enter_context(raw.proxy(f"proxy{workers}", workers))
            loads[f"raw, proxied, {workers}"] = lambda *plan, endpoint=endpoint: straight(*plan, endpoint=endpoint)
        if bench.zhit_load:
            words = ("--slots", str(slots), "--builtin", "echo")
            zhit = stack.enter_context(zhit_fleet(bench.zhit, bench.directory("z"), [words], slots))
            for route in ("direct", "broker"):
                loads[f"zhit, {route}"] = lambda *plan, route=route: told(
                    bench.zhit_load, "hits", zhit.socket, "default", route, *plan, BYTES)
        url = stack.enter_context(nats_echoing(bench))
        if url:
            loads["NATS"] = lambda *plan: told(bench.nats_load, "hits", url, *plan, BYTES)
        port = stack.enter_context(gearman_echoing(bench))
        if port:
            loads["gearman"] = lambda hits, window, requests: told(
                raw.program("gear"), "load", port, hits * window, requests, BYTES)
        yield loads
