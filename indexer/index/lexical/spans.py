"""Places of words in texts: spans that overlap are merged, offsets in bytes become those in code points."""

from __future__ import annotations

from collections.abc import Iterable


def merge_spans(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return spans in order, overlapping ones merged: pairs of characters overlap, words never do."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if merged and start < merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((start, end))
    return merged


def to_code_points(text: str, spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Convert ascending spans from offsets in UTF-8 bytes to offsets in code points."""
    if text.isascii():
        return spans
    raw, byte, code_point, bounds = text.encode(), 0, 0, []
    for span in spans:
        for bound in span:
            code_point += len(raw[byte:bound].decode())
            byte = bound
            bounds.append(code_point)
    return list(zip(bounds[::2], bounds[1::2], strict=True))
