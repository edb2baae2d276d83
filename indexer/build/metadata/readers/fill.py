"""Cells filled by a reader: all rows with empty cells are read first, and what is sure enough fills them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from indexer.build.metadata.attribute import is_empty
from indexer.build.metadata.readers.learn import ReadAttribute, learn_reader, open_reader
from indexer.build.metadata.readers.reader import KeptReader
from indexer.build.metadata.sample import Sample, Texts, read_cells
from indexer.build.metadata.settings import ExtractSettings
from indexer.corpus.corpus import Documents
from indexer.progress import Bar, say


@dataclass
class ReaderFiller:
    """Fills cells with what a reader finds."""

    reader: KeptReader
    attributes: Sequence[ReadAttribute]

    @classmethod
    def learn(cls, sample: Sample, settings: ExtractSettings, data: Path, cores: int | None) -> Self:
        """Open the reader that the settings name, and measure it on rows whose value is known.

        Raises:
            UserError: there is no such model, or it fails.
        """
        reader, known = open_reader(settings, sample, data, cores)
        return cls(reader, learn_reader(reader, sample, known, settings.min_precision))

    def prepare(self, corpus: Documents, sample: Sample) -> None:
        """Read every document with an empty cell that may be filled. The answers are kept on disk.

        Raises:
            UserError: the reader fails; what it has answered is kept.
        """
        usable = {attribute.name for attribute in self.attributes if attribute.usable}
        total = sum(rows for names, rows in sample.empty.items() if usable & set(names))
        if not total:
            return
        unread = 0
        with Bar(f"read by {self.reader.name}", total, "documents") as bar:
            for batch in corpus.batches():
                cells = read_cells(batch, sorted(usable))
                rows = [row for row in range(batch.num_rows) if any(is_empty(cells[name][row]) for name in usable)]
                titles, texts = batch.column("title").to_pylist(), batch.column("text").to_pylist()
                answers = self.reader.read([(titles[row], texts[row]) for row in rows], bar.advance)
                unread += answers.count(None)
        if unread:
            say(f"{unread:,} documents have no answer of {self.reader.name}; the next build asks for them again")

    def find(self, documents: Sequence[Texts], wanted: Sequence[Sequence[str]]) -> list[dict[str, str]]:
        """Return for each document the values of its ``wanted`` columns that are sure enough; only kept answers count."""
        worth = {attribute.name: attribute.worth for attribute in self.attributes}
        found: list[dict[str, str]] = []
        for answers, names in zip(self.reader.kept(documents), wanted, strict=True):
            values = {name: value.find((answers or {}).get(name)) for name in names if (value := worth[name])}
            found.append({name: value for name, value in values.items() if value is not None})
        return found
