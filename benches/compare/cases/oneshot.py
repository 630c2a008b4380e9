"""A whole process that connects, asks, prints the answer and exits."""

import contextlib
import json
import shutil
import statistics
import subprocess

from harness.processes import LIMIT_SECONDS, answers, running
from harness.rows import Case, Chart, Goal, Row
from harness.servers import gearmand_serving, zhit_fleet


def hyperfine(bench, command, env):
    export = bench.scratch / "hyperfine.json"
    subprocess.run(["hyperfine", "-N", "--style", "none", "--warmup", "3", "--runs", str(bench.args.runs),
                    "--export-json", export, " ".join(map(str, command))],
                   env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                   check=True, timeout=LIMIT_SECONDS)
    return {"ms": statistics.median(json.loads(export.read_text())["results"][0]["times"]) * 1e3}


def gearman_commands(bench, stack):
    """The commands of gearman's client and what they print. Without a program its worker answers with nothing: a round
    trip all the same."""
    if not shutil.which("gearman"):
        bench.lacks("gearman", "apt-get install gearman-tools")
        return {}
    port = stack.enter_context(gearmand_serving(bench))
    if port is None:
        return {}
    base = ["gearman", "-h", "127.0.0.1", "-p", str(port)]
    stack.enter_context(running(*base, "-w", "-f", "cat", "--", "cat"))
    stack.enter_context(running(*base, "-w", "-f", "none"))
    return {
        "gearman, no program": ([*base, "-f", "none", "Hello"], b"", None),
        "gearman, cat": ([*base, "-f", "cat", "Hello"], b"Hello", None),
    }


@contextlib.contextmanager
def serving(bench):
    with contextlib.ExitStack() as stack:
        if not shutil.which("hyperfine"):
            bench.lacks("hyperfine", "apt-get install hyperfine, or cargo install hyperfine")
            yield {}
            return
        endpoint = stack.enter_context(bench.raw.echo())
        hello = stack.enter_context(zhit_fleet(bench.zhit, bench.directory("z"), [("--builtin", "hello")]))
        cat = stack.enter_context(zhit_fleet(bench.zhit, bench.directory("z"), [("--", "cat")]))
        commands = {
            "C": ([str(bench.raw.program("oneshot")), endpoint], b"Hello", None),
            "zhit, hello": ([bench.zhit, "client", "Hello"], b"World", hello.env),
            "zhit, cat": ([bench.zhit, "client", "Hello"], b"Hello", cat.env),
            **gearman_commands(bench, stack),
        }
        yield {name: lambda command=command, env=env: hyperfine(bench, command, env)
               for name, (command, wanted, env) in commands.items() if answers(command, wanted, env)}


ONESHOT = Case(
    name="oneshot",
    title="One whole process: connect, ask, print the answer, exit",
    how="`hyperfine -N`, several runs of each in each round. The C program is the least that can do so: a DEALER "
        "to a ROUTER that echoes, on the static libzmq that zhit holds, with no broker between. gearman is its "
        "own command-line client with one of its own workers: one that answers nothing, and one that runs `cat`.",
    rows=(
        Row("C", "ms", "C, DEALER to ROUTER, no broker", "ms"),
        Row("zhit, hello", "ms", "`zhit client Hello`, `--builtin hello`", "ms", ("C", "ms")),
        Row("gearman, no program", "ms", "`gearman -f`, empty answer", "ms", ("C", "ms")),
        Row("zhit, cat", "ms", "`zhit client Hello`, worker `-- cat`", "ms", ("gearman, cat", "ms")),
        Row("gearman, cat", "ms", "`gearman -f`, worker `-- cat`", "ms"),
    ),
    serving=serving,
    goals=(
        Goal("one-shot `zhit client Hello`, whole process, to `gearman -f` without a program", ("zhit, hello", "ms"),
             ("gearman, no program", "ms"), most=1),
        Goal("one-shot with a program per request at the other end, to `gearman -f` with it",
             ("zhit, cat", "ms"), ("gearman, cat", "ms"), most=1),
        Goal("one-shot `zhit client Hello` to the smallest C client on the same static library",
             ("zhit, hello", "ms"), ("C", "ms"), most=1.25),
    ),
    charts=(Chart("oneshot", "One whole process: connect, ask, print, exit", ("ms",)),),
)
