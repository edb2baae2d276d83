"""Observations: the first results of queries, as the features of relevance and whether they are right."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from indexer.build.relevance.questions import Query, searched_text
from indexer.build.weights.neighbour_questions import without
from indexer.index.index import Index
from indexer.index.served import ServedIndex
from indexer.inference.encoder import Vectors
from indexer.progress import Bar
from indexer.retrieval.fusion import Fusion
from indexer.retrieval.ranking import Mode, Numbers
from indexer.retrieval.relevance import leg_features, query_features, result_features
from indexer.retrieval.retriever import Retriever

DEPTH = 10
"""First results of a query that are observed."""
MODES: tuple[Mode, ...] = ("hybrid", "dense", "lexical")


class Observation(NamedTuple):
    """One query as a mode has answered it.

    Attributes:
        query: features of the query, shape (features,).
        results: features of its first results, shape (results, features).
        right: whether each result answers, shape (results,).
        answered: whether the index has an answer at all, found or not.
        weight: of the query.
    """

    query: Numbers
    results: Numbers
    right: npt.NDArray[np.bool_]
    answered: bool
    weight: float


def observe(
    retriever: Retriever,
    queries: Sequence[Query],
    encode: Callable[[list[str]], Vectors] | None = None,
    fusion: Fusion | None = None,
) -> Mapping[Mode, list[Observation]]:
    """Search for all queries in every mode, as the service does by default: with unknown words corrected.

    Args:
        retriever: over the documents whose rows the queries name.
        queries: with their answers.
        encode: texts → vectors, shape (texts, dimension); by default the index's encoder.
        fusion: of hybrid search; by default the retriever's.
    """
    expanded = [retriever.expand(query.text, typos=True) for query in queries]
    vectors = (encode or retriever.index.encoder.encode_queries)([each.text for each in expanded])
    found: dict[Mode, list[Observation]] = {mode: [] for mode in MODES}
    judge = _Judge(retriever.index)
    with Bar("search for queries with and without an answer", len(queries), "queries") as bar:
        for query, searched, vector in zip(queries, expanded, vectors, strict=True):
            allowed = None if query.left_out is None else without(Index.of(retriever.index), query.left_out)
            for mode in MODES:
                ranking = retriever.search(
                    query.text, mode, fusion, vector=vector, allowed=allowed, expanded=searched, exact=False
                )
                columns = leg_features(ranking, mode, retriever.index.lexical)
                features = query_features(columns), result_features(columns, DEPTH)
                right = judge.right(query, ranking.rows[:DEPTH].tolist())
                found[mode].append(Observation(*features, right, bool(query.answers), query.weight))
            bar.advance(1)
    return found


class _Judge:
    """Says which documents of an index answer a made query."""

    def __init__(self, index: ServedIndex) -> None:
        self._index = index
        self._terms: dict[int, frozenset[str]] = {}

    def right(self, query: Query, rows: Sequence[int]) -> npt.NDArray[np.bool_]:
        """Return whether the document in each row answers, shape (rows,)."""
        right = np.isin(rows, list(query.answers))
        if query.by_words:
            asked = set(self._index.lexical.terms(query.text))
            right |= np.array([asked <= self._terms_of(row) for row in rows], dtype=bool)
        return right

    def _terms_of(self, row: int) -> frozenset[str]:
        if row not in self._terms:
            self._terms[row] = frozenset(self._index.lexical.terms(searched_text(self._index, row)))
        return self._terms[row]
