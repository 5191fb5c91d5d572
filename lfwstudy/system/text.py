"""Numbers and lines as text: one rule for tables, README, model card and explorers."""

import math
import shutil
import textwrap
from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal
from functools import partial
from typing import TextIO


def percent(share: float | str | None, digits: int = 1) -> str:
    """A share (0 to 1) in percent, halves rounded away from zero; empty for None.

    The share is first rounded to eight significant digits, one fewer than in results.csv: a mean of its fields and the
    same mean in binary may fall on different sides of a half, and are shown alike.
    """
    if share is None:
        return ""
    if not math.isfinite(share := float(share)):
        return str(share)
    return str((Decimal(f"{share:.8g}") * 100).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP) + 0)


def signed_points(difference: float, digits: int = 1) -> str:
    """A difference of shares in points, with its sign, rounded as `percent` does."""
    told = percent(difference, digits)
    return told if told.startswith("-") else f"+{told}"


def p_value(value: float) -> str:
    """A p-value with three decimals; smaller ones as < .001."""
    return f"{value:.3f}" if value >= 0.001 else "< .001"


def wrapped(text: str, stream: TextIO) -> str:
    """Text for a stream: in a terminal, long lines are wrapped at words; what a file or a program gets stays as it is."""
    if not stream.isatty():
        return text
    width = shutil.get_terminal_size().columns
    fill = partial(textwrap.fill, width=width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
    return "\n".join(map(fill, text.splitlines()))


def clock(seconds: float) -> str:
    """Seconds as 42 s, 3:05 min or 1:02 h."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60}:{seconds % 60:02d} min"
    return f"{seconds // 3600}:{seconds % 3600 // 60:02d} h"


def sparkline(values: Sequence[float], most: int = 16) -> str:
    """The last `most` of some numbers as a curve of one line, a character each, from their lowest to their highest."""
    shown = [value for value in values if math.isfinite(value)][-most:]
    low, span = min(shown, default=0.0), max(shown, default=0.0) - min(shown, default=0.0) or 1.0
    return "".join("▁▂▃▄▅▆▇█"[min(int(8 * (value - low) / span), 7)] for value in shown)
