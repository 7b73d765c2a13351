# SPDX-License-Identifier: GPL-2.0-or-later
"""A bar chart with error bars as SVG, without any library."""
from xml.sax.saxutils import escape

COLOURS = ("#0072b2", "#d55e00", "#999999", "#009e73")
BAR, GAP, HEIGHT, LEFT, TOP = 26, 34, 260, 60, 50


def bars(path, title, groups):
    """Writes <groups> (name -> {series: (median, minimum, maximum)}) to <path>, one bar per series in each group."""
    series = list(next(iter(groups.values())))
    highest = max(value[2] for group in groups.values() for value in group.values())
    width = LEFT + len(groups) * (len(series) * BAR + GAP) + GAP
    scale = HEIGHT / highest
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
    for tick in range(5):
        value = highest * tick / 4
        y = base - value * scale
        out.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{width}" y2="{y:.1f}" stroke="#ddd"/>')
        out.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:.2f}</text>')
    for g, (name, group) in enumerate(groups.items()):
        left = LEFT + GAP / 2 + g * (len(series) * BAR + GAP)
        for i, key in enumerate(series):
            median, least, most = group[key]
            x, y = left + i * BAR, base - median * scale
            middle = x + BAR / 2 - 2
            out.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{BAR - 4}" height="{median * scale:.1f}" '
                       f'fill="{COLOURS[i]}"/>')
            out.append(f'<line x1="{middle:.1f}" y1="{base - least * scale:.1f}" x2="{middle:.1f}" '
                       f'y2="{base - most * scale:.1f}" stroke="black"/>')
            above = base - most * scale - 4
            out.append(f'<text x="{middle:.1f}" y="{above:.1f}" font-size="8" text-anchor="middle">{median:.2f}</text>')
        centre = left + len(series) * BAR / 2
        for line, text in enumerate(name.split(", ")):
            out.append(f'<text x="{centre:.1f}" y="{base + 16 + 13 * line}" text-anchor="middle">{escape(text)}</text>')
    out.append("</svg>")
    with open(path, "w") as file:
        file.write("\n".join(out) + "\n")
