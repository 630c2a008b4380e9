"""Runs the cases: subjects in turns, round after round. What fails is named and left out; the rest goes on."""

import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from .build import missing
from .servers import Raw
from .rows import Results

FAILURES = (OSError, RuntimeError, ValueError, KeyError, subprocess.SubprocessError)


@dataclass
class Bench:
    """What the cases run with."""

    args: object
    scratch: Path
    zhit: str
    zhit_load: str
    nats_load: str | None
    raw: Raw
    missing: list = field(default_factory=list)
    left_out: list = field(default_factory=list)
    names: int = 0

    def lacks(self, what, remedy):
        text = f"{what}; {remedy}"
        if text not in self.missing:
            self.missing.append(text)
            missing(what, remedy)

    def leave_out(self, what, error):
        text = f"{what}: {error}"
        print(f"left out: {text}", file=sys.stderr)
        self.left_out.append(text)

    def directory(self, name):
        """A path of its own, for a runtime directory; short, for sockets lie in it."""
        self.names += 1
        return self.scratch / f"{name}{self.names}"

    def hollow_file(self, gib):
        """A file of so many GiB that takes no room on a disk. It was read once: no turn is the first to do so."""
        path = self.scratch / f"hollow-{gib:g}"
        if not path.exists():
            with path.open("wb") as file:
                file.truncate(whole_bytes(gib))
            with path.open("rb") as file:
                while file.read(1 << 20):
                    pass
        return path

    def run(self, case):
        results = Results()
        try:
            with case.serving(self) as subjects:
                for number in range(self.args.rounds):
                    results.begin_round()
                    for subject, turn in subjects.items():
                        show(f"  round {number + 1} of {self.args.rounds}: {subject}")
                        try:
                            results.add(subject, turn())
                        except FAILURES as error:
                            show("")
                            self.leave_out(f"{case.name}, {subject}, round {number + 1}", error)
        except FAILURES as error:
            self.leave_out(case.name, error)
        show("")
        return results


def show(text):
    """What runs now, on a terminal; an empty text clears it."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def whole_bytes(gib):
    """In whole chunks of 256 KiB."""
    return int(gib * 4096) << 18
