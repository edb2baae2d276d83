"""Highlights of a result: the sentence of its passage that is nearest to the query.

A sentence is compared by itself, without the title that all sentences of a passage share. The words of the query are
marked by the lexical leg (`spans`) with the index's own analyzer: «gardens» is marked for «garden», a stop word never.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np

from indexer.cache import ENTRY_BYTES, OwnedCache
from indexer.index.dense import unit
from indexer.inference.encoder import Encoder, Vectors
from indexer.inference.passages import SENTENCE_END

Span = tuple[int, int]
"""Start and end of a part of a text in code points, the end excluded: ``text[start:end]``."""

MIN_SENTENCE = 12
"""Characters. A shorter piece («Mr.», «2.») is no sentence by itself, and becomes a part of the one that follows."""
SENTENCE_BYTES = 32 << 20
"""Memory for cached vectors of sentences."""


def sentences(text: str) -> list[Span]:
    """Return the spans of the sentences of ``text`` in their order, without the white space between them."""
    ends = [match.end() for match in SENTENCE_END.finditer(text)]
    spans: list[Span] = []
    start = 0
    for end in [*ends, len(text)]:
        sentence = text[start:end].strip()
        if len(sentence) < MIN_SENTENCE and end < len(text):
            continue
        if sentence:
            first = start + text[start:end].index(sentence)
            spans.append((first, first + len(sentence)))
        start = end
    return spans


class SentenceVectors:
    """Cache of sentence vectors, for each owner its own: popular results need theirs again and again.

    Safe to use from several threads. ``capacity`` is in bytes.
    """

    def __init__(self, capacity: int = SENTENCE_BYTES) -> None:
        self._vectors: OwnedCache[tuple[str, str], Vectors] = OwnedCache(capacity, _entry_bytes)

    def __len__(self) -> int:
        return len(self._vectors)

    def get(self, model: str, encoder: Encoder, texts: Sequence[str]) -> Vectors:
        """Return the unit vectors of ``texts``, shape (len(texts), dimension); new ones are encoded, each alone.

        Args:
            model: name of the encoder; vectors of different names never mix.
            encoder: encodes the sentences as documents.
            texts: the sentences; equal ones are encoded once.
        """
        distinct = dict.fromkeys(texts)
        known = {text: vector for text in distinct if (vector := self._vectors.get((model, text))) is not None}
        new = [text for text in distinct if text not in known]
        for text, vector in zip(new, unit(encoder.encode_documents(new, exactly=True)) if new else (), strict=True):
            known[text] = vector.copy()  # a view would keep all new vectors in memory
            self._vectors.put((model, text), known[text])
        return np.stack([known[text] for text in texts])


def _entry_bytes(key: tuple[str, str], vector: Vectors) -> int:
    return sys.getsizeof(key[1]) + sys.getsizeof(vector) + ENTRY_BYTES


def nearest_sentences(
    query: Vectors, passages: Sequence[str], model: str, encoder: Encoder, vectors: SentenceVectors
) -> list[Span | None]:
    """Return the sentence of each passage whose vector has the largest cosine with the query's.

    Args:
        query: vector of the query, shape (dimension,).
        passages: texts; one of a single sentence needs no encoder.
        model: name of the encoder, for ``vectors``.
        encoder: the index's encoder.
        vectors: the cache of sentence vectors.

    Returns:
        A span for each passage, the first of equally near ones; None where a passage is empty.
    """
    spans = [sentences(passage) for passage in passages]
    compared = [
        (passage, span) for passage, of_passage in enumerate(spans) if len(of_passage) > 1 for span in of_passage
    ]
    best: list[Span | None] = [of_passage[0] if of_passage else None for of_passage in spans]
    if not compared:
        return best
    texts = [passages[passage][start:end] for passage, (start, end) in compared]
    cosines = vectors.get(model, encoder, texts) @ unit(query)
    highest = [-np.inf] * len(passages)
    for (passage, span), cosine in zip(compared, cosines.tolist(), strict=True):
        if cosine > highest[passage]:
            highest[passage], best[passage] = cosine, span
    return best
