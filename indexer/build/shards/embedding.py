"""Vectors of a build's windows: resumed, taken from an earlier index, or encoded; and what is written of each window."""

from __future__ import annotations

import numpy as np

from indexer.build.shards.shard import Shard
from indexer.build.shards.windows import Window
from indexer.build.vectors import KnownVectors
from indexer.index.arrow import ArrowTable
from indexer.index.lexical import LexicalWriter
from indexer.inference.encoder import Encoder, Vectors


class Embedding:
    """Finds or computes the vectors of windows.

    Attributes:
        shards: of all windows so far.
        embedded: number of passages that were encoded.
    """

    def __init__(self, encoder: Encoder, known: KnownVectors | None) -> None:
        self._encoder = encoder
        self._known = known
        self.shards: list[Shard] = []
        self.embedded = 0

    def vectors(self, window: Window) -> Vectors | None:
        """Return the vectors of a window, shape (passages, dimension); None where they are on the disk already."""
        if not self.shards or self.shards[-1] is not window.shard:
            self.shards.append(window.shard)
        if window.resumed:
            return None
        if window.rows is not None and self._known:
            return self._known.at(window.rows)
        vectors = np.empty((len(window.passages), self._encoder.contract.dimension), dtype=np.float32)
        unknown = np.ones(len(vectors), dtype=bool)
        if self._known:
            known, known_vectors = self._known.find(window.passages["key"].tolist())
            vectors[known] = known_vectors
            unknown = ~known
        new = [text for text, is_new in zip(window.inputs, unknown, strict=True) if is_new]
        if new:
            vectors[unknown] = self._encoder.encode_documents(new)
        self.embedded += len(new)
        return vectors


def write_window(window: Window, vectors: Vectors | None) -> None:
    """Write a window, and the marker of its shard where it is the last."""
    window.shard.append(window.passages, vectors)
    if window.documents is not None:
        window.shard.complete(window.documents)


def add_words(words: LexicalWriter, shard: Shard) -> None:
    """Add the words of a shard's documents."""
    for row in ArrowTable.open(shard.documents).rows(["title", "text"]):
        words.add([f"{row['title'] or ''}\n{row['text']}"])
