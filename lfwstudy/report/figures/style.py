"""The style of all figures: colours by role, fonts, the line at the foot, and the caption."""

import hashlib
import html
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import matplotlib
import seaborn as sns
from IPython.display import HTML
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

# One colour per role, safe for colour-blind readers; in grey print, dash or marker tells them apart.
_PALETTE = sns.color_palette("colorblind")
TRAIN, VALIDATION, PUBLISHED, MEASURED, WRONG = "0.45", _PALETTE[0], _PALETTE[1], _PALETTE[2], _PALETTE[3]
WIDTH = 8.6
# More runs than this are drawn as a band: single lines would be illegible and large.
MANY = 25
STYLE = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "legend.fontsize": 8,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "0.9",
    "axes.axisbelow": True,
    "figure.facecolor": "white",
    "legend.frameon": False,
}


@contextmanager
def styled() -> Iterator[None]:
    """Context manager and decorator: draw in the library's style, ignoring the user's matplotlibrc."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        yield


def use_inline_style() -> None:
    """In a notebook, show figures as SVG, sharp at every size; elsewhere, do nothing."""
    with suppress(Exception):  # no notebook
        from matplotlib_inline.backend_inline import set_matplotlib_formats

        set_matplotlib_formats("svg")


def captioned(figure: Figure, caption: str) -> HTML:
    """A figure above a caption that says what to see: HTML with an SVG that adopts the colours of the page."""
    with styled():
        file = io.StringIO()
        figure.savefig(file, format="svg", bbox_inches="tight", metadata={"Date": None})
    drawn = file.getvalue()
    drawn = re.sub(r"<metadata>.*?</metadata>", "", drawn[drawn.index("<svg") :], flags=re.DOTALL)
    # Ids must be unique to the figure: a page holds many.
    own = hashlib.sha256(drawn.encode()).hexdigest()[:8]
    drawn = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>f{own}-", drawn)
    drawn = drawn.replace("<svg", f'<svg role="img" aria-label="{html.escape(figure.get_supxlabel())}"', 1)
    return framed(drawn, caption)


def framed(content: str, caption: str, label: str = "Figure") -> HTML:
    """HTML content above a caption, in a region that scrolls if it is wider than the page."""
    return HTML(
        f'<figure><div class="scroll" tabindex="0" role="region" aria-label="{label}">{content}</div>'
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
    )


def new_figure(height: float, width: float = WIDTH) -> Figure:
    """An empty figure; width and height in inches."""
    return Figure(figsize=(width, height), layout="constrained")


def signed(figure: Figure, source: str, legend: Sequence[Any] = (), columns: int = 3) -> Figure:
    """The figure with its legend above and the line at its foot."""
    if legend:
        figure.legend(handles=legend, loc="outside upper center", ncols=columns)
    figure.supxlabel(source, fontsize=7, color="0.4", x=0.99, ha="right")
    return figure


def nothing(text: str, source: str) -> Figure:
    """A placeholder when there is nothing to draw yet."""
    figure = new_figure(0.8, 0.5 * WIDTH)
    figure.text(0.5, 0.5, text, ha="center")
    return signed(figure, source)


def in_percent(axis: Axis, name: str) -> None:
    """An axis of shares, shown in percent."""
    axis.set_major_formatter(PercentFormatter(1, symbol=""))
    axis.set_label_text(name)


def plain_numbers(axis: Axis) -> None:
    """An axis whose numbers are written out: 1,000 rather than a power of ten."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))


def whole_epochs(axis: Axes) -> None:
    """Ticks at whole epochs only."""
    axis.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
