"""Tables: for the terminal, and in Markdown."""

from .rows import verdict


def number(value):
    """At least three digits."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def spread(found, unit=""):
    return f"{number(found.low)} – {number(found.high)}{unit}"


def plain(label):
    return label.replace("`", "").replace("\\|", "|")


def lines_of(case, results):
    """For each row that was measured: label, median, spread, ratio, its spread; texts."""
    for row in case.rows:
        found = results.of(row.key)
        if found is None:
            continue
        ratio = results.ratio(row.key, row.reference) if row.reference else None
        yield (row.label, f"{number(found.median)} {row.unit}", spread(found),
               f"{ratio.median:.2f}" if ratio else "", f"{ratio.low:.2f} – {ratio.high:.2f}" if ratio else "")


def reference_of(case, row):
    return next((other.label for other in case.rows if other.key == row.reference), row.reference[0])


def print_case(case, results):
    lines = [tuple(map(plain, line)) for line in lines_of(case, results)]
    print(f"{plain(case.title)}   ({results.rounds} rounds, in turns)")
    width = max((len(line[0]) for line in lines), default=0)
    for label, median, low_high, ratio, ratio_spread in lines:
        print(f"  {label:{width}}  {median:>16}  {low_high:>22}  {ratio:>6}  {ratio_spread}".rstrip())
    print(flush=True)


def goals_of(cases, results):
    """For each goal of the cases that ran: what, what is wanted, what was found, its spread, whether it is reached."""
    for case in cases:
        if case.name not in results:
            continue
        for goal in case.goals:
            found, reached = verdict(goal, results[case.name])
            unit = "×" if goal.unit == "×" else f" {goal.unit}"
            wanted = f"≤ {number(goal.most)}{unit}" if goal.most is not None else f"≥ {number(goal.least)}{unit}"
            if found is None:
                yield goal.what, wanted, "not measured", "", "not measured"
            else:
                yield (goal.what, wanted, f"{number(found.median)}{unit}", spread(found),
                       "reached" if reached else "not reached")


def print_goals(cases, results):
    lines = [tuple(map(plain, line)) for line in goals_of(cases, results)]
    print("Reach")
    width = max((len(line[0]) for line in lines), default=0)
    for what, wanted, found, low_high, reached in lines:
        print(f"  {what:{width}}  {wanted:>14}  {found:>14}  {low_high:>22}  {reached}")
    print(flush=True)


def markdown_goals(cases, results):
    yield "| what | at least, or at most | median | min – max | |"
    yield "|---|---|---|---|---|"
    for what, wanted, found, low_high, reached in goals_of(cases, results):
        reached = "**not reached**" if reached == "not reached" else reached
        yield f"| {what} | {wanted} | {found} | {low_high} | {reached} |"


def markdown_case(case, results):
    yield "| | median | min – max | ratio | min – max | of |"
    yield "|---|---|---|---|---|---|"
    measured = [row for row in case.rows if results.of(row.key)]
    for row, line in zip(measured, lines_of(case, results)):
        of = reference_of(case, row) if row.reference and line[3] else ""
        yield "| " + " | ".join([*line, of]) + " |"
