"""Figures as SVG text: drawn in a few milliseconds as a slider moves; matplotlib takes hundreds."""

import html
import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.ticker import MaxNLocator

from lfwstudy.report import figures
from lfwstudy.system.text import percent
from lfwstudy.training.decisions import best_epoch

# The colours of the report's figures, by role.
TRAIN, VALIDATION, WRONG = "#737373", figures.VALIDATION, figures.WRONG
MEASURED, PUBLISHED = figures.MEASURED, figures.PUBLISHED
# Matched and mismatched pairs: two more of the same colour-blind-safe palette; they are also above and below a line.
MATCHED, MISMATCHED = "#cc78bc", "#56b4e9"
LINES = ("#0173b2", "#de8f05", "#029e73", "#d55e00", "#cc78bc", "#ca9161", "#949494", "#56b4e9")
DASHES = ("", "6 3", "2 3", "9 3 2 3")


def svg(width: int, height: int, title: str, *parts: str) -> str:
    """A figure with a name for screen readers. parts: SVG elements."""
    return (
        f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        f'aria-label="{html.escape(title)}" xmlns="http://www.w3.org/2000/svg">{"".join(parts)}</svg>'
    )


class Axes:
    """A rectangle of a figure with its scales: converts values to pixels and draws frame, ticks and lines."""

    def __init__(
        self, box: tuple[int, int, int, int], x_range: tuple[float, float], y_range: tuple[float, float]
    ) -> None:
        self.left, self.top, self.right, self.bottom = box
        self.x_range, self.y_range = x_range, y_range

    def x(self, value: float) -> float:
        """Pixel of a value on the horizontal axis, within it."""
        return float(np.interp(value, self.x_range, (self.left, self.right)))

    def y(self, value: float) -> float:
        """Pixel of a value on the vertical axis, within it."""
        return float(np.interp(value, self.y_range, (self.bottom, self.top)))

    def frame(self, x_label: str, y_label: str, x_ticks: Sequence[float] | None = None, percent: str = "") -> str:
        """Grid, tick labels and names of the axes. percent: which of "xy" hold shares, labelled in percent."""
        grid = 'stroke="currentColor" stroke-opacity=".15"/>'
        parts = []
        for value in ticks(*self.x_range) if x_ticks is None else x_ticks:
            x, label = self.x(value), f"{100 * value if 'x' in percent else value:g}"
            parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{self.top}" y2="{self.bottom}" {grid}')
            parts.append(text(x, self.bottom + 15, label, "middle"))
        for value in ticks(*self.y_range):
            y, label = self.y(value), f"{100 * value if 'y' in percent else abs(value):g}"
            parts.append(f'<line x1="{self.left}" x2="{self.right}" y1="{y:.1f}" y2="{y:.1f}" {grid}')
            parts.append(text(self.left - 6, y + 4, label, "end"))
        place = f"translate({self.left - 42} {(self.top + self.bottom) / 2}) rotate(-90)"
        parts.append(text((self.left + self.right) / 2, self.bottom + 32, x_label, "middle"))
        parts.append(f'<g transform="{place}">{text(0, 0, y_label, "middle")}</g>')
        return "".join(parts)

    def line(self, x: Iterable[float], y: Iterable[float], colour: str, dash: str = "", width: float = 1.6) -> str:
        """A line through points; what is not a number is left out, values outside the axes are clipped."""
        pixels = " ".join(f"{self.x(a):.1f},{self.y(b):.1f}" for a, b in zip(x, y) if not math.isnan(b))
        return (
            f'<polyline points="{pixels}" fill="none" stroke="{colour}" stroke-width="{width}" '
            f'stroke-dasharray="{dash}" stroke-linejoin="round"/>'
        )

    def dot(self, x: float, y: float, colour: str, radius: int = 4) -> str:
        """A filled point."""
        return (
            f'<circle cx="{self.x(x):.1f}" cy="{self.y(y):.1f}" r="{radius}" fill="{colour}" '
            'stroke="white" stroke-width="1"/>'
        )


def text(x: float, y: float, words: str, anchor: str = "start") -> str:
    """Escaped text."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{html.escape(words)}</text>'


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round values from low to high, about `count` of them."""
    values = MaxNLocator(count, steps=[1, 2, 5, 10]).tick_values(low, high).round(10)
    return [value for value in values.tolist() if low <= value <= high]


