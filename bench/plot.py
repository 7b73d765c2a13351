# SPDX-License-Identifier: GPL-2.0-or-later
"""A bar chart with error bars as SVG, without any library."""
import math
from xml.sax.saxutils import escape

COLOURS = ("#0072b2", "#d55e00", "#999999", "#009e73", "#cc79a7")
BAR, GAP, HEIGHT, LEFT, TOP = 26, 34, 260, 60, 50


def label(value):
    return f"{value:.2f}" if value < 100 else f"{value:.0f}"


def linear_axis(values):
    """Height of a value in pixels, and the values to label."""
    highest = max(values)
    return lambda value: value * HEIGHT / highest, [highest * tick / 4 for tick in range(5)]


def logarithmic_axis(values):
    """The same, in whole powers of ten."""
    least = 1e-6  # what is not positive is drawn as this
    lowest = math.floor(math.log10(max(min(values), least)))
    powers = max(1, math.ceil(math.log10(max(max(values), least))) - lowest)

    def height(value):
        return max(0, math.log10(max(value, least)) - lowest) * HEIGHT / powers

    return height, [10 ** (lowest + power) for power in range(powers + 1)]


def bars(path, title, groups, logarithmic=False):
    """Writes <groups> (name -> {series: (median, minimum, maximum)}) to <path>, one bar per series in each group."""
    series = list(next(iter(groups.values())))
    values = [value for group in groups.values() for spread in group.values() for value in spread]
    height, ticks = (logarithmic_axis if logarithmic else linear_axis)(values)
    width = LEFT + len(groups) * (len(series) * BAR + GAP) + GAP
    base = TOP + HEIGHT
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{base + 70}" font-family="sans-serif" '
        'font-size="11">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="{LEFT}" y="20" font-size="14">{escape(title)}</text>',
    ]
    for i, name in enumerate(series):
        out.append(f'<rect x="{LEFT + i * 90}" y="30" width="10" height="10" fill="{COLOURS[i]}"/>')
        out.append(f'<text x="{LEFT + i * 90 + 14}" y="39">{escape(name)}</text>')
    for value in ticks:
        y = base - height(value)
        out.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{width}" y2="{y:.1f}" stroke="#ddd"/>')
        out.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{label(value)}</text>')
    for g, (name, group) in enumerate(groups.items()):
        left = LEFT + GAP / 2 + g * (len(series) * BAR + GAP)
        for i, key in enumerate(series):
            median, least, most = group[key]
            x, y = left + i * BAR, base - height(median)
            middle = x + BAR / 2 - 2
            out.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{BAR - 4}" height="{height(median):.1f}" '
                       f'fill="{COLOURS[i]}"/>')
            out.append(f'<line x1="{middle:.1f}" y1="{base - height(least):.1f}" x2="{middle:.1f}" '
                       f'y2="{base - height(most):.1f}" stroke="black"/>')
            out.append(f'<text x="{middle:.1f}" y="{base - height(most) - 4:.1f}" font-size="8" text-anchor="middle">'
                       f'{label(median)}</text>')
        centre = left + len(series) * BAR / 2
        for line, text in enumerate(name.split(", ")):
            out.append(f'<text x="{centre:.1f}" y="{base + 16 + 13 * line}" text-anchor="middle">{escape(text)}</text>')
    out.append("</svg>")
    with open(path, "w") as file:
        file.write("\n".join(out) + "\n")
