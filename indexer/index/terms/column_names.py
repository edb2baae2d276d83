"""Names and weights of columns as the flag `--search-columns` has them."""

from __future__ import annotations

from indexer.errors import UserError


def parse_weights(value: str | None) -> dict[str, float]:
    """Return the weight of each column in ``brand^2,tags``; 1 where none is given.

    Raises:
        UserError: a name is empty or stands there twice, or a weight is no number above 0.
    """
    weights: dict[str, float] = {}
    for part in (value or "").split(",") if value else []:
        name, _, weight = part.strip().partition("^")
        try:
            number = float(weight) if weight else 1.0
        except ValueError:
            number = 0.0
        if not name or name in weights or not 0 < number < float("inf"):
            raise UserError(
                f"--search-columns {value}: {part.strip()!r} is not understood; write names with commas between them, each "
                "once, and weights above 0 behind ^: brand^2,tags"
            )
        weights[name] = number
    return weights
