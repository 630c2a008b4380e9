#!/usr/bin/env python3
"""Draws docs/scale-*.svg from docs/scale.json, which the full run of tests/scale writes.

Both axes are logarithmic: what is linear in the number of hosts rises by one decade in a decade, and what grows with its
square by two.
"""

import json
import math
import pathlib

DOCS = pathlib.Path(__file__).resolve().parent.parent / "docs"
WIDTH, HEIGHT = 820, 460
LEFT, RIGHT, TOP, BOTTOM = 90, 230, 60, 60
HOSTS_MAX = 4000  # of a layout; sizes beyond it are marked
COLOURS = ["#b44d12", "#1f5fa8", "#2f7d4f", "#6b3fa0", "#52606d"]

CHARTS = {
    "messages": (
        "Messages of one broadcast",
        "messages",
        {
            "in all": "messages in all",
            "the issuer's broker": "messages at its broker",
            "the issuer": "messages at the issuer",
            "another broker": "messages at another broker",
            "a worker": "messages at a worker",
        },
    ),
    "time": (
        "Simulated time of one broadcast",
        "seconds",
        {"till closed": "seconds till closed", "till the roster is pinned": "seconds till pinned"},
    ),
    "mesh": (
        "The idle mesh",
        "messages a second",
        {"sent by all brokers": "idle: messages/s sent, all", "taken and sent by one": "idle: messages/s, a broker"},
    ),
}


def short(exponent):
    value = 10.0**exponent
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g} {letter}"
    return f"{value:g}"


def mark(hosts):
    return f"{'*' if hosts > HOSTS_MAX else ''}{hosts:,.0f}"


def chart(name, title, unit, lines, points):
    # A size at which it was cut off is left out.
    points = [point for point in points if all(point[key] is not None for key in lines.values())]
    hosts = [point["hosts"] for point in points]
    series = {label: [point[key] for point in points] for label, key in lines.items()}
    values = [value for line in series.values() for value in line]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    first, last = math.log10(hosts[0]), math.log10(hosts[-1])

    def x(value):
        return LEFT + (math.log10(value) - first) / (last - first) * (WIDTH - LEFT - RIGHT)

    def y(value):
        return HEIGHT - BOTTOM - (math.log10(value) - low) / (high - low) * (HEIGHT - TOP - BOTTOM)

    told = "; ".join(f"{label}: " + ", ".join(f"{value:g}" for value in line) for label, line in series.items())
    at = ", ".join(f"{value:,.0f}" for value in hosts)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        'aria-labelledby="title desc"',
        "     font-family=\"'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif\" font-size=\"14\" fill=\"#1f2933\">",
        f'  <title id="title">{title}</title>',
        f'  <desc id="desc">At {at} hosts of 100 workers, {unit}: {told}.</desc>',
        f'  <rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        f'  <text x="{LEFT}" y="30" font-size="17" font-weight="bold">{title}, by hosts (100 workers each)</text>',
    ]
    axis = "hosts (*: beyond the limit of a layout)" if hosts[-1] > HOSTS_MAX else "hosts"
    for exponent in range(low, high + 1):
        at = y(10.0**exponent)
        out.append(f'  <path d="M{LEFT} {at:.1f}H{WIDTH - RIGHT}" stroke="#d9e2ec"/>')
        out.append(f'  <text x="{LEFT - 8}" y="{at + 5:.1f}" text-anchor="end">{short(exponent)}</text>')
    for value in hosts:
        out.append(f'  <path d="M{x(value):.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="#e4e7eb"/>')
        out.append(f'  <text x="{x(value):.1f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">{mark(value)}</text>')
    out.append(f'  <text x="{LEFT}" y="{TOP - 10}" fill="#52606d">{unit}</text>')
    out.append(f'  <text x="{WIDTH - RIGHT}" y="{HEIGHT - 12}" text-anchor="end" fill="#52606d">{axis}</text>')
    ends = []
    for (label, line), colour in zip(series.items(), COLOURS):
        path = "L".join(f"{x(host):.1f} {y(value):.1f}" for host, value in zip(hosts, line))
        out.append(f'  <path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        dots = (f'<circle cx="{x(host):.1f}" cy="{y(value):.1f}" r="3"/>' for host, value in zip(hosts, line))
        out.append(f'  <g fill="{colour}">{"".join(dots)}</g>')
        ends.append([y(line[-1]), label, colour])
    # Names at the ends of their lines, and no two over each other.
    ends.sort()
    for above, end in zip(ends, ends[1:]):
        end[0] = max(end[0], above[0] + 18)
    for at, label, colour in ends:
        out.append(f'  <text x="{WIDTH - RIGHT + 10}" y="{at + 5:.1f}" fill="{colour}">{label}</text>')
    out.append("</svg>")
    (DOCS / f"scale-{name}.svg").write_text("\n".join(out) + "\n")


def main():
    points = json.loads((DOCS / "scale.json").read_text())
    for name, (title, unit, lines) in CHARTS.items():
        chart(name, title, unit, lines, points)


if __name__ == "__main__":
    main()
