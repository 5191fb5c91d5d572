"""How is a share shown? One rule for tables, README, card and explorers: the same figure reads the same everywhere."""

import math
from decimal import ROUND_HALF_UP, Decimal


def percent(share: float | str | None, digits: int = 1) -> str:
    """A share (0 to 1) in percent, half rounded away from zero; empty for None.

    Eight significant digits of the share count, one fewer than results.csv has: a mean of its fields and the same mean
    in binary, either of which may fall just short of a half, are shown alike.
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


def clock(seconds: float) -> str:
    """Seconds as 42 s, 3:05 min or 1:02 h."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60}:{seconds % 60:02d} min"
    return f"{seconds // 3600}:{seconds % 3600 // 60:02d} h"
