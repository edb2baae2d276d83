"""Writer of the lexical index: documents in their order, committed so that tantivy ends with one segment."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

import tantivy

from indexer.artifacts.manifest import WORDS
from indexer.index.lexical.fields import make_schema, other_fields, register
from indexer.index.terms.analysis import find_analysis
from indexer.index.terms.columns import COLUMN, COLUMN_WORDS, TITLE, FieldTexts

WRITER_BYTES = 128_000_000
"""Memory of the index writer."""
MOST_COMMITTED = 20_000
"""Documents that are committed together, at most. Each commit makes a segment."""
MERGED_TOGETHER = 8
"""tantivy merges segments of about one size as soon as there are so many."""


def _reopen(folder: Path) -> tantivy.Index | None:
    """Return the index of a killed build, as it was last committed; None where there is none that can be opened."""
    try:
        return tantivy.Index.open(str(folder)) if tantivy.Index.exists(str(folder)) else None
    except (OSError, ValueError):
        return None


def commit_size(documents: int) -> int:
    """Return after how many of the ``documents`` each commit is made, so that tantivy ends with one segment.

    tantivy merges eight segments of one size, and nothing else: the Python package cannot ask for more. A search in one
    segment takes half as long as in seventeen. So there are 1, 8, 64, … commits of one size. Where texts are so long that
    the memory of the writer does not suffice for one, or there are other documents than was said, some segments are left.
    """
    commits = 1
    while documents > commits * MOST_COMMITTED:
        commits *= MERGED_TOGETHER
    return -(-documents // commits) or MOST_COMMITTED


class LexicalWriter:
    """Writes a BM25 index of texts, one per document, in the order of the documents.

    With a single writer thread, equal input gives an equal ranking. As a context manager it is closed at the end.

    Args:
        folder: of the index.
        language: of the texts.
        version: of the analysis of words.
        documents: how many will be added, as far as it is known: then the index has one segment in the end.
        resume: whether documents that are committed in the folder stay; then those texts, when added, are skipped.
        columns: whose words are fields of their own.
    """

    def __init__(
        self,
        folder: Path,
        language: str,
        version: int = WORDS,
        *,
        documents: int = 0,
        resume: bool = False,
        columns: Iterable[str] = (),
    ) -> None:
        self._analysis = find_analysis(language, version)
        fields, of_columns = self._analysis.fields, [COLUMN + name for name in columns]
        analyzers = {TITLE: self._analysis.titles} | dict.fromkeys(of_columns, fields["body"])
        if of_columns:
            analyzers[COLUMN_WORDS] = [*fields.values()][-1]
        self._others = {name: analyzer for name, analyzer in analyzers.items() if analyzer is not None}
        index = _reopen(folder) if resume else None
        if index is None or other_fields(folder) != [*self._others]:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            index = tantivy.Index(make_schema(self._others), str(folder))
        register(index, self._analysis)
        self._folder = folder
        self._there = int(index.searcher().num_docs)
        self._writer = index.writer(WRITER_BYTES, 1)
        self._rows = 0
        self._committed_together = commit_size(documents)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()

    def add(self, texts: Iterable[str], others: Iterable[FieldTexts] = ()) -> None:
        """Add the next documents. A kill does not lose them, but for those of the last commit.

        Args:
            texts: title, line end and text of each.
            others: texts of the other fields of each; by default these are empty.
        """
        rest = iter(others)
        for text in texts:
            of_fields = next(rest, {})
            if self._rows < self._there:
                self._rows += 1
                continue
            document = tantivy.Document()
            for name, prepared in self._analysis.prepare(text).items():
                document.add_text(name, prepared)
            for name, analyzer in self._others.items():
                document.add_text(name, " ".join(analyzer.analyze(of_fields.get(name, ""))))
            document.add_unsigned("document", self._rows)
            self._writer.add_document(document)
            self._rows += 1
            if self._rows % self._committed_together == 0:
                self._writer.commit()

    def close(self) -> None:
        """Commit what is still in memory, and merge; the folder is complete after this."""
        self._writer.commit()
        self._writer.wait_merging_threads()
        for lock in self._folder.glob(".tantivy-*.lock"):  # not part of the index; created again when it is opened
            lock.unlink()
