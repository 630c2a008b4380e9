"""`seq N | zhit client --lines`, as whole processes."""

import contextlib
import subprocess
import time

from harness.processes import LIMIT_SECONDS, answers, told
from harness.rows import Case, Chart, Goal, Row
from harness.servers import zhit_fleet

MEAN_BYTES = 7  # of a number up to a million: 5.9 digits, and what ends the line
WINDOW = 1000


def zhit_lines(bench, env):
    """Lines a second; the answer must be what was sent."""
    lines = b"".join(b"%d\n" % n for n in range(1, bench.args.lines + 1))
    start = time.monotonic()
    seq = subprocess.Popen(["seq", str(bench.args.lines)], stdout=subprocess.PIPE)
    with seq, seq.stdout:
        done = subprocess.run([bench.zhit, "client", "--lines"], stdin=seq.stdout, capture_output=True, env=env,
                              timeout=LIMIT_SECONDS)
    took = time.monotonic() - start
    if done.stdout != lines:
        raise RuntimeError(f"zhit client --lines: exit {done.returncode}, {len(done.stdout)} of {len(lines)} bytes "
                           f"came back: {done.stderr.decode(errors='replace').strip()}")
    return {"rate": bench.args.lines / took}


@contextlib.contextmanager
def serving(bench):
    raw = bench.raw
    with contextlib.ExitStack() as stack:
        straight = stack.enter_context(raw.echo())
        front = stack.enter_context(raw.proxy("proxy", 1))
        zhit = stack.enter_context(zhit_fleet(bench.zhit, bench.directory("z"), [("--builtin", "echo")]))

        def raw_turn(endpoint):
            plan = (1, WINDOW, bench.args.lines, MEAN_BYTES)
            return {"rate": told(raw.program("load"), "hits", endpoint, *plan)["per_second"]}

        subjects = {"raw, direct": lambda: raw_turn(straight), "raw, proxied": lambda: raw_turn(front)}
        if answers([bench.zhit, "client", "Hello"], b"Hello", zhit.env):
            subjects["zhit"] = lambda: zhit_lines(bench, zhit.env)
        yield subjects


LINES = Case(
    name="lines",
    title="`seq 1000000 | zhit client --lines`",
    how="Whole processes, `seq` and the client, from their start to their end, against the builtin `echo`; what "
        f"comes back is compared. Raw, for orientation: one DEALER, messages of {MEAN_BYTES} bytes, at most "
        f"{WINDOW} unanswered, without the start of a process.",
    rows=(
        Row("zhit", "rate", "`seq N \\| zhit client --lines`", "/s", ("raw, proxied", "rate")),
        Row("raw, direct", "rate", "raw DEALER–ROUTER echo", "/s"),
        Row("raw, proxied", "rate", "raw, through a proxy", "/s"),
    ),
    serving=serving,
    goals=(Goal("`seq 1000000 \\| zhit client --lines` to builtin echo, whole processes", ("zhit", "rate"),
                least=300_000, unit="/s"),),
    charts=(Chart("lines", "A million lines, each a request", ("rate",), "more"),),
)
