"""What is learned from: documents from all over a corpus with the cells of some columns; and what fills the empty ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import pyarrow as pa

from indexer.build.metadata.columns import columns_of
from indexer.corpus.corpus import Documents

Texts = tuple[str | None, str]
"""Title and text of a document."""
Cells = dict[str, list[str | None]]
"""By column, the cells of some rows."""


@dataclass
class Sample:
    """Documents from all over a corpus.

    Attributes:
        cells: of each column, what these documents have.
        documents: title and text of each.
        empty: how many rows of the whole corpus have empty cells in exactly these columns.
    """

    cells: Cells
    documents: list[Texts] = field(default_factory=list)
    empty: Counter[tuple[str, ...]] = field(default_factory=Counter)


class Described(Protocol):
    """A column whose empty cells are filled, if it is ``usable``."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def usable(self) -> bool:
        """Whether any cell can be filled."""

    def describe(self) -> str:
        """Say in one line what the column gets."""


class Filler(Protocol):
    """Finds values of columns in texts."""

    @property
    def attributes(self) -> Sequence[Described]:
        """The columns."""

    def prepare(self, corpus: Documents, sample: Sample) -> None:
        """Do before documents are filled what takes long."""

    def find(self, documents: Sequence[Texts], wanted: Sequence[Sequence[str]]) -> list[dict[str, str]]:
        """Return for each document the values of its ``wanted`` columns that are sure enough."""


def read_cells(batch: pa.RecordBatch, columns: Sequence[str]) -> Cells:
    """Return the cells of columns of texts; of one that the documents do not have, empty ones."""
    there = columns_of(batch)
    return {name: there[name].to_pylist() if name in there else [None] * batch.num_rows for name in columns}
