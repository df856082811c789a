"""Results as Markdown, and small plots."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]
Series = Mapping[str, Sequence[tuple[float, float]]]
"""By name, points of which both numbers are above 0."""

COLOURS = ("#1b6ca8", "#c0392b", "#27864e", "#8e5bb5", "#b7791f", "#555555")
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 420, 70, 190, 40, 50


def markdown(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table."""
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def number(value: float | None, digits: int = 2) -> str:
    """Write a number; a dash where there is none."""
    return "–" if value is None else f"{value:,.{digits}f}"


def plot_text(series: Series, width: int = 40) -> str:
    """Draw bars, on a logarithmic scale, of the values of each series."""
    values = [y for points in series.values() for _, y in points]
    low, high = _span(values)
    lines = []
    for name, points in series.items():
        for x, y in points:
            bar = "#" * max(1, round(width * (math.log10(y) - low) / (high - low)))
            lines.append(f"{name:>28} {x:>7,.0f}  {bar} {y:.3g}")
    return "\n".join(lines)


def plot_svg(title: str, x_title: str, y_title: str, series: Series) -> str:
    """Draw lines over two logarithmic axes."""
    xs = [x for points in series.values() for x, _ in points]
    ys = [y for points in series.values() for _, y in points]
    across = _axis(_span(xs), LEFT, WIDTH - RIGHT)
    up = _axis(_span(ys), HEIGHT - BOTTOM, TOP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        _text(LEFT, 22, title, size=15),
        _text(LEFT, HEIGHT - 12, x_title),
        _text(8, TOP - 8, y_title),
    ]
    parts += [_tick_across(across(x), x) for x in sorted(set(xs))]
    parts += [_tick_up(up(y), y) for y in _decades(_span(ys))]
    for index, (name, points) in enumerate(series.items()):
        parts.append(_line(name, [(across(x), up(y)) for x, y in points], index))
    return "\n".join([*parts, "</svg>\n"])


def _span(values: Iterable[float]) -> tuple[float, float]:
    """The whole powers of ten around values, as exponents."""
    known = [math.log10(value) for value in values]
    low, high = math.floor(min(known)), math.ceil(max(known))
    return float(low), float(max(high, low + 1))


def _axis(span: tuple[float, float], start: float, end: float) -> Any:
    low, high = span
    return lambda value: start + (end - start) * (math.log10(value) - low) / (high - low)


def _decades(span: tuple[float, float]) -> list[float]:
    return [10.0**power for power in range(int(span[0]), int(span[1]) + 1)]


def _text(x: float, y: float, text: str, colour: str = "#222", size: int = 12) -> str:
    safe = text.replace("&", "&amp;").replace("<", "&lt;")
    return f'<text x="{x:.0f}" y="{y:.0f}" fill="{colour}" font-size="{size}">{safe}</text>'


def _tick_across(x: float, value: float) -> str:
    line = f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{HEIGHT - BOTTOM}" stroke="#eee"/>'
    return line + _text(x - 12, HEIGHT - BOTTOM + 16, f"{value:,.0f}")


def _tick_up(y: float, value: float) -> str:
    line = f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" stroke="#ddd"/>'
    return line + _text(LEFT - 48, y + 4, f"{value:g}")


def _line(name: str, points: Sequence[tuple[float, float]], index: int) -> str:
    colour = COLOURS[index % len(COLOURS)]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points)
    line = f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
    return line + dots + _text(WIDTH - RIGHT + 12, TOP + 18 * (index + 1), name, colour)
