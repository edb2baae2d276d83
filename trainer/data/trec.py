"""Qrels in TREC's format: four fields in a line with white space between them, and no header.

    q1 0 doc-7 2

The fields are query, iteration, document and relevance; the iteration is not used.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from indexer.corpus.files import COMPRESSED
from indexer.corpus.formats.text_file import open_bytes

SUFFIXES = tuple(f"{suffix}{end}" for suffix in (".txt", ".qrels", ".qrel", ".trec") for end in ("", *COMPRESSED))
"""How the names of such files may end beside those of CSV files."""
COLUMNS = ["query_id", "doc_id", "relevance"]
_FIELDS = 4
_LINE_BYTES = 1 << 16


def is_trec(path: Path) -> bool:
    """Say whether the first line of a file is one of TREC's qrels."""
    with open_bytes(path) as file:
        row = _parse(file.readline(_LINE_BYTES).removeprefix(b"\xef\xbb\xbf"))
    return isinstance(row, dict) and row["relevance"].removeprefix("-").isdigit()


def read_trec(path: Path) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """Yield number and values of each line; a string in place of the values says why it is not readable."""
    with open_bytes(path) as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield number, _parse(line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line)


def _parse(line: bytes) -> dict[str, Any] | str:
    try:
        fields = line.decode().split()
    except UnicodeDecodeError:
        return "invalid UTF-8"
    if len(fields) != _FIELDS:
        return f"{len(fields)} fields where TREC's qrels have {_FIELDS}"
    return dict(zip(COLUMNS, (fields[0], *fields[2:]), strict=True))
