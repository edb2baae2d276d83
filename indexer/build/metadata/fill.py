"""A corpus whose empty cells are filled from the texts of their rows, before anything is indexed.

Rows with a value say how well that succeeds. A column is filled only where enough of what would be filled is right; what is
too unsure stays empty. The texts are read by what the rows themselves teach (attribute.py), or by a model (readers).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from indexer.artifacts.store import data_dir
from indexer.build.metadata.attribute import RowFiller, is_empty
from indexer.build.metadata.columns import column_types, with_columns, with_values
from indexer.build.metadata.readers.fill import ReaderFiller
from indexer.build.metadata.sample import Filler, Sample, read_cells
from indexer.build.metadata.settings import ExtractSettings
from indexer.corpus.columns import parse_names
from indexer.corpus.corpus import Documents
from indexer.errors import UserError
from indexer.inference.token_contract import read_contract
from indexer.progress import Bar, say

SAMPLE_DOCUMENTS = 20_000
"""Documents from which is learned, at most; they come from all over the corpus."""


@dataclass
class FilledDocuments:
    """The documents of a corpus with filled cells. ``filled`` counts those of each column once all are read."""

    corpus: Documents
    filler: Filler
    filled: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.inputs, self.rows, self.documents = self.corpus.inputs, self.corpus.rows, self.corpus.documents
        self.rejects, self.id_from, self.text_bytes = self.corpus.rejects, self.corpus.id_from, self.corpus.text_bytes
        self.treatment = self.corpus.treatment
        self.schema = with_texts(self.corpus.schema, [attribute.name for attribute in self.filler.attributes])

    @property
    def notes(self) -> list[str]:
        """Those of the corpus, and how each column was filled."""
        return [
            *self.corpus.notes,
            *(f"{column.describe()}; {self.filled[column.name]:,} filled" for column in self.filler.attributes),
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
        cells = read_cells(batch, [attribute.name for attribute in self.filler.attributes])
        usable = [attribute.name for attribute in self.filler.attributes if attribute.usable]
        empty = {row: [name for name in usable if is_empty(cells[name][row])] for row in range(batch.num_rows)}
        rows = [row for row, names in empty.items() if names]
        if rows:
            titles, texts = batch.column("title").to_pylist(), batch.column("text").to_pylist()
            found = self.filler.find([(titles[row], texts[row]) for row in rows], [empty[row] for row in rows])
            for row, values in zip(rows, found, strict=True):
                for name, value in values.items():
                    cells[name][row] = value
                    self.filled[name] += 1
        if not rows and batch.schema == self.schema:
            return batch
        types = column_types(self.schema)
        return with_values(batch, {name: pa.array(values, types[name]) for name, values in cells.items()})


def fill_attributes(
    corpus: Documents, settings: ExtractSettings, data: Path | None = None, cores: int | None = None
) -> FilledDocuments:
    """Learn how to fill the empty cells of the columns ``--extract``, and say how well that succeeds.

    Args:
        corpus: the documents.
        settings: columns, who reads the texts, and how often what is filled has to be right.
        data: the data directory, where answers of models are kept; by default ``$DOWSE_DATA``.
        cores: number of cores for a model; by default all.

    Raises:
        UserError: the corpus has no such column, or it does not hold texts; a model is not there or fails.
    """
    columns = parse_names(settings.extract, "--extract")
    check_columns(corpus.schema, settings)
    sample = _read_sample(corpus, columns)
    filler: Filler
    if settings.asks_llm or settings.token_model:
        filler = ReaderFiller.learn(sample, settings, data or data_dir(), cores)
    else:
        filler = RowFiller.learn(sample, settings.min_precision)
    for attribute in filler.attributes:
        say(f"--extract {attribute.describe()}")
    filler.prepare(corpus, sample)
    return FilledDocuments(corpus, filler)


def check_columns(schema: pa.Schema, settings: ExtractSettings) -> None:
    """Refuse, before any work, columns that are not there or hold no texts, unless a model may make them unmeasured.

    Raises:
        UserError: so it is, or ``--token-model`` is no token classifier.
    """
    if settings.token_model:
        read_contract(settings.token_model)
    types = column_types(schema)
    makes = (settings.asks_llm or settings.token_model is not None) and not settings.min_precision
    for name in parse_names(settings.extract, "--extract"):
        if name not in types and not makes:
            names = ", ".join(types) or "none"
            raise UserError(
                f"--extract {name}: the corpus has no such column; its columns besides the text are: {names}. A column that "
                "is not there takes a model (--token-model or --llm) and --min-precision 0, since nothing can measure it"
            )
        if name in types and not (pa.types.is_string(types[name]) or pa.types.is_large_string(types[name])):
            raise UserError(f"--extract {name}: the column holds {types[name]}; only columns of texts can be filled")


def with_texts(schema: pa.Schema, columns: Sequence[str]) -> pa.Schema:
    """Return a corpus's schema with these columns of texts among its metadata."""
    return with_columns(schema, [(name, pa.string()) for name in columns])


def _read_sample(corpus: Documents, columns: Sequence[str]) -> Sample:
    """Read documents from all over the corpus, and count rows by the columns that are empty in them."""
    sample = Sample({name: [] for name in columns})
    step, position = max(-(-corpus.documents // SAMPLE_DOCUMENTS), 1), 0
    with Bar("attributes", corpus.documents, "documents") as bar:
        for batch in corpus.batches():
            cells = read_cells(batch, columns)
            sample.empty.update(
                tuple(name for name in columns if is_empty(cells[name][row])) for row in range(batch.num_rows)
            )
            sampled = range(-position % step, batch.num_rows, step)
            for name in columns:
                sample.cells[name] += [cells[name][row] for row in sampled]
            rows = pa.array(sampled, pa.int64())
            titles, texts = (batch.column(name).take(rows).to_pylist() for name in ("title", "text"))
            sample.documents += zip(titles, texts, strict=True)
            position += batch.num_rows
            bar.advance(batch.num_rows)
    return sample
