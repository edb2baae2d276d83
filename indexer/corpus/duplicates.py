"""Duplicate ids of a corpus, found by digests in about 24 bytes a row: no id is kept in memory."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

DIGEST_BYTES = 16  # two of 10^9 different ids share a digest with a probability of about 10^-21


class Duplicate(NamedTuple):
    """A row whose id an earlier row has. Files are positions in the corpus, rows are numbers in the file."""

    file: int
    row: int
    first_file: int
    first_row: int


class IdDigests:
    """Digests of all ids of a corpus, each with its file and row."""

    def __init__(self) -> None:
        self._digests = bytearray()
        self._rows = bytearray()  # int64 row numbers
        self._starts: list[int] = []  # number of ids before each file

    def add(self, file: int, rows: npt.NDArray[np.int64], ids: pa.Array) -> None:
        """Add the ``ids`` of ``rows`` of the file at position ``file``; files must come in order."""
        while len(self._starts) <= file:
            self._starts.append(len(self._rows) // 8)
        self._rows += rows.astype(np.int64).tobytes()
        self._digests += b"".join(blake2b(key.encode(), digest_size=DIGEST_BYTES).digest() for key in ids.to_pylist())

    def duplicates(self) -> Iterator[Duplicate]:
        """Yield, for each id that occurs more than once, every row but the first, in no particular order."""
        digests = np.frombuffer(self._digests, np.uint64).reshape(-1, 2)
        rows = np.frombuffer(self._rows, np.int64)
        order = np.lexsort((digests[:, 1], digests[:, 0]))  # stable: equal ids stay in the order of the corpus
        first = order[:1]
        for start in range(1, len(order), 1 << 20):
            stop = min(start + (1 << 20), len(order))
            same = (digests[order[start:stop]] == digests[order[start - 1 : stop - 1]]).all(axis=1)
            for position in start + np.flatnonzero(same):
                if digests[first[0]].tolist() != digests[order[position]].tolist():
                    first = order[position - 1 : position]
                yield Duplicate(*self._locate(rows, order[position]), *self._locate(rows, first[0]))

    def _locate(self, rows: npt.NDArray[np.int64], ordinal: int) -> tuple[int, int]:
        """Return file and row of the id that was added as number ``ordinal``, counted from 0."""
        return bisect_right(self._starts, ordinal) - 1, int(rows[ordinal])
