"""How is it said? Values as words in messages."""


def clock(seconds: float) -> str:
    """Seconds as 42 s, 3:05 min or 1:02 h."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60}:{seconds % 60:02d} min"
    return f"{seconds // 3600}:{seconds % 3600 // 60:02d} h"
