"""Neighbour questions on which all candidates agree (`indexer.build.weights.neighbour_questions`).

The right answers are the documents that the words and the vectors of *all* candidates put near the source. A candidate
alone would choose the neighbours that it finds itself.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from indexer.build.weights.neighbour_questions import NEAREST, document_vectors, make_neighbour_questions
from indexer.index.dense import unit
from indexer.index.index import Index
from indexer.retrieval.fusion import standardised
from trainer.pipeline.bases.questions import MAX_QUESTIONS, Questions

MIN_DOCUMENTS = 30
"""With fewer documents there are no neighbours worth the name."""


def neighbour_questions(indexes: Sequence[Index], seed: int) -> Questions:
    """Return questions about the documents that all ``indexes``, one of each candidate, hold in the same order."""
    total = len(indexes[0])
    if total < MIN_DOCUMENTS:
        return Questions([], [], [])
    means = [unit(document_vectors(index, np.arange(total))) for index in indexes]

    def nearest(row: int) -> list[int]:
        agreed = np.mean([standardised((mean @ mean[row]).astype(np.float64)) for mean in means], axis=0)
        rows: list[int] = np.argsort(-agreed, kind="stable")[: NEAREST + 1].tolist()
        return rows

    made = make_neighbour_questions(indexes[0], range(total), MAX_QUESTIONS, seed, nearest)
    return Questions(
        [question.text for question in made],
        [dict.fromkeys(question.answers, 1) for question in made],
        [question.source for question in made],
    )
