"""Bar charts as SVG, legible on light and dark pages alike: they bring their own ground."""

import math
from html import escape

from .table import number, plain

WIDTH, RIGHT = 860, 110
LETTER, MARGIN = 7.6, 34  # how wide the labels are
TOP, STEP, BAR, BOTTOM = 84, 34, 20, 34
ZHIT, OTHER = "#b44d12", "#7b8794"


def nice(value):
    """The least number that is not below it and whose quarters are round."""
    if value <= 0:
        return 1.0
    size = 10.0 ** math.floor(math.log10(value))
    return next(size * step for step in (1, 1.2, 1.6, 2, 2.4, 3.2, 4, 6, 8, 10) if size * step >= value * 0.999)


def chart(spec, case, results):
    """The chart's text, or None if nothing of it was measured."""
    bars = [(row, results.of(row.key)) for row in case.rows if row.metric in spec.metrics and results.of(row.key)]
    if not bars:
        return None
    unit = bars[0][0].unit
    left = round(max(len(plain(row.label)) for row, _ in bars) * LETTER) + MARGIN
    end = nice(max(found.high for _, found in bars))
    height = TOP + STEP * len(bars) + BOTTOM

    def x(value):
        return left + value / end * (WIDTH - left - RIGHT)

    told = "; ".join(f"{plain(row.label)}: {number(found.median)} {unit}" for row, found in bars)
    title = escape(plain(spec.title))
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        'aria-labelledby="title desc"',
        "     font-family=\"'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif\" font-size=\"14\" fill=\"#1f2933\">",
        f'  <title id="title">{title}</title>',
        f'  <desc id="desc">{escape(told)}.</desc>',
        f'  <rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'  <text x="24" y="30" font-size="17" font-weight="bold">{title}</text>',
        f'  <text x="24" y="52" fill="#52606d">{escape(unit)}; {spec.better} is better; '
        f'median of {results.rounds} rounds, the line from the least to the greatest</text>',
    ]
    for part in range(5):
        at = x(end * part / 4)
        out.append(f'  <path d="M{at:.1f} {TOP - 10}V{height - BOTTOM}" stroke="#e4e7eb"/>')
        out.append(f'  <text x="{at:.1f}" y="{height - 12}" text-anchor="middle" fill="#52606d">'
                   f"{number(end * part / 4)}</text>")
    for place, (row, found) in enumerate(bars):
        top = TOP + STEP * place
        middle = top + BAR / 2
        colour = ZHIT if row.subject.startswith("zhit") or row.subject in ("few", "many") else OTHER
        out.append(f'  <text x="{left - 10}" y="{middle + 5:.1f}" text-anchor="end">{escape(plain(row.label))}</text>')
        out.append(f'  <rect x="{left}" y="{top}" width="{max(1.0, x(found.median) - left):.1f}" height="{BAR}" '
                   f'fill="{colour}"/>')
        low, high = x(found.low), x(found.high)
        out.append(f'  <path d="M{low:.1f} {middle:.1f}H{high:.1f}M{low:.1f} {middle - 5:.1f}v10'
                   f'M{high:.1f} {middle - 5:.1f}v10" stroke="#1f2933" stroke-width="1.5" fill="none"/>')
        out.append(f'  <text x="{high + 10:.1f}" y="{middle + 5:.1f}">{number(found.median)}</text>')
    out.append("</svg>")
    return "\n".join(out) + "\n"
