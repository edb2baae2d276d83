"""A corpus whose empty cells are filled from the texts of their rows, before anything is indexed.

The values come from rows that have one. A column is filled only where, on rows with a known value, enough of what would
be filled is right; what is too unsure stays empty.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from indexer.build.metadata.attribute import Attribute, Document, is_empty, learn_attribute
from indexer.build.metadata.contexts import Words
from indexer.build.metadata.grams import Vocabulary
from indexer.corpus.chunks import make_struct
from indexer.corpus.corpus import Documents
from indexer.errors import UserError
from indexer.progress import Bar, say

SAMPLE_DOCUMENTS = 20_000
"""Documents from which rules are learned, at most; they come from all over the corpus."""


@dataclass
class FilledDocuments:
    """The documents of a corpus with filled cells. ``filled`` counts those of each column once all are read."""

    corpus: Documents
    vocabulary: Vocabulary
    attributes: Sequence[Attribute]
    filled: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.inputs, self.rows, self.documents = self.corpus.inputs, self.corpus.rows, self.corpus.documents
        self.rejects, self.id_from, self.text_bytes = self.corpus.rejects, self.corpus.id_from, self.corpus.text_bytes
        self.treatment = self.corpus.treatment

    @property
    def schema(self) -> pa.Schema:
        """That of the corpus."""
        return self.corpus.schema

    @property
    def notes(self) -> list[str]:
        """Those of the corpus, and how each column was filled."""
        return [
            *self.corpus.notes,
            *(f"{attribute.describe()}; {self.filled[attribute.name]:,} filled" for attribute in self.attributes),
        ]

    @notes.setter
    def notes(self, notes: list[str]) -> None:
        self.corpus.notes = notes

    def batches(self, rows: int = 1024) -> Iterator[pa.RecordBatch]:
        """Yield the documents in batches of exactly ``rows`` rows but for the last."""
        self.filled.clear()
        for batch in self.corpus.batches(rows):
            yield self._fill(batch)

    def _fill(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        cells = {
            attribute.name: batch.column("metadata").field(attribute.name).to_pylist()
            for attribute in self.attributes
            if attribute.learned and attribute.learned.usable
        }
        rows = [row for row in range(batch.num_rows) if any(is_empty(column[row]) for column in cells.values())]
        if not rows:
            return batch
        titles, texts = batch.column("title").to_pylist(), batch.column("text").to_pylist()
        for row in rows:
            document = titles[row], texts[row]
            grams = self.vocabulary.read(document, learn=False)
            for attribute in self.attributes:
                column = cells.get(attribute.name)
                if column and is_empty(column[row]) and (value := attribute.find(grams, document)) is not None:
                    column[row] = value
                    self.filled[attribute.name] += 1
        return _with_cells(batch, cells)


def fill_attributes(corpus: Documents, columns: Sequence[str], min_precision: float) -> FilledDocuments:
    """Learn from the rows that have a value in ``columns`` how to fill the others, and say how well that succeeds.

    Raises:
        UserError: the corpus has no such column, or it does not hold texts.
    """
    for name in columns:
        _check_column(corpus.schema, name)
    vocabulary = Vocabulary()
    documents: list[Document] = []
    cells: dict[str, list[str | None]] = {name: [] for name in columns}
    step, position = max(-(-corpus.documents // SAMPLE_DOCUMENTS), 1), 0
    with Bar("attributes", corpus.documents, "documents") as bar:
        for batch in corpus.batches():
            metadata = batch.column("metadata")
            sampled = pa.array(range(-position % step, batch.num_rows, step), pa.int64())
            for name in columns:
                cells[name] += metadata.field(name).take(sampled).to_pylist()
            titles, texts = (batch.column(name).take(sampled).to_pylist() for name in ("title", "text"))
            documents += [_read(vocabulary, document) for document in zip(titles, texts, strict=True)]
            position += batch.num_rows
            bar.advance(batch.num_rows)
    attributes = [learn_attribute(name, documents, cells[name], min_precision) for name in columns]
    for attribute in attributes:
        say(f"--extract {attribute.describe()}")
    return FilledDocuments(corpus, vocabulary, attributes)


def _read(vocabulary: Vocabulary, texts: tuple[str | None, str]) -> Document:
    return vocabulary.read(texts, learn=True), [Words.of(text) for text in texts if text]


def _check_column(schema: pa.Schema, name: str) -> None:
    position = schema.get_field_index("metadata")
    types = {} if position < 0 else {column.name: column.type for column in schema.field(position).type}
    if name not in types:
        names = ", ".join(types) or "none"
        raise UserError(f"--extract {name}: the corpus has no such column; its columns besides the text are: {names}")
    if not (pa.types.is_string(types[name]) or pa.types.is_large_string(types[name])):
        raise UserError(f"--extract {name}: the column holds {types[name]}; only columns of texts can be filled")


def _with_cells(batch: pa.RecordBatch, cells: dict[str, list[str | None]]) -> pa.RecordBatch:
    """Return the documents with other values in some columns of their metadata."""
    position = batch.schema.get_field_index("metadata")
    metadata = batch.column(position)
    columns = {column.name: metadata.field(number) for number, column in enumerate(metadata.type)}
    filled = {name: pa.array(values, columns[name].type) for name, values in cells.items()}
    return batch.set_column(position, batch.schema.field(position), make_struct(columns | filled))
