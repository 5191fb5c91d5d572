"""Figures as SVG text: a slider's answer takes a few milliseconds, where a matplotlib figure takes hundreds."""

import html
import math

from matplotlib.colors import to_hex

from lfwstudy.report import figures

# The colours of the report's figures, by role.
TRAIN, VALIDATION, WRONG = "#737373", to_hex(figures.VALIDATION), to_hex(figures.WRONG)
MEASURED, PUBLISHED = to_hex(figures.MEASURED), to_hex(figures.PUBLISHED)
# Matched and mismatched pairs: two more of the same colour-blind-safe palette; they also stand above and below a line.
MATCHED, MISMATCHED = "#cc78bc", "#56b4e9"
LINES = ("#0173b2", "#de8f05", "#029e73", "#d55e00", "#cc78bc", "#ca9161", "#949494", "#56b4e9")
DASHES = ("", "6 3", "2 3", "9 3 2 3")


def svg(width, height, title, *parts):
    """A figure with a name that is read aloud. parts: texts of SVG elements."""
    return (
        f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        f'aria-label="{html.escape(title)}" xmlns="http://www.w3.org/2000/svg">{"".join(parts)}</svg>'
    )


class Axes:
    """A rectangle of a figure with its scales: turns values to pixels and draws frame, ticks and lines."""

    def __init__(self, box, x_range, y_range):
        self.left, self.top, self.right, self.bottom = box
        self.x_range, self.y_range = x_range, y_range

    def x(self, value):
        """Pixel of a value on the horizontal axis."""
        low, high = self.x_range
        return self.left + (value - low) / ((high - low) or 1) * (self.right - self.left)

    def y(self, value):
        """Pixel of a value on the vertical axis."""
        low, high = self.y_range
        return self.bottom - (value - low) / ((high - low) or 1) * (self.bottom - self.top)

    def frame(self, x_label, y_label, x_ticks=None, y_ticks=None, percent=""):
        """Grid, tick labels and names of the axes. percent: which of "xy" hold shares, labelled in percent."""
        parts = []
        for value in ticks(*self.x_range) if x_ticks is None else x_ticks:
            parts.append(
                f'<line x1="{self.x(value):.1f}" x2="{self.x(value):.1f}" y1="{self.top}" y2="{self.bottom}" '
                'stroke="currentColor" stroke-opacity=".15"/>'
                + text(self.x(value), self.bottom + 15, f"{100 * value if 'x' in percent else value:g}", "middle")
            )
        for value in ticks(*self.y_range) if y_ticks is None else y_ticks:
            parts.append(
                f'<line x1="{self.left}" x2="{self.right}" y1="{self.y(value):.1f}" y2="{self.y(value):.1f}" '
                'stroke="currentColor" stroke-opacity=".15"/>'
                + text(self.left - 6, self.y(value) + 4, f"{100 * value if 'y' in percent else abs(value):g}", "end")
            )
        middle = (self.top + self.bottom) / 2
        parts += [
            text((self.left + self.right) / 2, self.bottom + 32, x_label, "middle"),
            f'<g transform="translate({self.left - 42} {middle}) rotate(-90)">{text(0, 0, y_label, "middle")}</g>',
        ]
        return "".join(parts)

    def line(self, points, colour, dash="", width=1.6):
        """A line through (x, y) values; what is not finite is left out, what is outside is cut off."""
        low, high = self.y_range
        told = " ".join(f"{self.x(x):.1f},{self.y(min(max(y, low), high)):.1f}" for x, y in points if math.isfinite(y))
        return (
            f'<polyline points="{told}" fill="none" stroke="{colour}" stroke-width="{width}" '
            f'stroke-dasharray="{dash}" stroke-linejoin="round"/>'
        )

    def dot(self, x, y, colour, radius=4):
        """A filled point."""
        return (
            f'<circle cx="{self.x(x):.1f}" cy="{self.y(y):.1f}" r="{radius}" fill="{colour}" '
            'stroke="white" stroke-width="1"/>'
        )


def text(x, y, words, anchor="start"):
    """Escaped text."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{html.escape(str(words))}</text>'


def key(x, y, colour, words):
    """A square of a colour with what it stands for."""
    return f'<rect x="{x}" y="{y - 10}" width="11" height="11" fill="{colour}"/>' + text(x + 16, y, words)


def ticks(low, high, count=5):
    """Round values from low to high, about `count` of them."""
    span = (high - low) or 1
    step = 10 ** math.floor(math.log10(span / count))
    step = next(step * factor for factor in (1, 2, 5, 10) if span / (step * factor) <= count + 1)
    first = math.ceil(low / step - 1e-9)
    return [round((first + i) * step, 10) for i in range(int((high - first * step) / step + 1e-9) + 1)]


_NAMES = {"cross_entropy": "cross-entropy", "loss": "total loss"}


def curves(lines, measure, title, width=720, height=320):
    """Learning curves. lines: list of (name, history rows, colour, dash); measure: accuracy, cross_entropy or loss.

    Validation is drawn in the line's colour with a dot at its best epoch; training is thin and grey. Rows that lack the measure,
    as those of published histories may, are left out.
    """
    from lfwstudy.training.decisions import best_epoch

    lines = [line for line in lines if all(measure in row for row in line[1])]
    values = [
        row[key]
        for _, rows, *_ in lines
        for row in rows
        for key in (measure, f"val_{measure}")
        if math.isfinite(row[key])
    ]
    last = max([row["epoch"] for _, rows, *_ in lines for row in rows] + [2])
    if measure == "accuracy":
        low, high = max(0, math.floor(10 * min(values + [0.5])) / 10), 1.0
    else:
        # Entropies of single epochs may be huge: the picture is cut where nine tenths of the values are.
        low, high = 0.0, 1.15 * max(sorted(values)[int(0.9 * (len(values) - 1))] if values else 1.0, 0.75)
    axes = Axes((60, 12, width - 12, height - 44), (1, last), (low, high))
    share = measure == "accuracy"
    parts = [
        axes.frame(
            "epoch",
            "accuracy, %" if share else _NAMES[measure],
            percent="y" if share else "",
            x_ticks=[t for t in ticks(1, last, 8) if t == int(t)],
        )
    ]
    for name, rows, colour, dash in lines:
        parts.append(
            f"<g><title>{html.escape(name)}</title>"
            + axes.line([(r["epoch"], r[measure]) for r in rows], TRAIN, "4 3", 0.9)
            + axes.line([(r["epoch"], r[f"val_{measure}"]) for r in rows], colour, dash, 2)
        )
        best = best_epoch(rows) if all("val_cross_entropy" in row for row in rows) else None
        if best and math.isfinite(rows[best - 1][f"val_{measure}"]):
            parts.append(axes.dot(best, min(rows[best - 1][f"val_{measure}"], high), colour))
        parts.append("</g>")
    return svg(width, height, title, *parts)


def legend(entries):
    """Names beside their lines, as HTML. entries: list of (name, colour, dash)."""
    drawn = "".join(
        f'<span style="white-space:nowrap"><svg width="34" height="10" aria-hidden="true" '
        f'style="display:inline-block"><line x1="1" x2="33" y1="5" y2="5" stroke="{colour}" stroke-width="3" '
        f'stroke-dasharray="{dash}"/></svg> {html.escape(name)}</span>'
        for name, colour, dash in entries
    )
    return f'<div style="display:flex;flex-wrap:wrap;gap:2px 18px;font-size:12px">{drawn}</div>'


def look(index):
    """Colour and dash of the index-th line: told apart in grey print too."""
    return LINES[index % len(LINES)], DASHES[index // len(LINES) % len(DASHES)]
