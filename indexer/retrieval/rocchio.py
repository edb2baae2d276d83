"""What somebody means who shows examples: one vector out of a text, documents that are like it, and some that are not.

Rocchio, «Relevance Feedback in Information Retrieval» (1971): α · query + β · mean(relevant) − γ · mean(irrelevant).
"""

from __future__ import annotations

import numpy as np

from indexer.index.dense import unit
from indexer.inference.encoder import Vectors

ALPHA, BETA, GAMMA = 1.0, 0.75, 0.5
"""The weights. The textbook's γ of 0.15 is meant for negatives that nobody has chosen; here somebody has."""


def rocchio(query: Vectors | None, relevant: Vectors, irrelevant: Vectors) -> Vectors:
    """Return the unit vector of what is meant, shape (dimension,).

    Args:
        query: of a text, shape (dimension,), or None.
        relevant: of the examples, shape (examples, dimension); may be empty where there is a query.
        irrelevant: of what is not meant, the same way; may be empty.
    """
    meant = np.zeros(relevant.shape[1], dtype=np.float32)
    if query is not None:
        meant += ALPHA * unit(query)
    if len(relevant):
        meant += BETA * unit(relevant).mean(axis=0)
    if len(irrelevant):
        meant -= GAMMA * unit(irrelevant).mean(axis=0)
    return unit(meant)
