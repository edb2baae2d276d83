"""Neighbour questions: a sentence of a document's neighbour asks for the document, and the neighbour is left out.

The neighbour speaks of the same subject in words of its own, so that such questions share no vocabulary with their
document by construction. A neighbour counts if the words and the vectors of *all* candidates agree on it: a candidate
alone would choose the neighbours that it finds itself.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from indexer.build.inverse_cloze import split_sentences
from indexer.index.index import Index
from indexer.retrieval.fusion import standardised
from trainer.pipeline.bases.questions import MAX_QUESTIONS, Questions

DEPTH = 50
"""Neighbours of a document that are looked at in each ranking."""
MAX_RANKS = 20
"""Largest sum of the ranks, from 0, in the dense and in the lexical ranking."""
LEXICAL_WORDS = 30
"""Words of a document by which the lexical leg looks for its neighbours."""
QUERY_WORDS = range(4, 41)
MIN_DOCUMENTS = 30
"""With fewer documents there are no neighbours worth the name."""

Matrix = npt.NDArray[np.float32]


def neighbour_questions(indexes: Sequence[Index], texts: Sequence[str], seed: int) -> Questions:
    """Return questions about documents of ``texts``, which all ``indexes`` hold in this order."""
    if len(texts) < MIN_DOCUMENTS:
        return Questions([], [], [])
    rng = random.Random(seed)  # noqa: S311 - a sample, no secret
    means = [document_vectors(index) for index in indexes]
    found: list[tuple[str, int, int]] = []
    for row in rng.sample(range(len(texts)), len(texts)):
        if len(found) == MAX_QUESTIONS:
            break
        dense = np.mean([standardised((mean @ mean[row]).astype(np.float64)) for mean in means], axis=0)
        dense[row] = -np.inf
        nearest = np.argsort(-dense, kind="stable")[:DEPTH].tolist()
        words = texts[row].split()
        _, lexical = indexes[0].lexical.search(" ".join(rng.sample(words, min(len(words), LEXICAL_WORDS))), DEPTH + 1)
        ranks = {other: rank for rank, other in enumerate(other for other in lexical.tolist() if other != row)}
        agreed = [(rank + ranks[other], other) for rank, other in enumerate(nearest) if other in ranks]
        if not agreed or min(agreed)[0] > MAX_RANKS:
            continue
        neighbour = min(agreed)[1]
        text = texts[neighbour]
        sentences = [text[slice(*span)] for span in split_sentences(text)]
        sentences = [sentence for sentence in sentences if len(sentence.split()) in QUERY_WORDS]
        sentence = rng.choice(sentences) if sentences else " ".join(text.split()[:20])
        found.append((" ".join(sentence.split()), row, neighbour))
    return Questions(
        [text for text, _, _ in found], [{row: 1} for _, row, _ in found], [neighbour for _, _, neighbour in found]
    )


def document_vectors(index: Index) -> Matrix:
    """Return the unit mean of each document's passages, shape (documents, dimension)."""
    passages = index.dense.vectors(np.arange(len(index.dense)))
    sums = np.add.reduceat(passages, index.first_passage[:-1], axis=0)
    means: Matrix = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-9)
    return means
