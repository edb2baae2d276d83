"""Durations as people write them: ``90s``, ``10m``, ``1h``, ``1h30m``, or a number of seconds."""

from __future__ import annotations

import re

UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_NUMBER = r"\d+(?:\.\d+)?"


def parse_duration(text: str | float) -> float:
    """Return the seconds that ``text`` means.

    Args:
        text: numbers with the units s, m, h and d, the largest first (``1h30m``), or one number of seconds (``600``).

    Raises:
        ValueError: it is no duration, or none above zero.
    """
    written = str(text).strip().lower()
    if re.fullmatch(_NUMBER, written):
        seconds = float(written)
    elif re.fullmatch(f"(?:{_NUMBER}[smhd])+", written):
        seconds = sum(float(number) * UNITS[unit] for number, unit in re.findall(f"({_NUMBER})([smhd])", written))
    else:
        raise ValueError(f"{written!r} is no duration; write it like 90s, 10m, 1h or 1h30m")
    if seconds <= 0:
        raise ValueError("a duration is longer than nothing")
    return seconds


def checked_duration(text: str | float | None) -> str | None:
    """Return ``text`` as a string when it is a duration or none; made for pydantic's validators.

    Raises:
        ValueError: it is no duration.
    """
    if text is not None:
        parse_duration(text)
    return None if text is None else str(text)
