"""Where a result answers the query: the query's words in it, and the sentence that is nearest in meaning.

Words are found by the index's own analyzer, so that «gardens» is marked for «garden» and a stop word never is. A
sentence is compared by itself, without the title that all sentences of a passage share.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from indexer.cache import Cache
from indexer.index.dense import unit
from indexer.inference.encoder import Encoder, Vectors
from indexer.inference.passages import SENTENCE_END

Span = tuple[int, int]
"""First and last but one code point of a part of a text: ``text[start:end]``."""

MIN_SENTENCE = 12
"""Characters. What is shorter («Mr.», «2.») is no sentence by itself and goes with the one that follows."""


def sentences(text: str) -> list[Span]:
    """Return the sentences of ``text`` in their order, without the white space between them."""
    ends = [match.end() for match in SENTENCE_END.finditer(text)]
    spans: list[Span] = []
    start = 0
    for end in [*ends, len(text)]:
        bare = text[start:end].strip()
        if len(bare) < MIN_SENTENCE and end < len(text):
            continue
        if bare:
            first = start + text[start:end].index(bare)
            spans.append((first, first + len(bare)))
        start = end
    return spans


class SentenceVectors:
    """Cache of sentence vectors: those of a popular result are needed again and again. For use from several threads."""

    def __init__(self, capacity: int = 8192) -> None:
        self._vectors: Cache[tuple[str, str], Vectors] = Cache(capacity)

    def __len__(self) -> int:
        return len(self._vectors)

    def get(self, model: str, encoder: Encoder, texts: Sequence[str]) -> Vectors:
        """Return the unit vectors of ``texts``, shape (len(texts), dimension); those that are new are encoded together.

        Args:
            model: name of the encoder; vectors of different names never mix.
            encoder: encodes the sentences as documents.
            texts: the sentences; of equal ones the encoder sees one.
        """
        distinct = dict.fromkeys(texts)
        known = {text: vector for text in distinct if (vector := self._vectors.get((model, text))) is not None}
        new = [text for text in distinct if text not in known]
        for text, vector in zip(new, unit(encoder.encode_documents(new)) if new else (), strict=True):
            known[text] = vector
            self._vectors.put((model, text), vector)
        return np.stack([known[text] for text in texts])


def nearest_sentences(
    query: Vectors, passages: Sequence[str], model: str, encoder: Encoder, vectors: SentenceVectors
) -> list[Span | None]:
    """Return the sentence of each passage whose vector has the largest cosine with the query's.

    Args:
        query: vector of the query, shape (dimension,).
        passages: texts; one of a single sentence needs no encoder.
        model: name of the encoder, for ``vectors``.
        encoder: the index's encoder.
        vectors: what has been encoded before.

    Returns:
        A span for each passage, the earlier of equals; None where a passage is empty.
    """
    spans = [sentences(passage) for passage in passages]
    compared = [(place, span) for place, several in enumerate(spans) if len(several) > 1 for span in several]
    best: list[Span | None] = [several[0] if several else None for several in spans]
    if not compared:
        return best
    texts = [passages[place][start:end] for place, (start, end) in compared]
    cosines = vectors.get(model, encoder, texts) @ unit(query)
    highest = [-np.inf] * len(passages)
    for (place, span), cosine in zip(compared, cosines.tolist(), strict=True):
        if cosine > highest[place]:
            highest[place], best[place] = cosine, span
    return best
