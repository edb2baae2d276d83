"""Vectors of a build's windows: resumed, taken from an earlier index, or encoded; and what is written of each window."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from indexer.build.executors.pool import Executor
from indexer.build.shards.shard import Shard
from indexer.build.shards.windows import Window
from indexer.build.vectors import KnownVectors
from indexer.index.arrow import ArrowTable
from indexer.index.lexical.writer import LexicalWriter
from indexer.index.terms.columns import field_texts, selected
from indexer.inference.encoder import Vectors


class Embedding:
    """Finds or computes the vectors of windows.

    Args:
        executor: encodes texts whose vectors are not known.
        dimension: length of a vector.
        known: vectors that need not be computed again.

    Attributes:
        shards: of all windows so far.
        embedded: number of passages that were encoded.
    """

    def __init__(self, executor: Executor, dimension: int, known: KnownVectors | None) -> None:
        self._executor = executor
        self._dimension = dimension
        self._known = known
        self.shards: list[Shard] = []
        self.embedded = 0

    def finished(self, windows: Iterable[Window]) -> Iterator[tuple[Window, Vectors | None]]:
        """Yield the windows in their order with their vectors; None where these are on the disk already.

        The vectors have shape (passages, dimension). As many windows are under way as the executor asks for.
        """
        pending: deque[_Pending] = deque()
        for window in windows:
            pending.append(self._begin(window))
            while pending and (len(pending) > self._executor.ahead or pending[0].done()):
                yield self._end(pending.popleft())
        while pending:
            yield self._end(pending.popleft())

    def _begin(self, window: Window) -> _Pending:
        """Take the vectors that are known, and let the executor encode the other texts."""
        if not self.shards or self.shards[-1] is not window.shard:
            self.shards.append(window.shard)
        if window.resumed:
            return _Pending(window, None)
        if window.rows is not None and self._known:
            return _Pending(window, self._known.at(window.rows))
        vectors = np.empty((len(window.passages), self._dimension), dtype=np.float32)
        unknown = np.ones(len(vectors), dtype=bool)
        if self._known:
            known, known_vectors = self._known.find(window.passages["key"].tolist())
            vectors[known] = known_vectors
            unknown = ~known
        new = [text for text, is_new in zip(window.inputs, unknown, strict=True) if is_new]
        return _Pending(window, vectors, unknown, self._executor.submit(new) if new else None)

    def _end(self, pending: _Pending) -> tuple[Window, Vectors | None]:
        """Wait for the vectors of a window."""
        if pending.encoded and pending.vectors is not None:
            pending.vectors[pending.unknown] = pending.encoded.result()
            self.embedded += int(pending.unknown.sum())
        return pending.window, pending.vectors


@dataclass(frozen=True)
class _Pending:
    """A window that is under way: its vectors, which of them are being ``encoded``, and by what."""

    window: Window
    vectors: Vectors | None
    unknown: npt.NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, dtype=bool))
    encoded: Future[Vectors] | None = None

    def done(self) -> bool:
        return self.encoded is None or self.encoded.done()


def write_window(window: Window, vectors: Vectors | None) -> None:
    """Write a window, and the marker of its shard where it is the last."""
    window.shard.append(window.passages, vectors)
    if window.documents is not None:
        window.shard.complete(window.documents)


def add_words(words: LexicalWriter, columns: Mapping[str, float], shard: Shard) -> None:
    """Add the words of a shard's documents, with those of the ``columns`` that are searched."""
    table = ArrowTable.open(shard.documents)
    for batch in table.batches:
        rows = batch.select(["title", "text"]).to_pylist()
        metadata = selected(batch, list(columns))
        for row, values in zip(rows, metadata, strict=True):
            words.add([f"{row['title'] or ''}\n{row['text']}"], [field_texts(row["title"], values, columns)])
