"""Plots as SVG files, drawn by hand: no dependency, and a text that a diff can show.

Latency by percentile, bars in groups, and figures over time with their trends. The axis of percentiles is logarithmic
in the distance from 100 %, so that the tail, which matters, has room.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape

WIDTH, HEIGHT = 760, 420
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 50, 70
COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf")
MARKS = (0.0, 50.0, 90.0, 99.0, 99.9, 99.99)
TICKS = 5
NAMES, VALUES, BAR, GAP = 230, 170, 20, 10
"""Of bars: room for the groups' names and for the values, the height of one and the gap between groups."""

PANEL, COLUMNS = 150, 2
"""Of trends: the height of a panel and how many are beside each other."""

Curve = Sequence[tuple[float, float]]


def percentile_plot(title: str, caption: str, curves: Mapping[str, Curve]) -> str:
    """The SVG text of these curves of (percentile, milliseconds)."""
    points = [point for curve in curves.values() for point in curve]
    top = _round_up(max((value for _, value in points), default=1.0))
    end = max((_depth(percentile) for percentile, _ in points), default=1.0)

    def x(percentile: float) -> float:
        return LEFT + _depth(percentile) / end * (WIDTH - LEFT - RIGHT)

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - value / top * (HEIGHT - TOP - BOTTOM)

    body = [*_frame(title, caption)]
    for mark in MARKS:
        if _depth(mark) <= end:
            body.append(_line(x(mark), TOP, x(mark), HEIGHT - BOTTOM, "#ddd"))
            body.append(_text(x(mark), HEIGHT - BOTTOM + 18, f"{mark:g} %", "middle"))
    for tick in range(TICKS + 1):
        value = top * tick / TICKS
        body.append(_line(LEFT, y(value), WIDTH - RIGHT, y(value), "#ddd"))
        body.append(_text(LEFT - 8, y(value) + 4, f"{value:g} ms", "end"))
    for number, (label, curve) in enumerate(curves.items()):
        colour = COLOURS[number % len(COLOURS)]
        path = " ".join(f"{x(percentile):.1f},{y(value):.1f}" for percentile, value in curve)
        body.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        body.append(_line(LEFT + 12, TOP + 14 + 18 * number, LEFT + 36, TOP + 14 + 18 * number, colour, 3))
        body.append(_text(LEFT + 42, TOP + 18 + 18 * number, label))
    return _document(body)


def bar_plot(title: str, caption: str, groups: Mapping[str, Mapping[str, float]], unit: str) -> str:
    """The SVG text of these bars: a row for each group, a bar in it for each of its labels, the value at its end."""
    labels = list(dict.fromkeys(label for bars in groups.values() for label in bars))
    top = max((value for bars in groups.values() for value in bars.values()), default=0.0) or 1.0
    height = TOP + sum(BAR * len(bars) + GAP for bars in groups.values()) + BOTTOM
    width = WIDTH - NAMES - VALUES
    body = [*_frame(title, caption, height)]
    y = TOP
    for name, bars in groups.items():
        body.append(_text(NAMES - 8, y + BAR * len(bars) / 2 + 4, name, "end"))
        for label, value in bars.items():
            colour = COLOURS[labels.index(label) % len(COLOURS)]
            length = max(value, 0) / top * width
            body.append(f'<rect x="{NAMES}" y="{y}" width="{length:.1f}" height="{BAR - 3}" fill="{colour}"/>')
            shown = f"{value:.4g} {unit}" + (f"  {label}" if len(labels) > 1 else "")
            body.append(_text(NAMES + length + 6, y + BAR - 7, shown))
            y += BAR
        y += GAP
    return _document(body, height)


def trend_plot(title: str, caption: str, panels: Mapping[str, tuple[Curve, Curve]]) -> str:
    """The SVG text of these panels: for each figure its samples (hours, value), and the line that fits them."""
    height = TOP + PANEL * math.ceil(len(panels) / COLUMNS) + BOTTOM // 2
    body = [*_frame(title, caption, height)]
    hours = max((at for curve, _ in panels.values() for at, _ in curve), default=0.0) or 1.0
    width = (WIDTH - LEFT - RIGHT) / COLUMNS - LEFT
    for number, (name, (curve, line)) in enumerate(panels.items()):
        left = LEFT + number % COLUMNS * (width + LEFT)
        bottom = TOP + (number // COLUMNS + 1) * PANEL - 30
        top = _round_up(max((value for _, value in curve), default=1.0))
        scale = (PANEL - 60) / top

        def place(at: float, value: float, left: float = left, bottom: float = bottom, scale: float = scale) -> str:
            return f"{left + at / hours * width:.1f},{bottom - value * scale:.1f}"

        body.append(_text(left, bottom - PANEL + 50, name))
        for value in (0.0, top):
            body.append(_line(left, bottom - value * scale, left + width, bottom - value * scale, "#ddd"))
            body.append(_text(left - 6, bottom - value * scale + 4, f"{value:g}", "end", 10))
        body.append(_text(left + width, bottom + 14, f"{hours:.2g} h", "end", 10))
        points = " ".join(place(at, value) for at, value in curve)
        body.append(f'<polyline points="{points}" fill="none" stroke="{COLOURS[0]}" stroke-width="1"/>')
        fit = " ".join(place(at, value) for at, value in line)
        body.append(f'<polyline points="{fit}" fill="none" stroke="{COLOURS[1]}" stroke-width="2"/>')
    return _document(body, height)


def _depth(percentile: float) -> float:
    return -math.log10(max(1 - percentile / 100, 1e-9))


def _round_up(value: float) -> float:
    """To the next of 1, 2, 5 times a power of ten, so that the ticks are round."""
    power = 10.0 ** math.floor(math.log10(max(value, 1e-6)))
    return next(step * power for step in (1, 2, 5, 10) if value <= step * power)


def _frame(title: str, caption: str, height: int = HEIGHT) -> Iterable[str]:
    yield f'<rect width="{WIDTH}" height="{height}" fill="white"/>'
    yield _text(20, 28, title, size=16)
    yield _text(20, height - 14, caption, size=10)


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, width: int = 1) -> str:
    return f'<path d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}" stroke="{colour}" stroke-width="{width}"/>'


def _text(x: float, y: float, text: str, anchor: str = "start", size: int = 12) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">{escape(text)}</text>'


def _document(body: Iterable[str], height: int = HEIGHT) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif">'
    return "\n".join([head, *body, "</svg>", ""])
