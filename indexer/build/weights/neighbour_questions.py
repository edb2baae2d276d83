"""Neighbour questions: queries without labels that do not share their answers' words by construction.

A sentence of a document, the source, is the query; the source itself is left out. The right answers are the documents
that both legs put near the source as a whole: several, as people accept several. A sentence that was taken out of its
own document, or key words of it, flatter the lexical leg, and whatever encoder follows surface words.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from indexer.build.weights.inverse_cloze import QUERY_WORDS, split_sentences
from indexer.index.document_mask import DocumentMask, Rows
from indexer.index.index import Index
from indexer.inference.encoder import Vectors

NEAREST = 50
"""Documents of each leg among which both have to agree."""
MAX_RANK_SUM = 20
"""Largest sum of a right answer's ranks in both legs, counted from 0."""
MAX_ANSWERS = 8
SOURCE_WORDS = 40
"""Words drawn from the source, by which the lexical leg looks for its neighbours."""

Numbers = npt.NDArray[np.floating]
Nearest = Callable[[int], Sequence[int]]
"""Rows of the documents that an encoder puts nearest to the one in a row, best first, perhaps with the row itself."""


@dataclass(frozen=True)
class NeighbourQuestion:
    """A sentence of the document in row ``source``, and the rows of the documents that answer it, nearest first."""

    text: str
    source: int
    answers: tuple[int, ...]


def make_neighbour_questions(
    index: Index, rows: Sequence[int], count: int, seed: int, nearest: Nearest | None = None
) -> list[NeighbourQuestion]:
    """Return at most ``count`` questions whose sources are drawn from ``rows``.

    A source without a neighbour on which the legs agree gives none.

    Args:
        index: of the documents.
        rows: documents that may be sources.
        count: largest number of questions.
        seed: of the choice of sources, sentences and words.
        nearest: the dense leg's neighbours; by default by the mean of a document's passages in ``index``. Where several
            encoders are compared, it has to be the agreement of all of them, or each prefers its own neighbours.
    """
    rng = random.Random(seed)  # noqa: S311 - a sample, no secret
    nearest = nearest or _by_mean_vector(index)
    questions: list[NeighbourQuestion] = []
    for source in rng.sample(list(rows), len(rows)):
        if len(questions) == count:
            break
        text = index.document(source).text
        words = text.split()
        drawn = " ".join(rng.sample(words, min(len(words), SOURCE_WORDS)))
        sentence = pick_sentence(text, rng)
        _, by_words = index.lexical.search(drawn, NEAREST + 1, index.visible)
        answers = agreed(nearest(source), by_words.tolist(), source)
        if sentence and answers:
            questions.append(NeighbourQuestion(sentence, source, answers))
    return questions


def agreed(by_vector: Sequence[int], by_words: Sequence[int], source: int) -> tuple[int, ...]:
    """Return the documents that both rankings have near their top, without the source, best first."""
    ranks = [{row: rank for rank, row in enumerate(r for r in rows if r != source)} for rows in (by_vector, by_words)]
    sums = {row: ranks[0][row] + ranks[1][row] for row in ranks[0] if row in ranks[1]}
    best = sorted((total, row) for row, total in sums.items() if total <= MAX_RANK_SUM)
    return tuple(row for _, row in best[:MAX_ANSWERS])


def without(index: Index, row: int) -> DocumentMask:
    """Return all documents of the index but the one in ``row``: what a neighbour question is searched in."""
    mask = np.ones(index.rows, dtype=np.bool_) if index.visible is None else index.visible.mask.copy()
    mask[row] = False
    return index.allowed(mask)


def document_vectors(index: Index, rows: Rows) -> Vectors:
    """Return the mean of the passages of each document of ``rows``, shape (len(rows), dimension)."""
    starts, ends = index.first_passage[rows], index.first_passage[rows + 1]
    means = [index.dense.vectors(np.arange(start, end)).mean(axis=0) for start, end in zip(starts, ends, strict=True)]
    return np.stack(means).astype(np.float32)


def _by_mean_vector(index: Index) -> Nearest:
    def nearest(row: int) -> list[int]:
        vector = document_vectors(index, np.array([row]))[0]
        count, found = NEAREST + 1, np.empty(0, dtype=np.int64)
        passages = min(4 * count, len(index.dense))
        while len(found) < min(count, index.rows):
            _, hits = index.dense.search(vector, passages, index.visible)
            documents, first = np.unique(index.document_of[hits], return_index=True)
            found = documents[np.argsort(first)]
            if len(hits) < passages or passages >= len(index.dense):
                break
            passages = min(2 * passages, len(index.dense))
        rows: list[int] = found[:count].tolist()
        return rows

    return nearest


def pick_sentence(text: str, rng: random.Random) -> str:
    """Return a sentence of a query's length or, without one, the first words; on one line."""
    sentences = [text[slice(*span)] for span in split_sentences(text)]
    fitting = [sentence for sentence in sentences if len(sentence.split()) in QUERY_WORDS]
    if fitting:
        return " ".join(rng.choice(fitting).split())
    words = text.split()
    return " ".join(words[: QUERY_WORDS.stop // 2]) if len(words) > 1 else text.strip()[:60]
