"""What a run leaves: figures as JSON, charts, and the marked part of docs/benchmarks.md."""

import json
import os
import platform
import re
import shutil
import subprocess
import textwrap
import time
from pathlib import Path

from cases import CASES

from .charts import chart
from .rows import verdict
from .table import markdown_case, markdown_goals

BEGIN = "<!-- written by benches/compare/run.py --write docs: begin -->"
END = "<!-- written by benches/compare/run.py --write docs: end -->"
SIZES = ("rounds", "requests", "pipelined", "lines", "runs", "gib", "flow_gib", "slots", "idle_seconds", "counted")


def version(*command):
    """The first number with dots that a program tells of itself."""
    program = shutil.which(command[0]) or shutil.which(command[0], path="/usr/sbin:/sbin")
    if not program:
        return None
    try:
        done = subprocess.run([program, *command[1:]], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.search(r"\d+(\.\d+)+", done.stdout + done.stderr)
    return found and found[0]


def processor():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return " ".join(line.partition(":")[2].split())
    return platform.machine()


def describe(args, bench):
    """Machine, programs, sizes."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "machine": {"processor": processor(), "processors": os.cpu_count(), "memory_gib": round(memory / (1 << 30)),
                    "system": f"{platform.system()} {platform.release().split('-')[0]}",
                    "load_before": round(os.getloadavg()[0], 2)},
        "programs": {"zhit": version(bench.zhit, "--version"), "libzmq": "4.3.5",
                     "rustc": version("rustc", "--version"), "cc": version("cc", "--version"),
                     "nats-server": version("nats-server", "--version"),
                     "gearmand": version("gearmand", "--version"), "hyperfine": version("hyperfine", "--version")},
        "profile": args.profile,
        "sizes": {name: getattr(args, name) for name in SIZES},
        "missing": bench.missing,
        "left_out": bench.left_out,
    }


def rounded(value):
    return None if value is None else float(f"{value:.6g}")


def save(path, described, results):
    """All figures; ratios and verdicts beside them, for those who read no code."""
    told = {}
    for case in CASES:
        if case.name not in results:
            continue
        found = results[case.name]
        goals = []
        for goal in case.goals:
            value, reached = verdict(goal, found)
            goals.append({"what": goal.what, "most": goal.most, "least": goal.least, "unit": goal.unit,
                          "median": rounded(value and value.median), "min": rounded(value and value.low),
                          "max": rounded(value and value.high), "reached": reached})
        values = {subject: {metric: [rounded(value) for value in found.series((subject, metric))] for metric in metrics}
                  for subject, metrics in found.values.items()}
        told[case.name] = {"values": values, "goals": goals}
    path.write_text(json.dumps({**described, "cases": told}, indent=1, ensure_ascii=False) + "\n")


def read_back(path):
    told = json.loads(path.read_text())
    cases = told.pop("cases")
    return told, {name: case["values"] for name, case in cases.items()}


def wrapped(text):
    """As a paragraph of the documents; no line begins or ends within a word."""
    return textwrap.fill(text, 120, break_long_words=False, break_on_hyphens=False)


def page(described, results, charts):
    machine, programs, sizes = described["machine"], described["programs"], described["sizes"]
    others = ", ".join(f"{name} {number}" for name, number in programs.items() if number)
    yield wrapped(
        f"Measured on {described['date']}: {machine['processor']}, {machine['processors']} processors, "
        f"{machine['memory_gib']} GiB, {machine['system']}, load {machine['load_before']} before; {others}; "
        f"{described['profile']} build. {sizes['rounds']} rounds, in turns; a body of {sizes['gib']:g} GiB, four of "
        f"{sizes['flow_gib']:g} GiB; 10 × {sizes['slots']:,} slots, idle for {sizes['idle_seconds']:g} s.")
    for text in described["missing"]:
        yield f"\nMissing: {text}."
    for text in described["left_out"]:
        yield f"\nLeft out: {text}."
    yield "\n## Reach\n"
    yield from markdown_goals(CASES, results)
    for case in CASES:
        if case.name not in results:
            continue
        yield f"\n## {case.title}\n\n{wrapped(case.how)}\n"
        yield from markdown_case(case, results[case.name])
        for spec in case.charts:
            if spec.name in charts:
                yield f"\n![{spec.title}](bench-{spec.name}.svg)"


def write_docs(where, described, results):
    """Writes into a directory; of an existing page only what stands between the marks. Returns the paths."""
    where.mkdir(parents=True, exist_ok=True)
    save(where / "benchmarks.json", described, results)
    written, charts = [where / "benchmarks.json"], set()
    for case in CASES:
        for spec in case.charts if case.name in results else ():
            text = chart(spec, case, results[case.name])
            if text:
                path = where / f"bench-{spec.name}.svg"
                path.write_text(text)
                written.append(path)
                charts.add(spec.name)
    path = where / "benchmarks.md"
    before = path.read_text() if path.exists() else f"# Benchmarks\n\n{BEGIN}\n{END}\n"
    head, begin, rest = before.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"error: {path} has no marks: a line {BEGIN} and a line {END}")
    path.write_text(f"{head}{BEGIN}\n\n" + "\n".join(page(described, results, charts)) + f"\n\n{END}{tail}")
    return [path, *written]
