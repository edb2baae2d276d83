"""Rocchio query vector: from a text, relevant examples and irrelevant examples.

Rocchio, «Relevance Feedback in Information Retrieval» (1971): α · query + β · mean(relevant) − γ · mean(irrelevant).
"""

from __future__ import annotations

import numpy as np

from indexer.index.dense import unit
from indexer.inference.encoder import Vectors

ALPHA, BETA, GAMMA = 1.0, 0.75, 0.5
"""The weights. The textbook's γ of 0.15 is for negatives that were not chosen by a user; here they were."""


def rocchio(query: Vectors | None, relevant: Vectors, irrelevant: Vectors) -> Vectors:
    """Return the query vector, of unit length and shape (dimension,).

    Args:
        query: vector of a text, shape (dimension,), or None.
        relevant: vectors of relevant examples, shape (examples, dimension); may be empty where there is a query.
        irrelevant: vectors of irrelevant examples, shape (examples, dimension); may be empty.
    """
    vector = np.zeros(relevant.shape[1], dtype=np.float32)
    if query is not None:
        vector += ALPHA * unit(query)
    if len(relevant):
        vector += BETA * unit(relevant).mean(axis=0)
    if len(irrelevant):
        vector -= GAMMA * unit(irrelevant).mean(axis=0)
    return unit(vector)
