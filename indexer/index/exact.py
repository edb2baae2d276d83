"""Exact values: the documents whose id, or value of an exact column, equals a whole query.

`exact.arrow` has the values of the exact columns in the order of their UTF-8 bytes, each with the row of its document, and
of the ids those that are not as they are compared; `ids.arrow` has all others. It is memory-mapped; an index without such
values has no such file.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from indexer.index.arrow import ArrowTable, SortedStrings
from indexer.index.terms.columns import exact_key

FILE = "exact.arrow"
ROW_NUMBERS = "row number"
"""What a manifest says of ids that nobody has given."""


class ExactValues:
    """The rows of documents by a value.

    Args:
        folder: of the index.
        ids: the ids of its documents, sorted, each with its row; None where they are row numbers.
    """

    def __init__(self, folder: Path, ids: ArrowTable | None) -> None:
        path = folder / FILE
        values = ArrowTable.open(path) if path.is_file() else None
        self._tables = [
            (table, SortedStrings(table, name)) for table, name in ((ids, "id"), (values, "key")) if table is not None
        ]

        self._values = values

    def values(self) -> Iterator[tuple[str, list[int]]]:
        """Yield the values that are kept besides the ids, in their order, each with the rows of its documents."""
        pairs = () if self._values is None else self._values.rows(["key", "row"])
        for key, group in groupby(pairs, key=itemgetter("key")):
            yield key, [int(pair["row"]) for pair in group]

    def rows(self, query: str) -> list[int]:
        """Return the rows of the documents that have the query as their id or as a value, each once."""
        wanted = dict.fromkeys((query.strip(), exact_key(query)))
        found: dict[int, None] = {}
        for table, keys in self._tables:
            for key in map(str.encode, wanted):
                place = keys.find(key)
                while place < len(keys) and keys[place] == key:
                    found[int(table.row(place, ["row"])["row"])] = None
                    place += 1
        return list(found)


def ids_are_values(id_from: str) -> bool:
    """Say whether somebody can look for an id: not where ids are row numbers."""
    return id_from != ROW_NUMBERS
