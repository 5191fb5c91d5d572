"""The style of all figures: colours by role, fonts, the line at the foot, and the caption."""

import hashlib
import html
import io
import re
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

import matplotlib.style
import numpy as np
import seaborn as sns
from IPython.display import HTML
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullFormatter

from lfwstudy.report.table import framed

# One colour per role, safe for colour-blind readers; in grey print, dash or marker tells them apart.
TRAIN, (VALIDATION, PUBLISHED, MEASURED, WRONG) = "0.45", sns.color_palette("colorblind").as_hex()[:4]
CHANCE = {"color": "black", "linestyle": ":", "linewidth": 1.2}
WIDTH = 8.6
# More runs than this are drawn as a band: single lines would be illegible and large.
MANY = 25
_SHEET = Path(__file__).with_name("report.mplstyle")


def styled(empty: str = "") -> Callable[[Callable[..., Figure]], Callable[..., Figure]]:
    """Decorator of functions that draw: in the library's style, whatever the user's matplotlibrc says.

    empty: what a placeholder says if the first argument, what is to be drawn, is empty.
    """

    def decorate(draw: Callable[..., Figure]) -> Callable[..., Figure]:
        @wraps(draw)
        def in_style(data: Any, *rest: Any) -> Figure:
            with matplotlib.style.context(["default", _SHEET]):
                return draw(data, *rest) if len(data) or not empty else _nothing(empty, rest[0])

        return in_style

    return decorate


def captioned(figure: Figure, caption: str) -> HTML:
    """A figure above a caption that says what to see: HTML."""
    return HTML(framed(drawn(figure), html.escape(caption)))


def drawn(figure: Figure, name: str = "") -> str:
    """A figure as an SVG that adopts the colours of the page. name: for screen readers, if not the line at its foot."""
    with matplotlib.style.context(["default", _SHEET]):
        file = io.StringIO()
        figure.savefig(file, format="svg", bbox_inches="tight", metadata={"Date": None})
    text = file.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(r"<[^>]+>", lambda tag: re.sub(r"\d+\.\d{3,}", _rounded, tag[0]), text)
    # Ids must be unique to the figure: a page holds many.
    own = hashlib.sha256(text.encode()).hexdigest()[:8]
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>f{own}-", text)
    size = "wide" if figure.get_figwidth() > 6 else "narrow"
    name = html.escape(name or figure.get_supxlabel())
    return text.replace("<svg", f'<svg class="{size}" role="img" aria-label="{name}"', 1)


def new_figure(height: float, width: float = WIDTH) -> Figure:
    """An empty figure; width and height in inches."""
    return Figure(figsize=(width, height), layout="constrained")


def grid(titles: Sequence[str], x: str, y: str) -> tuple[Figure, np.ndarray]:
    """A figure with a panel for each title, all on the same scales, y in percent; and their axes. x, y: their labels."""
    lines = -(-len(titles) // 4)
    columns = -(-len(titles) // lines)
    figure = new_figure(1.65 * lines + 0.7, WIDTH if columns > 2 else 0.36 * WIDTH * columns + 1)
    axes = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).flatten()
    for axis, title in zip(axes, titles):
        axis.set_title(title, fontsize=8)
    for axis in axes[len(titles) :]:
        axis.set_axis_off()
    for axis in axes[len(titles) - columns : len(titles)]:
        axis.tick_params(labelbottom=True)
        axis.set_xlabel(x)
    for axis in axes[::columns]:
        in_percent(axis.yaxis, y)
    return figure, axes[: len(titles)]


def key(label: str, **look: Any) -> Line2D:
    """An entry of a legend."""
    return Line2D([], [], label=label, **look)


def signed(figure: Figure, source: str, legend: Sequence[Any] = (), columns: int = 2) -> Figure:
    """The figure with its legend above, at the left, where a phone shows it whole, and the line at its foot."""
    if legend:
        figure.legend(handles=legend, loc="outside upper left", ncols=columns)
    figure.supxlabel(source, fontsize=7, color="0.4", x=0.99, ha="right")
    return figure


def in_percent(axis: Axis, name: str) -> None:
    """An axis of shares, shown in percent."""
    axis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.4g}"))
    axis.set_label_text(name)


def plain_numbers(axis: Axis) -> None:
    """An axis whose numbers are written out: 1,000 rather than a power of ten."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axis.set_minor_formatter(NullFormatter())


def _nothing(text: str, source: str) -> Figure:
    """A placeholder when there is nothing to draw yet."""
    figure = new_figure(0.8, 0.5 * WIDTH)
    figure.text(0.5, 0.5, text, ha="center")
    return signed(figure, source)


def _rounded(number: re.Match[str]) -> str:
    return f"{float(number[0]):.2f}".rstrip("0").rstrip(".")
