"""What is measured, what it is compared with, and what must be reached; figures of several rounds made into one."""

import statistics
from dataclasses import dataclass, field
from typing import Callable


@dataclass(frozen=True)
class Row:
    """One line of a case's table: a figure of a subject, and the row of the same case that it is a ratio of."""

    subject: str
    metric: str
    label: str
    unit: str
    reference: tuple[str, str] | None = None

    @property
    def key(self):
        return self.subject, self.metric


@dataclass(frozen=True)
class Goal:
    """What is to be reached: a figure, or its ratio to another one of the same round."""

    what: str
    of: tuple[str, str]
    against: tuple[str, str] | None = None
    most: float | None = None
    least: float | None = None
    unit: str = "×"


@dataclass(frozen=True)
class Chart:
    """Bars of all rows with one unit and one of these metrics."""

    name: str
    title: str
    metrics: tuple[str, ...]
    better: str = "less"


@dataclass(frozen=True)
class Case:
    """One comparison. `serving(bench)` is a context that yields a function for each subject: one turn, its metrics."""

    name: str
    title: str
    how: str
    rows: tuple[Row, ...]
    serving: Callable
    goals: tuple[Goal, ...] = ()
    charts: tuple[Chart, ...] = field(default=())


@dataclass(frozen=True)
class Figure:
    """The median of some rounds, and the least and the greatest of them."""

    median: float
    low: float
    high: float


def figure(values):
    values = [value for value in values if value is not None]
    return Figure(statistics.median(values), min(values), max(values)) if values else None


class Results:
    """What all rounds of a case gave: for each subject and metric a value of each round, None where there was none."""

    def __init__(self, values=None):
        self.values = values or {}
        self.rounds = max((len(series) for all_of in self.values.values() for series in all_of.values()), default=0)

    def begin_round(self):
        self.rounds += 1

    def add(self, subject, metrics):
        for metric, value in metrics.items():
            series = self.values.setdefault(subject, {}).setdefault(metric, [])
            series += [None] * (self.rounds - 1 - len(series))
            series.append(value)

    def series(self, key):
        series = self.values.get(key[0], {}).get(key[1], [])
        return series + [None] * (self.rounds - len(series))

    def of(self, key):
        return figure(self.series(key))

    def ratio(self, key, reference):
        """Of figures of the same round, each to each: what slows a machine down meanwhile slows both."""
        pairs = zip(self.series(key), self.series(reference))
        return figure([a / b for a, b in pairs if a is not None and b])


def verdict(goal, results):
    """The figure that counts, and whether it reaches the goal; None if it could not be measured."""
    found = results.ratio(goal.of, goal.against) if goal.against else results.of(goal.of)
    if found is None:
        return None, None
    reached = found.median <= goal.most if goal.most is not None else found.median >= goal.least
    return found, reached