class Curve(NamedTuple):
    """A run's history as lines of a colour and dash: validation, with training thin and grey."""

    name: str
    rows: Sequence[dict[str, Any]]
    colour: str
    dash: str = ""


_NAMES = {"accuracy": "accuracy, %", "cross_entropy": "cross-entropy", "loss": "total loss"}


def curves(
    lines: Sequence[Curve], measure: str, title: str, width: int = 720, height: int = 320, epochs: int = 2
) -> str:
    """Learning curves of accuracy, cross_entropy or loss, a dot at each one's best epoch; a pointer over an epoch reads its values.

    Lines whose rows lack the measure, as published histories may, are left out. epochs: at least as many are on the axis.
    """
    lines = [line for line in lines if all(measure in row for row in line.rows)]
    last = max([row["epoch"] for line in lines for row in line.rows] + [epochs])
    axes = Axes((60, 12, width - 12, height - 44), (1, last), _range(lines, measure))
    whole = [tick for tick in ticks(1, last, 8) if tick == int(tick)]
    frame = axes.frame("epoch", _NAMES[measure], x_ticks=whole, percent="y" if measure == "accuracy" else "")
    bands = [_band(axes, lines, measure, epoch) for epoch in range(1, last + 1)]
    return svg(width, height, title, frame, *(_curve(axes, line, measure) for line in lines), *bands)


def _range(lines: Sequence[Curve], measure: str) -> tuple[float, float]:
    names = measure, f"val_{measure}"
    values = sorted(row[name] for line in lines for row in line.rows for name in names if math.isfinite(row[name]))
    if measure == "accuracy":
        return max(0, math.floor(10 * min([*values, 0.5])) / 10), 1.0
    # Losses of single epochs may be huge: the axis ends where nine tenths of the values are below it.
    return 0.0, 1.15 * max(values[int(0.9 * (len(values) - 1))] if values else 1.0, 0.75)


def _curve(axes: Axes, line: Curve, measure: str) -> str:
    epochs, training, validation = ([row[name] for row in line.rows] for name in ("epoch", measure, f"val_{measure}"))
    best = best_epoch(line.rows) if all("val_cross_entropy" in row for row in line.rows) else None
    dot = axes.dot(best, validation[best - 1], line.colour) if best and math.isfinite(validation[best - 1]) else ""
    return (
        axes.line(epochs, training, TRAIN, "4 3", 0.9) + axes.line(epochs, validation, line.colour, line.dash, 2) + dot
    )


def _band(axes: Axes, lines: Sequence[Curve], measure: str, epoch: int) -> str:
    """An invisible band over an epoch; a browser shows its title, the values there, at the pointer."""
    there = [(line.name, line.rows[epoch - 1]) for line in lines if len(line.rows) >= epoch]
    if not there:
        return ""
    told = [f"{name}: {_shown(row, f'val_{measure}')}, training {_shown(row, measure)}" for name, row in there]
    title = html.escape("\n".join([f"Epoch {epoch}, {_NAMES[measure].partition(',')[0]} on validation", *told]))
    left, right = axes.x(epoch - 0.5), axes.x(epoch + 0.5)
    return (
        f'<rect class="lfw-band" x="{left:.1f}" width="{right - left:.1f}" y="{axes.top}" '
        f'height="{axes.bottom - axes.top}" fill="currentColor" fill-opacity="0"><title>{title}</title></rect>'
    )


def _shown(row: dict[str, Any], name: str) -> str:
    if not math.isfinite(row[name]):
        return "not a number"
    return f"{percent(row[name])} %" if name.endswith("accuracy") else f"{row[name]:.3f}"


def legend(entries: Sequence[tuple[str, str, str]]) -> str:
    """Names next to their lines, as HTML. entries: (name, colour, dash) each."""
    drawn = "".join(
        f'<span style="white-space:nowrap"><svg width="34" height="10" aria-hidden="true" '
        f'style="display:inline-block"><line x1="1" x2="33" y1="5" y2="5" stroke="{colour}" stroke-width="3" '
        f'stroke-dasharray="{dash}"/></svg> {html.escape(name)}</span>'
        for name, colour, dash in entries
    )
    return f'<div style="display:flex;flex-wrap:wrap;gap:2px 18px;font-size:12px">{drawn}</div>'


def look(index: int) -> tuple[str, str]:
    """Colour and dash of the index-th line, distinct in grey print, too."""
    return LINES[index % len(LINES)], DASHES[index // len(LINES) % len(DASHES)]
